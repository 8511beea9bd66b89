"""Reads the events that the worker is invoked with: of S3, EventBridge, an operator, a hop before, the sweeper.

An event only names an object or a lane. The ledger decides what is done about it, so that repeated, late and lost
events do no harm.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import msgspec

from notifier.model.run import Source, source_of
from notifier.model.validation import shape_faults

OWN_PREFIXES = (
    "rows/", "deferred/", "invalid/", "dead-tokens/", "excluded/", "state/", "summaries/", "audiences/", "counts/",
    "caps/", "lookups/",
)  # fmt: skip
"""Prefixes of objects that the notifier itself writes, or reads as part of a run: never a batch file."""

T = TypeVar("T")

SUFFIXES = (".json", ".json.gz")
"""Endings of a batch file's name, in any case. S3's own filter is case-sensitive, so that it cannot decide."""
LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
"""Endings of an audience's name that a batch file's never has."""
MAX_WRAPPINGS = 4
"""An event in a message of SNS in a message of SQS is wrapped twice. Nothing of AWS wraps one more often than this."""

CONTINUE = "continue"
"""A lane's nudge from the hop before."""
NUDGE = "nudge"
"""A lane's nudge from the sweeper or an operator."""


class UnknownEvent(ValueError):
    """No event that this function is made for. The message says what it expects."""


class Drop(msgspec.Struct, frozen=True):
    """An object that may be a batch file, as far as the event describes it.

    `at_ms` is when S3 had stored it, in milliseconds since the epoch.
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None
    put_by: str = ""
    at_ms: int | None = None

    def source(self) -> Source | None:
        """The source; None where the event does not name the version."""
        return source_of(self.bucket, self.key, self.version_id, self.etag) if self.etag else None


class Ignored(msgspec.Struct, frozen=True):
    """Something that an event names and the worker ignores. `reason` says why, and what it would accept."""

    name: str
    reason: str


class LaneNudge(msgspec.Struct, frozen=True):
    """A lane of a run that is in the ledger."""

    run_id: str
    lane: int = 0
    notifier: str = NUDGE

    def encode(self) -> bytes:
        """As an invocation's payload."""
        return msgspec.json.encode(self)


Asked = Drop | LaneNudge | Ignored


def nudges(event: object, wrappings: int = 0) -> tuple[Asked, ...]:
    """What an event names. Test events and the notifier's own objects give nothing.

    Args:
        wrappings: how many messages of SNS and SQS the event was in.

    Raises:
        UnknownEvent: when it has none of the forms in `events/`.
    """
    if not isinstance(event, Mapping):
        raise UnknownEvent("the event is not an object")
    if event.get("Event") == "s3:TestEvent":
        return ()
    try:
        if "Records" in event:
            return tuple(asked for record in event["Records"] for asked in _from_record(record, wrappings))
        if event.get("detail-type") == "Object Created" and event.get("source") == "aws.s3":
            return tuple(_from_eventbridge(event["detail"], event.get("time")))
        if wrappings and event.get("Type") == "Notification":
            # The form in which SNS puts an event into a queue, unless the subscription has raw delivery.
            return _unwrapped(event["Message"], "SNS", wrappings)
    except KeyError as error:
        raise UnknownEvent(f"an S3 event without the member {error}") from None
    except (TypeError, AttributeError):
        raise UnknownEvent("an S3 event whose members are not of the usual kinds") from None
    if event.get("notifier") in (CONTINUE, NUDGE):
        return (_read(event, LaneNudge),)
    if "bucket" in event and "key" in event:
        return (_read(event, Drop),)
    raise UnknownEvent(f'expected an S3 event or {{"bucket": …, "key": …}}, got the members {sorted(event)[:8]}')


def _from_record(record: Mapping[str, Any], wrappings: int) -> tuple[Asked, ...]:
    """A record of S3, or a message of SNS or SQS with an event in it."""
    if record.get("EventSource") == "aws:sns":
        return _unwrapped(record["Sns"]["Message"], "SNS", wrappings)
    if record.get("eventSource") == "aws:sqs":
        return _unwrapped(record["body"], "SQS", wrappings)
    return tuple(_from_s3(record))


def _unwrapped(text: object, service: str, wrappings: int) -> tuple[Asked, ...]:
    """What the event in a message names. A message without an event is ignored, because the others must be handled."""
    if wrappings >= MAX_WRAPPINGS:
        return (Ignored(f"a message of {service}", f"the event is wrapped more than {MAX_WRAPPINGS} times"),)
    try:
        return nudges(msgspec.json.decode(text if isinstance(text, str) else ""), wrappings + 1)
    except msgspec.DecodeError:
        return (Ignored(f"a message of {service}", "its text is not JSON: expected an event of S3 or EventBridge"),)
    except UnknownEvent as error:
        return (Ignored(f"a message of {service}", str(error)),)


def _read(event: Mapping[str, Any], kind: type[T]) -> T:
    if faults := tuple(shape_faults(event, kind, "event")):
        raise UnknownEvent("; ".join(map(str, faults)))
    return msgspec.convert(event, kind)


def _from_s3(record: Mapping[str, Any]) -> Iterator[Drop | Ignored]:
    if not str(record.get("eventName", "")).startswith(("ObjectCreated:", "s3:ObjectCreated:")):
        return
    s3 = record["s3"]
    key = unquote_plus(s3["object"]["key"])
    who = str(record.get("userIdentity", {}).get("principalId", ""))
    version, at_ms = s3["object"].get("versionId"), _milliseconds(record.get("eventTime"))
    yield from _judged(Drop(s3["bucket"]["name"], key, version, s3["object"].get("eTag"), who, at_ms))


def _milliseconds(text: object) -> int | None:
    """A time in ISO 8601 in milliseconds since the epoch. None for anything else: only a metric uses it."""
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except ValueError:
        return None


def _from_eventbridge(detail: Mapping[str, Any], time: object) -> Iterator[Drop | Ignored]:
    # EventBridge does not encode the key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    stored = detail["object"]
    version, who = stored.get("version-id") or None, str(detail.get("requester", ""))
    yield from _judged(
        Drop(detail["bucket"]["name"], stored["key"], version, stored.get("etag"), who, _milliseconds(time))
    )


def _judged(drop: Drop) -> Iterator[Drop | Ignored]:
    """The drop, or why its name is not a batch file's. Nothing for folders and the notifier's own objects."""
    name = drop.key.lower()
    if drop.key.startswith(OWN_PREFIXES) or name.endswith("/"):
        return
    if name.endswith(SUFFIXES):
        yield drop
    elif name.endswith(LINES):
        reason = (
            "one user a line is an audience, not a batch file: put it under audiences/ and name it in audience.parts"
        )
        yield Ignored(f"s3://{drop.bucket}/{drop.key}", f"{reason} of a batch file")
    else:
        yield Ignored(f"s3://{drop.bucket}/{drop.key}", "the name of a batch file ends with .json or .json.gz")
