"""Answers as gateways give them: log-normal, median 60 ms, 99th percentile 400 ms, one in 1,000 at 5 s.

nginx draws a pause for each request (`split_clients` over its request id) from the distribution's middle quantiles.
"""

from statistics import NormalDist

MEDIAN_MS, P99_MS = 60.0, 400.0
SLOW_MS, SLOW_SHARE = 5_000.0, 0.001
STEPS = 333
"""So many different pauses, each for 0.3 % of the answers: nginx takes two decimals."""


def pauses_ms() -> list[float]:
    """The distribution without its slow answers: `STEPS` pauses, shortest first."""
    normal = NormalDist()
    ratio = P99_MS / MEDIAN_MS
    return [MEDIAN_MS * ratio ** (normal.inv_cdf((n + 0.5) / STEPS) / normal.inv_cdf(0.99)) for n in range(STEPS)]


def mean_ms() -> float:
    """Of all answers, the slow ones among them."""
    return SLOW_SHARE * SLOW_MS + (1 - SLOW_SHARE) * sum(pauses_ms()) / STEPS


def nginx(variable: str) -> str:
    """nginx configuration that draws a pause in seconds into `variable`."""
    share = (1 - SLOW_SHARE) / STEPS
    drawn = pauses_ms()
    lines = [f"{SLOW_SHARE:.1%} {SLOW_MS / 1000};"]
    lines += [f"{share:.2%} {pause / 1000:.3f};" for pause in drawn[:-1]]
    return f"split_clients $request_id {variable} {{ {' '.join(lines)} * {drawn[-1] / 1000:.3f}; }}"
