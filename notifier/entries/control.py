"""The control entry: operators' commands, and the counting of audiences for the approval app."""

import os
from collections.abc import Callable
from typing import Any

import boto3

from notifier.composition.process import Process
from notifier.counting.handler import CountRequest, CountService
from notifier.counting.store import DynamoCountJobs
from notifier.events.continuation import LambdaContinuation
from notifier.events.triggers import UnknownEvent
from notifier.model.log import Action
from notifier.model.run import Control, LaneState
from notifier.model.validation import shape_faults
from notifier.model.whole_run import as_one
from notifier.telemetry import JsonLog

COMMANDS = {"pause": Control.PAUSE, "resume": Control.GO, "cancel": Control.CANCEL}


class ControlService:
    """Pause, resume and cancel, and counting of audiences, for the command line and the approval app."""

    def __init__(self, process: Process, log: JsonLog) -> None:
        self._process = process
        self._log = log

    def handle(self, event: object, remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """`{"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}`, or a `CountRequest`."""
        if isinstance(event, dict) and event.get("action") == "count":
            if faults := tuple(shape_faults(event, CountRequest, "event")):
                raise UnknownEvent("; ".join(map(str, faults)))
            return self._count(event, remaining_ms)
        if not isinstance(event, dict) or event.get("action") not in COMMANDS or not event.get("run_id"):
            raise UnknownEvent('expected {"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}')
        control, run_id, by = COMMANDS[event["action"]], str(event["run_id"]), str(event.get("by", ""))
        lanes = self._process.ledger.control_run(run_id, control, by)
        if not lanes:
            return {"status": "refused", "run_id": run_id, "reason": "no such run, or it is done"}
        for lane in lanes:
            if lane.state is LaneState.READY:
                self._process.continuation.nudge(run_id, lane.lane, lane.function_version, "nudge")
        whole = as_one(lanes)
        self._log.info(Action.CONTROLLED, run_id=run_id, control=control.value, by=by, state=whole.state.value)
        return {"status": whole.status, "run_id": run_id, "control": whole.control.value}

    def _count(self, event: dict[str, Any], remaining_ms: Callable[[], int]) -> dict[str, Any]:
        process = self._process
        invoke_again = LambdaContinuation(boto3.client("lambda"), os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")).invoke
        settings = process.settings
        jobs = DynamoCountJobs(boto3.client("dynamodb"), settings.table, process.s3, settings.bucket, process.clock.now)
        service = CountService(process.s3, jobs, settings.bucket, process.clock, invoke_again)
        answer = service.handle(event, remaining_ms)
        self._log.info(Action.COUNTED, **answer)
        return answer
