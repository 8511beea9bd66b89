"""The ledger in DynamoDB: claims, progress, counts, pause and cancel. Every write is conditional.

One item per lane (`pk = run#R, sk = lane#0000`) holds all that two invocations share; one per run (`sk = run`) what
never changes; one per campaign id (`pk = campaign#ID`) says which run owns it. Lanes that somebody must look at by a
certain time stand in the sparse index `due`.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.account import Account
from notifier.cursor import UnknownCursor, decode_cursor
from notifier.run import HAND_OVER_MS, LEASE_MS, LEDGER_VERSION, Control, Ending, Lane, LaneState, Run, Source, Suspect

DUE_INDEX = "due"
KEEP_S = 400 * 86_400
"""Items of a run are kept for this long after their last write."""
MAX_REASON = 2_000
"""Characters of a reason that are kept: an item holds 400 KB."""


class LaneTaken(Exception):
    """A nudge that finds nothing to do: another worker holds the lane, or it waits, or it is done."""

    def __init__(self, lane: Lane | None) -> None:
        super().__init__(lane.state.value if lane else "unknown run")
        self.lane = lane


class LaneLost(Exception):
    """Another worker claimed the lane since: this one must not write any more."""


class LedgerTooNew(Exception):
    """A newer release wrote this item: leave it alone."""


class _ControlChanged(Exception):
    """An operator's word came while the worker drained."""


CONTRARY = {
    LaneState.PAUSED: ("control <> :word", Control.PAUSE),
    LaneState.STOPPED: ("control = :word", Control.CANCEL),
    LaneState.RESTING: ("control = :word", Control.CANCEL),
}
"""What an operator may have said that speaks against a state in which the lane would wait."""


