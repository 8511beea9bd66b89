"""One hop: sends a claimed lane's batches, settles them, and hands the lane over. A loop over injected time and stores.

One turn of the loop waits for nothing but answers. Calls that block run in a few threads, and the loop collects their
results when they are done. So the same code runs in Lambda and in a simulation that decides when each of them ends.

A turn, in the order of the methods below:
    reasons to end · deferred devices that are due · send, or read on to account · the end of the audience
    answers · refusals that wait for a decision · settlements · the ledger · is the hop finished?

A *legacy round* (`is_in_legacy_round`) is one of a run that an older release began. That asked for deferred batches in
the order of their numbers, a round at a time, and kept no list of those that are asked for (`asking`).
"""

import math
from collections.abc import Callable

from notifier.model.run import Control
from notifier.model.runtime import Clock, Deadline
from notifier.model.store_error import StoreRefused
from notifier.sending.audience_reading import AudienceReading
from notifier.sending.batch import BATCH_SIZE, Batch
from notifier.sending.batch_source import BrokenInput, ChangedInput, EndedAudience, InputUnreachable, SourceOpener
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferred_rounds import DeferredRounds
from notifier.sending.dispatch import Dispatch
from notifier.sending.exit_reasons import outside_reasons
from notifier.sending.hop_exit import Departure, Exit, ExitDecision, Plan
from notifier.sending.rate_limit import RateLimit
from notifier.sending.send_queue import REST_ABOVE_S, SendQueue

MAX_OPEN_BATCHES = 256
"""So many batches may be formed and not passed by the cursor. An answer that takes 5 s keeps those behind it waiting:
12,000 pushes a second × 5.5 s / 450 of a batch = 147. Twice 128, which bounded a run whose answers were so late."""
POLL_S = 0.02
"""How long a turn waits for answers when nothing can be sent before some of them arrive."""
BUSY_POLL_S = 0.005
"""The same when the next turn may have something to send, or only threads can finish."""
PERMITS_POLL_S = 0.01
"""The shortest wait for a rate limit: permits of this time are used in one turn."""
PACED_POLL_S = 0.05
"""The longest wait for a rate limit: an operator's command and the deadline are read between two waits."""


