"""The sweeper's part of the ledger: the lanes whose time has come, and how many lanes have a worker."""

from collections.abc import Callable, Iterator

from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Item, Update, query_of
from notifier.lane_commands import LANE, lane_key
from notifier.model.cursor import UnknownCursor
from notifier.model.run import LANES_VERSION, LEASE_MS, Lane, LaneState
from notifier.stores.ledger.items import DUE_INDEX, LANE_PARTITIONS, lane_of
from notifier.stores.ledger.table import Table


class DueLanes(Table):
    """The ledger's part for the sweeper."""

    def due(self, now_ms: int, on_unreadable: Callable[[str, Exception], None] | None = None) -> Iterator[Lane]:
        """Lanes whose time has come: rests that are over, leases that ended, hand-overs that no worker took.

        Args:
            on_unreadable: is given the key of an item that is no lane, and what is wrong with it; then the other lanes
                follow. Without it that error is raised.
        """
        for item in self._due_items(now_ms):
            try:
                lane = _lane_of_this_release(item)
            except Exception as error:
                if on_unreadable is None:
                    raise
                on_unreadable(item["pk"]["S"], error)
                continue
            if lane is not None:
                yield lane

    def due_runs(self, now_ms: int) -> set[str]:
        """Ids of the runs with a lane that is due, of any release; of a damaged item the key is enough.

        For commands over everything: what cannot be read here may still be sending.
        """
        items = self._due_items(now_ms)
        going = (item for item in items if item.get("state", {}).get("S") != LaneState.DONE.value)
        return {item["pk"]["S"].removeprefix("run#") for item in going}

    def _due_items(self, now_ms: int) -> Iterator[Item]:
        for partition in LANE_PARTITIONS:
            is_due = Key("due").eq(partition) & Key("due_at").lte(now_ms)
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table, IndexName=DUE_INDEX, **query_of(is_due)
            )
            for page in pages:
                yield from page["Items"]

    def put_off(self, lane: Lane, due_at_ms: int) -> bool:
        """Move a due lane's time on, so that only one sweeper nudges it. False when another one was faster."""
        # A lane whose rest is over becomes ready: as a resting lane it could not be claimed before its new time.
        state = LaneState.READY if lane.state is LaneState.RESTING else lane.state
        update = (
            Update()
            .set(due_at=due_at_ms, state=state.value)
            .only_if(
                Attr("due_at").eq(lane.due_at_ms or 0),  # another sweeper has moved it on since it was read
                Attr("epoch").eq(lane.epoch),  # a worker has claimed it since
                Attr("state").eq(lane.state.value),  # an operator has paused or resumed it since
            )
        )
        return self._update_if_met(lane_key(lane.run_id, lane.lane), update) is not None

    def running_alone(self, now_ms: int) -> int:
        """How many lanes have a worker right now, of runs that have one lane."""
        # A running lane is due when its lease ends: between now and one lease from now.
        leased = Key("due").eq(LANE) & Key("due_at").between(now_ms, now_ms + LEASE_MS)
        answer = self._client.query(
            TableName=self._table,
            IndexName=DUE_INDEX,
            Select="COUNT",
            **query_of(leased, only=Attr("state").eq(LaneState.RUNNING.value)),
        )
        return int(answer["Count"])


def _lane_of_this_release(item: Item) -> Lane | None:
    """The lane in an item of the index; None where a newer release wrote it, which has a sweeper of its own."""
    if int(item["version"]["N"]) > LANES_VERSION:
        return None
    try:
        return lane_of(item)
    except UnknownCursor:
        return None
