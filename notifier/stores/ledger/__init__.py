"""The ledger in DynamoDB: claims, progress, counts, pause and cancel. Every write is conditional.

`items` says what stands in the table; `runs` enters, `holder` works, `desk` is for operators and the sweeper.
"""

from notifier.stores.ledger.control import Controls
from notifier.stores.ledger.items import DUE_INDEX
from notifier.stores.ledger.lease import MAX_REASON, Leases
from notifier.stores.ledger.runs import Runs


class DynamoLedger(Runs, Leases, Controls):
    """The whole ledger over one table. Its parts are told apart by who writes."""


__all__ = ["DUE_INDEX", "MAX_REASON", "DynamoLedger"]
