"""Per-endpoint limiter for a gateway that is overloaded or slow. Pure.

Unlimited until more than 5 % of an interval's answers are 429 or 503, or the median latency triples and is above a
second. Then 0.7 of the measured throughput, cut again for every such interval, raised by 15 % and 5 requests a second
in each calm one, and unlimited again at 1.5 times the rate at which the trouble began.

`Retry-After` is no part of it: each device waits for that by itself (`notifier.sending.retry`).
"""

from notifier.sending.rate_limit import RateLimit

INTERVAL_S = 1.0
"""Answers are judged by the second; the interval goes on until there are enough of them."""
MIN_ANSWERS = 20
OVERLOAD_STATUSES = frozenset({429, 503})
"""HTTP statuses by which a gateway says that it has too much to do."""
OVERLOAD_SHARE = 0.05
"""Share of 429 and 503 that counts as overload; fewer are single devices, or chance."""
SLOW_FACTOR = 3.0
"""A median latency of so many times the usual one is slow …"""
SLOW_ABOVE_S = 1.0
"""… if it is above this too."""
CUT = 0.7
RAISE = 1.15
RAISE_BY = 5.0
"""Added beside the factor, so that a very low rate rises too. Requests a second."""
CLEAR = 1.5
"""At so many times the throughput at which the trouble began the endpoint is unlimited again."""
FLOOR = 10.0
"""Requests a second that are always allowed: fewer would not show that the trouble is over."""
LEARN = 0.1
"""How fast the usual latency follows the measured one: a gateway that stays slow becomes the usual."""


class Backpressure:
    """How many requests one endpoint may get now. Times in seconds, `now_s` monotonic."""

    __slots__ = (
        "_answers",
        "_began_s",
        "_latencies",
        "_limited_since_s",
        "_overloaded",
        "_rate",
        "_rate_limit",
        "_unlimited_above",
        "_usual_s",
    )

    def __init__(self, now_s: float) -> None:
        self._rate: float | None = None
        self._limited_since_s = 0.0
        self._rate_limit = RateLimit(None, 0.0, 0.0, now_s)
        self._unlimited_above = 0.0
        self._usual_s: float | None = None
        self._began_s = now_s
        self._answers = 0
        self._overloaded = 0
        self._latencies: list[float] = []

    @property
    def rate(self) -> float | None:
        """Requests a second; None while it is unlimited."""
        return self._rate

    @property
    def limited_since_s(self) -> float:
        """Since when it has had a rate; means nothing while it is unlimited."""
        return self._limited_since_s

    def note(self, status: int, latency_s: float, now_s: float) -> None:
        """Count one answer. A request without an answer (status 0) says nothing about load, and is not counted."""
        if status == 0:
            return
        self._answers += 1
        # A refusal for overload is quick: its latency would hide that the others are slow.
        if status in OVERLOAD_STATUSES:
            self._overloaded += 1
        else:
            self._latencies.append(latency_s)
        if self._answers >= MIN_ANSWERS and now_s - self._began_s >= INTERVAL_S:
            self._judge(now_s)

    def permits(self, now_s: float) -> int:
        """How many requests may go now."""
        return self._rate_limit.permits(now_s)

    def take(self, n: int) -> None:
        """Use `n` of them."""
        self._rate_limit.take(n)

    def _judge(self, now_s: float) -> None:
        """The end of an interval: slow down, or recover."""
        # What the gateway has done: answers that only said "too much" are no throughput.
        per_second = (self._answers - self._overloaded) / (now_s - self._began_s)
        if self._overloaded > OVERLOAD_SHARE * self._answers or self._is_slow():
            self._slow_down(per_second, now_s)
        elif self._rate is not None:
            self._recover(self._rate)
        self._began_s = now_s
        self._answers = self._overloaded = 0
        self._latencies.clear()

    def _is_slow(self) -> bool:
        if not self._latencies:
            return False
        median_s = sorted(self._latencies)[len(self._latencies) // 2]
        usual_s = self._usual_s if self._usual_s is not None else median_s
        # Faster is believed at once, slower only bit by bit.
        self._usual_s = median_s if median_s < usual_s else usual_s + LEARN * (median_s - usual_s)
        return median_s > SLOW_ABOVE_S and median_s > SLOW_FACTOR * usual_s

    def _slow_down(self, per_second: float, now_s: float) -> None:
        if self._rate is None:
            # Of the first cut only: later ones measure a rate that was cut already.
            self._unlimited_above = max(per_second, FLOOR) * CLEAR
            self._limited_since_s = now_s
            self._set(per_second * CUT)
        else:
            # By the measured throughput, but at most two cuts at a time: an interval with few requests measures little.
            self._set(min(self._rate, max(per_second, self._rate * CUT)) * CUT)

    def _recover(self, rate: float) -> None:
        raised = rate * RAISE + RAISE_BY
        self._set(None if raised > self._unlimited_above else raised)

    def _set(self, rate: float | None) -> None:
        self._rate = None if rate is None else max(rate, FLOOR)
        self._rate_limit.set_rate(self._rate)
