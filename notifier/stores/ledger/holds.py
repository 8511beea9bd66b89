"""The ledger's part for a hold of the whole stack: one item, read with every command of an operator."""

from notifier.hold_item import HOLD_KEY, hold_of, holding, read_hold, releasing
from notifier.model.hold import Hold
from notifier.stores.ledger.table import Table


class Holds(Table):
    """The ledger's part for a hold."""

    def read_hold(self) -> Hold | None:
        """The hold, or None."""
        return read_hold(self._client, self._table)

    def set_hold(self, by: str, reason: str) -> Hold:
        """Hold the stack. Of one that is held already the time stays, and the rest is replaced."""
        item = self._update(HOLD_KEY, holding(by, reason, self._now_ms()))
        return hold_of(item) or Hold(by, reason, self._now_ms())

    def release_hold(self, by: str) -> bool:
        """Release it. False where nothing is held."""
        found = self.read_hold()
        if found is None:
            return False
        return self._update_if_met(HOLD_KEY, releasing(found, by, self._now_ms())) is not None
