"""The Lambda entry of the schedules: once a minute, `tick`."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from notifier.hold_item import read_hold
from schedules.control import Control, Refused
from schedules.definition import BrokenSchedule
from schedules.documents import BucketTexts, CopyChanged, Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrences import Occurrences
from schedules.stack import Stack
from schedules.store import ScheduleStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

NAMESPACE, METRIC = "Notifier", "ScheduleTrouble"


def handler(event: object, _context: "LambdaContext") -> dict[str, Any]:
    """One tick: what is due fires, and every open occurrence is taken a step further. Or what a person asks for.

    `{"action": "pause", "schedule": NAME, "by": WHO}`: see `schedules.control`. What cannot be done is answered with
    `refused`, and is no error: Lambda would try it again.
    """
    tick, control, log = _parts()
    if not isinstance(event, Mapping) or "action" not in event:
        return dict(tick.run())
    try:
        answer = control.carry_out(event)
    except (Refused, BrokenSchedule, CopyChanged) as refused:
        return {"refused": str(refused)}
    asked: dict[str, Any] = {name: str(value) for name, value in event.items() if name not in ("action", "alarms")}
    log(str(event["action"]), **asked)
    return answer


@cache
def _parts() -> "tuple[Tick, Control, Log]":
    """The parts that every invocation of a process uses."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20)
    session = boto3.Session()
    dynamodb, s3 = session.client("dynamodb", config=config), session.client("s3", config=config)
    functions = session.client("lambda", config=config)
    table, bucket = os.environ["TABLE"], os.environ["BUCKET"]
    needs_approval = os.environ.get("REQUIRE_APPROVAL", "false") == "true"

    def ask_audiences(preparation: str) -> None:
        payload = json.dumps({"prepare": preparation}).encode()
        functions.invoke(FunctionName=os.environ["AUDIENCE_FUNCTION"], InvocationType="Event", Payload=payload)

    store = ScheduleStore(dynamodb, table, time.time)
    stack = Stack(dynamodb, table, s3, bucket, ask_audiences, time.time)
    occurrences = Occurrences(store, stack, Drops(s3, bucket), time.time)
    documents = Documents(BucketTexts(s3, bucket), needs_approval=needs_approval)
    log = Log(os.environ.get("STACK", ""), time.time, sys.stdout.write)

    def held() -> str:
        hold = read_hold(dynamodb, table)
        return hold.words if hold is not None else ""

    tick = Tick(store, documents, occurrences, time.time, log, held=held, needs_approval=needs_approval)
    return tick, Control(store, documents, stack, time.time, held), log


class Log:
    """Lines of JSON; where an operator has to look at it also a metric, which alarms."""

    def __init__(self, stack: str, now: Callable[[], float], write: Callable[[str], object]) -> None:
        self._stack = stack
        self._now = now
        self._write = write

    def __call__(self, action: str, *, alarms: bool = False, **about: Any) -> None:
        """Write what happened, and about what."""
        line: dict[str, Any] = {"level": "WARNING" if alarms else "INFO", "message": action}
        line |= {name: value for name, value in about.items() if value not in ("", -1)}
        if alarms:
            # Embedded metric format: CloudWatch makes a metric of the log's line.
            named = [{"Name": METRIC, "Unit": "Count"}]
            metric = {"Namespace": NAMESPACE, "Dimensions": [["Stack"]], "Metrics": named}
            line |= {"_aws": {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [metric]}}
            line |= {"Stack": self._stack, METRIC: 1}
        self._write(json.dumps(line, ensure_ascii=False) + "\n")
