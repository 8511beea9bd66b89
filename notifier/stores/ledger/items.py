"""The items of the ledger's table: keys, and lanes as items. Public: a key is never renamed.

One item per lane (`pk = run#R, sk = lane#0000`) holds all that two invocations share; one per run (`sk = run`) what
never changes; one per campaign id (`pk = campaign#ID, sk = campaign`) says which run owns it, and one for each of its
runs (`sk = run#R`), those included that may not send it, lets people find them. So does one for each object of a run's
audience (`pk = audience#BUCKET/KEY, sk = run#TIME#R`). Lanes that somebody must look at by a certain time stand in the
sparse index `due`.
"""

from typing import Any

import msgspec

from notifier.model.account import Account
from notifier.model.cursor import decode_cursor
from notifier.model.health import EndpointEvidence
from notifier.model.run import LEDGER_VERSION, Asking, Control, Ending, Lane, LaneState, UnfinishedClaim

DUE_INDEX = "due"


def key(run_id: str, sk: str) -> dict[str, Any]:
    """The key of one of a run's items."""
    return {"pk": {"S": f"run#{run_id}"}, "sk": {"S": sk}}


def lane_sk(lane: int) -> str:
    """The sort key of a lane."""
    return f"lane#{lane:04d}"


def n(number: int) -> dict[str, str]:
    """A number as DynamoDB takes it."""
    return {"N": str(number)}


def as_json(value: object) -> str:
    """A value as an attribute's text."""
    return msgspec.json.encode(value).decode()


def lane_item(lane: Lane) -> dict[str, Any]:
    """A fresh lane's item."""
    return key(lane.run_id, lane_sk(lane.lane)) | {
        "version": n(LEDGER_VERSION),
        "epoch": n(lane.epoch),
        "state": {"S": lane.state.value},
        "control": {"S": lane.control.value},
        "lease_until_ms": n(lane.lease_until_ms),
        "due": {"S": "lane"},
        "due_at": n(lane.due_at_ms or 0),
        "cursor": {"S": lane.cursor.encode()},
        "fed": n(lane.fed),
        "hop": n(lane.hop),
        "sending_ms": n(lane.sending_ms),
        "idle_claims": n(lane.idle_claims),
        "account": {"S": as_json(lane.account)},
        "suspects": {"S": as_json(lane.suspects)},
    }


def lane_of(item: dict[str, Any]) -> Lane:
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
        suspects=msgspec.json.decode(item["suspects"]["S"], type=tuple[UnfinishedClaim, ...])
        if "suspects" in item
        else (),
        hop=number("hop") or 0,
        sending_ms=number("sending_ms") or 0,
        idle_claims=number("idle_claims") or 0,
        account=msgspec.json.decode(item["account"]["S"], type=Account),
        asking=msgspec.json.decode(item["asking"]["S"], type=tuple[Asking, ...]) if "asking" in item else None,
        revision=number("revision") or 0,
        health=msgspec.json.decode(item["health"]["S"], type=dict[str, EndpointEvidence]) if "health" in item else {},
        function_version=text("function_version") or "",
        reason=text("reason"),
        ending=Ending(ending) if ending else None,
        started_at_ms=number("started_at_ms"),
        ended_at_ms=number("ended_at_ms"),
        ends_at_ms=number("ends_at_ms"),
        gone_version=text("gone_version") or "",
        control_by=text("control_by") or "",
        trouble=text("trouble") or "",
    )
