"""The ledger in DynamoDB: claims, progress, counts, pause and cancel. Every write is conditional.

`items` says what stands in the table; `runs` enters, `holder` works, `desk` is for operators and the sweeper.
"""

from notifier.ledger.desk import Desk
from notifier.ledger.holder import MAX_REASON, Holder
from notifier.ledger.items import DUE_INDEX
from notifier.ledger.runs import Runs
from notifier.ledger.table import LaneLost, LaneTaken, LedgerTooNew


class DynamoLedger(Runs, Holder, Desk):
    """The whole ledger over one table. Its parts are told apart by who writes."""


__all__ = ["DUE_INDEX", "MAX_REASON", "DynamoLedger", "LaneLost", "LaneTaken", "LedgerTooNew"]
