"""The decision on a test's winner, in the ledger's table. Public: a key or an attribute is never renamed.

`pk=decision#R, sk=decision`, in the index `due`'s partition `decision` until nothing is to be done any more. The worker
enters it when it admits the test, before anything is sent; everything after that is written here.

    waiting ──── figures, or decide_by_h ──── decided ──── approval, batch file ──── sent
       │                                         └── control ── nothing: over
       └── otherwise: stop ──── stopped ──── a person ──── decided

Each arrow is one conditional write, and the decision is written down with its figures before anything follows from it.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Item, Items, Update, item_of, number_of, text_of
from notifier.model.remainder import DECISION

MAX_WORDS = 2_000
DUE_INDEX = "due"


class DecisionState(enum.StrEnum):
    """How far a decision is."""

    WAITING = "waiting"
    """For the test's last push, for the hour of the decision, for conversions."""
    STOPPED = "stopped"
    """Without evidence, and a person is to decide."""
    DECIDED = "decided"
    """What goes to the remainder is written down; its run is not begun yet."""
    SENT = "sent"
    """The remainder's batch file is written."""
    OVER = "over"
    """Nothing goes to the remainder."""


class DecisionItem(msgspec.Struct, frozen=True):
    """A decision as the table has it.

    Attributes:
        due_at_ms: when it is to be looked at; 0 for never.
        count: the count of conversions that was asked for; "" for none.
        decide_at_ms, decide_by_ms: known once the test's last push is; 0 before.
        words: why it was decided so, or what it waits for.
        figures: users and conversions by arm.
        remainder: the id of the remainder's run.
    """

    run_id: str
    state: DecisionState
    due_at_ms: int = 0
    count: str = ""
    decide_at_ms: int = 0
    decide_by_ms: int = 0
    arm: str = ""
    how: str = ""
    words: str = ""
    figures: Mapping[str, tuple[int, int]] = {}
    by: str = ""
    decided_at_ms: int = 0
    remainder: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing follows any more."""
        return self.state in (DecisionState.SENT, DecisionState.OVER)


def decision_key(run_id: str) -> Item:
    """The key of a test's decision."""
    return item_of({"pk": f"{DECISION}#{run_id}", "sk": DECISION})


def decision_of(item: Item) -> DecisionItem:
    """The decision in an item."""
    figures = text_of(item, "figures")
    return DecisionItem(
        run_id=item["pk"]["S"].partition("#")[2],
        state=DecisionState(text_of(item, "state")),
        due_at_ms=number_of(item, "due_at"),
        count=text_of(item, "count_id"),
        decide_at_ms=number_of(item, "decide_at_ms"),
        decide_by_ms=number_of(item, "decide_by_ms"),
        arm=text_of(item, "arm"),
        how=text_of(item, "how"),
        words=text_of(item, "words"),
        figures=msgspec.json.decode(figures, type=dict[str, tuple[int, int]]) if figures else {},
        by=text_of(item, "decided_by"),
        decided_at_ms=number_of(item, "decided_at_ms"),
        remainder=text_of(item, "remainder"),
    )


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