class DynamoLedger:
    """The ledger over one DynamoDB table.

    Args:
        client: a boto3 DynamoDB client (thread-safe).
        table: the table's name.
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, table: str, now: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._now = now

    # -- runs ---------------------------------------------------------------------------------------------------------

    def open_run(self, run: Run) -> Run:
        """Enter a run and its lane, unless they are there already. Returns the run as the ledger has it."""
        now_ms = self._now_ms()
        self._put_new(_key(run.run_id, "run") | {"run": {"S": _json(run)}, "version": _n(LEDGER_VERSION)})
        lane = Lane(run.run_id, due_at_ms=now_ms + HAND_OVER_MS)
        self._put_new(_lane_item(lane))
        found = self.read_run(run.run_id)
        return found if found is not None else run

    def read_run(self, run_id: str) -> Run | None:
        """The run, or None."""
        item = self._get(_key(run_id, "run"))
        if item is None:
            return None
        run = msgspec.json.decode(item["run"]["S"], type=Run)
        closed = item.get("closed_at_ms")
        campaign = item.get("campaign_id")
        return msgspec.structs.replace(
            run,
            campaign_id=campaign["S"] if campaign else run.campaign_id,
            closed_at_ms=int(closed["N"]) if closed else None,
        )

    def read_lane(self, run_id: str, lane: int = 0) -> Lane | None:
        """The lane, or None."""
        item = self._get(_key(run_id, _lane_sk(lane)))
        return _lane_of(item) if item else None

    def is_approved(self, source: Source) -> bool:
        """Whether an approval of exactly these bytes under this key stands here; the approval app writes it first."""
        item = self._get({"pk": {"S": f"approved#{source.bucket}/{source.key}"}, "sk": {"S": "approved"}})
        return item is not None and bool(item["etag"]["S"] == source.etag)

    def name_campaign(self, run_id: str, campaign_id: str) -> None:
        """Note which campaign a run sends, whether or not it may."""
        self._client.update_item(
            TableName=self._table,
            Key=_key(run_id, "run"),
            UpdateExpression="SET campaign_id = :c",
            ExpressionAttributeValues={":c": {"S": campaign_id}},
        )

    def take_campaign(self, campaign_id: str, run_id: str, *, again: bool) -> bool:
        """Make the run the owner of its campaign id. False when another run owns it already and `again` is not said.

        The first run of an id owns it, though it says `again`: a later one that does not say it is refused.
        """
        item = {
            "pk": {"S": f"campaign#{campaign_id}"},
            "sk": {"S": "campaign"},
            "version": _n(LEDGER_VERSION),
            "run_id": {"S": run_id},
            "at_ms": _n(self._now_ms()),
            "expires_at": self._expiry(),
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk) OR run_id = :me",
                ExpressionAttributeValues={":me": {"S": run_id}},
            )
        except ClientError as error:
            if _is_refused(error):
                return again
            raise
        return True

    def close_run(self, run_id: str, lane: int = 0) -> None:
        """Note that the run's summary and event are out; nobody needs to look at it again."""
        now_ms = self._now_ms()
        self._client.update_item(
            TableName=self._table,
            Key=_key(run_id, "run"),
            UpdateExpression="SET closed_at_ms = if_not_exists(closed_at_ms, :now)",
            ExpressionAttributeValues={":now": _n(now_ms)},
        )
        self._client.update_item(
            TableName=self._table,
            Key=_key(run_id, _lane_sk(lane)),
            UpdateExpression="REMOVE due, due_at",
            ConditionExpression="#state = :done",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":done": {"S": LaneState.DONE.value}},
        )

    # -- a worker's writes --------------------------------------------------------------------------------------------

    def claim(self, run_id: str, lane: int, function_version: str, holder: str, ends_at_ms: int) -> Lane:
        """Claim the lane: one conditional write, after which every write of an earlier claim fails.

            worker A   claim(epoch 1) ─── advance ─── killed
            lease                                      └── 30 s ──┐
            worker B                     claim: refused           claim(epoch 2) ───
            worker A'  (was only slow)                                  advance: refused, epoch is 2

        `ends_at_ms` is when this invocation's time is up, for people who watch. `holder` names this invocation and no
        other: botocore repeats a write whose answer was lost, and then a refusal may be of our own success.

        Raises:
            LaneTaken: the lane is held, not due, waits for an operator, or is done.
        """
        before = self.read_lane(run_id, lane)
        if before is None:
            raise LaneTaken(None)
        now_ms = self._now_ms()
        clauses = {
            "handed_over": "#state = :ready",
            "rest_is_over": "(#state = :resting AND due_at <= :now)",
            "holder_is_gone": "(#state = :running AND lease_until_ms < :now)",
            "cancelled_while_waiting": "(#state IN (:resting, :paused, :stopped) AND control = :cancel)",
        }
        crashed = before.state is LaneState.RUNNING
        suspects = before.suspects
        if crashed and before.fed:
            suspects += (Suspect(before.epoch, before.fed),)
        values = {
            ":ready": {"S": LaneState.READY.value},
            ":resting": {"S": LaneState.RESTING.value},
            ":running": {"S": LaneState.RUNNING.value},
            ":paused": {"S": LaneState.PAUSED.value},
            ":stopped": {"S": LaneState.STOPPED.value},
            ":cancel": {"S": Control.CANCEL.value},
            ":now": _n(now_ms),
            ":lease": _n(now_ms + LEASE_MS),
            ":one": _n(1),
            ":code": {"S": before.function_version or function_version},
            ":started": _n(before.started_at_ms or now_ms),
            ":before": _n(before.epoch),
            ":due": {"S": "lane"},
            ":holder": {"S": holder},
            ":ends": _n(ends_at_ms),
            ":was": {"S": before.state.value},
            ":suspects": {"S": _json(suspects)},
            ":zero": _n(0),
        }
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(run_id, _lane_sk(lane)),
                UpdateExpression=(
                    "SET #state = :running, lease_until_ms = :lease, due = :due, due_at = :lease,"
                    " function_version = :code, started_at_ms = :started, holder = :holder, ends_at_ms = :ends,"
                    " suspects = :suspects, fed = :zero REMOVE reason ADD epoch :one, hop :one, idle_claims :one"
                ),
                ConditionExpression=f"epoch = :before AND #state = :was AND ({' OR '.join(clauses.values())})",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if not _is_refused(error):
                raise
            item = self._get(_key(run_id, _lane_sk(lane))) or {}
            if item.get("holder", {}).get("S") != holder:
                raise LaneTaken(_lane_of(item) if item else before) from None
            return msgspec.structs.replace(_lane_of(item), crashed=crashed)
        return msgspec.structs.replace(_lane_of(answer["Attributes"]), crashed=crashed)

    def renew(self, lane: Lane) -> Lane:
        """Extend the lease. Returns the lane as it is now: `control` may have changed.

        Raises:
            LaneLost: another worker holds it.
        """
        return self._write(
            lane,
            "lease_until_ms = :lease, due = :due, due_at = :lease, fed = :fed",
            {":fed": _n(lane.fed)},
            unless="fed > :fed",
        )

    def advance(self, before: Lane, after: Lane) -> Lane:
        """Move cursor and counts in one write, and extend the lease.

        Raises:
            LaneLost: another worker holds it.
        """
        sets = (
            "lease_until_ms = :lease, due = :due, due_at = :lease, #cursor = :cursor, fed = :fed, suspects = :suspects,"
            " account = :account, sending_ms = :sending, idle_claims = :idle"
        )
        values = {
            ":cursor": {"S": after.cursor.encode()},
            ":fed": _n(after.fed),
            ":suspects": {"S": _json(after.suspects)},
            ":account": {"S": _json(after.account)},
            ":sending": _n(after.sending_ms),
            ":idle": _n(after.idle_claims),
        }
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
        sets = "#state = :state, lease_until_ms = :zero, sending_ms = :sending"
        values = {":state": {"S": state.value}, ":zero": _n(0), ":sending": _n(lane.sending_ms)}
        removes = []
        if due_at_ms is None:
            removes += ["due", "due_at"]
        else:
            sets += ", due = :due, due_at = :at"
            values[":at"] = _n(due_at_ms)
        if state is LaneState.RESTING:
            sets += ", idle_claims = :none"
            values[":none"] = _n(0)
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
        sets = (
            "#state = :state, lease_until_ms = :zero, due = :due, due_at = :at, ending = :ending,"
            " ended_at_ms = if_not_exists(ended_at_ms, :now), sending_ms = :sending"
        )
        values = {
            ":state": {"S": LaneState.DONE.value},
            ":zero": _n(0),
            ":at": _n(self._now_ms() + LEASE_MS),
            ":ending": {"S": ending.value},
            ":now": _n(self._now_ms()),
            ":sending": _n(lane.sending_ms),
        }
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
        values = values | {":epoch": _n(lane.epoch), ":running": {"S": LaneState.RUNNING.value}}
        values[":keep"] = self._expiry()
        for name, value in ((":lease", _n(now_ms + LEASE_MS)), (":due", {"S": "lane"})):
            if name in sets:
                values[name] = value
        if cursor:
            condition += " AND #cursor = :previous"
            values[":previous"] = {"S": lane.cursor.encode()}
        if unless is not None:
            condition += f" AND NOT {unless}"
        if "#cursor" in sets + condition:
            names["#cursor"] = "cursor"
        expression = f"SET {sets}, expires_at = :keep" + (f" REMOVE {', '.join(removes)}" if removes else "")
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(lane.run_id, _lane_sk(lane.lane)),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if not _is_refused(error):
                raise
            found = self._read_back(lane)
            if _says(found, values):
                return found
            self._check_refusal(found, lane, cursor=cursor, unless=unless)
            # Nobody else writes in our epoch: an earlier write of ours arrived although its answer did not.
            return self._write(found, sets, values, removes=removes, cursor=True)
        return _lane_of(answer["Attributes"])

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

    # -- operators and the sweeper ------------------------------------------------------------------------------------

    def set_control(self, run_id: str, control: Control, by: str, lane: int = 0) -> Lane | None:
        """Pause, resume or cancel. A worker that holds the lane reads it with its next write.

        Resuming makes a paused or stopped lane ready. Returns the lane, or None where no such run is alive.
        """
        values = {":control": {"S": control.value}, ":by": {"S": by}, ":now": _n(self._now_ms())}
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
        values = {":ready": {"S": LaneState.READY.value}, ":now": _n(self._now_ms()), ":due": {"S": "lane"}}
        values[":idle"] = _n(0)
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
                Key=_key(run_id, _lane_sk(lane)),
                UpdateExpression=f"SET {sets}",
                ConditionExpression=f"version <= :version AND {condition}",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values | {":version": _n(LEDGER_VERSION)},
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if _is_refused(error):
                return None
            raise
        return _lane_of(answer["Attributes"])

    def due(self, now_ms: int) -> Iterator[Lane]:
        """Lanes whose appointment has passed: rests that are over, leases that ended, hand-overs nobody took."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=DUE_INDEX,
            KeyConditionExpression="due = :lane AND due_at <= :now",
            ExpressionAttributeValues={":lane": {"S": "lane"}, ":now": _n(now_ms)},
        )
        for page in pages:
            for item in page["Items"]:
                if int(item["version"]["N"]) > LEDGER_VERSION:
                    continue
                with suppress(UnknownCursor):  # a newer release's lane: it has a sweeper of its own
                    yield _lane_of(item)

    def put_off(self, lane: Lane, due_at_ms: int) -> bool:
        """Move a due lane's appointment on, so that only one sweeper nudges it. False when somebody was faster.

        A lane whose rest is over becomes ready: with its appointment moved on it could not be claimed as resting.
        """
        state = LaneState.READY if lane.state is LaneState.RESTING else lane.state
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(lane.run_id, _lane_sk(lane.lane)),
                UpdateExpression="SET due_at = :at, #state = :then",
                ConditionExpression="due_at = :was AND epoch = :epoch AND #state = :state",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={
                    ":was": _n(lane.due_at_ms or 0),
                    ":at": _n(due_at_ms),
                    ":epoch": _n(lane.epoch),
                    ":state": {"S": lane.state.value},
                    ":then": {"S": state.value},
                },
            )
        except ClientError as error:
            if _is_refused(error):
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
                ":now": _n(now_ms),
                ":far": _n(now_ms + LEASE_MS),
                ":running": {"S": LaneState.RUNNING.value},
            },
            Select="COUNT",
        )
        return int(answer["Count"])

    # -- plumbing -----------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _expiry(self) -> dict[str, str]:
        return _n(int(self._now()) + KEEP_S)

    def _get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        item: dict[str, Any] | None = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get(
            "Item"
        )
        if item is not None and int(item["version"]["N"]) > LEDGER_VERSION:
            raise LedgerTooNew(f"ledger version {item['version']['N']}: this release reads {LEDGER_VERSION}")
        return item

    def _put_new(self, item: dict[str, Any]) -> None:
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item | {"expires_at": self._expiry()},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if not _is_refused(error):
                raise


def _says(found: Lane, values: dict[str, Any]) -> bool:
    """Whether the ledger holds what a refused write meant to say."""
    if ":cursor" in values and found.cursor.encode() != values[":cursor"]["S"]:
        return False
    state = values.get(":state", values[":running"])["S"]
    return found.state.value == str(state)


def _is_refused(error: ClientError) -> bool:
    return bool(error.response["Error"]["Code"] == "ConditionalCheckFailedException")


def _key(run_id: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": f"run#{run_id}"}, "sk": {"S": sk}}


def _lane_sk(lane: int) -> str:
    return f"lane#{lane:04d}"


def _n(number: int) -> dict[str, str]:
    return {"N": str(number)}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _lane_item(lane: Lane) -> dict[str, Any]:
    """A fresh lane's item."""
    return _key(lane.run_id, _lane_sk(lane.lane)) | {
        "version": _n(LEDGER_VERSION),
        "epoch": _n(lane.epoch),
        "state": {"S": lane.state.value},
        "control": {"S": lane.control.value},
        "lease_until_ms": _n(lane.lease_until_ms),
        "due": {"S": "lane"},
        "due_at": _n(lane.due_at_ms or 0),
        "cursor": {"S": lane.cursor.encode()},
        "fed": _n(lane.fed),
        "hop": _n(lane.hop),
        "sending_ms": _n(lane.sending_ms),
        "idle_claims": _n(lane.idle_claims),
        "account": {"S": _json(lane.account)},
        "suspects": {"S": _json(lane.suspects)},
    }


