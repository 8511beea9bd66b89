"""The entries that Lambda calls: `worker`, `sweeper`, `control`. Only this module and `composition` know everyone."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import boto3
import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from notifier.composition import HopMaker, Process, decode_opened
from notifier.config import check_time, read_settings
from notifier.continuation import LambdaContinuation
from notifier.count_desk import CountDesk
from notifier.count_jobs import DynamoCountJobs
from notifier.cursor import UnknownCursor
from notifier.deadline import Deadline
from notifier.event import Drop, LaneNudge, UnknownEvent, nudges
from notifier.ledger import LedgerTooNew
from notifier.observe import Observer, ended, stopped, swept
from notifier.opening import Opened
from notifier.pruning import Pruner
from notifier.run import Control, Ending, Lane, LaneState, Run, Source, source_of
from notifier.summary import summary_of
from notifier.telemetry import Action, Log, Tracing, part, traced
from notifier.tenure import Invocation, Tenure
from notifier.worker import Hop


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
        self._tenure = Tenure(
            process.ledger,
            process.continuation,
            Premises(process, observer),
            process.background,
            process.clock,
            log,
            process.settings.recurse_below_ms,
        )

    def handle(self, event: object, context: Context) -> dict[str, Any]:
        """Work on what the event names. The answer is for people who invoke by hand; S3 and Lambda ignore it."""
        found = nudges(event)
        self._log.info(Action.NUDGED, nudges=len(found))
        for other in found[1:]:
            self._process.continuation.invoke(msgspec.json.encode(other))
        if not found:
            return {"status": "ignored"}
        try:
            return self._follow(found[0], context)
        except (LedgerTooNew, UnknownCursor) as error:
            self._log.warning(Action.IGNORED, reason=f"a newer release's run: {error}")
            return {"status": "ignored", "reason": f"a newer release's run: {error}"}

    def _follow(self, nudge: Drop | LaneNudge, context: Context) -> dict[str, Any]:
        if isinstance(nudge, Drop):
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
        return self._work(run, lane, context)

    def _run_of(self, drop: Drop) -> Run | None:
        """The run of an object; asks S3 for the version when the event does not tell it."""
        now_ms = int(self._process.clock.now() * 1000)
        source = drop.source() or self._look_up(drop)
        return Run(source.run_id, source, now_ms, drop.put_by) if source else None

    def _look_up(self, drop: Drop) -> Source | None:
        try:
            version: Any = {"VersionId": drop.version_id} if drop.version_id else {}
            head = self._process.s3.head_object(Bucket=drop.bucket, Key=drop.key, **version)
        except self._process.s3.exceptions.ClientError as error:
            self._log.warning(Action.IGNORED, reason=f"{drop.bucket}/{drop.key}: {error.response['Error']['Code']}")
            return None
        return source_of(drop.bucket, drop.key, head.get("VersionId"), head["ETag"])

    # -- one lane -----------------------------------------------------------------------------------------------------

    def _work(self, run: Run, lane_number: int, context: Context) -> dict[str, Any]:
        """Work on the lane, or forward the nudge to the version of the code that the run began with."""
        process, log = self._process, self._log
        log.run(run.run_id)
        Tracing.current.annotate(run=run.run_id)
        before = process.ledger.read_lane(run.run_id, lane_number)
        version = before.function_version if before else ""
        if version and version != context.function_version and context.function_version != "$LATEST":
            log.info(Action.CONTINUED, version=version, reason="the run began with another version of the code")
            process.continuation.nudge(run.run_id, lane_number, version)
            return {"status": "forwarded", "run_id": run.run_id}
        self._observer.began(before, int(process.clock.now() * 1000))
        invocation = Invocation(context.function_version, context.get_remaining_time_in_millis)
        answer = self._tenure.work(run, lane_number, invocation)
        if answer.status == LaneState.STOPPED:
            self._observer.metrics.tell(stopped(answer.reason), run_id=run.run_id)
        if answer.status in (LaneState.STOPPED, Ending.FAILED):
            Tracing.current.fault(answer.reason or answer.status)
        told: dict[str, Any] = msgspec.to_builtins(answer)
        return told


class Premises:
    """Where a tenure's hops are made and its runs are closed."""

    def __init__(self, process: Process, observer: Observer) -> None:
        self._process = process
        self._observer = observer

    @traced("open")
    def open(self, run: Run) -> Opened:
        """What every hop needs to know. Raises Unsendable."""
        self._correlate(run)
        opened = self._process.opening().open(run, decode_opened)
        self._process.library.excluded(opened)  # here, where the lease is kept while it loads
        return opened

    def _correlate(self, run: Run) -> None:
        """A file that the approval app wrote names its request: with it, one search finds form, approval and hops."""
        source = run.source
        version: Any = {"VersionId": source.version_id} if source.version_id else {}
        try:
            head = self._process.s3.head_object(Bucket=source.bucket, Key=source.key, **version)
        except (ClientError, BotoCoreError):
            return  # whoever needs the file will say what is wrong with it
        request_id = head["Metadata"].get("correlation-id")
        if request_id:
            Tracing.current.annotate(request=request_id)
            self._observer.log.request(request_id)

    @contextmanager
    def hop(self, run: Run, lane: Lane, opened: Opened, deadline: Deadline) -> Iterator[Hop]:
        """The hop of a claimed lane, with its connections."""
        with self._observer.hop(lane, opened.campaign.id) as watch:
            maker = HopMaker(self._process, run, lane, opened)
            try:
                hop = maker.make(deadline, watch)
                watch.begin(hop)
                with part(Tracing.current, "send"):
                    yield hop
                    watch.end(hop)
            finally:
                maker.close()

    @traced("close")
    def close(self, run: Run, lane: Lane) -> None:
        """Write the summary, announce the end."""
        close(self._process, self._observer, run, lane)


