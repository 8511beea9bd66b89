"""The worker: feed a claimed lane, settle its batches, hand it over. A plain loop over injected time and stores.

One turn of the loop never waits for anything but answers; calls that block run in a few threads and are taken in when
they are done. So the same code runs in Lambda and in a simulation that decides when each of them ends.
"""

import enum
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from notifier.model.ledger import Ledger
from notifier.model.outcome import timestamp
from notifier.model.run import HAND_OVER_MS, Control, Ending, Lane, LaneState
from notifier.model.runtime import Clock, Deadline
from notifier.model.store_error import StoreRefused
from notifier.sending.batch import Batch
from notifier.sending.batch_source import BatchSource, BrokenInput, EndedFeed, InputUnreachable
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.dispatch import Dispatch
from notifier.sending.rate_limit import RateLimit
from notifier.sending.retrying import Retrying
from notifier.sending.settling import SLOW_S

MAX_OPEN_BATCHES = 128
"""At 8,000 pushes a second one answer that takes 5 s keeps 80 batches open."""
TURN = 256
"""Pushes let go in one turn of the loop, so that answers are never kept waiting."""
REST_ABOVE_S = 90.0
"""A longer wait than this is not billed: the lane rests."""
WAIT_MS = 60_000
"""S3 could not be read: the sweeper comes back after this."""


class Exit(enum.IntEnum):
    """Why this hop ends. A higher one overrules a lower one."""

    HAND_OVER = 1
    WAIT = 2
    REST = 3
    PAUSE = 4
    ABORT = 5
    CANCEL = 6
    STOP = 7
    FAIL = 8
    COMPLETE = 9


class Plan(msgspec.Struct, frozen=True):
    """What the campaign says about when. Times in seconds since the epoch."""

    not_before: float | None = None
    abort_after: float | None = None


class Watcher(Protocol):
    """Is told how it goes, once a turn at most; shows or logs it."""

    def turn(self, hop: "Hop") -> None: ...


