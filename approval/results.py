"""What came of a campaign: its conversions, counted when a person asks for it, and the decision on a test's winner.

The audience function joins rows and conversions (`audiences.run_conversions`); figures, words and pictures are the
report's. The decision is an item of the ledger that the schedules' function writes.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from approval.files import Files
from approval.runs import RunSeen
from approval.table import Table
from notifier.dynamodb import Item, item_of, number_of, text_of
from notifier.model.campaign import CONTROL, Campaign
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.remainder import DECISION
from notifier.model.run import LEDGER_VERSION
from notifier.preparation_items import PREPARATION, conversions_id, preparation_of
from reporting.outcome import Outcome, outcome_of

KEEP_S = 30 * 86_400
"""An order's item is kept for this long."""
ASKED_AGAIN_MS = 60_000
"""Where the function did not begin by then, the sweeper asks it again."""
DAY_S = 86_400


class _ArmCounts(msgspec.Struct, frozen=True):
    arm: str
    users: int
    conversions: int


class _Point(msgspec.Struct, frozen=True):
    arm: str
    hours: float
    conversions: int


class Conversions(msgspec.Struct, frozen=True):
    """Counted conversions, as `audiences.conversions` writes them. Times: ISO 8601, UTC."""

    arms: tuple[_ArmCounts, ...]
    curve: tuple[_Point, ...]
    first_at: str
    last_at: str
    complete_through: str | None
    is_final: bool
    seen: int = 0
    unknown: int = 0
    unreadable: int = 0
    changed: str = ""


class Counted(msgspec.Struct, frozen=True):
    """A count of a run's conversions that was asked for.

    Attributes:
        step: what the function says it is doing; "" once it is over.
        found: None while it counts, and where it could not be done: `fault` says why.
    """

    asked_at_ms: int
    step: str = ""
    fault: str = ""
    found: Conversions | None = None

    @property
    def is_counting(self) -> bool:
        """Whether the audience function is at it."""
        return self.found is None and not self.fault


class Decision(msgspec.Struct, frozen=True):
    """The decision on a test's winner, as `schedules.decision_store` keeps it.

    Attributes:
        state: waiting, stopped (a person is to decide), decided, sent or over.
        arm: what goes to the others; `control`, nothing; "", it is not decided.
        words: why, or what it waits for.
        figures: users and conversions by arm, as the decision saw them.
        remainder: the id of the remainder's run.
    """

    state: str
    arm: str = ""
    words: str = ""
    figures: Mapping[str, tuple[int, int]] = {}
    decide_at_ms: int | None = None
    decide_by_ms: int | None = None
    decided_at_ms: int | None = None
    by: str = ""
    remainder: str = ""

    @property
    def is_open(self) -> bool:
        """Whether a person may decide."""
        return self.state in ("waiting", "stopped")


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
        item = item_of(
            {
                "pk": f"run#{id_}",
                "sk": PREPARATION,
                "version": LEDGER_VERSION,
                "state": PreparationState.ASKED.value,
                "stage": Stage.CONVERSIONS.value,
                "request": json.dumps({"run_id": run_id}),
                "bucket": self._bucket,
                "attempts": 0,
                "asked_at_ms": now_ms,
                "due": PREPARATION,
                "due_at": now_ms + ASKED_AGAIN_MS,
                "expires_at": now_ms // 1000 + KEEP_S,
            }
        )
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
            return Counted(asked_at_ms, fault=order.reason or "it ended without a reason")
        body = self._files.manifest(order.manifest)
        if body is None:
            return Counted(asked_at_ms, fault="this count is not kept any more: count again")
        return Counted(asked_at_ms, found=msgspec.json.decode(body[0], type=Conversions))

    def decision(self, run_id: str) -> Decision | None:
        """The decision on a test's winner; None for a run that is no test."""
        item = self._get(f"{DECISION}#{run_id}", DECISION)
        return _decision_of(item) if item is not None else None


def outcome(campaign: Campaign, run: RunSeen, counted: Counted, *, other_source: str) -> Outcome | None:
    """What came of the campaign's goal as of a count; None where there is none.

    Args:
        other_source: why the goal's source is now another one than when the campaign was approved; "" where it is not.
    """
    found = counted.found
    if found is None or campaign.goal is None or run.account.dry:
        return None
    notes = []
    # It may have been another one when it was counted, and be the approved one again.
    if changed := found.changed or other_source:
        notes.append(f"{changed}.")
    if found.unreadable:
        notes.append(f"{found.unreadable:,} conversions have a time that cannot be read, and are left out.")
    began = datetime.fromisoformat(found.first_at).timestamp()
    return outcome_of(
        campaign,
        {one.arm: (one.users, one.conversions) for one in found.arms},
        [(point.arm, point.hours, point.conversions) for point in found.curve],
        # Of a run that goes on later, as a paused one, the last window has not begun.
        is_final=found.is_final and run.is_over,
        days=max(0.0, counted.asked_at_ms / 1000 - began) / DAY_S,
        complete_through=found.complete_through,
        unknown_share=found.unknown / found.seen if found.seen else 0.0,
        notes=notes,
    )


def arms_to_choose(campaign: Campaign) -> tuple[str, ...]:
    """What may go to a test's remainder: an arm; `control`, nothing."""
    return tuple(dict.fromkeys((*(name for name, _ in campaign.arms if name != CONTROL), CONTROL)))


def _decision_of(item: Item) -> Decision:
    figures = text_of(item, "figures")
    return Decision(
        state=text_of(item, "state"),
        arm=text_of(item, "arm"),
        words=text_of(item, "words"),
        figures=msgspec.json.decode(figures, type=dict[str, tuple[int, int]]) if figures else {},
        decide_at_ms=number_of(item, "decide_at_ms") or None,
        decide_by_ms=number_of(item, "decide_by_ms") or None,
        decided_at_ms=number_of(item, "decided_at_ms") or None,
        by=text_of(item, "decided_by"),
        remainder=text_of(item, "remainder"),
    )
