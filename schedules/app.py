"""The Lambda entry of the schedules: once a minute, `tick`."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config

from notifier.hold_item import hold_item, read_hold, was_held
from notifier.model.caps import NO_DEFAULTS, CapDefaults, read_defaults
from schedules.control import Control, Refused
from schedules.definition import BrokenSchedule
from schedules.documents import BucketTexts, CopyChanged, Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrence_steps import Occurrences
from schedules.overview import Overview
from schedules.stack import Stack
from schedules.store import ScheduleStore
from schedules.tested import TestsOfStack
from schedules.winner_steps import Undecidable, Winners
from schedules.winner_store import DecisionStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

QUESTION = "Decision wanted"
"""The detail-type of what approvers are to decide on."""
WINNER = "winner"
"""The action by which a person decides the winner of a test."""
NAMESPACE, METRIC = "Notifier", "ScheduleTrouble"


def handler(event: object, _context: "LambdaContext") -> dict[str, Any]:
    """One tick: what is due fires, occurrences and winners are taken a step further. Or what a person asks for.

    `{"action": "pause", "schedule": NAME, "by": WHO}`: see `schedules.control`; `{"action": "winner", "run_id": RUN,
    "arm": ARM, "by": WHO}`: see `schedules.winner_steps`. What cannot be done is answered with `refused`, and is no
    error: Lambda would try it again.
    """
    parts = _parts()
    if not isinstance(event, Mapping) or "action" not in event:
        return {**parts.tick.run(), **parts.winners.run()}
    try:
        if (shown := parts.overview.answer(event)) is not None:
            return shown
        answer = parts.winners.carry_out(event) if event["action"] == WINNER else parts.control.carry_out(event)
    except BrokenSchedule as broken:
        return {"refused": str(broken), "faults": [str(fault) for fault in broken.faults]}
    except (Refused, Undecidable, CopyChanged) as refused:
        return {"refused": str(refused)}
    unlogged = ("action", "alarms", "text", "before")
    asked: dict[str, Any] = {
        name: str(value) for name, value in event.items() if name not in unlogged and value is not None
    }
    parts.log(str(event["action"]), **asked)
    return answer


class _Parts(NamedTuple):
    tick: Tick
    control: Control
    overview: Overview
    winners: Winners
    log: "Log"


@cache
def _parts() -> _Parts:
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
    occurrences = Occurrences(
        store, stack, Drops(s3, bucket), time.time, lambda at_ms: was_held(hold_item(dynamodb, table), at_ms),
        os.environ.get("DEFAULT_QUIET_HOURS", ""),
    )  # fmt: skip
    documents = Documents(BucketTexts(s3, bucket), needs_approval=needs_approval)
    log = Log(os.environ.get("STACK", ""), time.time, sys.stdout.write)

    def held() -> str:
        hold = read_hold(dynamodb, table)
        return hold.words if hold is not None else ""

    questions = Questions(session.client("events", config=config), os.environ.get("STACK", ""))
    mail = questions.put if os.environ.get("HAS_PAGES") == "true" else lambda _question: None
    tick = Tick(
        store, documents, occurrences, time.time, log, held=held, needs_approval=needs_approval,
        ask=mail,
    )  # fmt: skip
    defaults = _cap_defaults()
    two_above = int(os.environ.get("TWO_APPROVERS_ABOVE", "100000")) if needs_approval else None
    overview = Overview(store, documents, stack, time.time, two_above, stack.due_runs, held)
    tests = TestsOfStack(dynamodb, table, s3, bucket, ask_audiences, time.time)
    winners = Winners(DecisionStore(dynamodb, table, time.time), tests, time.time, log, held, mail)
    control = Control(store, documents, stack, time.time, held, two_above, defaults)
    return _Parts(tick, control, overview, winners, log)


def _cap_defaults() -> CapDefaults:
    """What the stack sets for campaigns. Where its parameters are wrong the worker refuses every file, and says so."""
    try:
        return read_defaults(os.environ)
    except ValueError:
        return NO_DEFAULTS


class Questions:
    """What approvers are to decide on, put on EventBridge's default bus: the approval pages' function mails it.

    The two functions cannot name each other in one template: the pages invoke this one.

    Args:
        client: a boto3 EventBridge client.
    """

    def __init__(self, client: Any, stack: str) -> None:
        self._client = client
        self._stack = stack

    def put(self, question: dict[str, Any]) -> None:
        """Put one question. Raises RuntimeError where EventBridge does not take it."""
        entry = {"Source": f"notifier.{self._stack}", "DetailType": QUESTION, "Detail": json.dumps(question)}
        answer = self._client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode", "no reason")
            raise RuntimeError(f"approvers were not asked: EventBridge answered {code}")


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
