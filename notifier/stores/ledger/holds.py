"""The ledger's part for a hold of the whole stack: one item, read with every command of an operator."""

from boto3.dynamodb.conditions import Attr

from notifier.dynamodb import Update
from notifier.hold_item import HOLD_KEY, hold_of, read_hold
from notifier.model.hold import MAX_REASON_CHARS, Hold
from notifier.model.run import LEDGER_VERSION
from notifier.stores.ledger.table import Table


class Holds(Table):
    """The ledger's part for a hold."""

    def read_hold(self) -> Hold | None:
        """The hold, or None."""
        return read_hold(self._client, self._table)

    def set_hold(self, by: str, reason: str) -> Hold:
        """Hold the stack. Of one that is held already the time stays, and the rest is replaced."""
        update = Update().set(version=LEDGER_VERSION, held_by=by, hold_reason=reason[:MAX_REASON_CHARS])
        item = self._update(HOLD_KEY, update.set_first(since_ms=self._now_ms()))
        return hold_of(item) or Hold(by, reason, self._now_ms())

    def release_hold(self, by: str) -> bool:
        """Release it. False where nothing is held."""
        found = self.read_hold()
        if found is None:
            return False
        # What it was: schedules say of a time that was due in it why nothing was sent.
        was = Update().set(held_from_ms=found.since_ms, released_by=by, released_at_ms=self._now_ms())
        update = was.remove("since_ms").only_if(Attr("since_ms").eq(found.since_ms))
        return self._update_if_met(HOLD_KEY, update) is not None