class Hop:
    """One working invocation of a lane.

    Args:
        open_feed: the audience from the progress' cursor on; None while what it needs is being read.
        retrying: the deferred devices.
        pace: permits for first attempts, control users included.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dispatch: Dispatch,
        open_source: Callable[[Checkpoint], BatchSource | None],
        retrying: Retrying,
        rate_limit: RateLimit,
        plan: Plan,
        deadline: Deadline,
        clock: Clock,
        watcher: Watcher,
    ) -> None:
        self.checkpoint = checkpoint
        self.dispatch = dispatch
        self.deadline = deadline
        self._open_source = open_source
        self._retrying = retrying
        self._source: BatchSource | None = None
        self._rate_limit = rate_limit
        self._plan = plan
        self._clock = clock
        self._watcher = watcher
        self._current: list[Batch] = []
        self._again: deque[Batch] = deque()
        """Batches with devices that are asked for again."""
        self._upcoming: Batch | None = None
        self._exit: Exit | None = None
        self._unreachable = False
        self._reading_since_s = 0.0
        self.reason: str | None = None
        self.due_at: float | None = None

    def run(self) -> Exit:
        """Send until there is a reason to end, then drain. Every batch formed is settled when this returns.

        Raises:
            LaneLost, LeaseOver: another worker holds the lane; nothing may be written.
        """
        try:
            while True:
                self._look_around()
                self._read_deferred()
                if self._exit is None or self._exit is Exit.HAND_OVER:
                    self._send_some()
                elif self._must_read_on:
                    self._read_on()
                self._look_at_end()
                self.dispatch.step(self._patience_s(), may_start=not self.checkpoint.must_hold)
                self._release_withheld()
                if self.dispatch.stop_reason is not None:
                    self._end(Exit.STOP, self.dispatch.stop_reason)
                elif (rest := self.dispatch.rest) is not None:
                    self._rest(rest.until_s, rest.reason)
                self.checkpoint.settle_complete()
                if self.checkpoint.refused is not None:
                    self._stop_unsettled(self.checkpoint.refused)
                self.checkpoint.write(urgent=self._exit is not None or self._is_idle)
                self._watcher.turn(self)
                if self._is_over():
                    return self._exit or Exit.COMPLETE
        finally:
            if self._source is not None:
                self._source.close()

    # -- reasons to end -----------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        now_s = self._clock.now()
        lane = self.checkpoint.lane
        if lane.control is Control.CANCEL:
            self._end(Exit.CANCEL, lane.cancel_reason)
        elif lane.control is Control.PAUSE:
            self._end(Exit.PAUSE, None)
        if self._plan.abort_after is not None and now_s >= self._plan.abort_after:
            self._end(Exit.ABORT, "abort_after has passed")
        if self._plan.not_before is not None and now_s < self._plan.not_before:
            self._rest(self._plan.not_before)
        if self.deadline.is_near():
            self._end(Exit.HAND_OVER, None)
        remaining_ms = self.deadline.remaining_ms()
        if remaining_ms < self.deadline.hard_ms and not self.dispatch.draining:
            self._drain()
        if remaining_ms < self.deadline.last_ms:
            self.dispatch.abandon()
        if remaining_ms < self.deadline.give_up_ms and not self.checkpoint.is_settled:
            self._leave_unsettled()

    def _end(self, why: Exit, reason: str | None) -> None:
        """Begin to end. Only a hand-over lets the open batches finish; everything else defers what is not in flight."""
        if self._unreachable or self.checkpoint.has_given_up or (self._exit is not None and self._exit >= why):
            return
        self._exit, self.reason = why, reason
        if why not in (Exit.HAND_OVER, Exit.COMPLETE):
            self._drain()

    def _wait(self, reason: str) -> None:
        """What has to be read cannot be: even a run that ends early has to wait for it."""
        self.checkpoint.note_trouble(reason)
        if self._must_read_on:
            self._exit = None
        self._end(Exit.WAIT, reason)
        self._unreachable = True

    def _stop_unsettled(self, reason: str) -> None:
        """Nothing can be settled until somebody changes something: what was asked for stays open, until a resume."""
        if self.checkpoint.has_given_up:
            return
        self.checkpoint.give_up()
        # A cancelled run has nobody who resumes it: it ends as cancelled, and says what is missing in its account.
        self._exit, self.reason = (self._exit if self._exit is Exit.CANCEL else Exit.STOP), reason
        self._drain()

    def _leave_unsettled(self) -> None:
        """No time is left to try again. To be killed here would lose what the next claim has to know."""
        self.checkpoint.give_up(at_once=True)
        if self._exit not in (Exit.PAUSE, Exit.STOP):
            # Also for endings: they are due again in the next claim, which can then account for everything.
            self._exit, self.reason = Exit.WAIT, self.checkpoint.trouble or "S3 took no rows in the time that was left"

    def _rest(self, due_at: float, reason: str | None = None) -> None:
        self.due_at = due_at
        self._end(Exit.REST, reason)

    def _drain(self) -> None:
        """Start no request from now on. Control users need none: they are held at once."""
        self.dispatch.drain()
        at = timestamp(self._clock.now())
        for batch in (*self._current, *self._again):
            while batch.waiting:
                push = batch.waiting.popleft()
                if push.is_control:
                    batch.hold(push, at)
                else:
                    batch.defer(push)
        self._current.clear()
        self._again.clear()

    def _release_withheld(self) -> None:
        """When every open push is one held in doubt, and nothing more will come, they cannot be held any longer."""
        if self.dispatch.withheld and self.dispatch.withheld == self.dispatch.open and self._nothing_to_send:
            self.dispatch.release_withheld(is_last_round=self._has_ended and self._exit is None)

    @property
    def _has_ended(self) -> bool:
        """The audience is read, and nothing deferred is due."""
        ended = self._source is not None and self._source.ended
        return ended and self._retrying.is_quiet(self._clock.now())

    @property
    def _nothing_to_send(self) -> bool:
        return not self._current and not self._again and (self._exit is not None or self._is_full or self._has_ended)

    @property
    def _is_full(self) -> bool:
        """Batches that are left unsettled do not count: nothing waits for them."""
        return self.checkpoint.unsettled >= MAX_OPEN_BATCHES and not self.checkpoint.has_given_up

    @property
    def _is_idle(self) -> bool:
        return not self._current and not self._again and self.dispatch.open == 0 and self.checkpoint.is_settled

    def _is_over(self) -> bool:
        return self._exit is not None and self._is_idle and self.checkpoint.is_written and not self._must_read_on

    @property
    def _must_read_on(self) -> bool:
        """A run that ends early still accounts for what dead workers may have begun: settled batches, the rest unsent.

        So every row is counted, and a worker that was only slow cannot settle anything afterwards.
        """
        if self._exit not in (Exit.ABORT, Exit.CANCEL, Exit.FAIL):
            return False
        return self._must_read_audience or self.checkpoint.is_old or self._retrying.has_unfinished

    @property
    def _must_read_audience(self) -> bool:
        over = self._source is not None and self._source.ended
        return self._exit in (Exit.ABORT, Exit.CANCEL) and self.checkpoint.has_suspects_ahead and not over

    # -- feeding ------------------------------------------------------------------------------------------------------

    def _send_some(self) -> None:
        """Let go what pace and window allow: of the open batches first, then of a new one."""
        if self.checkpoint.must_hold:
            return
        now_s = self._clock.monotonic()
        left = min(self._rate_limit.permits(now_s), self._let_go_again())
        gone = 0
        while gone < left:
            if not self._current and not self._take_batch():
                break
            gone += self._send_from(self._current[0], left - gone)
            if not self._current[0].waiting:
                self._current.pop(0)
        if self._current and 2 * len(self._current[-1].waiting) <= self._current[-1].pushes:
            self.checkpoint.expect(self._current[-1].number + 1)
        self._rate_limit.take(gone)

    def _send_from(self, batch: Batch, limit: int) -> int:
        waiting, n = batch.waiting, 0
        at = timestamp(self._clock.now())
        while waiting and n < limit:
            push = waiting.popleft()
            if push.is_control:
                batch.hold(push, at)
            else:
                self.dispatch.send(push)
            n += 1
        return n

    def _take_batch(self) -> bool:
        """Bring the next batch in, if there may be one."""
        if self._is_full or (self._exit is not None and not (self._must_read_audience or self.checkpoint.is_old)):
            return False
        try:
            if self._source is None:
                self._source = self._open_source(self.checkpoint)
            if self._source is None:
                self._note_slow_reading()
                return False
            self._reading_since_s = 0.0
            batch = self._upcoming or self._source.next()
        except BrokenInput as error:
            self._end(Exit.FAIL, str(error))
            return False
        except StoreRefused as error:
            self._end(Exit.STOP, f"rows_refused: {error}")
            return False
        except InputUnreachable as error:
            self._wait(str(error))
            return False
        if batch is None:
            return False
        if not batch.settled_by_another and self._exit is None and not self.checkpoint.may_form(batch.number):
            self._upcoming = batch
            return False
        self._upcoming = None
        self.checkpoint.enter(batch)
        if batch.waiting:
            self.checkpoint.begin_sending()
            self._current.append(batch)
        return bool(batch.waiting)

    def _note_slow_reading(self) -> None:
        """A hop that is killed while it reads leaves behind what it waited for."""
        now_s = self._clock.monotonic()
        self._reading_since_s = self._reading_since_s or now_s
        if now_s - self._reading_since_s >= SLOW_S:
            self.checkpoint.note_trouble(f"settled batches: S3 takes more than {SLOW_S:.0f} s to hand them out")

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def _read_deferred(self) -> None:
        """Read what is due. Once the hop is ending, nothing more is announced."""
        try:
            self._retrying.turn()
        except StoreRefused as error:
            self._end(Exit.STOP, f"rows_refused: {error}")
        if self._exit is not None and not self._must_read_on:
            self._retrying.stop()

    def _let_go_again(self) -> int:
        """Let go the deferred devices that are due. The pace is of first requests: it does not hold them back.

        Returns how many more pushes may be let go in this turn.
        """
        if self._exit is None:
            self._take_deferred()
        left = min(self.dispatch.room, TURN)
        while self._again and left > 0:
            batch = self._again[0]
            while batch.waiting and batch.waiting[0].attempts and left > 0:
                self.dispatch.send(batch.waiting.popleft())
                left -= 1
            if not batch.waiting or not batch.waiting[0].attempts:
                self._again.popleft()
                if batch.waiting:  # deferred before it was asked for the first time
                    self._current.insert(0, batch)
        return left

    def _take_deferred(self, *, unfinished_only: bool = False) -> None:
        for batch, later in self._retrying.take(unfinished_only=unfinished_only):
            if not unfinished_only:
                self.checkpoint.begin_sending()
            self._again.append(batch)
            for push in later:
                self.dispatch.set_aside(push)

    def _read_on(self) -> None:
        """Form what workers that died may have begun, and defer it: so its rows are counted, and nobody's are lost."""
        self._take_batch()
        self._take_deferred(unfinished_only=True)
        self._drain()
        try:
            self._retrying.due_at()
        except InputUnreachable as error:
            self._wait(str(error))

    def _look_at_end(self) -> None:
        """The audience is over when its feed has ended and is settled; the run, when nothing is deferred either."""
        if self._source is not None and self._source.ended and not self.checkpoint.is_reading_over:
            self._end_reading(self._source)
        if self._exit is not None or not self._has_read or not self._is_idle:
            return
        if self.checkpoint.account.deferred <= 0:
            self._end(Exit.COMPLETE, None)
            return
        try:
            due_at = self._retrying.due_at()
        except InputUnreachable as error:
            self._wait(str(error))
            return
        if due_at == math.inf:
            if not self._retrying.look_again():
                self._end(Exit.STOP, "deferred_missing: the objects of devices that are still to be asked for are gone")
        elif due_at is not None:
            self._rest_until(due_at)

    @property
    def _has_read(self) -> bool:
        """The audience is read. Where nothing is deferred, the ledger need not know."""
        ended = self._source is not None and self._source.ended
        return self.checkpoint.is_read or (
            ended and not self.checkpoint.is_old and self.checkpoint.account.deferred <= 0
        )

    def _end_reading(self, source: BatchSource) -> None:
        """Go on with deferred devices only."""
        if self._current or not self.checkpoint.has_settled_all:
            return
        if not self.checkpoint.is_old:
            if self.checkpoint.account.deferred > 0:
                self.checkpoint.end_reading()
        elif self._retrying.is_listed and isinstance(source, EndedFeed):
            self.checkpoint.end_reading(source.settled, self._retrying.asked_by_old_claims(source.settled))

    def _rest_until(self, due_at: float) -> None:
        """A short wait is waited for, a long one is a rest."""
        wait_s = due_at - self._clock.now()
        beyond_hop = wait_s * 1000 > self.deadline.before_near_ms()
        # Credentials that could not be had for half a minute will not be there in a moment either.
        kept_out = self.dispatch.unavailable
        if wait_s > REST_ABOVE_S or (wait_s > 0 and (beyond_hop or kept_out)):
            self._rest(min(due_at, self._plan.abort_after or math.inf), kept_out.reason if kept_out else None)

    def _patience_s(self) -> float:
        """How long this turn may wait for answers."""
        if self.checkpoint.must_hold:
            return 0.02  # whatever the pace allows, nothing may start
        if self._exit is None and self._current and self.dispatch.room > 0:
            return min(self._rate_limit.wait_s(self._clock.monotonic()), 0.05)
        if self.dispatch.open == 0 or not self._nothing_to_send:
            return 0.005
        return 0.02


