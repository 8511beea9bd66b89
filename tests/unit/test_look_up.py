"""An event that does not tell its object's version: S3 is asked, and only a 404 says that nothing is there."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from notifier.composition.hop_metrics import Observer
from notifier.composition.settings import Settings
from notifier.entries.worker import Worker
from notifier.model.log import Action
from notifier.telemetry import JsonLog
from tests.twins.clock import TwinClock
from tests.twins.hop_factory import TwinContinuation, TwinLog
from tests.twins.ledger import MemoryLedger


class Refusing:
    """An S3 that answers every HEAD with a code."""

    def __init__(self, code: str) -> None:
        self._code = code

    def head_object(self, **_: str) -> Any:
        raise ClientError({"Error": {"Code": self._code}}, "HeadObject")


def worker_of(code: str) -> tuple[Worker, TwinLog]:
    clock, log = TwinClock(), TwinLog()
    settings = Settings(bucket="b", table="t")
    process: Any = SimpleNamespace(
        settings=settings,
        clock=clock,
        ledger=MemoryLedger(clock.now),
        continuation=TwinContinuation(),
        background=None,
        s3=Refusing(code),
    )
    observer: Any = Observer(settings, clock, JsonLog("ERROR"))
    observer.log = log
    return Worker(process, observer), log


def named(event: object) -> tuple[dict[str, Any], list[bytes]]:
    """What the log says of an event without a file to send, and what the worker is invoked with for the others."""
    worker, log = worker_of("404")
    invoked: list[bytes] = []
    worker._process.continuation = SimpleNamespace(invoke=lambda payload, _: invoked.append(payload))  # type: ignore[misc,assignment]
    worker.handle(event, CONTEXT)
    [fields] = [fields for action, fields in log.lines if action is Action.NUDGED]
    return fields, invoked


def record(key: str, who: str = "") -> dict[str, Any]:
    """One of an event of S3's that names neither version nor ETag."""
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-21T09:00:00.000Z"}
    about = {"userIdentity": {"principalId": who}} if who else {}
    return {**record, **about, "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}


def test_who_and_what_is_logged_of_an_event() -> None:
    """The object and who put it there, or run, lane and kind of nudge: one search finds why the worker began."""
    put = {"Records": [record("batches/a%20b.json", "AWS:AROAEXAMPLEID:ann@example.com")]}
    assert named(put) == (
        {"nudges": 1, "of": ["s3://b/batches/a b.json by AWS:AROAEXAMPLEID:ann@example.com"]},
        [],
    )
    assert named(EVENT)[0] == {"nudges": 1, "of": ["s3://b/batches/a.json"]}
    for kind in ("continue", "nudge"):
        nudge = {"notifier": kind, "run_id": "r1", "lane": 3}
        assert named(nudge)[0] == {"nudges": 1, "of": [f"run r1 lane 3 ({kind})"]}


def test_of_many_ten_are_named() -> None:
    """All are counted, and each but the first has an invocation of its own; the line stays short."""
    fields, invoked = named({"Records": [record(f"batches/{n}.json") for n in range(12)]})
    assert fields == {"nudges": 12, "of": [f"s3://b/batches/{n}.json" for n in range(10)]}
    assert len(invoked) == 11
    assert b"batches/11.json" in invoked[-1]


CONTEXT: Any = SimpleNamespace(function_version="1", aws_request_id="x", get_remaining_time_in_millis=lambda: 900_000)
EVENT = {"bucket": "b", "key": "batches/a.json"}


def test_an_object_that_is_not_there() -> None:
    """It is ignored, and named."""
    worker, log = worker_of("404")
    assert worker.handle(EVENT, CONTEXT) == {"status": "ignored", "reason": "the object is not there any more"}
    assert (Action.IGNORED, {"file": "s3://b/batches/a.json", "reason": "not there (404)"}) in log.lines


@pytest.mark.parametrize("code", ["403", "503", "400", "SlowDown", "InternalError"])
def test_an_object_that_s3_does_not_speak_of_now(code: str) -> None:
    """It may be there: the invocation fails, so that Lambda and the sweeper try again; file and code are logged."""
    worker, log = worker_of(code)
    with pytest.raises(ClientError):
        worker.handle(EVENT, CONTEXT)
    [logged] = [fields for action, fields in log.lines if action is Action.TROUBLE]
    assert (logged["file"], code in logged["reason"]) == ("s3://b/batches/a.json", True)
