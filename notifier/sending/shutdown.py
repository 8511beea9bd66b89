"""How a hop comes to its end: from the first reason to the moment when nothing is open and all of it is written.

```text
reason ── by rank ── open batches are sent to their end, or deferred ── read on, for the account ── finished
```

Which reason holds is `exit_reasons`, what becomes of the lane then `hop_exit`.
"""

from notifier.model.run import Control
from notifier.sending.exit_reasons import outside_reasons
from notifier.sending.hop_exit import Departure, Exit, ExitDecision
from notifier.sending.hop_parts import HopParts


class Shutdown:
    """Ends one hop: takes in why, and stops what may no longer start."""

    def __init__(self, hop: HopParts) -> None:
        self._hop = hop
        self._exit = ExitDecision()

    @property
    def why(self) -> Exit | None:
        """The exit that was requested; None as long as the hop has no reason to end."""
        return self._exit.why

    @property
    def reason(self) -> str | None:
        """The reason for `why`, for people."""
        return self._exit.reason

    # -- reasons to end -----------------------------------------------------------------------------------------------

    def look_for_reasons(self) -> None:
        """Take in what ends the hop from outside, and cut short what the invocation has no time left for."""
        for found in outside_reasons(
            self._hop.checkpoint.lane, self._hop.plan, self._hop.deadline, self._hop.clock.now()
        ):
            self.request(found)
        # A hand-over lets open batches finish, as long as there is time. Below half of `recurse_below_ms` no request
        # starts, below a quarter no answer is awaited, below an eighth no settlement.
        remaining_ms = self._hop.deadline.remaining_ms()
        if remaining_ms < self._hop.deadline.stop_requests_ms and not self._hop.dispatch.is_draining:
            self.drain()
        if remaining_ms < self._hop.deadline.stop_answers_ms:
            self._hop.dispatch.abandon()
        if remaining_ms < self._hop.deadline.stop_settling_ms and not self._hop.checkpoint.is_done_settling:
            self._leave_unsettled()

    def request(self, found: Departure) -> None:
        """Begin to end, unless a higher exit was requested before."""
        is_new = self._exit.request(found.why, found.reason, found.due_at)
        if is_new and not self._exit.lets_open_batches_finish:
            self.drain()

    def drain(self) -> None:
        """Start no request from now on."""
        self._hop.dispatch.drain()
        self._hop.queue.drain()

    def wait(self, reason: str) -> None:
        """Input unreachable: end with WAIT, even when cancelled or aborted, because the account needs the rest."""
        self._hop.checkpoint.troubles.note(reason)
        if self.must_read_on:
            # A request would leave CANCEL or ABORT, the higher exits; the hop would then turn until its time is up.
            self._exit.decide(Exit.WAIT, reason)
            self.drain()
        else:
            self.request(Departure(Exit.WAIT, reason))
            # Final too: with its input missing a hop cannot complete the run, or account for its end.
            self._exit.make_final()

    # -- what cannot be settled ---------------------------------------------------------------------------------------

    def _leave_unsettled(self) -> None:
        """No time is left for another try: leave now, because a kill would lose what the next claim has to know."""
        self._hop.checkpoint.give_up(at_once=True)
        if self._exit.why in (Exit.PAUSE, Exit.STOP):
            # These stay as they are: an operator's resume makes the claim that settles the rest.
            self._exit.make_final()
            return
        # Exits that end the run become WAIT too: the next claim requests them again, and can settle and account for
        # everything.
        trouble = self._hop.checkpoint.troubles.last
        self._exit.decide(Exit.WAIT, trouble or "S3 took no rows in the time that was left")

    def stop_unsettled(self, reason: str) -> None:
        """No batch can be settled before an operator has changed something: stop, and leave them to a resume."""
        self._hop.checkpoint.give_up()
        # A cancelled run is never resumed: it ends as cancelled, and its account lists what is missing.
        # Decided by the operator's command: the exit may be FAIL already, when the file broke while a cancelled run was
        # read on.
        is_cancelled = self._hop.checkpoint.lane.control is Control.CANCEL
        self._exit.decide(Exit.CANCEL if is_cancelled else Exit.STOP, reason)
        self.drain()

    # -- reading on, to account for a run that ends early -------------------------------------------------------------

    @property
    def must_read_on(self) -> bool:
        """After cancel, abort or a broken file: whether batches that an earlier claim may have sent must yet be formed.

        Formed and settled, their rows are counted and the rest is deferred. It also shuts out the earlier worker, if it
        was only slow: the rows object of this claim makes its conditional PUT fail.
        """
        if not self._exit.ends_run_early:
            return False
        return self.must_read_audience or self._hop.checkpoint.is_in_legacy_round or self._hop.deferred.has_unfinished

    @property
    def must_read_audience(self) -> bool:
        """The same of batches of the audience."""
        # FAIL is missing: a broken audience cannot be read on. Its deferred batches can (`must_read_on`).
        is_readable = self._exit.why in (Exit.ABORT, Exit.CANCEL) and not self._hop.reading.has_ended
        return is_readable and self._hop.checkpoint.has_suspects_ahead

    # -- finished -----------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be sent, nothing is on its way, and nothing is to be settled."""
        return self._hop.queue.is_empty and self._hop.dispatch.open_count == 0 and self._hop.checkpoint.is_done_settling

    def departure(self) -> Departure | None:
        """How a hop leaves that has nothing left to send, settle or write; None while it must go on."""
        if self._exit.why is None or not (self.is_idle and self._hop.checkpoint.is_written) or self.must_read_on:
            return None
        # What arrives after the lane has left its share would enter it once more. Waited for while there is time: where
        # it hangs, the entry lapses by itself.
        may_wait = self._hop.deadline.remaining_ms() >= self._hop.deadline.stop_settling_ms
        if self._hop.dispatch.is_asking_who_shares and may_wait:
            return None
        return self._exit.departure(self._exit.why)
