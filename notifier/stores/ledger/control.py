"""What is done to a lane by others than its worker: operators pause, resume, cancel; the sweeper finds lanes due."""

from collections.abc import Callable, Iterator

from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Item, Update, query_of
from notifier.model.cursor import UnknownCursor
from notifier.model.run import LEASE_MS, LEDGER_VERSION, Control, Lane, LaneState
from notifier.stores.ledger.items import DUE_INDEX, LANE, lane_key, lane_of
from notifier.stores.ledger.table import Table

_WAITS_FOR_OPERATOR = (LaneState.PAUSED, LaneState.STOPPED)
_WAITS = (*_WAITS_FOR_OPERATOR, LaneState.RESTING)


class Controls(Table):
    """The ledger's part for operators and the sweeper."""

    # -- operators ----------------------------------------------------------------------------------------------------

    def set_control(self, run_id: str, control: Control, by: str, lane: int = 0) -> Lane | None:
        """Pause, resume or cancel a lane. Its worker, if it has one, reads the command with its next write.

        A lane without a worker is changed at once: resumed or cancelled it becomes ready, paused it waits.

        Args:
            by: who gives the command, for people who look.

        Returns the lane as it is then; None where there is no such run, or it is done.
        """
        command = Update().set(control=control.value, control_by=by, control_at_ms=self._now_ms())
        written = self._update_lane(run_id, lane, command.only_if(Attr("state").ne(LaneState.DONE.value)))
        if written is None:
            return None
        # The command is written first and alone: a worker that claims the lane in between obeys it all the same, and
        # the second write is refused, because the lane is not in the state any more that it was read in.
        return self._without_worker(control, written) or written

    def _without_worker(self, control: Control, lane: Lane) -> Lane | None:
        """Carry out a command on a lane without a worker. None where its worker will, or nothing is to be done."""
        match control:
            case Control.GO if lane.state in _WAITS_FOR_OPERATOR:
                return self._wake(lane, _WAITS_FOR_OPERATOR)
            # A worker has to close a cancelled run: it settles what is open, and writes the summary.
            case Control.CANCEL if lane.state in _WAITS:
                return self._wake(lane, _WAITS)
            case Control.PAUSE if lane.state in (LaneState.READY, LaneState.RESTING):
                return self._pause_waiting(lane)
        return None

    def _wake(self, lane: Lane, states: tuple[LaneState, ...]) -> Lane | None:
        """Make a lane that waits in one of these states ready, and due now."""
        # An operator has looked at it: claims that settled nothing before count no more.
        update = Update().set(state=LaneState.READY.value, due=LANE, due_at=self._now_ms(), idle_claims=0)
        still_waits = Attr("state").is_in([state.value for state in states])
        return self._update_lane(lane.run_id, lane.lane, update.only_if(still_waits))

    def _pause_waiting(self, lane: Lane) -> Lane | None:
        """Pause a lane that waits for its next worker. The sweeper must not find it: it is taken from the index."""
        update = Update().set(state=LaneState.PAUSED.value).remove("due", "due_at")
        not_claimed_meanwhile = Attr("state").eq(lane.state.value)
        return self._update_lane(lane.run_id, lane.lane, update.only_if(not_claimed_meanwhile))

    def _update_lane(self, run_id: str, lane: int, update: Update) -> Lane | None:
        # A release must not change the items of a newer one. Of an item that is not there the condition is not met
        # either, so that no command can make one.
        known_version = Attr("version").lte(LEDGER_VERSION)
        item = self._update_if_met(lane_key(run_id, lane), update.only_if(known_version))
        return lane_of(item) if item else None

    # -- the sweeper --------------------------------------------------------------------------------------------------

    def due(self, now_ms: int, on_unreadable: Callable[[str, Exception], None] | None = None) -> Iterator[Lane]:
        """Lanes whose time has come: rests that are over, leases that ended, hand-overs that no worker took.

        Args:
            on_unreadable: is given the key of an item that is no lane, and what is wrong with it; then the other lanes
                follow. Without it that error is raised.
        """
        is_due = Key("due").eq(LANE) & Key("due_at").lte(now_ms)
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, IndexName=DUE_INDEX, **query_of(is_due)
        )
        for page in pages:
            for item in page["Items"]:
                try:
                    lane = _lane_of_this_release(item)
                except Exception as error:
                    if on_unreadable is None:
                        raise
                    on_unreadable(item["pk"]["S"], error)
                    continue
                if lane is not None:
                    yield lane

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

    def alive(self, now_ms: int) -> int:
        """How many lanes have a worker right now: they share FCM's budget."""
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
    if int(item["version"]["N"]) > LEDGER_VERSION:
        return None
    try:
        return lane_of(item)
    except UnknownCursor:
        return None