def close(process: Process, observer: Observer, run: Run, lane: Lane) -> None:
    """Write the summary and announce the end. Repeatable: the sweeper does it again when this was cut short."""
    current = process.ledger.read_run(run.run_id) or run
    summary = summary_of(current, lane, process.settings.bucket)
    key = process.results.put_summary(run.run_id, summary)
    process.announcer.ended(run.run_id, summary)
    process.ledger.close_run(run.run_id, lane.lane)
    observer.metrics.tell(ended(lane), run_id=run.run_id)
    observer.log.info(Action.CLOSED, status=lane.status, reason=lane.reason, summary=key)


class Sweeper:
    """Every minute: nudges lanes that nobody came back to, closes runs, replays dead letters."""

    MOVE_ON_MS = 120_000
    REPLAYS = 3

    def __init__(self, process: Process, observer: Observer, queue: Any, pruner: Pruner) -> None:
        self._process = process
        self._pruner = pruner
        self._observer = observer
        self._log = observer.log
        self._queue = queue

    def handle(self, event: object, context: Context) -> dict[str, int]:
        """Sweep once."""
        nudged = closed = stalled = 0
        now_ms = int(self._process.clock.now() * 1000)
        for lane in self._process.ledger.due(now_ms):
            if not self._process.ledger.put_off(lane, now_ms + self.MOVE_ON_MS):
                continue
            if lane.state is LaneState.DONE:
                run = self._process.ledger.read_run(lane.run_id)
                if run is not None:
                    close(self._process, self._observer, run, lane)
                    closed += 1
            else:
                Tracing.current.part_ways()
                self._process.continuation.nudge(lane.run_id, lane.lane, lane.function_version, "nudge")
                nudged += 1
                stalled += lane.state is not LaneState.RESTING
        replayed = self._replay()
        self._prune()
        self._observer.metrics.tell(swept(stalled))
        if nudged or closed or replayed:
            self._log.info(Action.SWEPT, nudged=nudged, closed=closed, replayed=replayed)
        return {"nudged": nudged, "closed": closed, "replayed": replayed}

    def _prune(self) -> None:
        """Once a day. A sweep is never worth less because this failed."""
        try:
            deleted = self._pruner.prune_daily()
        except (ClientError, BotoCoreError) as error:
            self._log.warning(Action.TROUBLE, reason=f"versions were not pruned: {error}")
            return
        if deleted:
            self._log.info(Action.PRUNED, versions=deleted)

    def _replay(self) -> int:
        """Events that Lambda gave up on are tried again, three times each."""
        url = self._process.settings.dead_letter_queue_url
        if not url:
            return 0
        answer = self._queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=55)
        replayed = 0
        for message in answer.get("Messages", ()):
            event = _replayable(message["Body"], self.REPLAYS)
            if event is None:
                continue
            Tracing.current.part_ways()
            self._process.continuation.invoke(event)
            self._queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            replayed += 1
        return replayed


