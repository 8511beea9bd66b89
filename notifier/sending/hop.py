"""One hop: sends a claimed lane's batches, settles them, and hands the lane over. A loop over injected time and stores.

One turn of the loop waits for nothing but answers. Calls that block run in a few threads, and the loop collects their
results when they are done. So the same code runs in Lambda and in a simulation that decides when each of them ends.

A turn, in the order of the methods below:
    reasons to end · deferred devices that are due · send, or read on to account · the end of the audience
    answers · refusals that wait for a decision · settlements · the ledger · is the hop finished?

Beside the loop: `batch_opening` says which turn opens the next batch, `completion` when the lane is complete or rests,
`shutdown` what a reason to end stops, and when the hop may leave.

A *legacy round* (`is_in_legacy_round`) is one of a run that an older release began. That asked for deferred batches in
the order of their numbers, a round at a time, and kept no list of those that are asked for (`asking`).
"""

from collections.abc import Callable

from notifier.model.runtime import Clock, Deadline
from notifier.model.store_error import StoreRefused
from notifier.sending.audience_reading import AudienceReading
from notifier.sending.batch_opening import BatchOpening
from notifier.sending.batch_source import InputUnreachable, SourceOpener
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.completion import Completion
from notifier.sending.deferred_rounds import DeferredRounds
from notifier.sending.dispatch import Dispatch
from notifier.sending.hop_exit import Departure, Exit, Plan
from notifier.sending.hop_parts import HopParts
from notifier.sending.rate_limit import RateLimit
from notifier.sending.send_queue import SendQueue
from notifier.sending.shutdown import Shutdown

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
    way; the queue the batches that are not sent to their end; the reading where the audience is; the shutdown whether
    the hop ends, and why.

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
        self._clock = clock
        self._on_turn = on_turn
        parts = HopParts(checkpoint, dispatch, self._queue, self._reading, deferred, plan, deadline, clock)
        self._shutdown = Shutdown(parts)
        self._completion = Completion(parts)
        self._opening = BatchOpening(parts, self._shutdown)
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
                self._shutdown.look_for_reasons()
                self._read_deferred()
                if self._shutdown.why is None or self._shutdown.why is Exit.HAND_OVER:
                    # A hand-over sends its open batches to the end; they would cost the next hop a request each.
                    self._send_some()
                elif self._shutdown.must_read_on:
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
                self.checkpoint.write(urgent=self._shutdown.why is not None or self._shutdown.is_idle)
                self._on_turn(self)
                if (departure := self._shutdown.departure()) is not None:
                    # Since when it waits for the rate is kept for the next hop. Not by a rest for another reason (a
                    # gateway that is down, a hold): that leaves its share to other lanes, and the wait begins again.
                    if departure.why is not Exit.REST or self._completion.rests_for_rate:
                        self.checkpoint.waits_from_ms = self._queue.waits_from_ms()
                    return departure
        finally:
            # Whatever ended the loop, LaneLost too: the source has open files and threads.
            self._reading.close()

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def _read_deferred(self) -> None:
        """Read what is due. Once the hop is ending, no batch is entered in the list of those asked for."""
        try:
            self._deferred.turn()
        except StoreRefused as error:
            self._shutdown.request(Departure(Exit.STOP, f"rows_refused: {error}"))
        if self._shutdown.why is not None and not self._shutdown.must_read_on:
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
        if self._shutdown.why is None:
            self._take_deferred()
        self._queue.send(self._opening.next)
        # Half a batch is enough time for the ledger write that the next batch waits for.
        if (number := self._queue.half_sent) is not None:
            self.checkpoint.expect(number + 1)

    # -- reading on, to account for a run that ends early -------------------------------------------------------------

    def _read_on(self) -> None:
        """After cancel or abort keep forming the batches that an earlier claim may have sent, so that they are counted.

        Their devices without a row are deferred: the account lists them as unsent.
        """
        batch = self._opening.next()
        if batch is not None:
            self._queue.put(batch)
        self._take_deferred(unfinished_only=True)
        # Each turn: what has just been put in the queue must be deferred, not sent.
        self._shutdown.drain()
        try:
            self._deferred.raise_trouble()
        except InputUnreachable as error:
            self._shutdown.wait(str(error))

    # -- the end of the audience, and of the run ----------------------------------------------------------------------

    def _look_at_end(self) -> None:
        """The reading is over when the audience has ended and is settled; the run, when nothing is deferred either."""
        self._completion.end_reading()
        # The hop ends already, or answers are awaited: they may put devices off, and so change what is left.
        if self._shutdown.why is not None or self.dispatch.open_count:
            return
        try:
            found = self._completion.departure(is_idle=self._shutdown.is_idle)
        except InputUnreachable as error:
            self._shutdown.wait(str(error))
            return
        if found is not None:
            self._shutdown.request(found)

    # -- answers and settlements --------------------------------------------------------------------------------------

    def _patience_s(self) -> float:
        """How long this turn may wait for answers."""
        if self.checkpoint.must_hold:
            return POLL_S  # whatever the rate limit allows, nothing may start
        if self._shutdown.why is None and self._queue.has_first and self.dispatch.room > 0:
            # A turn costs as much as sending several pushes does: not one for each permit of 1,000 a second.
            wait_s = self._queue.wait_s()
            return min(max(wait_s, PERMITS_POLL_S), PACED_POLL_S) if wait_s else 0.0
        # Nothing can be answered; only threads can finish, and poll does not wake for them.
        if self.dispatch.open_count == 0 or not self._nothing_to_send:
            return BUSY_POLL_S
        return POLL_S

    @property
    def _nothing_to_send(self) -> bool:
        # `is_full` counts as well: a withheld refusal may be what keeps the open batches from settling.
        is_ending = self._shutdown.why is not None
        return self._queue.is_empty and (is_ending or self._opening.is_full or self._nothing_left_now)

    @property
    def _nothing_left_now(self) -> bool:
        """The audience is read, and nothing deferred is due."""
        return self._reading.has_ended and self._deferred.is_quiet(self._clock.now())

    def _release_withheld(self) -> None:
        """If only withheld refusals remain and no more answers will come, decide them now."""
        withheld = self.dispatch.withheld_count
        # Every open push is a withheld refusal: no request is out whose answer could still decide about them.
        if withheld and withheld == self.dispatch.open_count and self._nothing_to_send:
            self.dispatch.release_withheld(is_last_round=self._nothing_left_now and self._shutdown.why is None)

    def _heed_dispatch(self) -> None:
        """End when the dispatch found that nothing can be sent: for good, or for a while."""
        if self.dispatch.stop_reason is not None:
            self._shutdown.request(Departure(Exit.STOP, self.dispatch.stop_reason))
        elif (rest := self.dispatch.rest) is not None:
            self._shutdown.request(Departure(Exit.REST, rest.reason, rest.until_s))

    def _settle(self) -> None:
        for counted in self.checkpoint.settle_complete():
            self._deferred.note_counted(counted)
        if self.checkpoint.refused is not None and not self.checkpoint.has_given_up:
            self._shutdown.stop_unsettled(self.checkpoint.refused)

    def _pass_on_stop(self) -> None:
        """Have the run's other lanes stopped while this one drains, which takes as long as its last answer."""
        why = self._shutdown.why
        if self.on_stop is not None and why in (Exit.STOP, Exit.FAIL):
            on_stop, self.on_stop = self.on_stop, None
            on_stop(why, self._shutdown.reason)
