"""How far a crash could reach: recorded in the ledger before batches start, for the next claim to suspect them."""

from collections import deque

from notifier.model.run import Lane
from notifier.model.runtime import Clock

LOOKAHEAD = 8
"""How far batches may start beyond the recorded high-water mark `fed`: bounds what a crash leaves suspected."""
LOOK_BACK_S = 0.2
"""Not further than as many batches as started in this time: a slow run leaves that much less."""


class Reach:
    """The marks that the ledger is to have: which batches may be asked for, and with how many devices.

    Args:
        lane: the lane as claimed.
    """

    def __init__(self, lane: Lane, clock: Clock) -> None:
        self._clock = clock
        self.fed = lane.fed
        """Batches of the cursor's round with numbers below may be asked for."""
        self.widest = lane.widest
        """None of them has more devices: a run may end without forming them again, and then this bounds its account."""
        self._began: deque[float] = deque(maxlen=LOOKAHEAD)
        """When the last batches were formed."""

    def covers(self, number: int, devices: int, recorded: Lane) -> bool:
        """Whether the ledger has marks that cover the batch. If not, or nearly so, they are raised to be written.

        Args:
            recorded: the lane as the ledger last returned it.
        """
        self.widest = max(self.widest, devices)
        ahead = self._ahead()
        # Raised when half of the lead is used up, so that the write is done before a batch has to wait for it.
        if number >= self.fed - ahead // 2:
            self.fed = max(self.fed, number + ahead)
        return number < recorded.fed and devices <= recorded.widest

    def expect(self, number: int) -> None:
        """Batch `number` will soon be asked for: write that now, so that nothing has to wait."""
        self.fed = max(self.fed, number + 1)

    def begin(self) -> None:
        """A batch was formed."""
        self._began.append(self._clock.monotonic())

    def begin_round(self) -> None:
        """The lane comes to another round: its batches are numbered from 0 again."""
        self.fed = 0

    def is_beyond(self, recorded: Lane) -> bool:
        """Whether the ledger does not have these marks yet."""
        return self.fed > recorded.fed or self.widest > recorded.widest

    def _ahead(self) -> int:
        """How many batches may be begun before the next ledger write: those of a moment, and one."""
        since_s = self._clock.monotonic() - LOOK_BACK_S
        return min(1 + sum(began_s >= since_s for began_s in self._began), LOOKAHEAD)
