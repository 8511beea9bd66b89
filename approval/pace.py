"""How fast a run is, and how long it will still take, for its page."""

import msgspec

from approval.runs import RunSeen

MIN_SENDING_MS = 3_000
"""Before that a pace says nothing."""


class Pace(msgspec.Struct, frozen=True):
    """Devices a second so far, and the seconds that the rest takes at that pace; None where that is not known."""

    per_second: float
    left_s: float | None


def pace_of(run: RunSeen, expected: int) -> Pace | None:
    """The pace of a run. None while it is not known, and of a run that sent nothing.

    Args:
        expected: devices of its audience; 0 where that is not known.
    """
    # The time in which it was sending, by lane: what it rested does not make it slower.
    seconds = run.sending_ms / 1000 / max(1, run.lanes)
    settled = run.account.settled
    if run.sending_ms < MIN_SENDING_MS or not settled:
        return None
    per_second = settled / seconds
    # A run that rests or is paused waits for something that no pace knows of.
    is_going = run.status == "running" and run.control == "go"
    left = expected - settled
    return Pace(per_second, left / per_second if is_going and left > 0 else None)
