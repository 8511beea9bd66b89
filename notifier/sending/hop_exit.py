"""Why a hop ends, and the last write that follows from it."""

import enum

import msgspec

from notifier.model.ledger import Ledger
from notifier.model.run import HAND_OVER_MS, Ending, Lane, LaneState
from notifier.model.runtime import Clock
from notifier.sending.checkpoint import Checkpoint

WAIT_MS = 60_000
"""After this time the sweeper nudges a lane whose input could not be read."""


class Exit(enum.IntEnum):
    """Why this hop ends. Of several reasons the one with the highest number is used."""

    HAND_OVER = 1
    """The invocation's time is nearly up: the next one goes on at once."""
    WAIT = 2
    """Something that the lane needs cannot be read now."""
    REST = 3
    """Nothing is to be done before a certain time, and waiting would be billed."""
    PAUSE = 4
    """An operator paused the run."""
    ABORT = 5
    """The campaign's `abort_after` has passed."""
    CANCEL = 6
    """An operator cancelled the run."""
    STOP = 7
    """The run cannot go on before an operator has changed something."""
    FAIL = 8
    """The audience is broken."""
    COMPLETE = 9
    """Every record was read and every device has an outcome."""


class Plan(msgspec.Struct, frozen=True):
    """The times of the campaign, and of the lane's window, in seconds since the epoch."""

    not_before: float | None = None
    abort_after: float | None = None


class Departure(msgspec.Struct, frozen=True):
    """How a hop ends. `due_at`: when the lane is to be worked on again, seconds since the epoch; of `REST` only."""

    why: Exit
    reason: str | None = None
    due_at: float | None = None


class ExitDecision:
    """Which exit a hop takes: requests come from many places, in any turn, and the highest `Exit` wins."""

    def __init__(self) -> None:
        self.why: Exit | None = None
        """None as long as the hop has no reason to end."""
        self._reason: str | None = None
        self._due_at: float | None = None
        self._is_final = False

    def request(self, why: Exit, reason: str | None, due_at: float | None = None) -> bool:
        """Request an exit. False where it changes nothing: a higher one was requested before, or it is final."""
        # The time of a rest is kept even when the rest was requested already: the latest request knows it best.
        if due_at is not None:
            self._due_at = due_at
        if self._is_final or (self.why is not None and self.why >= why):
            return False
        self.why, self._reason = why, reason
        return True

    def decide(self, why: Exit, reason: str | None) -> None:
        """Set the exit whatever was requested before; it is final, but for another `decide`."""
        self.why, self._reason = why, reason
        self._is_final = True

    def make_final(self) -> None:
        """Keep the exit as it is: no later request may replace it."""
        self._is_final = True

    @property
    def reason(self) -> str | None:
        """The reason for `why`, for people."""
        return self._reason

    @property
    def lets_open_batches_finish(self) -> bool:
        """Open batches are sent to their end; all other exits defer what is not in flight."""
        return self.why in (Exit.HAND_OVER, Exit.COMPLETE)

    @property
    def ends_run_early(self) -> bool:
        """The run ends before its audience does, and must account for what earlier claims may have sent."""
        return self.why in (Exit.ABORT, Exit.CANCEL, Exit.FAIL)

    def departure(self, why: Exit) -> Departure:
        """What the hop leaves with."""
        return Departure(why, self._reason, self._due_at)


def leave(checkpoint: Checkpoint, departure: Departure, ledger: Ledger, clock: Clock) -> Lane:
    """The hop's last write: what becomes of the lane.

    Raises:
        LaneLost: another worker claimed it.
    """
    lane, reason = checkpoint.as_left(), departure.reason
    now_ms = int(clock.now() * 1000)
    match departure.why:
        case Exit.HAND_OVER:
            # The worker nudges the next hop after this write. `due_at` lets the sweeper do it if the worker dies first.
            return ledger.release(lane, LaneState.READY, now_ms + HAND_OVER_MS)
        case Exit.WAIT:
            # READY, not RESTING: a rest resets `idle_claims`, and input that stays unreachable must stop the run.
            return ledger.release(lane, LaneState.READY, now_ms + WAIT_MS, reason)
        case Exit.REST:
            due_at = departure.due_at or clock.now()
            return ledger.release(lane, LaneState.RESTING, int(due_at * 1000), reason)
        case Exit.PAUSE:
            # Without a time: the sweeper must not find it, only an operator's `resume` makes it due.
            return ledger.release(lane, LaneState.PAUSED, None)
        case Exit.STOP:
            return ledger.release(lane, LaneState.STOPPED, None, reason)
        # These end the run: no claim follows, so the account is all that this one knows, written or not.
        case Exit.ABORT:
            return ledger.finish(checkpoint.as_ended(), Ending.ABORTED, reason)
        case Exit.CANCEL:
            return ledger.finish(checkpoint.as_ended(), Ending.CANCELLED, reason)
        case Exit.FAIL:
            return ledger.finish(checkpoint.as_ended(), Ending.FAILED, reason)
        case Exit.COMPLETE:
            return ledger.finish(checkpoint.as_ended(), Ending.COMPLETED, None)