class Hop:
    """One working invocation of a lane.

    Its state is in five parts: `checkpoint` has what is formed, settled and written; `dispatch` the pushes on their
    way; the queue the batches that are not sent to their end; the reading where the audience is; the exit whether the
    hop ends, and why.

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
        self._reading = AudienceReading(opener, checkpoint)
        self._deferred = deferred
        self._queue = SendQueue(dispatch, rate_limit, clock)
        self._plan = plan
        self._clock = clock
        self._on_turn = on_turn
        self._exit = ExitDecision()
        self._rests_for_rate = False
        self.on_stop: Callable[[Exit, str | None], object] | None = None
        """Is called once, as soon as the hop is to end for a reason that ends its whole run, and before it drains."""

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
                if self._exit.why is None or self._exit.why is Exit.HAND_OVER:
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
                self._pass_on_stop()
                # After the settlements: one write carries all of them. At the end at once, for nothing follows.
                self.checkpoint.write(urgent=self._exit.why is not None or self._is_idle)
                self._on_turn(self)
                if (why := self._finished_exit()) is not None:
                    # Since when it waits for the rate is kept for the next hop. Not by a rest for another reason (a
                    # gateway that is down, a hold): that leaves its share to other lanes, and the wait begins again.
                    if why is not Exit.REST or self._rests_for_rate:
                        self.checkpoint.waits_from_ms = self._queue.waits_from_ms()
                    return self._exit.departure(why)
        finally:
            # Whatever ended the loop, LaneLost too: the source has open files and threads.
            self._reading.close()

    # -- reasons to end -----------------------------------------------------------------------------------------------

    def _look_for_reasons(self) -> None:
        """Take in what ends the hop from outside, and cut short what the invocation has no time left for."""
        for found in outside_reasons(self.checkpoint.lane, self._plan, self.deadline, self._clock.now()):
            self._request_exit(found.why, found.reason, found.due_at)
        # A hand-over lets open batches finish, as long as there is time. Below half of `recurse_below_ms` no request
        # starts, below a quarter no answer is awaited, below an eighth no settlement.
        remaining_ms = self.deadline.remaining_ms()
        if remaining_ms < self.deadline.stop_requests_ms and not self.dispatch.is_draining:
            self._drain()
        if remaining_ms < self.deadline.stop_answers_ms:
            self.dispatch.abandon()
        if remaining_ms < self.deadline.stop_settling_ms and not self.checkpoint.is_done_settling:
            self._leave_unsettled()

    def _request_exit(self, why: Exit, reason: str | None, due_at: float | None = None) -> None:
        """Begin to end, unless a higher exit was requested before."""
        if self._exit.request(why, reason, due_at) and not self._exit.lets_open_batches_finish:
            self._drain()

    def _drain(self) -> None:
        """Start no request from now on."""
        self.dispatch.drain()
        self._queue.drain()

    def _leave_unsettled(self) -> None:
        """No time is left for another try: leave now, because a kill would lose what the next claim has to know."""
        self.checkpoint.give_up(at_once=True)
        if self._exit.why in (Exit.PAUSE, Exit.STOP):
            # These stay as they are: an operator's resume makes the claim that settles the rest.
            self._exit.make_final()
            return
        # Exits that end the run become WAIT too: the next claim requests them again, and can settle and account for
        # everything.
        trouble = self.checkpoint.troubles.last
        self._exit.decide(Exit.WAIT, trouble or "S3 took no rows in the time that was left")

    def _wait(self, reason: str) -> None:
        """Input unreachable: end with WAIT, even when cancelled or aborted, because the account needs the rest."""
        self.checkpoint.troubles.note(reason)
        if self._must_read_on:
            # A request would leave CANCEL or ABORT, the higher exits; the hop would then turn until its time is up.
            self._exit.decide(Exit.WAIT, reason)
            self._drain()
        else:
            self._request_exit(Exit.WAIT, reason)
            # Final too: with its input missing a hop cannot complete the run, or account for its end.
            self._exit.make_final()

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def _read_deferred(self) -> None:
        """Read what is due. Once the hop is ending, no batch is entered in the list of those asked for."""
        try:
            self._deferred.turn()
        except StoreRefused as error:
            self._request_exit(Exit.STOP, f"rows_refused: {error}")
        if self._exit.why is not None and not self._must_read_on:
            self._deferred.stop()

    def _take_deferred(self, *, unfinished_only: bool = False) -> None:
        for batch, later in self._deferred.take(unfinished_only=unfinished_only):
            # `sending_ms` decides how far the ramp has come: it counts only while something is sent.
            if not unfinished_only:
                self.checkpoint.begin_sending()
            self._queue.put_again(batch)
            for push in later:
                self.dispatch.set_aside(push)

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send_some(self) -> None:
        """Send what rate limit and window allow: deferred devices that are due, open batches, then new ones."""
        if self.checkpoint.must_hold:
            return
        # A hand-over sends what is open, and begins nothing.
        if self._exit.why is None:
            self._take_deferred()
        self._queue.send(self._next_batch)
        # Half a batch is enough time for the ledger write that the next batch waits for.
        if (number := self._queue.half_sent) is not None:
            self.checkpoint.expect(number + 1)

    def _next_batch(self) -> Batch | None:
        """Bring the next batch of the audience in, if there may be one. Returns it if it has devices to send."""
        batch = self._read_batch() if self._may_read else None
        if batch is None:
            return None
        # Only what may be asked for is reserved. A settled batch is not asked for again; where a run ends early, the
        # batch is deferred unasked. Neither can leave requests behind in a crash.
        must_reserve = self._exit.why is None and not batch.settled_by_another
        if must_reserve and not self.checkpoint.reserve(batch.number, batch.pushes):
            # The ledger must first record that a crash can have reached it: the write is under way, or the next one.
            self._reading.put_back(batch)
            return None
        self.checkpoint.enter(batch)
        # Settled by another claim, or without a valid device: there is nothing to send of it.
        if not batch.waiting:
            return None
        self.checkpoint.begin_sending()
        return batch

    @property
    def _may_read(self) -> bool:
        if self._is_full or self._deferred_come_first:
            return False
        return self._exit.why is None or self._must_read_audience or self.checkpoint.is_in_legacy_round

    @property
    def _is_full(self) -> bool:
        """Whether no further batch may be begun before one of the open ones is settled."""
        # After `give_up` no batch waits for another: unsettled ones are left, and must not stop the reading on.
        return self.checkpoint.unsettled >= MAX_OPEN_BATCHES and not self.checkpoint.has_given_up

    @property
    def _deferred_come_first(self) -> bool:
        """Whether the few requests that a low rate allows go to batches that earlier hops began.

        Where a hop sends less than a batch, the rest of it is deferred. With a new batch in each hop there would be
        ever more of them, and every hop reads and writes all that are due.
        """
        if self._exit.why is not None or self._queue.first_requests_in(self.deadline.before_near_ms()) >= BATCH_SIZE:
            return False
        return self._deferred.come_first(self._clock.now())

    def _read_batch(self) -> Batch | None:
        """The next batch of the audience; None when it is not there yet, or cannot be read, which ends the hop."""
        try:
            return self._reading.next(self._clock.monotonic())
        except BrokenInput as error:
            # In an unchanged file every claim stops at this record. In a changed one an earlier claim may have read on.
            self.checkpoint.end_forming(has_changed=isinstance(error, ChangedInput))
            self._request_exit(Exit.FAIL, str(error))
        except StoreRefused as error:
            self._request_exit(Exit.STOP, f"rows_refused: {error}")
        except InputUnreachable as error:
            self._wait(str(error))
        return None

    # -- reading on, to account for a run that ends early -------------------------------------------------------------

    @property
    def _must_read_on(self) -> bool:
        """After cancel, abort or a broken file: whether batches that an earlier claim may have sent must yet be formed.

        Formed and settled, their rows are counted and the rest is deferred. It also shuts out the earlier worker, if it
        was only slow: the rows object of this claim makes its conditional PUT fail.
        """
        if not self._exit.ends_run_early:
            return False
        return self._must_read_audience or self.checkpoint.is_in_legacy_round or self._deferred.has_unfinished

    @property
    def _must_read_audience(self) -> bool:
        # FAIL is missing: a broken audience cannot be read on. Its deferred batches can (`_must_read_on`).
        is_readable = self._exit.why in (Exit.ABORT, Exit.CANCEL) and not self._reading.has_ended
        return is_readable and self.checkpoint.has_suspects_ahead

    def _read_on(self) -> None:
        """After cancel or abort keep forming the batches that an earlier claim may have sent, so that they are counted.

        Their devices without a row are deferred: the account lists them as unsent.
        """
        batch = self._next_batch()
        if batch is not None:
            self._queue.put(batch)
        self._take_deferred(unfinished_only=True)
        # Each turn: what has just been put in the queue must be deferred, not sent.
        self._drain()
        try:
            self._deferred.raise_trouble()
        except InputUnreachable as error:
            self._wait(str(error))

    # -- the end of the audience, and of the run ----------------------------------------------------------------------

    def _look_at_end(self) -> None:
        """The reading is over when the audience has ended and is settled; the run, when nothing is deferred either."""
        self._look_at_end_of_reading()
        # The hop ends already, or answers are awaited: they may put devices off, and so change what is left.
        if self._exit.why is not None or self.dispatch.open_count:
            return
        # Something is left and no request is out: perhaps only the rate limit is waited for.
        if not self._has_read or not self._is_idle:
            self._look_at_rate()
            return
        # Deferred devices leave this count as the round that asked for them is settled: at 0 all have an outcome.
        if self.checkpoint.account.deferred <= 0:
            self._request_exit(Exit.COMPLETE, None)
            return
        try:
            due_at = self._deferred.due_at()
        except InputUnreachable as error:
            self._wait(str(error))
            return
        # inf: nothing listed; None: still reading, decided in a later turn.
        if due_at == math.inf:
            # The account counts deferred devices and no object holds them. A listing may have been older than they are.
            if not self._deferred.look_again():
                self._request_exit(
                    Exit.STOP, "deferred_missing: the objects of devices that are still to be asked for are gone"
                )
        elif due_at is not None:
            self._rest_until(due_at)

    def _look_at_rate(self) -> None:
        """Rest where the rate lets the next first request pass so late that the time until then is not worth paying."""
        # `has_ended` is known only after one more read, which needs a permit: one more wait follows the last push.
        if not self._queue.has_first and self._reading.has_ended:
            return
        wait_s = self._queue.rest_s(self.deadline.before_near_ms())
        try:
            due_at = self._deferred.due_at() if wait_s else None
        except InputUnreachable:
            return  # read again meanwhile; whether the lane can go on without is decided at the end of the reading
        # None: something is being read, and what that brings may be due at once.
        if due_at is not None and due_at > (now_s := self._clock.now()):
            self._rests_for_rate = True
            self._request_exit(Exit.REST, None, min(now_s + wait_s, due_at, self._plan.abort_after or math.inf))

    def _look_at_end_of_reading(self) -> None:
        """Go on with deferred devices only, once the audience has ended and all of it is settled."""
        if not self._reading.has_ended or self.checkpoint.is_reading_over:
            return
        # The cursor moves to round 1 only when all batches of the audience are settled: after a crash before that, the
        # next claim must form them again.
        if self._queue.has_first or not self.checkpoint.has_settled_all:
            return
        source = self._reading.source
        if not self.checkpoint.is_in_legacy_round:
            # Where nothing is deferred there is no round 1: the write that completes the run is the next.
            if self.checkpoint.account.deferred > 0:
                self.checkpoint.end_reading()
        elif self._deferred.is_listed and isinstance(source, EndedAudience):
            self.checkpoint.end_reading(source.settled, self._deferred.asked_by_old_claims(source.settled))

    @property
    def _has_read(self) -> bool:
        """Whether the audience is read to its end."""
        # Where nothing is deferred, that need not be written first: the write that completes the run has it.
        nothing_left = not self.checkpoint.is_in_legacy_round and self.checkpoint.account.deferred <= 0
        return self.checkpoint.is_read or (self._reading.has_ended and nothing_left)

    def _rest_until(self, due_at: float) -> None:
        """Rest until then if the wait is long; a short one passes in the loop."""
        wait_s = due_at - self._clock.now()
        beyond_hop = wait_s * 1000 > self.deadline.before_near_ms()
        # Credentials that were missing for 30 s (`keys.PATIENCE_S`) will not arrive in the next seconds either.
        unavailable = self.dispatch.unavailable
        if wait_s > REST_ABOVE_S or (wait_s > 0 and (beyond_hop or unavailable)):
            # Not beyond `abort_after`: a run that is aborted must be ended then.
            until = min(due_at, self._plan.abort_after or math.inf)
            self._request_exit(Exit.REST, unavailable.reason if unavailable else None, until)

    # -- answers and settlements --------------------------------------------------------------------------------------

    def _patience_s(self) -> float:
        """How long this turn may wait for answers."""
        if self.checkpoint.must_hold:
            return POLL_S  # whatever the rate limit allows, nothing may start
        if self._exit.why is None and self._queue.has_first and self.dispatch.room > 0:
            # A turn costs as much as sending several pushes does: not one for each permit of 1,000 a second.
            wait_s = self._queue.wait_s()
            return min(max(wait_s, PERMITS_POLL_S), PACED_POLL_S) if wait_s else 0.0
        # Nothing can be answered; only threads can finish, and poll does not wake for them.
        if self.dispatch.open_count == 0 or not self._nothing_to_send:
            return BUSY_POLL_S
        return POLL_S

    @property
    def _nothing_to_send(self) -> bool:
        # `_is_full` counts as well: a withheld refusal may be what keeps the open batches from settling.
        return self._queue.is_empty and (self._exit.why is not None or self._is_full or self._nothing_left_now)

    @property
    def _nothing_left_now(self) -> bool:
        """The audience is read, and nothing deferred is due."""
        return self._reading.has_ended and self._deferred.is_quiet(self._clock.now())

    def _release_withheld(self) -> None:
        """If only withheld refusals remain and no more answers will come, decide them now."""
        withheld = self.dispatch.withheld_count
        # Every open push is a withheld refusal: no request is out whose answer could still decide about them.
        if withheld and withheld == self.dispatch.open_count and self._nothing_to_send:
            self.dispatch.release_withheld(is_last_round=self._nothing_left_now and self._exit.why is None)

    def _heed_dispatch(self) -> None:
        """End when the dispatch found that nothing can be sent: for good, or for a while."""
        if self.dispatch.stop_reason is not None:
            self._request_exit(Exit.STOP, self.dispatch.stop_reason)
        elif (rest := self.dispatch.rest) is not None:
            self._request_exit(Exit.REST, rest.reason, rest.until_s)

    def _settle(self) -> None:
        for counted in self.checkpoint.settle_complete():
            self._deferred.note_counted(counted)
        if self.checkpoint.refused is not None and not self.checkpoint.has_given_up:
            self._stop_unsettled(self.checkpoint.refused)

    def _stop_unsettled(self, reason: str) -> None:
        """No batch can be settled before an operator has changed something: stop, and leave them to a resume."""
        self.checkpoint.give_up()
        # A cancelled run is never resumed: it ends as cancelled, and its account lists what is missing.
        # Decided by the operator's command: the exit may be FAIL already, when the file broke while a cancelled run was
        # read on.
        is_cancelled = self.checkpoint.lane.control is Control.CANCEL
        self._exit.decide(Exit.CANCEL if is_cancelled else Exit.STOP, reason)
        self._drain()

    def _pass_on_stop(self) -> None:
        """Have the run's other lanes stopped while this one drains, which takes as long as its last answer."""
        if self.on_stop is not None and self._exit.why in (Exit.STOP, Exit.FAIL):
            on_stop, self.on_stop = self.on_stop, None
            on_stop(self._exit.why, self._exit.reason)

    # -- finished -----------------------------------------------------------------------------------------------------

    @property
    def _is_idle(self) -> bool:
        return self._queue.is_empty and self.dispatch.open_count == 0 and self.checkpoint.is_done_settling

    def _finished_exit(self) -> Exit | None:
        """The exit of a hop that has nothing left to send, settle or write; None while it must go on."""
        is_finished = self._is_idle and self.checkpoint.is_written and not self._must_read_on
        # What arrives after the lane has left its share would enter it once more. Waited for while there is time: where
        # it hangs, the entry lapses by itself.
        may_wait = self.deadline.remaining_ms() >= self.deadline.stop_settling_ms
        if is_finished and self.dispatch.is_asking_who_shares and may_wait:
            return None
        return self._exit.why if is_finished else None
