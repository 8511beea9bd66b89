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
