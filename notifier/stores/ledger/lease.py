"""A worker's writes: claim, renew, advance, release, finish. Each is conditional on its epoch."""

from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.run import LEASE_MS, Control, Ending, Lane, LaneLost, LaneState, LaneTaken, UnfinishedClaim
from notifier.stores.ledger.items import as_json, key, lane_of, lane_sk, n
from notifier.stores.ledger.table import Table, is_refused

MAX_REASON = 2_000
"""Characters of a reason that are kept: an item holds 400 KB."""


class _ControlChanged(Exception):
    """An operator's word came while the worker drained."""


CONTRARY = {
    LaneState.PAUSED: ("control <> :word", Control.PAUSE),
    LaneState.STOPPED: ("control = :word", Control.CANCEL),
    LaneState.RESTING: ("control = :word", Control.CANCEL),
}
"""What an operator may have said that speaks against a state in which the lane would wait."""


CLAIMABLE = {
    "handed_over": "#state = :ready",
    "rest_is_over": "(#state = :resting AND due_at <= :now)",
    "holder_is_gone": "(#state = :running AND lease_until_ms < :now)",
    "cancelled_while_waiting": "(#state IN (:resting, :paused, :stopped) AND control = :cancel)",
}
"""When a lane may be claimed, each clause by the situation it covers."""
CLAIM_WORDS = {
    ":ready": {"S": LaneState.READY.value},
    ":resting": {"S": LaneState.RESTING.value},
    ":running": {"S": LaneState.RUNNING.value},
    ":paused": {"S": LaneState.PAUSED.value},
    ":stopped": {"S": LaneState.STOPPED.value},
    ":cancel": {"S": Control.CANCEL.value},
}


