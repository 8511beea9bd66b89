"""How far a crash could reach: recorded in the ledger before batches start, for the next claim to suspect them."""

import math
from collections import deque

from notifier.model.run import Lane
from notifier.model.runtime import Clock

LOOKAHEAD = 16
"""How far batches may start beyond the recorded mark `may_ask_below`: bounds what a crash leaves suspected. As many as
15,000 pushes a second begin in half a second: 8 would want some 9 ledger writes a second, each of 2 ms."""
LOOK_BACK_S = 0.4
"""No further than as many batches as started in this time: so a slow run leaves fewer suspected."""


class Reach:
    """The marks that the ledger is to have: which batches may be asked for, and with how many devices.

    Args:
        lane: the lane as claimed.
        end: the lane has no batch with this number or a higher one: the marks never exceed it.
    """

    def __init__(self, lane: Lane, clock: Clock, end: float = math.inf) -> None:
        self._end = end
        self._clock = clock
        self.may_ask_below = lane.may_ask_below
        """Batches of the cursor's round with numbers below may be asked for."""
        self.most_devices = lane.most_devices
        """None of them has more devices: if the run ends without forming them again, this bounds what they count."""
        self._began: deque[float] = deque(maxlen=LOOKAHEAD)
        """When the last batches were formed."""

    def covers(self, number: int, devices: int, recorded: Lane) -> bool:
        """Whether the ledger has marks that cover the batch. If not, or nearly so, they are raised to be written.

        Args:
            recorded: the lane as the ledger last returned it.
        """
        self.widen(devices)
        ahead = self._ahead()
        # Raised when half of the lead is used up, so that the write is done before a batch has to wait for it.
        if number >= self.may_ask_below - ahead // 2:
            self._raise_to(number + ahead)
        return number < recorded.may_ask_below and devices <= recorded.most_devices

    def widen(self, devices: int) -> None:
        """A batch has so many devices: raise the mark, to be written, where it is below."""
        self.most_devices = max(self.most_devices, devices)

    def expect(self, number: int) -> None:
        """Batch `number` will soon be asked for: write that now, so that nothing has to wait."""
        self._raise_to(number + 1)

    def _raise_to(self, below: int) -> None:
        # Behind its end are the batches of another lane: this one can never have asked for those.
        self.may_ask_below = max(self.may_ask_below, int(min(below, self._end)))

    def begin(self) -> None:
        """A batch was formed."""
        self._began.append(self._clock.monotonic())

    def begin_round(self) -> None:
        """The lane comes to another round: its batches are numbered from 0 again."""
        self.may_ask_below = 0

    def is_beyond(self, recorded: Lane) -> bool:
        """Whether the ledger does not have these marks yet."""
        return self.may_ask_below > recorded.may_ask_below or self.most_devices > recorded.most_devices

    def _ahead(self) -> int:
        """How many batches may be begun before the next ledger write: those of a moment, and one."""
        since_s = self._clock.monotonic() - LOOK_BACK_S
        return min(1 + sum(began_s >= since_s for began_s in self._began), LOOKAHEAD)