def leave(hop: Hop, why: Exit, ledger: Ledger, clock: Clock) -> Lane:
    """The hop's last write: what becomes of the lane.

    Raises:
        LaneLost: another worker holds it.
    """
    lane = hop.checkpoint.as_left()
    now_ms = int(clock.now() * 1000)
    match why:
        case Exit.HAND_OVER:
            return ledger.release(lane, LaneState.READY, now_ms + HAND_OVER_MS)
        case Exit.WAIT:
            return ledger.release(lane, LaneState.READY, now_ms + WAIT_MS, hop.reason)
        case Exit.REST:
            return ledger.release(lane, LaneState.RESTING, int((hop.due_at or clock.now()) * 1000), hop.reason)
        case Exit.PAUSE:
            return ledger.release(lane, LaneState.PAUSED, None)
        case Exit.STOP:
            return ledger.release(lane, LaneState.STOPPED, None, hop.reason)
        case Exit.ABORT:
            return ledger.finish(lane, Ending.ABORTED, hop.reason)
        case Exit.CANCEL:
            # Here alone a run may end with batches that could not be settled: nobody resumes it.
            return ledger.finish(hop.checkpoint.as_ended(), Ending.CANCELLED, hop.reason)
        case Exit.FAIL:
            return ledger.finish(lane, Ending.FAILED, hop.reason)
        case Exit.COMPLETE:
            return ledger.finish(lane, Ending.COMPLETED, None)