class Leases(Table):
    """The holder of a lane."""

    def claim(
        self, run_id: str, lane: int, function_version: str, holder: str, ends_at_ms: int, gone_version: str = ""
    ) -> Lane:
        """Claim the lane: one conditional write, after which every write of an earlier claim fails.

            worker A   claim(epoch 1) ─── advance ─── killed
            lease                                      └── 30 s ──┐
            worker B                     claim: refused           claim(epoch 2) ───
            worker A'  (was only slow)                                  advance: refused, epoch is 2

        `ends_at_ms` is when this invocation's time is up, for people who watch. `holder` names this invocation and no
        other: botocore repeats a write whose answer was lost, and then a refusal may be of our own success.
        `gone_version` is the lane's version of the code, where that was deleted: it goes on with `function_version`.

        Raises:
            LaneTaken: the lane is held, not due, waits for an operator, or is done.
        """
        before = self.read_lane(run_id, lane)
        if before is None:
            raise LaneTaken(None)
        now_ms = self._now_ms()
        crashed = before.state is LaneState.RUNNING
        suspects = before.suspects
        if crashed and before.fed:
            suspects += (UnfinishedClaim(before.epoch, before.fed),)
        values = CLAIM_WORDS | {
            ":now": n(now_ms),
            ":lease": n(now_ms + LEASE_MS),
            ":one": n(1),
            ":code": {"S": function_version if gone_version else before.function_version or function_version},
            ":gone": {"S": gone_version or before.gone_version},
            ":started": n(before.started_at_ms or now_ms),
            ":before": n(before.epoch),
            ":due": {"S": "lane"},
            ":holder": {"S": holder},
            ":ends": n(ends_at_ms),
            ":was": {"S": before.state.value},
            ":suspects": {"S": as_json(suspects)},
            ":zero": n(0),
        }
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=key(run_id, lane_sk(lane)),
                UpdateExpression=(
                    "SET #state = :running, lease_until_ms = :lease, due = :due, due_at = :lease,"
                    " function_version = :code, started_at_ms = :started, holder = :holder, ends_at_ms = :ends,"
                    " suspects = :suspects, fed = :zero, gone_version = :gone"
                    " REMOVE reason ADD epoch :one, hop :one, idle_claims :one"
                ),
                ConditionExpression=f"epoch = :before AND #state = :was AND ({' OR '.join(CLAIMABLE.values())})",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if not is_refused(error):
                raise
            item = self._get(key(run_id, lane_sk(lane))) or {}
            if item.get("holder", {}).get("S") != holder:
                raise LaneTaken(lane_of(item) if item else before) from None
            return msgspec.structs.replace(lane_of(item), crashed=crashed)
        return msgspec.structs.replace(lane_of(answer["Attributes"]), crashed=crashed)

    def renew(self, lane: Lane) -> Lane:
        """Extend the lease. Returns the lane as it is now: `control` may have changed.

        Raises:
            LaneLost: another worker holds it.
        """
        return self._write(
            lane,
            "lease_until_ms = :lease, due = :due, due_at = :lease, fed = :fed, trouble = :trouble",
            {":fed": n(lane.fed), ":trouble": _trouble(lane)},
            unless="fed > :fed",
        )

    def advance(self, before: Lane, after: Lane) -> Lane:
        """Move cursor and counts in one write, and extend the lease.

        Raises:
            LaneLost: another worker holds it.
        """
        sets = (
            "lease_until_ms = :lease, due = :due, due_at = :lease, #cursor = :cursor, fed = :fed, suspects = :suspects,"
            " account = :account, sending_ms = :sending, idle_claims = :idle, health = :health, trouble = :trouble,"
            " revision = :revision"
        )
        values = {
            ":cursor": {"S": after.cursor.encode()},
            ":fed": n(after.fed),
            ":suspects": {"S": as_json(after.suspects)},
            ":account": {"S": as_json(after.account)},
            ":sending": n(after.sending_ms),
            ":idle": n(after.idle_claims),
            ":health": {"S": as_json(after.health)},
            ":revision": n(after.revision),
            ":trouble": _trouble(after),
        }
        if after.asking is not None:
            sets += ", asking = :asking"
            values[":asking"] = {"S": as_json(after.asking)}
        return self._write(before, sets, values, cursor=True)

    def release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None = None) -> Lane:
        """Let go of the lane: hand over, rest, pause or stop. `due_at_ms` None: nobody comes by himself.

        An operator's word may have come since the lane was last told it: resumed, it does not pause, and cancelled, it
        does not wait. Then it is ready instead, and due at once.

        Raises:
            LaneLost: another worker holds it.
        """
        try:
            return self._release(lane, state, due_at_ms, reason)
        except _ControlChanged:
            return self._release(lane, LaneState.READY, self._now_ms(), None)

    def _release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None) -> Lane:
        left_sets, left = _left(lane)
        sets = f"#state = :state, lease_until_ms = :zero, {left_sets}"
        values = {":state": {"S": state.value}, ":zero": n(0)} | left
        removes = []
        if due_at_ms is None:
            removes += ["due", "due_at"]
        else:
            sets += ", due = :due, due_at = :at"
            values[":at"] = n(due_at_ms)
        if state is LaneState.RESTING:
            sets += ", idle_claims = :none"
            values[":none"] = n(0)
        if reason is None:
            removes.append("reason")
        else:
            sets += ", reason = :reason"
            values[":reason"] = {"S": reason[:MAX_REASON]}
        unless = None
        if state in CONTRARY:
            unless, word = CONTRARY[state]
            values[":word"] = {"S": word.value}
        return self._write(lane, sets, values, removes=removes, unless=unless)

    def finish(self, lane: Lane, ending: Ending, reason: str | None) -> Lane:
        """The lane is done. It stays due until the run is closed.

        Raises:
            LaneLost: another worker holds it.
        """
        left_sets, left = _left(lane)
        sets = (
            "#state = :state, lease_until_ms = :zero, due = :due, due_at = :at, ending = :ending,"
            f" ended_at_ms = if_not_exists(ended_at_ms, :now), account = :account, {left_sets}"
        )
        values = {
            ":state": {"S": LaneState.DONE.value},
            ":zero": n(0),
            ":at": n(self._now_ms() + LEASE_MS),
            ":ending": {"S": ending.value},
            ":now": n(self._now_ms()),
            ":account": {"S": as_json(lane.account)},
        } | left
        if reason is None:
            return self._write(lane, sets, values, removes=["reason"])
        values[":reason"] = {"S": reason[:MAX_REASON]}
        return self._write(lane, sets + ", reason = :reason", values)

    def _write(
        self,
        lane: Lane,
        sets: str,
        values: dict[str, Any],
        *,
        removes: list[str] | None = None,
        cursor: bool = False,
        unless: str | None = None,
    ) -> Lane:
        """One conditional write of the holder. A refusal is read back before it is believed: the answer may be lost."""
        now_ms = self._now_ms()
        condition = "epoch = :epoch AND #state = :running"
        names = {"#state": "state"}
        values = values | {":epoch": n(lane.epoch), ":running": {"S": LaneState.RUNNING.value}}
        values[":keep"] = self._expiry()
        for name, value in ((":lease", n(now_ms + LEASE_MS)), (":due", {"S": "lane"})):
            if name in sets:
                values[name] = value
        if cursor:
            condition += " AND #cursor = :previous"
            values[":previous"] = {"S": lane.cursor.encode()}
        if ":revision" in values:
            # Account and `asking` can move while the cursor does not: an older write must not undo a newer one.
            condition += " AND (attribute_not_exists(revision) OR revision < :revision)"
        if unless is not None:
            condition += f" AND NOT {unless}"
        if "#cursor" in sets + condition:
            names["#cursor"] = "cursor"
        expression = f"SET {sets}, expires_at = :keep" + (f" REMOVE {', '.join(removes)}" if removes else "")
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=key(lane.run_id, lane_sk(lane.lane)),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if not is_refused(error):
                raise
            found = self._read_back(lane)
            if _says(found, values):
                return found
            self._check_refusal(found, lane, cursor=cursor, unless=unless)
            # Nobody else writes in our epoch: an earlier write of ours arrived although its answer did not.
            return self._write(found, sets, values, removes=removes, cursor=True)
        return lane_of(answer["Attributes"])

    def _read_back(self, lane: Lane) -> Lane:
        found = self.read_lane(lane.run_id, lane.lane)
        if found is None or found.epoch != lane.epoch:
            raise LaneLost(f"epoch {found.epoch if found else 'none'}, ours was {lane.epoch}") from None
        return found

    def _check_refusal(self, found: Lane, lane: Lane, *, cursor: bool, unless: str | None) -> None:
        if unless is not None and found.state is LaneState.RUNNING:
            raise _ControlChanged from None
        if found.state is not LaneState.RUNNING or not cursor or found.cursor == lane.cursor:
            raise LaneLost(f"the lane is {found.state.value} at {found.cursor.encode()}") from None


def _left(lane: Lane) -> tuple[str, dict[str, Any]]:
    """What a claim leaves behind, whichever way it ends: time spent, requests that are out, what failed last."""
    sets = "sending_ms = :sending, suspects = :suspects, trouble = :trouble"
    values: dict[str, Any] = {
        ":sending": n(lane.sending_ms),
        ":suspects": {"S": as_json(lane.suspects)},
        ":trouble": _trouble(lane),
    }
    if lane.asking is not None:
        sets += ", asking = :asking"
        values[":asking"] = {"S": as_json(lane.asking)}
    return sets, values


def _trouble(lane: Lane) -> dict[str, str]:
    return {"S": lane.trouble[:MAX_REASON]}


def _says(found: Lane, values: dict[str, Any]) -> bool:
    """Whether the ledger holds what a refused write meant to say."""
    if ":cursor" in values and found.cursor.encode() != values[":cursor"]["S"]:
        return False
    if ":revision" in values and found.revision != int(values[":revision"]["N"]):
        return False
    state = values.get(":state", values[":running"])["S"]
    return found.state.value == str(state)
