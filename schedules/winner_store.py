"""The decision on a test's winner, in the ledger's table. Public: a key or an attribute is never renamed.

`pk=decision#R, sk=decision`, in the index `due`'s partition `decision` until nothing is to be done any more. The worker
enters it when it admits the test, before anything is sent; everything after that is written here.

    waiting ──── figures, or decide_by_h ──── decided ──── approval, batch file ──── sent
       │                                         └── control ── nothing: over
       └── otherwise: stop ──── stopped ──── a person ──── decided

Each arrow is one conditional write, and the decision is written down with its figures before anything follows from it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, Key

from notifier.decision_items import DecisionItem, decision_key, decision_of
from notifier.dynamodb import Items, Update
from notifier.model.remainder import DECISION

MAX_WORDS = 2_000
DUE_INDEX = "due"


def read_decision(client: Any, table: str, run_id: str) -> DecisionItem | None:
    """The decision on a test's winner; None for a run that is no test."""
    return _read(Items(client, table), run_id)


def _read(items: Items, run_id: str) -> DecisionItem | None:
    item = items.get(decision_key(run_id))
    return decision_of(item) if item is not None else None


class DecisionStore:
    """The decisions of a stack.

    Args:
        client: a boto3 DynamoDB client.
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, table: str, now: Callable[[], float]) -> None:
        self._items = Items(client, table)
        self._now = now

    def read(self, run_id: str) -> DecisionItem | None:
        """A decision, or None."""
        return _read(self._items, run_id)

    def due(self, now_ms: int) -> Iterator[DecisionItem]:
        """Decisions that are to be looked at."""
        key = Key("due").eq(DECISION) & Key("due_at").lte(now_ms)
        for item in self._items.query(key, IndexName=DUE_INDEX):
            yield decision_of(item)

    def change(self, before: DecisionItem, after: DecisionItem) -> bool:
        """Write what has become of a decision. False where another tick, or a person, was faster."""
        update = Update().set(
            state=after.state.value, count_id=after.count, decide_at_ms=after.decide_at_ms,
            decide_by_ms=after.decide_by_ms, arm=after.arm, how=after.how, words=after.words[:MAX_WORDS],
            figures=msgspec.json.encode(after.figures).decode(), decided_by=after.by,
            decided_at_ms=after.decided_at_ms, remainder=after.remainder,
        )  # fmt: skip
        is_due = after.due_at_ms > 0
        update = update.set(due=DECISION, due_at=after.due_at_ms) if is_due else update.remove("due", "due_at")
        update = update.only_if(
            Attr("state").eq(before.state.value),  # no other tick has decided since it was read, and no person
            # nor has another asked for figures, or put it off
            Attr("due_at").eq(before.due_at_ms) if before.due_at_ms else Attr("due_at").not_exists(),
        )
        return self._items.update(decision_key(before.run_id), update) is not None
