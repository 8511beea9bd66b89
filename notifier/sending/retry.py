"""Whether and when a device is asked for again. A decision is a value; somebody else waits.

A device that is refused for now is tried until its message's time to live is over, at most for a day. Only refusals
that are its own count towards an earlier end: those met while the endpoint accepted others (`notifier.model.health`).
"""

import math

import msgspec

from notifier.model.outcome import Disposition, Verdict

MAX_TRYING_S = 86_400.0
"""A device is tried for this long at most, from its first request on, whatever the time to live is."""
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 900.0
"""After an outage of any length each device is asked again within a quarter of an hour."""
ALONE_DELAYS_S = (0.5, 2.0, 15.0, 90.0, 300.0, 900.0, 2_800.0)
"""Waits of a device that is refused while others are accepted. Together, with any jitter, more than an hour."""
MAX_COUNTED = len(ALONE_DELAYS_S) + 1
"""After so many counted refusals the device has failed: eight, over at least an hour."""
MAX_WISH_S = 300.0
"""A `Retry-After` that was granted in vain is doubled, up to this."""
MAX_RETRY_AFTER_S = 3600.0
"""A gateway that asks for a longer wait is asked again after an hour all the same."""
LAST_CALL_S = 5.0
"""A wait that would end after the time to live ends this long before it instead: one last attempt."""

ASK_AGAIN = frozenset({Disposition.RETRY, Disposition.RECONNECT, Disposition.RENEW})


class Again(msgspec.Struct, frozen=True, gc=False):
    """Ask again, not before `delay_s` seconds from now. `grid_s`: a wait that is put off ends at a multiple of this."""

    delay_s: float
    grid_s: float = 1.0


class Tried(msgspec.Struct, frozen=True, gc=False):
    """How often a device was asked for.

    Args:
        attempts: requests made so far, the last one included.
        counted: how many of them were refused while the endpoint accepted others.
        is_counted: whether the last one was.
    """

    attempts: int
    counted: int = 0
    is_counted: bool = False


def decide(verdict: Verdict, tried: Tried, expires_in_s: float, draw: float) -> Again | None:
    """Ask again, or None when the device has failed.

    Args:
        verdict: the judged answer, of a disposition that may be asked again.
        tried: the requests made so far.
        expires_in_s: seconds until trying is over (`trying_s` after the first request).
        draw: a number in [0, 1) for the jitter.
    """
    if verdict.disposition not in ASK_AGAIN or tried.counted >= MAX_COUNTED:
        return None
    delay_s = 0.0 if verdict.disposition is Disposition.RENEW and tried.counted <= 1 else backoff_s(tried, draw)
    # Our own waits may end at round times half a wait apart: then a run rests between them, and does not wait for many
    # single devices. What a gateway asked for is kept more closely.
    share = 2
    if verdict.retry_after_s is not None:
        granted_s = _granted_s(verdict.retry_after_s, tried.attempts, draw)
        share = 8 if granted_s >= delay_s else share
        delay_s = max(delay_s, granted_s)
    elif delay_s >= expires_in_s:
        delay_s = max(expires_in_s - LAST_CALL_S, FIRST_DELAY_S)
    return Again(delay_s, grid_of(delay_s / share)) if delay_s < expires_in_s else None


def trying_s(ttl_s: float | None) -> float:
    """How long a device is tried, from its first request on. None is a message without a time to live.

    0 means "now or never" to the phone; a refused request may still be asked again for a minute.
    """
    return MAX_TRYING_S if ttl_s is None else min(max(ttl_s, 60.0), MAX_TRYING_S)


def backoff_s(tried: Tried, draw: float) -> float:
    """Exponential with jitter, the jitter under the cap.

    In an outage between half and all of 0.5, 1, 2, 4 … seconds, so that it is soon noticed to be over. A device that is
    refused alone waits by a table: its eight attempts tell more when they are far apart.
    """
    if tried.is_counted:
        return ALONE_DELAYS_S[tried.counted - 1] * (0.95 + draw / 20)
    whole = min(FIRST_DELAY_S * 2.0 ** min(tried.attempts - 1, 20), MAX_DELAY_S)
    return float(whole * (0.5 + draw / 2))


def _granted_s(wish_s: float, attempts: int, draw: float) -> float:
    """The gateway's wish, doubled each time it was granted in vain."""
    wish_s = min(float(max(wish_s, 0)), MAX_RETRY_AFTER_S)
    doubled_s = wish_s * 2.0 ** min(max(attempts - 1, 0), 20)
    return min(doubled_s, max(MAX_WISH_S, wish_s)) * (1 + draw / 8)


def grid_of(most_s: float) -> float:
    """A power of two of seconds, at most `most_s` and 256 s, at least 1 s.

    Devices of one batch then come due together, so that a batch is asked in few rounds.
    """
    return float(2.0 ** min(max(math.floor(math.log2(max(most_s, 1.0))), 0), 8))


def on_grid(due_at: float, grid_s: float) -> float:
    """The next multiple of `grid_s`."""
    return math.ceil(due_at / grid_s) * grid_s
