"""The entries that Lambda calls: `worker`, `sweeper`, `control`. Only this module and `composition` know everyone.

Each entry imports what it alone needs, so that a worker's cold start pays for nothing that no run uses.
"""

# ruff: noqa: PLC0415

import gc
import os
from typing import Any, Protocol

import boto3
import msgspec
from botocore.exceptions import ClientError

from notifier.composition.hop_watch import Observer, ignored, stopped
from notifier.composition.hops import ProcessHops
from notifier.composition.process import Process, aws_process
from notifier.composition.settings import check_time, read_settings
from notifier.events.triggers import Drop, Ignored, LaneNudge, nudges
from notifier.lifecycle.lane_worker import Invocation, LaneWorker
from notifier.model.cursor import UnknownCursor
from notifier.model.log import Action
from notifier.model.run import Ending, LaneState, LedgerTooNew, Run, Source, source_of
from notifier.telemetry import JsonLog, Tracing

NOT_THERE = ("404", "NoSuchKey")
"""What S3 says of an object that is not there. Every other answer may be another one a minute later."""


class Context(Protocol):
    """What Lambda hands a handler (https://docs.aws.amazon.com/lambda/latest/dg/python-context.html)."""

    function_version: str
    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


class Worker:
    """The worker entry, once per process."""

    def __init__(self, process: Process, observer: Observer) -> None:
        self._process = process
        self._observer = observer
        self._log = log = observer.log
        self._lane_worker = LaneWorker(
            process.ledger,
            process.continuation,
            ProcessHops(process, observer),
            process.background,
            process.clock,
            log,
            process.settings.recurse_below_ms,
        )

    def handle(self, event: object, context: Context) -> dict[str, Any]:
        """Work on what the event names. The answer is for people who invoke by hand; S3 and Lambda ignore it."""
        found = self._without_ignored(nudges(event))
        self._log.info(Action.NUDGED, nudges=len(found))
        for other in found[1:]:
            self._process.continuation.invoke(msgspec.json.encode(other), context.function_version)
        if not found:
            return {"status": "ignored"}
        try:
            return self._follow(found[0], context)
        except (LedgerTooNew, UnknownCursor) as error:
            self._log.warning(Action.IGNORED, reason=f"a newer release's run: {error}")
            return {"status": "ignored", "reason": f"a newer release's run: {error}"}

    def _without_ignored(self, asked: tuple[Drop | LaneNudge | Ignored, ...]) -> list[Drop | LaneNudge]:
        """What there is to do. What is ignored is named in the log and counted: nobody should wait for it."""
        passed_over = [one for one in asked if isinstance(one, Ignored)]
        for one in passed_over:
            self._log.warning(Action.IGNORED, file=one.name, reason=one.reason)
        self._observer.metrics.emit(ignored(len(passed_over)))
        return [one for one in asked if not isinstance(one, Ignored)]

    def _follow(self, nudge: Drop | LaneNudge, context: Context) -> dict[str, Any]:
        dropped_at_ms = None
        if isinstance(nudge, Drop):
            dropped_at_ms = nudge.at_ms
            run = self._run_of(nudge)
            if run is None:
                return {"status": "ignored", "reason": "the object is not there any more"}
            run = self._process.ledger.open_run(run)
            lane = 0
        else:
            found = self._process.ledger.read_run(nudge.run_id)
            if found is None:
                self._log.warning(Action.IGNORED, reason="unknown run", run_id=nudge.run_id)
                return {"status": "ignored", "reason": "unknown run"}
            run, lane = found, nudge.lane
        return self._work(run, lane, context, dropped_at_ms)

    def _run_of(self, drop: Drop) -> Run | None:
        """The run of an object; asks S3 for the version when the event does not tell it.

        None where the object is not there. Whatever else S3 says is raised: Lambda and the sweeper ask again.
        """
        now_ms = int(self._process.clock.now() * 1000)
        source = drop.source() or self._look_up(drop)
        return Run(source.run_id, source, now_ms, drop.put_by) if source else None

    def _look_up(self, drop: Drop) -> Source | None:
        try:
            version: Any = {"VersionId": drop.version_id} if drop.version_id else {}
            head = self._process.s3.head_object(Bucket=drop.bucket, Key=drop.key, **version)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            name = f"s3://{drop.bucket}/{drop.key}"
            if code in NOT_THERE:
                self._log.warning(Action.IGNORED, file=name, reason=f"not there ({code})")
                return None
            self._log.warning(Action.TROUBLE, file=name, reason=f"S3 answered {code} when it was asked for the version")
            raise
        return source_of(drop.bucket, drop.key, head.get("VersionId"), head["ETag"])

    # -- one lane -----------------------------------------------------------------------------------------------------

    def _work(self, run: Run, lane_number: int, context: Context, dropped_at_ms: int | None) -> dict[str, Any]:
        """Work on the lane, or forward the nudge to the version of the code that the run began with."""
        process, log = self._process, self._log
        log.run(run.run_id)
        Tracing.current.annotate(run=run.run_id)
        before = process.ledger.read_lane(run.run_id, lane_number)
        version, gone = before.function_version if before else "", ""
        if version and version != context.function_version and context.function_version != "$LATEST":
            if process.continuation.forward(run.run_id, lane_number, version):
                log.info(Action.CONTINUED, version=version, reason="the run began with another version of the code")
                return {"status": "forwarded", "run_id": run.run_id}
            gone = version
            log.warning(
                Action.VERSION_GONE,
                version=context.function_version,
                reason=f"version {gone} of the code, with which the run began, was deleted: this one goes on",
            )
            Tracing.current.annotate(gone_version=gone)
        self._observer.began(before, int(process.clock.now() * 1000), dropped_at_ms)
        invocation = Invocation(context.function_version, context.get_remaining_time_in_millis, gone)
        answer = self._lane_worker.work(run, lane_number, invocation)
        if answer.status == LaneState.STOPPED:
            self._observer.metrics.emit(stopped(answer.reason), run_id=run.run_id)
        if answer.status in (LaneState.STOPPED, Ending.FAILED):
            Tracing.current.fault(answer.reason or answer.status)
        told: dict[str, Any] = msgspec.to_builtins(answer)
        return told


