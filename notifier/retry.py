"""Whether and when a device is asked for again. A decision is a value; somebody else waits."""

import msgspec

from notifier.outcome import Disposition, Verdict

MAX_ATTEMPTS = 8
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 300.0
MAX_RETRY_AFTER_S = 3600.0
"""A gateway that asks for a longer wait is asked again after an hour all the same."""

ASK_AGAIN = frozenset({Disposition.RETRY, Disposition.RECONNECT, Disposition.RENEW})


class Again(msgspec.Struct, frozen=True, gc=False):
    """Ask again, not before `delay_s` seconds from now."""

    delay_s: float


def decide(verdict: Verdict, attempts: int, expires_in_s: float, draw: float) -> Again | None:
    """Ask again, or None when the device has failed.

    Args:
        verdict: the judged answer, of a disposition that may be asked again.
        attempts: requests made so far, this one included.
        expires_in_s: seconds until the message's time to live is over.
        draw: a number in [0, 1) for the jitter.
    """
    if verdict.disposition not in ASK_AGAIN or attempts >= MAX_ATTEMPTS:
        return None
    delay_s = 0.0 if verdict.disposition is Disposition.RENEW else backoff_s(attempts, draw)
    if verdict.retry_after_s is not None:
        wish_s = min(float(max(verdict.retry_after_s, 0)), MAX_RETRY_AFTER_S)
        delay_s = wish_s * 2 ** max(attempts - 1, 0) * (1 + draw / 4)
        delay_s = min(delay_s, max(MAX_DELAY_S, wish_s * (1 + draw / 4)))
        delay_s = max(delay_s, backoff_s(attempts, draw))
    return Again(delay_s) if delay_s < expires_in_s else None


def backoff_s(attempts: int, draw: float) -> float:
    """Exponential with jitter, the jitter under the cap: between half and all of 0.5, 1, 2, 4 … seconds."""
    whole = min(FIRST_DELAY_S * 2.0 ** min(attempts - 1, 20), MAX_DELAY_S)
    return float(whole * (0.5 + draw / 2))