def _replayable(body: str, limit: int) -> bytes | None:
    """The dead event with its replays counted, or None when it had enough of them: then it stays, and alarms."""
    try:
        event = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(event, dict):
        return None
    replays = event.get("replays", 0)
    if not isinstance(replays, int) or replays >= limit:
        return None
    return msgspec.json.encode(event | {"replays": replays + 1})


class ControlDesk:
    """Pause, resume and cancel, and counting of audiences, for the command line and the approval app."""

    WORDS = {"pause": Control.PAUSE, "resume": Control.GO, "cancel": Control.CANCEL}  # noqa: RUF012 - a constant table

    def __init__(self, process: Process, log: Log) -> None:
        self._process = process
        self._log = log

    def handle(self, event: object, context: Context) -> dict[str, Any]:
        """`{"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}`, or a `CountRequest`."""
        if isinstance(event, dict) and event.get("action") == "count":
            return self._count(event, context)
        if not isinstance(event, dict) or event.get("action") not in self.WORDS or not event.get("run_id"):
            raise UnknownEvent('expected {"action": "pause" | "resume" | "cancel", "run_id": "…", "by": "…"}')
        control, run_id, by = self.WORDS[event["action"]], str(event["run_id"]), str(event.get("by", ""))
        lane = self._process.ledger.set_control(run_id, control, by)
        if lane is None:
            return {"status": "refused", "run_id": run_id, "reason": "no such run, or it is done"}
        if lane.state is LaneState.READY:
            self._process.continuation.nudge(run_id, lane.lane, lane.function_version, "nudge")
        self._log.info(Action.CONTROLLED, run_id=run_id, control=control.value, by=by, state=lane.state.value)
        return {"status": lane.status, "run_id": run_id, "control": lane.control.value}

    def _count(self, event: dict[str, Any], context: Context) -> dict[str, Any]:
        process = self._process
        again = LambdaContinuation(boto3.client("lambda"), os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")).invoke
        settings = process.settings
        jobs = DynamoCountJobs(boto3.client("dynamodb"), settings.table, process.s3, settings.bucket, process.clock.now)
        desk = CountDesk(process.s3, jobs, settings.bucket, process.clock, again)
        answer = desk.handle(event, context.get_remaining_time_in_millis)
        self._log.info(Action.COUNTED, **answer)
        return answer


_kept: dict[str, Any] = {}


def _process() -> tuple[Process, Observer]:
    """One per environment of Lambda, made by its first invocation: settings are checked before anything is done."""
    if "process" not in _kept:
        settings = read_settings(os.environ)
        process = Process(settings)
        spare_the_collector()
        _kept["process"] = process, Observer(settings, process.clock, Log(settings.log_level))
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


def sweeper(event: object, context: Context) -> dict[str, int]:
    """Lambda's entry for the schedule."""
    process, observer = _process()
    if "sweeper" not in _kept:
        settings = process.settings
        clients = boto3.client("lambda"), boto3.client("dynamodb")
        pruner = Pruner(*clients, settings.worker_function, settings.table, process.clock.now)
        _kept["sweeper"] = Sweeper(process, observer, boto3.client("sqs"), pruner)
    with observer.invocation(_trace_header(), "sweeper"):
        answer: dict[str, int] = _kept["sweeper"].handle(event, context)
    return answer


def control(event: object, context: Context) -> dict[str, Any]:
    """Lambda's entry for operators."""
    process, observer = _process()
    with observer.invocation(_trace_header(), "control"):
        return ControlDesk(process, observer.log).handle(event, context)


__all__ = ["control", "sweeper", "worker"]
