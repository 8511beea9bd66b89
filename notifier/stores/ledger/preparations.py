"""The worker's and the sweeper's part of a preparation: ask for it, look at it, cancel it, find those that are due."""

from collections.abc import Callable, Iterator

import msgspec
from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Update, query_of
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.run import LEDGER_VERSION
from notifier.preparation_items import COUNT, PREPARATION, CountRequest, asked_for, preparation_key, preparation_of
from notifier.stores.ledger.items import DUE_INDEX
from notifier.stores.ledger.table import Table

ASKED_MS = 30_000
"""The worker invokes the audience function itself, once its lane rests. Where that failed the sweeper does it."""

_IS_OPEN = Attr("state").is_in([PreparationState.ASKED.value, PreparationState.PREPARING.value])
_IS_CANCELLED = Attr("state").eq(PreparationState.CANCELLED.value)


class Preparations(Table):
    """The ledger's part for preparations."""

    def ask_for_preparation(self, run_id: str, request: str, bucket: str) -> Preparation:
        """Enter a preparation, unless the run has one already. Returns it as it is."""
        self._put_new(**asked_for(run_id, request, bucket, self._now_ms() + ASKED_MS))
        found = self.read_preparation(run_id)
        if found is None:
            raise KeyError(run_id)
        return found

    def ask_for_count(self, run_id: str, began_at_ms: int) -> str:
        """Enter that a run is over and to be counted for caps, unless that is entered already. Returns its id."""
        name = f"{COUNT}{run_id}"
        request = msgspec.json.encode(CountRequest(began_at_ms)).decode()
        self._put_new(**asked_for(name, request, "", self._now_ms() + ASKED_MS, Stage.CAPS))
        return name

    def ask_for_cut(self, run_id: str) -> Preparation:
        """Enter the final cut of a run whose audience is prepared, unless it is entered already. Returns it as is."""
        update = (
            Update()
            .set(stage=Stage.CUT.value, state=PreparationState.ASKED.value, attempts=0, lease_until_ms=0)
            .set(owner="", manifest="", reason="", progress="", due=PREPARATION, due_at=self._now_ms() + ASKED_MS)
            .remove("queries")
            .only_if(
                Attr("state").eq(PreparationState.PREPARED.value),  # the audience is there
                Attr("stage").not_exists() | Attr("stage").eq(Stage.PREPARE.value),  # and no cut was asked for
            )
        )
        self._update_if_met(preparation_key(run_id), update)
        found = self.read_preparation(run_id)
        if found is None:
            raise KeyError(run_id)
        return found

    def read_preparation(self, run_id: str) -> Preparation | None:
        """The run's preparation, or None."""
        item = self._get(preparation_key(run_id))
        return preparation_of(item) if item is not None else None

    def cancel_preparation(self, run_id: str) -> None:
        """Note that the audience is not wanted any more: the attempt that is under way stops at its next renewal."""
        cancelled = Update().set(state=PreparationState.CANCELLED.value).only_if(_IS_OPEN)
        # Due at once where a warehouse runs a query for it: the sweeper has the audience function stop that.
        stopping = cancelled.set(due_at=self._now_ms()).only_if(Attr("queries").exists())
        if self._update_if_met(preparation_key(run_id), stopping) is None:
            self._update_if_met(preparation_key(run_id), cancelled.remove("due", "due_at"))

    def end_preparation(self, run_id: str) -> None:
        """The worker has seen how it ended: nothing is to be looked at any more."""
        # A cancelled one is due as long as a query has to be stopped; else nothing of it is due.
        over = Update().remove("due", "due_at").only_if(~_IS_OPEN, ~_IS_CANCELLED)
        self._update_if_met(preparation_key(run_id), over)

    def due_preparations(
        self, now_ms: int, on_unreadable: Callable[[str, Exception], None] = lambda _key, _error: None
    ) -> Iterator[Preparation]:
        """Preparations that no attempt works on although one should, and those whose lane was not nudged."""
        is_due = Key("due").eq(PREPARATION) & Key("due_at").lte(now_ms)
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, IndexName=DUE_INDEX, **query_of(is_due)
        )
        for page in pages:
            for item in page["Items"]:
                if int(item["version"]["N"]) > LEDGER_VERSION:
                    continue  # the newer release's sweeper does it
                try:
                    found = preparation_of(item)
                except (KeyError, ValueError) as error:
                    on_unreadable(item["pk"]["S"], error)
                    continue
                yield found

    def put_off_preparation(self, found: Preparation, due_at_ms: int) -> bool:
        """Move a due preparation's time on, so that only one sweeper asks for it. False when another was faster."""
        update = Update().set(due_at=due_at_ms).only_if(Attr("due_at").eq(found.due_at_ms or 0))
        return self._update_if_met(preparation_key(found.run_id), update) is not None
