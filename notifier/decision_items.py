"""The item of the decision on a test's winner, in the ledger's table: two functions read it, one writes it.

`pk=decision#R, sk=decision`. The worker enters it when it admits the test; `schedules.winner_store` writes everything
after that, and says in which order.
"""

import enum
from collections.abc import Mapping

import msgspec

from notifier.dynamodb import Item, item_of, number_of, text_of
from notifier.model.remainder import DECISION


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
        arm: what goes to the remainder; `control`, nothing; "", it is not decided.
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
    def is_open(self) -> bool:
        """Whether a person may decide."""
        return self.state in (DecisionState.WAITING, DecisionState.STOPPED)

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
