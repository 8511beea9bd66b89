"""What one invocation does with one lane: claim it, open the run, work a hop, leave, see that it goes on.

All it needs of the outside comes as a port, so that the same code runs in Lambda and in a simulation that ends it at
any step.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Protocol
from uuid import uuid4

import msgspec

from notifier.lifecycle.admitted import AdmittedCampaign, NotAdmitted, StillPreparing
from notifier.lifecycle.final_cut import with_cut
from notifier.lifecycle.waiting import await_task
from notifier.model.lane_membership import MEMBER_MS, Member, member_name
from notifier.model.ledger import Ledger
from notifier.model.log import Action, Log
from notifier.model.run import (
    FAILED_BY,
    MAX_IDLE_CLAIMS,
    Control,
    Ending,
    Lane,
    LaneLost,
    LaneState,
    LaneTaken,
    Run,
    waiting_state,
)
from notifier.model.runtime import Clock, Deadline
from notifier.model.span import Span
from notifier.model.store_error import StoreRefused, in_words
from notifier.sending.batch import BATCH_SIZE
from notifier.sending.batch_source import InputUnreachable, SuppressionUnreadable
from notifier.sending.hop import Hop
from notifier.sending.hop_exit import WAIT_MS, Exit, leave
from notifier.sending.lane_writer import LeaseOver
from notifier.sending.possible_repeats import as_never_formed
from notifier.sending.settling import REFUSALS, RETRY_S

MAX_IDLE_CLAIMS_CANCELLED = 2 * MAX_IDLE_CLAIMS
"""A cancelled run is finished where another is stopped, for good: so it gets twice the tries."""


WOKEN_MS = 120_000
"""A lane that is due works again within this: the sweeper looks each minute, and a cold start takes seconds."""
MAX_BY = 300
"""Characters kept of who gave a command."""
PREPARING_MS = 300_000
"""A lane whose audience is made looks at it again after this, in case the event of its end was lost."""


class HopFactory(Protocol):
    """Makes hops and closes runs (`notifier.composition.hops`)."""

    def open(self, run: Run, lane: Lane) -> AdmittedCampaign:
        """What every hop needs to know. Blocks.

        Raises:
            NotAdmitted: the file cannot be sent.
            InputUnreachable: a later try may succeed.
            StillPreparing: its audience is being made.
            StoreRefused: what every hop needs may not be stored, or not be read.
        """
        ...

    def lanes(self, run: Run, lane: Lane, admitted: AdmittedCampaign) -> tuple[Span, ...]:
        """What each lane of the run sends; nothing where it has one, or they are open. Blocks. Raises as `open`."""
        ...

    def ask_for_audience(self, run: Run) -> None:
        """Have the audience of a run made, whose lane rests until then. What fails is left to the sweeper."""
        ...

    def prove_writable(self, run: Run) -> None:
        """Prove that this run's batches could be settled. Blocks. Raises StoreRefused."""
        ...

    def hop(
        self, run: Run, lane: Lane, admitted: AdmittedCampaign, deadline: Deadline, on_trouble: Callable[[str], None]
    ) -> AbstractContextManager[Hop]:
        """The hop of a claimed lane, with its connections open as long as the context.

        Args:
            on_trouble: gets each trouble as it occurs.
        """
        ...

    def close(self, run: Run, lane: Lane) -> None:
        """Write the summary, announce the end. Repeatable."""
        ...