_kept: dict[str, Any] = {}


def _process() -> tuple[Process, Observer]:
    """One per environment of Lambda, made by its first invocation: settings are checked before anything is done."""
    if "process" not in _kept:
        settings = read_settings(os.environ)
        process = aws_process(settings)
        spare_the_collector()
        _kept["process"] = process, Observer(settings, process.clock, JsonLog(settings.log_level))
    kept: tuple[Process, Observer] = _kept["process"]
    return kept


def spare_the_collector() -> None:
    """What is loaded by now stays, and a push makes no cycles: the garbage collector need not look so often.

    Measured: 4 to 6 of 75 µs a push (tests/bench/results).
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _trace_header() -> str:
    """Lambda tells it anew for each invocation, by way of the environment."""
    return os.environ.get("_X_AMZN_TRACE_ID", "")


def worker(event: object, context: Context) -> dict[str, Any]:
    """Lambda's entry for everything that makes a lane work."""
    process, observer = _process()
    if "worker" not in _kept:
        check_time(process.settings, context.get_remaining_time_in_millis() + 5_000)
        _kept["worker"] = Worker(process, observer)
    with observer.invocation(_trace_header(), "worker"):
        answer: dict[str, Any] = _kept["worker"].handle(event, context)
    return answer


def sweeper(_event: object, _context: Context) -> dict[str, int]:
    """Lambda's entry for the schedule."""
    from notifier.entries.expiry import Expiry
    from notifier.entries.pruning import Pruner
    from notifier.entries.sweeper import Sweeper

    process, observer = _process()
    if "sweeper" not in _kept:
        settings = process.settings
        clients = boto3.client("lambda"), boto3.client("dynamodb")
        pruner = Pruner(*clients, settings.worker_function, settings.table, process.clock.now)
        kept_days = min(settings.batch_file_days, settings.work_days, settings.result_days)
        nudge = process.continuation.nudge
        expiry = Expiry(clients[1], settings.table, process.ledger, nudge, kept_days, process.clock.now)
        _kept["sweeper"] = Sweeper(process, observer, boto3.client("sqs"), pruner, expiry)
    with observer.invocation(_trace_header(), "sweeper"):
        answer: dict[str, int] = _kept["sweeper"].sweep()
    return answer


def control(event: object, context: Context) -> dict[str, Any]:
    """Lambda's entry for operators."""
    from notifier.entries.control import ControlService

    process, observer = _process()
    with observer.invocation(_trace_header(), "control"):
        return ControlService(process, observer.log).handle(event, context.get_remaining_time_in_millis)


__all__ = ["control", "sweeper", "worker"]
