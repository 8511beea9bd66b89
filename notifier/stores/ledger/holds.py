"""The ledger's part for a hold of the whole stack: one item, read with every command of an operator."""

from typing import NamedTuple

from notifier.hold_item import HOLD_KEY, hold_of, holding, read_hold, releasing
from notifier.model.hold import Hold
from notifier.stores.ledger.table import Table

HOLD_EVERY_S = 1.0
"""How often a worker's writes read the hold: a busy worker writes four times a second, and needs to know within 5 s."""


class HoldRead(NamedTuple):
    """The hold, or None, as it was read at a time (seconds since the epoch)."""

    at_s: float
    hold: Hold | None


class Holds(Table):
    """The ledger's part for a hold."""

    _hold_read: HoldRead | None = None
    """What a worker's write read last."""

    def read_hold(self) -> Hold | None:
        """The hold, or None."""
        return read_hold(self._client, self._table)

    def set_hold(self, by: str, reason: str) -> Hold:
        """Hold the stack. Of one that is held already the time stays, and the rest is replaced."""
        self._hold_read = None
        item = self._update(HOLD_KEY, holding(by, reason, self._now_ms()))
        return hold_of(item) or Hold(by, reason, self._now_ms())

    def release_hold(self, by: str) -> bool:
        """Release it. False where nothing is held."""
        self._hold_read = None
        found = self.read_hold()
        if found is None:
            return False
        return self._update_if_met(HOLD_KEY, releasing(found, by, self._now_ms())) is not None
