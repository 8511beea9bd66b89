"""One hop: sends a claimed lane's batches, settles them, and hands the lane over. A loop over injected time and stores.

One turn of the loop waits for nothing but answers. Calls that block run in a few threads, and the loop collects their
results when they are done. So the same code runs in Lambda and in a simulation that decides when each of them ends.
"""

import math
from collections.abc import Callable

from notifier.model.run import Control
from notifier.model.runtime import Clock, Deadline
from notifier.model.store_error import StoreRefused
from notifier.sending.batch import Batch
from notifier.sending.batch_source import (
    BatchSource,
    BrokenInput,
    ChangedInput,
    EndedAudience,
    InputUnreachable,
    SourceOpener,
)
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferred_rounds import DeferredRounds
from notifier.sending.departure import Departure, Exit, Plan
from notifier.sending.dispatch import Dispatch
from notifier.sending.rate_limit import RateLimit
from notifier.sending.send_queue import SendQueue
from notifier.sending.settling import SLOW_S

MAX_OPEN_BATCHES = 128
"""At 8,000 pushes a second one answer that takes 5 s keeps 80 batches open."""
REST_ABOVE_S = 90.0
"""A longer wait than this is not billed: the lane rests."""
POLL_S = 0.02
"""How long a turn waits for answers when nothing is to be sent before some have come."""
BUSY_POLL_S = 0.005
"""How long when there may be something to send in the next turn."""
PACED_POLL_S = 0.05
"""How long at most when the rate limit holds pushes back."""
_SEND_OPEN_BATCHES = (Exit.HAND_OVER, Exit.COMPLETE)
"""Ways to end that let the open batches be sent to their end; all others defer what is not in flight."""
_ACCOUNTS_FOR_ALL = (Exit.ABORT, Exit.CANCEL, Exit.FAIL)
"""Ways to end a run early: they still account for everything that earlier claims may have sent."""


