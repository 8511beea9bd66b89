"""The items of the ledger's table: keys, and lanes as items. Public: a key or an attribute is never renamed.

| pk | sk | holds |
|---|---|---|
| `run#R` | `run` | what never changes of a run, and when it was opened and closed |
| `run#R` | `lane#0000` | a lane: all that two invocations share. A run of several has `lane#0001` … beside it |
| `run#R` | `preparation` | the making of its audience, where that is prepared (`notifier.preparation_items`) |
| `campaign#ID` | `campaign` | the run that owns the campaign id |
| `campaign#ID` | `run#R` | one run of the campaign, those included that may not send it: for people who look it up |
| `audience#BUCKET/KEY` | `run#TIME#R` | one run over this object: for people who look it up |
| `approved#BUCKET/KEY` | `approved` | which bytes are approved under this key; the approval app writes it |
| `decision#R` | `decision` | the winner of the test R, and how it was decided (`schedules.winner_store`) |
| `hold` | `hold` | who holds the stack, since when and why (`notifier.hold_item`); it does not expire |

A lane that must be looked at by a certain time is also in the index `due`, which holds only items with `due` and
`due_at`. Lanes of a run that has several are spread over partitions of their own (`due_partition`).
"""

from typing import TypeVar

import msgspec

from notifier.dynamodb import Item, Value, item_of
from notifier.lane_commands import DUE_PARTITIONS, LANE, due_partition_of, number_of_lane
from notifier.model.account import Account
from notifier.model.cursor import decode_cursor
from notifier.model.health import EndpointEvidence
from notifier.model.run import Asking, Control, Ending, Lane, LaneState, RateWait, UnfinishedClaim
from notifier.model.span import Span
from notifier.model.speed import Speed
from notifier.model.user_rows import BATCH_SIZE

DUE_INDEX = "due"
LANE_PARTITIONS = (LANE, *(f"{LANE}#{n:02d}" for n in range(DUE_PARTITIONS)))
"""All values of `due` that lanes have. Releases that know one lane only read the first."""

T = TypeVar("T")


def run_key(run_id: str) -> Item:
    """The key of a run's item."""
    return item_of({"pk": f"run#{run_id}", "sk": "run"})


def as_json(value: object) -> str:
    """A value as an attribute's text."""
    return msgspec.json.encode(value).decode()


def due_partition(lane: Lane) -> str:
    """The lane's value of `due`. Neighbouring lanes of a run have different ones."""
    return due_partition_of(lane.run_id, lane.lane, of_several=lane.span is not None)


def new_lane(lane: Lane) -> dict[str, Value]:
    """The attributes of a lane that no worker has claimed yet, its key included."""
    values: dict[str, Value] = {
        "pk": f"run#{lane.run_id}",
        "sk": f"lane#{lane.lane:04d}",
        "epoch": lane.epoch,
        "state": lane.state.value,
        "control": lane.control.value,
        "lease_until_ms": lane.lease_until_ms,
        "due": due_partition(lane),
        "due_at": lane.due_at_ms or 0,
        "cursor": lane.cursor.encode(),
        "fed": lane.may_ask_below,
        "widest": lane.most_devices,
        "hop": lane.hop,
        "sending_ms": lane.sending_ms,
        "idle_claims": lane.idle_claims,
        "account": as_json(lane.account),
        "suspects": as_json(lane.suspects),
    }
    # Only in lanes of several: without it an item has the text that it always had.
    if lane.span is None:
        return values
    values |= {"span": as_json(lane.span), "function_version": lane.function_version}
    # With the time: an earlier command that is slow to reach this lane changes nothing then.
    if lane.control_at_ms is not None:
        values |= {"control_by": lane.control_by, "control_at_ms": lane.control_at_ms}
    return values


def lane_of(item: Item) -> Lane:
    """The lane in an item. An attribute that an earlier release did not write has the value of a new lane."""
    ending = text_in(item, "ending")
    return Lane(
        run_id=item["pk"]["S"].removeprefix("run#"),
        lane=number_of_lane(item),
        epoch=number_in(item, "epoch") or 0,
        state=LaneState(item["state"]["S"]),
        control=Control(item["control"]["S"]),
        lease_until_ms=number_in(item, "lease_until_ms") or 0,
        due_at_ms=number_in(item, "due_at"),
        cursor=decode_cursor(item["cursor"]["S"]),
        may_ask_below=number_in(item, "fed") or 0,
        # Not the value of a new lane: claims of an earlier release may have asked for batches already, most likely of
        # one device a user.
        most_devices=BATCH_SIZE if (widest := number_in(item, "widest")) is None else widest,
        suspects=json_in(item, "suspects", tuple[UnfinishedClaim, ...]) or (),
        hop=number_in(item, "hop") or 0,
        sending_ms=number_in(item, "sending_ms") or 0,
        idle_claims=number_in(item, "idle_claims") or 0,
        account=msgspec.json.decode(item["account"]["S"], type=Account),
        # None says which release wrote the lane (see `Lane`): not the same as an empty list.
        asking=json_in(item, "asking", tuple[Asking, ...]),
        revision=number_in(item, "revision") or 0,
        health=json_in(item, "health", dict[str, EndpointEvidence]) or {},
        function_version=text_in(item, "function_version") or "",
        reason=text_in(item, "reason"),
        ending=Ending(ending) if ending else None,
        started_at_ms=number_in(item, "started_at_ms"),
        ended_at_ms=number_in(item, "ended_at_ms"),
        ends_at_ms=number_in(item, "ends_at_ms"),
        gone_version=text_in(item, "gone_version") or "",
        control_by=text_in(item, "control_by") or "",
        control_at_ms=number_in(item, "control_at_ms"),
        trouble=text_in(item, "trouble") or "",
        span=json_in(item, "span", Span),
        speed=json_in(item, "speed", Speed),
        rate_wait=json_in(item, "rate_wait", RateWait),
        repeats_left=json_in(item, "repeats_left", dict[int, int]) or {},
    )


def number_in(item: Item, name: str) -> int | None:
    """A number of an item; None without the attribute."""
    return int(item[name]["N"]) if name in item else None


def text_in(item: Item, name: str) -> str | None:
    """A text of an item; None without the attribute."""
    return str(item[name]["S"]) if name in item else None


def json_in(item: Item, name: str, kind: type[T]) -> T | None:
    """A value that an item holds as JSON; None without the attribute."""
    return msgspec.json.decode(item[name]["S"], type=kind) if name in item else None