class Invocation(msgspec.Struct, frozen=True):
    """What the platform says about this invocation: the code's version, and how long it may still take.

    `gone_version` is the version of the code that the lane began with, where that one was deleted.
    """

    function_version: str
    remaining_ms: Callable[[], int]
    gone_version: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a nudge, for people who invoke by hand; S3 and Lambda ignore it."""

    status: str
    run_id: str
    reason: str | None = None


class LaneWorker:
    """Works on lanes, one at a time.

    Args:
        nudge: asks for the next invocation: of this run and lane, by this version of the code.
        size: records in a batch.
    """

    def __init__(
        self,
        ledger: Ledger,
        nudge: Callable[[str, int, str], object],
        hop_factory: HopFactory,
        background: Executor,
        clock: Clock,
        log: Log,
        recurse_below_ms: int,
        size: int = BATCH_SIZE,
    ) -> None:
        self._ledger = ledger
        self._nudge = nudge
        self._hop_factory = hop_factory
        self._background = background
        self._clock = clock
        self._log = log
        self._recurse_below_ms = recurse_below_ms
        self._size = size

    def work(self, run: Run, lane_number: int, invocation: Invocation) -> Answer:
        """Claim the lane, send, leave, and see that it goes on.

        Raises:
            LeaseOver: the ledger was out of reach for too long; Lambda's retry finds out what became of the lane.
        """
        log = self._log
        ends_at_ms = int(self._clock.now() * 1000) + invocation.remaining_ms()
        # Not Lambda's request id: its own retries, and events it delivers twice, carry the same one.
        owner = uuid4().hex
        try:
            lane = self._ledger.claim(
                run.run_id, lane_number, invocation.function_version, owner, ends_at_ms, invocation.gone_version
            )
        except LaneTaken as taken:
            log.info(Action.IGNORED, reason=str(taken))
            return Answer("ignored", run.run_id, str(taken))
        log.info(Action.CLAIMED, epoch=lane.epoch, hop=lane.hop, cursor=lane.cursor.encode(), crashed=lane.crashed)
        try:
            lane, why = self._hop(run, lane, invocation)
        except (LaneLost, LeaseOver) as error:
            # Nothing may be written now. A lost lane has a worker; of one whose lease is over that is not known.
            log.warning(Action.LOST, reason=str(error))
            if isinstance(error, LeaseOver):
                raise
            return Answer("lost", run.run_id)
        except Exception as error:
            self._note(lane, f"the invocation broke off: {in_words(error)}")
            raise
        self._continue_or_close(run, lane, why)
        return Answer(lane.status, run.run_id, lane.reason)

    def _hop(self, run: Run, lane: Lane, invocation: Invocation) -> tuple[Lane, Exit]:
        ledger = self._ledger
        # Before the run is opened: opening may be what fails each time.
        if (idle := self._end_idle(lane)) is not None:
            return idle
        if lane.lane == 0 and lane.span is not None:
            # The worker that opened the lanes may have died before it had passed an operator's command on to them.
            ledger.pass_on_command(lane)
        try:
            lane, admitted = self._open(run, lane)
            lane = self._open_lanes(run, lane, admitted)
            if (lane.suspects or lane.asking) and lane.control is not Control.CANCEL:
                # Earlier requests are out and unsettled. More of them only if their batches can be settled this time.
                # By the control of this moment: a run cancelled when it was claimed may have been resumed meanwhile.
                lane = self._prove_writable(run, lane)
            # Last: every call above may have read the lane again, and the ledger has this only with the first advance.
            lane = with_cut(lane, admitted)
        except StillPreparing as error:
            return self._leave_preparing(run, lane, error)
        except NotAdmitted as error:
            self._log.error(Action.REFUSED, reason=str(error))
            self._end_others(lane, Exit.FAIL, str(error))
            return self._finish_unformed(lane, Ending.FAILED, str(error)), Exit.FAIL
        except StoreRefused as error:
            self._log.error(Action.TROUBLE, reason=str(error))
            self._end_others(lane, Exit.STOP, str(error))
            return ledger.release(lane, LaneState.STOPPED, None, str(error)), Exit.STOP
        except InputUnreachable as error:
            self._log.warning(Action.TROUBLE, reason=str(error))
            due_at_ms = int(self._clock.now() * 1000) + WAIT_MS
            lane = msgspec.structs.replace(lane, trouble=str(error))
            # READY, not RESTING: a rest resets `idle_claims`, and input that stays unreachable must stop the run. But
            # for the suppression: however long it cannot be read, the run waits, and goes on by itself afterwards.
            state = LaneState.RESTING if isinstance(error, SuppressionUnreadable) else LaneState.READY
            return ledger.release(lane, state, due_at_ms, str(error)), Exit.WAIT
        deadline = Deadline(invocation.remaining_ms, self._recurse_below_ms)
        with self._hop_factory.hop(run, lane, admitted, deadline, self._log_trouble) as hop:
            if lane.span is not None:
                hop.on_stop = partial(self._end_others_soon, lane)
            departure = hop.run()
        self._end_others(lane, departure.why, departure.reason)
        lane = leave(hop.checkpoint, departure, ledger, self._clock)
        self._log_left(lane, departure.why)
        return lane, departure.why

    def _leave_preparing(self, run: Run, lane: Lane, waiting: StillPreparing) -> tuple[Lane, Exit]:
        """Rest until the audience is made, which is not waited for on paid time; or end a run that was cancelled."""
        if lane.control is Control.CANCEL:
            self._ledger.cancel_preparation(run.run_id)
            lane = self._finish_unformed(lane, Ending.CANCELLED, lane.cancel_reason)
            self._log_left(lane, Exit.CANCEL)
            return lane, Exit.CANCEL
        # The end of the preparation makes the lane ready. Its own time is for the case that this is lost.
        due_at_ms = waiting.due_at_ms or int(self._clock.now() * 1000) + PREPARING_MS
        lane = self._ledger.release(lane, LaneState.RESTING, due_at_ms, str(waiting) or None)
        # Asked only now that the lane rests: a preparation that ends at once must find it so.
        if lane.state is LaneState.RESTING and waiting.due_at_ms is None:
            self._hop_factory.ask_for_audience(run)
        self._log_left(lane, Exit.REST)
        return lane, Exit.REST

    def _end_idle(self, lane: Lane) -> tuple[Lane, Exit] | None:
        """Stop a lane of which too many claims in a row settled nothing: it would be paid for without an end."""
        is_cancelled = lane.control is Control.CANCEL
        if lane.idle_claims <= (MAX_IDLE_CLAIMS_CANCELLED if is_cancelled else MAX_IDLE_CLAIMS):
            return None
        idle_before = lane.idle_claims - 1  # this claim is counted already
        reason = f"no_progress: {idle_before} claims in a row settled nothing; {_last_trouble(lane)}"
        if is_cancelled:  # no operator will resume it, so it cannot wait for one
            left, why = self._finish_unformed(lane, Ending.CANCELLED, reason), Exit.CANCEL
        else:
            self._end_others(lane, Exit.STOP, reason)
            left, why = self._ledger.release(lane, LaneState.STOPPED, None, reason), Exit.STOP
        self._log_left(left, why)
        return left, why

    def _log_left(self, lane: Lane, why: Exit) -> None:
        self._log.info(Action.LEFT, why=why.name.lower(), state=lane.state.value, reason=lane.reason)

    def _log_trouble(self, text: str) -> None:
        self._log.warning(Action.TROUBLE, reason=text)

    def _finish_unformed(self, lane: Lane, ending: Ending, reason: str | None) -> Lane:
        """End a run without a hop: what earlier claims asked for and no claim counted is an upper bound."""
        first = lane.cursor.record // self._size
        return self._ledger.finish(as_never_formed(lane, first), ending, reason)

    def _note(self, lane: Lane, trouble: str) -> None:
        """Log what breaks an invocation off, and leave it in the ledger, where `status` reads why nothing moves."""
        self._log.error(Action.TROUBLE, reason=trouble)
        # The error itself is raised whether or not this write succeeds, and it says more.
        with suppress(Exception):
            found = self._ledger.read_lane(lane.run_id, lane.lane)
            if found is not None and found.epoch == lane.epoch and found.state is LaneState.RUNNING:
                self._ledger.renew(msgspec.structs.replace(found, trouble=trouble))

    def _open(self, run: Run, lane: Lane) -> tuple[Lane, AdmittedCampaign]:
        """Open the run in a thread, and keep the lease meanwhile: a large file takes longer than a lease."""
        task = self._background.submit(self._hop_factory.open, run, lane)
        lane = await_task(task, lane, self._ledger, self._clock)
        try:
            admitted = task.result()
        except StoreRefused as error:
            raise StoreRefused(f"state_refused: {error}") from error
        campaign = admitted.campaign
        self._log.info(Action.OPENED, campaign=campaign.id, parts=len(admitted.parts), rehearse=admitted.rehearse)
        return lane, admitted

    def _open_lanes(self, run: Run, lane: Lane, admitted: AdmittedCampaign) -> Lane:
        """Enter and nudge the further lanes of a run that has several. The first lane does so before it sends."""
        # One that has begun without a span is the only lane of its run.
        if lane.span is not None or lane.has_begun:
            return lane
        task = self._background.submit(self._hop_factory.lanes, run, lane, admitted)
        lane = await_task(task, lane, self._ledger, self._clock)
        spans = task.result()
        if not spans:
            return lane
        ends = admitted.campaign.abort_after
        lane = self._ledger.open_lanes(lane, spans, int(ends.timestamp() * 1000) if ends else None)
        self._log.info(Action.LANES_OPENED, lanes=len(spans))
        # Those whose window opens later rest: the sweeper nudges each in its time.
        now_ms = int(self._clock.now() * 1000)
        begin = [number for number, span in enumerate(spans) if waiting_state(span, now_ms) is LaneState.READY]
        self._share_from_the_start(lane, begin)
        # What is not nudged, because this worker dies or Lambda refuses, is due in a moment.
        for number in begin:
            if number:
                self._nudge_other(lane, number)
        return lane

    def _share_from_the_start(self, lane: Lane, numbers: Sequence[int]) -> None:
        """Enter the lanes that begin now among those that share a rate.

        Each finds itself known, and begins with its share at once.
        """
        now_ms = int(self._clock.now() * 1000)
        names = [member_name(lane.run_id, number) for number in numbers]
        try:
            self._ledger.join({name: Member(now_ms + MEMBER_MS) for name in names}, now_ms)
        except Exception as error:  # noqa: BLE001 - then each enters itself, and waits until the others have seen it
            self._log.warning(Action.TROUBLE, reason=f"the lanes are not entered yet: {in_words(error)}")

    def _leave_shares(self, lane: Lane) -> None:
        """A lane that is done, or waits, leaves its share to the others at once; it would lapse by itself.

        But not one that rests until its share lets it go on: with what the others would take, all would be too fast.
        """
        if lane.span is None or lane.state is LaneState.READY:
            return
        name, now_ms = member_name(lane.run_id, lane.lane), int(self._clock.now() * 1000)
        with suppress(Exception):
            if lane.state is LaneState.RESTING and lane.due_at_ms and lane.waits_for_rate:
                member = self._ledger.membership(now_ms).members.get(name, Member(0, lane.sending_ms))
                until_ms = lane.due_at_ms + WOKEN_MS
                self._ledger.join({name: msgspec.structs.replace(member, until_ms=until_ms, rests=True)}, now_ms)
            else:
                self._ledger.leave(name, now_ms)

    def _nudge_other(self, lane: Lane, number: int) -> None:
        """Nudge another lane of the run. Where that fails the sweeper does it: this lane goes on with its own work."""
        try:
            self._nudge(lane.run_id, number, lane.function_version)
        except Exception as error:  # noqa: BLE001 - whatever Lambda answered
            self._log.warning(Action.TROUBLE, reason=f"lane {number} was not nudged: {in_words(error)}")

    def _end_others_soon(self, lane: Lane, why: Exit, reason: str | None) -> None:
        """Begin to end the other lanes, in a thread: this lane has its own requests to see to.

        What becomes of it is not asked: the lane does it once more before its last write.
        """
        # By the time of now: a thread that runs late, when an operator has resumed the run, changes nothing any more.
        self._background.submit(self._end_others, lane, why, reason, int(self._clock.now() * 1000))

    def _end_others(self, lane: Lane, why: Exit, reason: str | None, at_ms: int | None = None) -> None:
        """A reason that stops a lane stops the run, and a file that one cannot read fails it.

        Before the last write of this lane: if the worker dies in between, the next claim meets the reason again.

        Args:
            at_ms: when the reason was found; by default now. Commands that were given later count.
        """
        if why not in (Exit.STOP, Exit.FAIL):
            return
        # Read back from `control_by` (`model.whole_run`): a run whose lanes were cancelled by FAILED_BY has failed.
        begins = FAILED_BY if why is Exit.FAIL else "lane "
        by = f"{begins}{lane.lane}: {reason or why.name.lower()}"[:MAX_BY]
        for other in self._ledger.lanes_of(lane.run_id):
            if other.lane == lane.lane or other.state is LaneState.DONE:
                continue
            if why is Exit.STOP:
                # Paused, until an operator resumes the run. Never in place of another command: a cancel counts.
                self._ledger.set_control(lane.run_id, Control.PAUSE, by, other.lane, only_if_going=True, at_ms=at_ms)
                continue
            changed = self._ledger.set_control(lane.run_id, Control.CANCEL, by, other.lane, at_ms=at_ms)
            if changed is not None and changed.state is LaneState.READY:
                self._nudge_other(changed, other.lane)

    def _prove_writable(self, run: Run, lane: Lane) -> Lane:
        """Try a few times, as a settlement does: one odd answer neither stops a run nor makes it wait a minute.

        Raises:
            StoreRefused: no batch of this run can be settled before an operator has changed something.
            InputUnreachable: S3 takes nothing now.
        """
        for attempt in range(1, REFUSALS + 1):
            task = self._background.submit(self._hop_factory.prove_writable, run)
            lane = await_task(task, lane, self._ledger, self._clock)
            try:
                task.result()
            except StoreRefused as error:
                if attempt == REFUSALS:
                    raise StoreRefused(f"rows_refused: {error}") from error
            except Exception as error:  # S3 could not be reached
                if attempt == REFUSALS:
                    raise InputUnreachable(f"rows could not be written: {in_words(error)}") from error
            else:
                break
            self._clock.sleep(RETRY_S)
        return lane

    def _continue_or_close(self, run: Run, lane: Lane, why: Exit) -> None:
        """After the last write: ask for the next hop, or close the run."""
        self._leave_shares(lane)
        # By the state, not by `why`: an operator's command may have turned a pause or rest into READY. WAIT alone is
        # READY for the sweeper, at its due time: asked for now, the next claim would find the input unreachable again.
        if lane.state is LaneState.READY and why is not Exit.WAIT:
            self._nudge(run.run_id, lane.lane, lane.function_version)
            self._log.info(Action.CONTINUED, hop=lane.hop)
        elif lane.state is LaneState.DONE:
            self._hop_factory.close(run, lane)


def _last_trouble(lane: Lane) -> str:
    """What failed last, for the operator who has to find out why nothing moves."""
    if lane.trouble:
        return f"what failed last: {lane.trouble}"
    return "nothing was noted: they were killed (time-out, memory, crash), or could not write the ledger; see the log"