class Hop:
    """One working invocation of a lane.

    Args:
        opener: the batches from the checkpoint's cursor on.
        deferred: the deferred devices.
        rate_limit: of first requests, control users included.
        on_turn: is called after each turn of the loop.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        dispatch: Dispatch,
        opener: SourceOpener,
        deferred: DeferredRounds,
        rate_limit: RateLimit,
        plan: Plan,
        deadline: Deadline,
        clock: Clock,
        on_turn: "Callable[[Hop], None]",
    ) -> None:
        self.checkpoint = checkpoint
        self.dispatch = dispatch
        self.deadline = deadline
        self._opener = opener
        self._deferred = deferred
        self._source: BatchSource | None = None
        self._queue = SendQueue(dispatch, rate_limit, clock)
        self._plan = plan
        self._clock = clock
        self._on_turn = on_turn
        self._upcoming: Batch | None = None
        """A batch that is formed, and waits until the ledger has recorded that a crash could have reached it."""
        self._exit: Exit | None = None
        self._reason: str | None = None
        self._due_at: float | None = None
        self._unreachable = False
        self._reading_since_s: float | None = None
        """Since when the settled batches are read, while nothing can be sent for that."""

    def run(self) -> Departure:
        """Send until there is a reason to end, then drain. Every batch formed is settled when this returns.

        Raises:
            LaneLost, LeaseOver: another worker has the lane, or may have it; nothing may be written.
        """
        try:
            while True:
                # First the reasons to end, so that a turn after a cancel or near the deadline starts nothing new.
                self._look_for_reasons()
                self._read_deferred()
                if self._exit is None or self._exit is Exit.HAND_OVER:
                    # A hand-over sends its open batches to the end; they would cost the next hop a request each.
                    self._send_some()
                elif self._must_read_on:
                    self._read_on()
                self._look_at_end()
                # While settlements fail, or the lease is short, nothing more may start.
                self.dispatch.step(self._patience_s(), may_start=not self.checkpoint.must_hold)
                self._release_withheld()
                self._heed_dispatch()
                # After the answers of this turn, so that a batch is settled in the turn in which it is complete.
                self._settle()
                # After the settlements: one write carries all of them. At the end at once, for nothing follows.
                self.checkpoint.write(urgent=self._exit is not None or self._is_idle)
                self._on_turn(self)
                if self._is_over():
                    return Departure(self._exit or Exit.COMPLETE, self._reason, self._due_at)
        finally:
            if self._source is not None:
                self._source.close()

    def _heed_dispatch(self) -> None:
        """End when the dispatch found that nothing can be sent: for good, or for a while."""
        if self.dispatch.stop_reason is not None:
            self._end(Exit.STOP, self.dispatch.stop_reason)
        elif (rest := self.dispatch.rest) is not None:
            self._rest(rest.until_s, rest.reason)

    def _settle(self) -> None:
        for counted in self.checkpoint.settle_complete():
            self._deferred.note_counted(counted)
        if self.checkpoint.refused is not None:
            self._stop_unsettled(self.checkpoint.refused)

    # -- reasons to end -----------------------------------------------------------------------------------------------

    def _look_for_reasons(self) -> None:
        """Operator's commands, the campaign's times, the invocation's time."""
        now_s = self._clock.now()
        lane = self.checkpoint.lane
        # In any order: of several reasons the highest `Exit` wins.
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
        # A hand-over lets open batches finish. The less time is left, the less is waited for: at half of it no request
        # starts, at a quarter no answer is waited for, and at an eighth no settlement.
        remaining_ms = self.deadline.remaining_ms()
        if remaining_ms < self.deadline.hard_ms and not self.dispatch.draining:
            self._drain()
        if remaining_ms < self.deadline.last_ms:
            self.dispatch.abandon()
        if remaining_ms < self.deadline.give_up_ms and not self.checkpoint.is_settled:
            self._leave_unsettled()

    def _end(self, why: Exit, reason: str | None) -> None:
        """Begin to end. Only a hand-over lets the open batches finish; everything else defers what is not in flight."""
        # Input that cannot be read and batches that cannot be settled decide for good how this hop ends.
        is_decided = self._unreachable or self.checkpoint.has_given_up
        if is_decided or (self._exit is not None and self._exit >= why):
            return
        self._exit, self._reason = why, reason
        if why not in _SEND_OPEN_BATCHES:
            self._drain()

    def _wait(self, reason: str) -> None:
        """Input unreachable: end with WAIT, even when cancelled or aborted, because the account needs the rest."""
        self.checkpoint.troubles.note(reason)
        if self._must_read_on:
            # Not by `_end`: CANCEL or ABORT would overrule WAIT. Nor would batches that are left unsettled let it end,
            # and the hop would turn until its time is up.
            self._exit, self._reason = Exit.WAIT, reason
            self._drain()
        self._end(Exit.WAIT, reason)
        self._unreachable = True

    def _stop_unsettled(self, reason: str) -> None:
        """No batch can be settled before an operator has changed something: stop, and leave them to a resume."""
        if self.checkpoint.has_given_up:
            return
        self.checkpoint.give_up()
        # A cancelled run is never resumed: it ends as cancelled, and its account says what is missing.
        # By the control, not by the exit: a file that breaks while it is read on has made that one FAIL.
        is_cancelled = self.checkpoint.lane.control is Control.CANCEL
        self._exit, self._reason = (Exit.CANCEL if is_cancelled else Exit.STOP), reason
        self._drain()

    def _leave_unsettled(self) -> None:
        """No time is left for another try: leave now, because a kill would lose what the next claim has to know."""
        self.checkpoint.give_up(at_once=True)
        if self._exit not in (Exit.PAUSE, Exit.STOP):
            # Endings too: they are due again in the next claim, which can then account for everything.
            trouble = self.checkpoint.troubles.last
            self._exit, self._reason = Exit.WAIT, trouble or "S3 took no rows in the time that was left"

    def _rest(self, due_at: float, reason: str | None = None) -> None:
        self._due_at = due_at
        self._end(Exit.REST, reason)

    def _drain(self) -> None:
        """Start no request from now on."""
        self.dispatch.drain()
        self._queue.drain()

    def _release_withheld(self) -> None:
        """If only withheld refusals remain and no more answers will come, decide them now."""
        if self.dispatch.withheld and self.dispatch.withheld == self.dispatch.open and self._nothing_to_send:
            self.dispatch.release_withheld(is_last_round=self._has_ended and self._exit is None)

    @property
    def _has_ended(self) -> bool:
        """The audience is read, and nothing deferred is due."""
        return self._source_ended and self._deferred.is_quiet(self._clock.now())

    @property
    def _source_ended(self) -> bool:
        return self._source is not None and self._source.ended

    @property
    def _nothing_to_send(self) -> bool:
        # A full queue of open batches counts: none is taken in before one of these is settled.
        return self._queue.is_empty and (self._exit is not None or self._is_full or self._has_ended)

    @property
    def _is_full(self) -> bool:
        """Batches that are left unsettled do not count: nothing waits for them."""
        return self.checkpoint.unsettled >= MAX_OPEN_BATCHES and not self.checkpoint.has_given_up

    @property
    def _is_idle(self) -> bool:
        return self._queue.is_empty and self.dispatch.open == 0 and self.checkpoint.is_settled

    def _is_over(self) -> bool:
        return self._exit is not None and self._is_idle and self.checkpoint.is_written and not self._must_read_on

    @property
    def _must_read_on(self) -> bool:
        """After cancel, abort or a broken file: whether batches that an earlier claim may have sent are not formed yet.

        They are formed, so that their rows are counted and the rest is deferred. Also, a worker that was only slow
        cannot settle any of them afterwards.
        """
        if self._exit not in _ACCOUNTS_FOR_ALL:
            return False
        return self._must_read_audience or self.checkpoint.is_in_old_round or self._deferred.has_unfinished

    @property
    def _must_read_audience(self) -> bool:
        # Not after FAIL: a broken audience cannot be read on.
        is_readable = self._exit in (Exit.ABORT, Exit.CANCEL) and not self._source_ended
        return is_readable and self.checkpoint.has_suspects_ahead

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send_some(self) -> None:
        """Send what rate limit and window allow: deferred devices that are due, open batches, then new ones."""
        if self.checkpoint.must_hold:
            return
        if self._exit is None:
            self._take_deferred()
        self._queue.send(self._next_batch)
        if (number := self._queue.half_sent) is not None:
            self.checkpoint.expect(number + 1)

    def _next_batch(self) -> Batch | None:
        """Bring the next batch of the audience in, if there may be one. Returns it if it has devices to send."""
        batch = self._read_batch() if self._may_read else None
        if batch is None:
            return None
        # Not where a run ends early: then the batch is deferred unasked, and no crash can leave it suspected.
        if (
            not batch.settled_by_another
            and self._exit is None
            and not self.checkpoint.may_form(batch.number, batch.pushes)
        ):
            self._upcoming = batch
            return None
        self._upcoming = None
        self.checkpoint.enter(batch)
        if not batch.waiting:
            return None
        self.checkpoint.begin_sending()
        return batch

    @property
    def _may_read(self) -> bool:
        if self._is_full:
            return False
        return self._exit is None or self._must_read_audience or self.checkpoint.is_in_old_round

    def _read_batch(self) -> Batch | None:
        """The next batch of the audience; None when it is not there yet, or cannot be had, which ends the hop."""
        try:
            if self._source is None:
                self._source = self._opener.open(self.checkpoint)
            if self._source is None:
                self._note_slow_reading()
                return None
            self._reading_since_s = None
            return self._upcoming or self._source.next()
        except BrokenInput as error:
            self.checkpoint.end_forming(has_changed=isinstance(error, ChangedInput))
            self._end(Exit.FAIL, str(error))
        except StoreRefused as error:
            self._end(Exit.STOP, f"rows_refused: {error}")
        except InputUnreachable as error:
            self._wait(str(error))
        return None

    def _note_slow_reading(self) -> None:
        """Note what is waited for: a hop that is killed meanwhile leaves it in the ledger."""
        now_s = self._clock.monotonic()
        if self._reading_since_s is None:
            self._reading_since_s = now_s
        if now_s - self._reading_since_s >= SLOW_S:
            self.checkpoint.troubles.note(f"settled batches: S3 takes more than {SLOW_S:.0f} s to hand them out")

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def _read_deferred(self) -> None:
        """Read what is due. Once the hop is ending, no batch is entered in the list of those asked for."""
        try:
            self._deferred.turn()
        except StoreRefused as error:
            self._end(Exit.STOP, f"rows_refused: {error}")
        if self._exit is not None and not self._must_read_on:
            self._deferred.stop()

    def _take_deferred(self, *, unfinished_only: bool = False) -> None:
        for batch, later in self._deferred.take(unfinished_only=unfinished_only):
            # Where a run ends early nothing is sent, and the ramp's time does not count.
            if not unfinished_only:
                self.checkpoint.begin_sending()
            self._queue.put_again(batch)
            for push in later:
                self.dispatch.set_aside(push)

    def _read_on(self) -> None:
        """After cancel or abort keep forming the batches that an earlier claim may have sent, so that they are counted.

        Their devices without a row are deferred: the account lists them as unsent.
        """
        batch = self._next_batch()
        if batch is not None:
            self._queue.put(batch)
        self._take_deferred(unfinished_only=True)
        self._drain()
        try:
            self._deferred.due_at()  # asked for its error only
        except InputUnreachable as error:
            self._wait(str(error))

    def _look_at_end(self) -> None:
        """The reading is over when the audience has ended and is settled; the run, when nothing is deferred either."""
        if self._source is not None and self._source.ended and not self.checkpoint.is_reading_over:
            self._end_reading(self._source)
        if self._exit is not None or not self._has_read or not self._is_idle:
            return
        # Deferred devices leave this count as the round that asked for them is settled: at 0 all have an outcome.
        if self.checkpoint.account.deferred <= 0:
            self._end(Exit.COMPLETE, None)
            return
        try:
            due_at = self._deferred.due_at()
        except InputUnreachable as error:
            self._wait(str(error))
            return
        if due_at == math.inf:
            # The account counts deferred devices and no object holds them. A listing may have been older than they are.
            if not self._deferred.look_again():
                self._end(Exit.STOP, "deferred_missing: the objects of devices that are still to be asked for are gone")
        elif due_at is not None:
            self._rest_until(due_at)

    @property
    def _has_read(self) -> bool:
        """The audience is read. Where nothing is deferred, that need not be written before the run completes."""
        nothing_left = not self.checkpoint.is_in_old_round and self.checkpoint.account.deferred <= 0
        return self.checkpoint.is_read or (self._source_ended and nothing_left)

    def _end_reading(self, source: BatchSource) -> None:
        """Go on with deferred devices only."""
        # The audience is over when its batches are settled: a crash before that must form them again.
        if self._queue.has_first or not self.checkpoint.has_settled_all:
            return
        if not self.checkpoint.is_in_old_round:
            if self.checkpoint.account.deferred > 0:
                self.checkpoint.end_reading()
        elif self._deferred.is_listed and isinstance(source, EndedAudience):
            self.checkpoint.end_reading(source.settled, self._deferred.asked_by_old_claims(source.settled))

    def _rest_until(self, due_at: float) -> None:
        """A short wait is waited for, a long one is a rest."""
        wait_s = due_at - self._clock.now()
        beyond_hop = wait_s * 1000 > self.deadline.before_near_ms()
        # Credentials that could not be had for half a minute will not be there in a moment either.
        unavailable = self.dispatch.unavailable
        if wait_s > REST_ABOVE_S or (wait_s > 0 and (beyond_hop or unavailable)):
            # Not beyond `abort_after`: a run that is aborted must be ended then.
            until = min(due_at, self._plan.abort_after or math.inf)
            self._rest(until, unavailable.reason if unavailable else None)

    def _patience_s(self) -> float:
        """How long this turn may wait for answers."""
        if self.checkpoint.must_hold:
            return POLL_S  # whatever the rate limit allows, nothing may start
        if self._exit is None and self._queue.has_first and self.dispatch.room > 0:
            return min(self._queue.wait_s(), PACED_POLL_S)
        if self.dispatch.open == 0 or not self._nothing_to_send:
            return BUSY_POLL_S
        return POLL_S
