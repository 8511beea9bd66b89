"""What came of a campaign: its conversions, counted when a person asks for it, and the decision on a test's winner.

The audience function joins rows and conversions (`audiences.run_conversions`); figures, words and pictures are the
report's. The decision is an item of the ledger that the schedules' function writes.
"""

import json
from typing import Any

import msgspec

from approval.files import Files
from approval.reasons import without_commands
from approval.runs import RunSeen
from approval.table import Table
from notifier.decision_items import DecisionItem, decision_of
from notifier.dynamodb import item_of
from notifier.model.campaign import CONTROL, Campaign
from notifier.model.conversion_counts import ConversionCounts
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.remainder import DECISION
from notifier.preparation_items import PREPARATION, asked_for, conversions_id, preparation_of
from reporting.outcome import Outcome, outcome_of_counts

KEEP_S = 30 * 86_400
"""An order's item is kept for this long."""
ASKED_AGAIN_MS = 60_000
"""Where the function did not begin by then, the sweeper asks it again."""
DAY_S = 86_400


class Counted(msgspec.Struct, frozen=True):
    """A count of a run's conversions that was asked for.

    Attributes:
        step: what the function says it is doing; "" once it is over.
        found: None while it counts, and where it could not be done: `fault` says why.
    """

    asked_at_ms: int
    step: str = ""
    fault: str = ""
    found: ConversionCounts | None = None

    @property
    def is_counting(self) -> bool:
        """Whether the audience function is at it."""
        return self.found is None and not self.fault


class Results(Table):
    """Has conversions counted, and reads them and decisions.

    Args:
        client: a boto3 DynamoDB client.
        table: the ledger's table.
        lambda_client: a boto3 Lambda client.
        function: the audience function's name or ARN.
    """

    def __init__(self, client: Any, table: str, lambda_client: Any, function: str, files: Files, bucket: str) -> None:
        super().__init__(client, table)
        self._lambda = lambda_client
        self._function = function
        self._files = files
        self._bucket = bucket

    def count(self, run_id: str, now_ms: int) -> str:
        """Have a run's conversions counted. Returns the count's id: each count is made once, a later one is another."""
        id_ = conversions_id(run_id, now_ms)
        request = json.dumps({"run_id": run_id})
        asked = asked_for(id_, request, self._bucket, now_ms + ASKED_AGAIN_MS, Stage.CONVERSIONS)
        item = item_of({**asked, "asked_at_ms": now_ms, "expires_at": now_ms // 1000 + KEEP_S})
        self._client.put_item(TableName=self._table, Item=item)
        payload = json.dumps({"prepare": id_}).encode()
        self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)
        return id_

    def counted(self, id_: str, asked_at_ms: int) -> Counted:
        """How far a count is, and what it found."""
        item = self._get(f"run#{id_}", PREPARATION)
        if item is None:
            return Counted(asked_at_ms, fault="this count is not kept any more: count again")
        order: Preparation = preparation_of(item)
        if not order.state.is_over:
            return Counted(asked_at_ms, step=order.progress)
        if order.state is not PreparationState.PREPARED:
            return Counted(asked_at_ms, fault=without_commands(order.reason) or "it ended without a reason")
        read = self._files.manifest(order.manifest)
        if read is None:
            return Counted(asked_at_ms, fault="this count is not kept any more: count again")
        return Counted(asked_at_ms, found=msgspec.json.decode(read.body, type=ConversionCounts))

    def decision(self, run_id: str) -> DecisionItem | None:
        """The decision on a test's winner; None for a run that is no test."""
        item = self._get(f"{DECISION}#{run_id}", DECISION)
        return decision_of(item) if item is not None else None


def outcome(campaign: Campaign, run: RunSeen, counted: Counted, *, other_source: str) -> Outcome | None:
    """What came of the campaign's goal as of a count; None where there is none.

    Args:
        other_source: why the goal's source is now another one than when the campaign was approved; "" where it is not.
    """
    found = counted.found
    if found is None or campaign.goal is None or run.account.dry:
        return None
    # It may have been another one when it was counted, and be the approved one again.
    found = msgspec.structs.replace(found, changed=found.changed or other_source)
    return outcome_of_counts(campaign, found, counted.asked_at_ms / 1000, is_over=run.is_over)


def arms_to_choose(campaign: Campaign) -> tuple[str, ...]:
    """What may go to a test's remainder: an arm; `control`, nothing."""
    return tuple(dict.fromkeys((*(name for name, _ in campaign.arms if name != CONTROL), CONTROL)))
