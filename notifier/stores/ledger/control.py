"""What others do to a lane: operators say pause, resume, cancel; the sweeper looks for those that are due."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from notifier.model.cursor import UnknownCursor
from notifier.model.run import LEASE_MS, LEDGER_VERSION, Control, Lane, LaneState
from notifier.stores.ledger.items import DUE_INDEX, key, lane_of, lane_sk, n
from notifier.stores.ledger.table import Table, is_refused


def _raise(_: str, error: Exception) -> None:
    raise error


def _lane_due(item: dict[str, Any]) -> Lane | None:
    """The lane in an item of the index; None for a newer release's: it has a sweeper of its own."""
    if int(item["version"]["N"]) > LEDGER_VERSION:
        return None
    try:
        return lane_of(item)
    except UnknownCursor:
        return None


class Controls(Table):
    """Operators and the sweeper."""

    def set_control(self, run_id: str, control: Control, by: str, lane: int = 0) -> Lane | None:
        """Pause, resume or cancel. A worker that holds the lane reads it with its next write.

        Resuming makes a paused or stopped lane ready. Returns the lane, or None where no such run is alive.
        """
        values = {":control": {"S": control.value}, ":by": {"S": by}, ":now": n(self._now_ms())}
        values[":done"] = {"S": LaneState.DONE.value}
        lane_ = self._update_lane(
            run_id, lane, "control = :control, control_by = :by, control_at_ms = :now", "#state <> :done", values
        )
        if lane_ is None:
            return None
        waits = (LaneState.PAUSED, LaneState.STOPPED)
        if control is Control.GO and lane_.state in waits:
            return self._wake(run_id, lane, waits) or lane_
        if control is Control.CANCEL and lane_.state in (*waits, LaneState.RESTING):
            return self._wake(run_id, lane, (*waits, LaneState.RESTING)) or lane_
        if control is Control.PAUSE and lane_.state in (LaneState.READY, LaneState.RESTING):
            return self._pause_waiting(run_id, lane, lane_.state) or lane_
        return lane_

    def _wake(self, run_id: str, lane: int, states: tuple[LaneState, ...]) -> Lane | None:
        values = {":ready": {"S": LaneState.READY.value}, ":now": n(self._now_ms()), ":due": {"S": "lane"}}
        values[":idle"] = n(0)
        asked = {f":s{n}": {"S": state.value} for n, state in enumerate(states)}
        sets = "#state = :ready, due = :due, due_at = :now, idle_claims = :idle"
        return self._update_lane(run_id, lane, sets, f"#state IN ({', '.join(asked)})", values | asked)

    def _pause_waiting(self, run_id: str, lane: int, state: LaneState) -> Lane | None:
        """Nobody holds the lane: pause it at once. Resumed, it looks at its appointments anew."""
        values = {":paused": {"S": LaneState.PAUSED.value}, ":state": {"S": state.value}}
        return self._update_lane(run_id, lane, "#state = :paused REMOVE due, due_at", "#state = :state", values)

    def _update_lane(self, run_id: str, lane: int, sets: str, condition: str, values: dict[str, Any]) -> Lane | None:
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=key(run_id, lane_sk(lane)),
                UpdateExpression=f"SET {sets}",
                ConditionExpression=f"version <= :version AND {condition}",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values | {":version": n(LEDGER_VERSION)},
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if is_refused(error):
                return None
            raise
        return lane_of(answer["Attributes"])

    def due(self, now_ms: int, on_unreadable: Callable[[str, Exception], None] = _raise) -> Iterator[Lane]:
        """Lanes whose appointment has passed: rests that are over, leases that ended, hand-overs nobody took.

        `on_unreadable` is given the key of an item that is no lane, and what is wrong with it. By default that raises.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=DUE_INDEX,
            KeyConditionExpression="due = :lane AND due_at <= :now",
            ExpressionAttributeValues={":lane": {"S": "lane"}, ":now": n(now_ms)},
        )
        for page in pages:
            for item in page["Items"]:
                try:
                    lane = _lane_due(item)
                except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others are due all the same
                    on_unreadable(item["pk"]["S"], error)
                    continue
                if lane is not None:
                    yield lane

    def put_off(self, lane: Lane, due_at_ms: int) -> bool:
        """Move a due lane's appointment on, so that only one sweeper nudges it. False when somebody was faster.

        A lane whose rest is over becomes ready: with its appointment moved on it could not be claimed as resting.
        """
        state = LaneState.READY if lane.state is LaneState.RESTING else lane.state
        try:
            self._client.update_item(
                TableName=self._table,
                Key=key(lane.run_id, lane_sk(lane.lane)),
                UpdateExpression="SET due_at = :at, #state = :then",
                ConditionExpression="due_at = :was AND epoch = :epoch AND #state = :state",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":was": n(lane.due_at_ms or 0),
                    ":at": n(due_at_ms),
                    ":epoch": n(lane.epoch),
                    ":state": {"S": lane.state.value},
                    ":then": {"S": state.value},
                },
            )
        except ClientError as error:
            if is_refused(error):
                return False
            raise
        return True

    def alive(self, now_ms: int) -> int:
        """How many lanes are being worked on right now: they share FCM's budget."""
        answer = self._client.query(
            TableName=self._table,
            IndexName=DUE_INDEX,
            KeyConditionExpression="due = :lane AND due_at BETWEEN :now AND :far",
            FilterExpression="#state = :running",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={
                ":lane": {"S": "lane"},
                ":now": n(now_ms),
                ":far": n(now_ms + LEASE_MS),
                ":running": {"S": LaneState.RUNNING.value},
            },
            Select="COUNT",
        )
        return int(answer["Count"])