def _lane_of(item: dict[str, Any]) -> Lane:
    """The lane in an item."""

    def number(name: str) -> int | None:
        return int(item[name]["N"]) if name in item else None

    def text(name: str) -> str | None:
        return str(item[name]["S"]) if name in item else None

    ending = text("ending")
    return Lane(
        run_id=item["pk"]["S"].removeprefix("run#"),
        lane=int(item["sk"]["S"].removeprefix("lane#")),
        epoch=number("epoch") or 0,
        state=LaneState(item["state"]["S"]),
        control=Control(item["control"]["S"]),
        lease_until_ms=number("lease_until_ms") or 0,
        due_at_ms=number("due_at"),
        cursor=decode_cursor(item["cursor"]["S"]),
        fed=number("fed") or 0,
        suspects=msgspec.json.decode(item["suspects"]["S"], type=tuple[Suspect, ...]) if "suspects" in item else (),
        hop=number("hop") or 0,
        sending_ms=number("sending_ms") or 0,
        idle_claims=number("idle_claims") or 0,
        account=msgspec.json.decode(item["account"]["S"], type=Account),
        function_version=text("function_version") or "",
        reason=text("reason"),
        ending=Ending(ending) if ending else None,
        started_at_ms=number("started_at_ms"),
        ended_at_ms=number("ended_at_ms"),
        ends_at_ms=number("ends_at_ms"),
    )
