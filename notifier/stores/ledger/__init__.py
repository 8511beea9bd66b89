"""The ledger in DynamoDB: claims, cursors, counts, pause and cancel.

`items` describes the table. The ledger has eight parts by who writes: `runs` for what is entered once, `lease` for a
lane's worker, `control` for operators, `lanes` for a run of several lanes, `shares` for lanes that share a rate,
`due_lanes` for the sweeper, `preparations` for a run whose audience is made, `holds` for a hold of
the whole stack.
"""

from notifier.stores.ledger.items import DUE_INDEX
from notifier.stores.ledger.lanes import RunLanes
from notifier.stores.ledger.lease import MAX_REASON
from notifier.stores.ledger.preparations import Preparations
from notifier.stores.ledger.runs import Runs
from notifier.stores.ledger.shares import LaneShares


class DynamoLedger(Runs, RunLanes, LaneShares, Preparations):
    """The whole ledger over one table."""


__all__ = ["DUE_INDEX", "MAX_REASON", "DynamoLedger"]
