"""The worker entry: from an event to the work on one lane."""

from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from notifier.composition.hop_metrics import Observer, ignored, stopped
from notifier.composition.hops import ProcessHops
from notifier.composition.process import Process
from notifier.events.triggers import Drop, Ignored, LaneNudge, nudges
from notifier.lifecycle.lane_worker import Invocation, LaneWorker
from notifier.model.cursor import UnknownCursor
from notifier.model.log import Action
from notifier.model.run import Control, Ending, LaneState, LedgerTooNew, Run, Source, source_of
from notifier.telemetry import Tracing

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

NOT_THERE = ("404", "NoSuchKey")
"""What S3 answers for an object that is not there. Every other answer may be another one a minute later."""

MAX_NAMED = 10
"""Of an event's nudges, so many are named in the log: a message of SQS may hold any number."""


def _name(nudge: Drop | LaneNudge) -> str:
    """What a nudge is about: the object and who put it there, or the run, its lane and the kind of nudge."""
    if isinstance(nudge, Drop):
        return f"s3://{nudge.bucket}/{nudge.key}" + (f" by {nudge.put_by}" if nudge.put_by else "")
    return f"run {nudge.run_id} lane {nudge.lane} ({nudge.notifier})"


class Worker:
    """Works on what an event names. One per process."""

    def __init__(self, process: Process, observer: Observer) -> None:
        self._process = process
        self._observer = observer
        self._log = log = observer.log
        self._lane_worker = LaneWorker(
            process.ledger,
            process.continuation.nudge,
            ProcessHops(process, observer),
            process.background,
            process.clock,
            log,
            process.settings.recurse_below_ms,
        )

    def handle(self, event: object, context: "LambdaContext") -> dict[str, Any]:
        """Work on the first lane that the event names, and invoke the worker for each of the others.

        The answer is for people who invoke by hand; S3 and Lambda ignore it.
        """
        found = self._without_ignored(nudges(event))
        self._log.info(Action.NUDGED, nudges=len(found), of=[_name(one) for one in found[:MAX_NAMED]])
        # One invocation, one lane: the others run beside it, each with an invocation's whole time.
        for other in found[1:]:
            self._process.continuation.invoke(msgspec.json.encode(other), context.function_version)
        if not found:
            return {"status": "ignored"}
        try:
            return self._follow(found[0], context)
        # After a rollback of the stack. Success, not an error: Lambda's retry would meet the same item, and the newer
        # release's own nudges, to its own version, go on with the run.
        except (LedgerTooNew, UnknownCursor) as error:
            self._log.warning(Action.IGNORED, reason=f"a newer release's run: {error}")
            return {"status": "ignored", "reason": f"a newer release's run: {error}"}

    def _without_ignored(self, asked: tuple[Drop | LaneNudge | Ignored, ...]) -> list[Drop | LaneNudge]:
        """What there is to do. What is ignored is logged by name and counted, so that it is not waited for."""
        # Ours by mistake, S3's test event, a folder: none of them may fail the invocation, or Lambda would repeat it.
        skipped = [one for one in asked if isinstance(one, Ignored)]
        for one in skipped:
            self._log.warning(Action.IGNORED, file=one.name, reason=one.reason)
        self._observer.metrics.emit(ignored(len(skipped)))
        return [one for one in asked if not isinstance(one, Ignored)]

    def _follow(self, nudge: Drop | LaneNudge, context: "LambdaContext") -> dict[str, Any]:
        dropped_at_ms = None
        if isinstance(nudge, Drop):
            dropped_at_ms = nudge.at_ms
            run = self._run_of(nudge)
            if run is None:
                return {"status": "ignored", "reason": "the object is not there any more"}
            # Repeated events meet the same run, whose id is a hash of bucket, key and version: the first item is kept.
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
        """The run of an object; S3 is asked for the version where the event has none.

        None where the object is not there. Every other answer of S3 is raised: Lambda and the sweeper try again.
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

    def _work(self, run: Run, lane_number: int, context: "LambdaContext", dropped_at_ms: int | None) -> dict[str, Any]:
        """Work on the lane, or forward the nudge to the version of the code that the run began with."""
        process = self._process
        self._log.run(run.run_id)
        Tracing.current.annotate(run=run.run_id)
        before = process.ledger.read_lane(run.run_id, lane_number)
        version, gone = before.function_version if before else "", ""
        # Without an alias, as in a first try from the console, the code runs as $LATEST: that works on every run.
        if version and version != context.function_version and context.function_version != "$LATEST":
            # Asked before it is forwarded: the release before knows no hold, and would send.
            if before and before.control is not Control.CANCEL and (hold := process.ledger.read_hold()):
                self._log.info(Action.IGNORED, reason=hold.words)
                return {"status": "ignored", "run_id": run.run_id, "reason": hold.words}
            # Stored formats change by adding only, but behaviour may differ between releases: a run stays on the code
            # that began it.
            if process.continuation.forward(run.run_id, lane_number, version):
                reason = "the run began with another version of the code"
                self._log.info(Action.CONTINUED, version=version, reason=reason)
                return {"status": "forwarded", "run_id": run.run_id}
            gone = version
            self._note_gone(version, context.function_version)
        self._observer.began(before, int(process.clock.now() * 1000), dropped_at_ms)
        invocation = Invocation(context.function_version, context.get_remaining_time_in_millis, gone)
        answer = self._lane_worker.work(run, lane_number, invocation)
        if answer.status == LaneState.STOPPED:
            self._observer.metrics.emit(stopped(answer.reason), run_id=run.run_id)
        # The invocation succeeded, so X-Ray would show it as fine; the run it worked on is not.
        if answer.status in (LaneState.STOPPED, Ending.FAILED):
            Tracing.current.fault(answer.reason or answer.status)
        result: dict[str, Any] = msgspec.to_builtins(answer)
        return result

    def _note_gone(self, gone: str, current: str) -> None:
        reason = f"version {gone} of the code, with which the run began, was deleted: this one goes on"
        self._log.warning(Action.VERSION_GONE, version=current, reason=reason)
        Tracing.current.annotate(gone_version=gone)
