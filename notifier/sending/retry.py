"""The retry policy: whether and when a device is asked for again. Pure; a decision is a value, the caller waits.

A device that is refused for now is tried until its message's time to live is over, at most for a day. Only refusals
that are its own count towards an earlier end: those met while the endpoint accepted others (`notifier.model.health`).
"""

import math

import msgspec

from notifier.model.outcome import Disposition, Verdict

MAX_TRYING_S = 86_400.0
"""A device is tried for this long at most, from its first request on, whatever the time to live is."""
MIN_TRYING_S = 60.0
"""A device is tried for this long at least: a time to live of 0 would allow no second request after one 503."""
LAST_CALL_S = 5.0
"""A wait of ours that would end after the time to live ends this long before it instead, for one last attempt."""

# Waits in an outage: half to all of 0.5, 1, 2, 4 … 900 s.
FIRST_DELAY_S = 0.5
"""Short, so that the end of an outage is soon noticed."""
MAX_DELAY_S = 900.0
"""After an outage of any length each device is asked again within a quarter of an hour."""
MAX_DOUBLINGS = 20
"""Keeps the power of two small; every cap is reached long before."""

# Waits of a device that is refused while others are accepted.
ALONE_DELAYS_S = (0.5, 2.0, 15.0, 90.0, 300.0, 900.0, 2_800.0)
"""Together, with any jitter, more than an hour."""
MAX_COUNTED = len(ALONE_DELAYS_S) + 1
"""After so many counted refusals the device has failed: eight, over at least an hour."""

# Waits that a gateway asks for.
MAX_DOUBLED_S = 300.0
"""A `Retry-After` that was waited for in vain is doubled, up to this."""
MAX_RETRY_AFTER_S = 3600.0
"""A longer `Retry-After` is cut to this."""

# The grid: due times of deferred devices are rounded up to multiples of a power of two of seconds. So devices of a
# batch come due together, a batch is asked in few rounds, and a run can rest between a few common times.
GRIDS_PER_BACKOFF, GRIDS_PER_RETRY_AFTER = 2, 8
"""Steps of the grid in one wait: waits of ours may end half a wait apart, those of a gateway an eighth."""
MAX_GRID_POWER = 8
"""2 ** 8 = 256 s: in a long outage each device is asked again within `MAX_DELAY_S` and one step of the grid."""

RETRIED = frozenset({Disposition.RETRY, Disposition.RECONNECT, Disposition.RENEW})


class Again(msgspec.Struct, frozen=True, gc=False):
    """Ask again, not before `delay_s` seconds from now. If deferred, the device is due at a multiple of `grid_s`."""

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
    """When to ask again, or None when the device has failed.

    Args:
        verdict: of the last answer; None is returned for dispositions that are not retried.
        tried: the requests made so far.
        expires_in_s: seconds until trying is over (`trying_s` after the first request).
        draw: a number in [0, 1) for the jitter.
    """
    if verdict.disposition not in RETRIED or tried.counted >= MAX_COUNTED:
        return None
    # Stale credentials are no load on the gateway: the first time the device goes out again at once.
    delay_s = 0.0 if verdict.disposition is Disposition.RENEW and tried.counted <= 1 else backoff_s(tried, draw)
    grids = GRIDS_PER_BACKOFF
    if verdict.retry_after_s is not None:
        asked_for_s = _retry_after_s(verdict.retry_after_s, tried.attempts, draw)
        grids = GRIDS_PER_RETRY_AFTER if asked_for_s >= delay_s else grids
        delay_s = max(delay_s, asked_for_s)
    elif delay_s >= expires_in_s:
        # In the last seconds too, `FIRST_DELAY_S` is waited for; if even that ends too late, the device has failed.
        delay_s = max(expires_in_s - LAST_CALL_S, FIRST_DELAY_S)
    # A gateway's own wait is not shortened for a last attempt: it may not be asked before.
    return Again(delay_s, grid_of(delay_s / grids)) if delay_s < expires_in_s else None


def trying_s(ttl_s: float | None) -> float:
    """How long a device is tried, from its first request on. None is a message without a time to live.

    0 means "now or never" to the phone; a refused request may still be asked again for a minute.
    """
    return MAX_TRYING_S if ttl_s is None else min(max(ttl_s, MIN_TRYING_S), MAX_TRYING_S)


def backoff_s(tried: Tried, draw: float) -> float:
    """Exponential with jitter, the jitter under the cap.

    In an outage between half and all of 0.5, 1, 2, 4 … seconds, so that it is soon noticed to be over. A device that is
    refused alone waits by a table: its eight attempts prove more when they are far apart.
    """
    if tried.is_counted:
        # A narrow jitter: the waits of the table must add up to more than an hour.
        return ALONE_DELAYS_S[tried.counted - 1] * (0.95 + draw / 20)
    whole = min(FIRST_DELAY_S * 2.0 ** min(tried.attempts - 1, MAX_DOUBLINGS), MAX_DELAY_S)
    return float(whole * (0.5 + draw / 2))


def _retry_after_s(stated_s: float, attempts: int, draw: float) -> float:
    """The wait that the gateway asks for, doubled for each earlier attempt. The jitter only lengthens it."""
    stated_s = min(float(max(stated_s, 0)), MAX_RETRY_AFTER_S)
    doubled_s = stated_s * 2.0 ** min(max(attempts - 1, 0), MAX_DOUBLINGS)
    return min(doubled_s, max(MAX_DOUBLED_S, stated_s)) * (1 + draw / 8)


def grid_of(most_s: float) -> float:
    """A power of two of seconds, at most `most_s` and 256 s, at least 1 s.

    Devices of one batch then come due together, so that a batch is asked in few rounds.
    """
    return float(2.0 ** min(math.floor(math.log2(max(most_s, 1.0))), MAX_GRID_POWER))


def on_grid(due_at: float, grid_s: float) -> float:
    """The next multiple of `grid_s`."""
    return math.ceil(due_at / grid_s) * grid_s
