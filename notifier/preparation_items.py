"""The item of a run's preparation in the ledger's table. Two functions write it: the worker's and the audiences'.

`pk=run#R, sk=preparation`. While an attempt or the nudge after it is outstanding, it is in the index `due`, in a
partition of its own: releases that know no preparations read the lanes' partition only.

The approval pages have audiences made before there is a run. Such an order has the same item, `pk=run#form-…`, and
everything that holds for a run's preparation (lease, attempts, the sweeper) holds for it; it has no lane to wake. So it
is with a count of a run's conversions, `pk=run#conversions-…`, and with what a run that is over counts for caps,
`pk=run#caps-R`.
"""

from functools import partial
from hashlib import sha256

import msgspec

from notifier.dynamodb import Item, item_of, number_of, text_of
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.run import LEDGER_VERSION

PREPARATION = "preparation"
"""The item's sort key, and the value of `due`."""


ORDER = "form-"
"""What the id of an order begins with. No run's id does: those are hexadecimal."""
CONVERSIONS = "conversions-"
"""The same of a count of conversions."""
COUNT = "caps-"
"""What the id of a count for caps begins with; the run's own follows."""
_ID_CHARS = 20


def order_id(request: bytes, bucket: str) -> str:
    """The id of the order of a request, in its canonical JSON: the same request has one item, however often it is made.

    Args:
        bucket: of names in the request that have none.
    """
    return ORDER + sha256(bucket.encode() + b"\n" + request).hexdigest()[:_ID_CHARS]


def conversions_id(run_id: str, asked_ms: int) -> str:
    """The id of a count of a run's conversions. Each is made once: a later one is another."""
    return f"{CONVERSIONS}{run_id}-{asked_ms}"


class CountRequest(msgspec.Struct, frozen=True):
    """What is asked of a run that is over: it began at that time, in milliseconds since the epoch."""

    began_at_ms: int


def is_order(run_id: str) -> bool:
    """Whether the preparation is an order of the pages, or a count of a run that has begun: no lane waits for it."""
    return run_id.startswith((ORDER, CONVERSIONS, COUNT))


def preparation_key(run_id: str) -> Item:
    """The key of a preparation's item."""
    return item_of({"pk": f"run#{run_id}", "sk": PREPARATION})


def asked_for(
    run_id: str, request: str, bucket: str, due_at_ms: int, stage: Stage = Stage.PREPARE
) -> dict[str, str | int]:
    """The attributes of an item that asks for a preparation.

    Args:
        due_at_ms: when the sweeper asks the audience function again, where it has not begun by then.
    """
    asked: dict[str, str | int] = {
        "pk": f"run#{run_id}", "sk": PREPARATION, "version": LEDGER_VERSION, "state": PreparationState.ASKED.value,
        "request": request, "bucket": bucket, "attempts": 0, "due": PREPARATION, "due_at": due_at_ms,
    }  # fmt: skip
    # Releases that know no stages wrote none.
    return asked if stage is Stage.PREPARE else {**asked, "stage": stage.value}


def preparation_of(item: Item) -> Preparation:
    """The preparation in an item."""
    text, number = partial(text_of, item), partial(number_of, item)
    return Preparation(
        run_id=item["pk"]["S"].removeprefix("run#"),
        state=PreparationState(text("state")),
        request=text("request"),
        bucket=text("bucket"),
        attempts=number("attempts"),
        lease_until_ms=number("lease_until_ms"),
        owner=text("owner"),
        manifest=text("manifest"),
        reason=text("reason"),
        progress=text("progress"),
        queries=text("queries"),
        worker=text("worker"),
        due_at_ms=number("due_at") if "due" in item else None,
        asked_at_ms=number("asked_at_ms"),
        stage=Stage(text("stage") or Stage.PREPARE),
    )
