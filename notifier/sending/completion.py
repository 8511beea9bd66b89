"""When the audience is read, when the run is complete, and until when a lane rests that has nothing to do before.

Looked at in each turn of a hop that has no other reason to end.
"""

import math

from notifier.sending.batch_source import EndedAudience, InputUnreachable
from notifier.sending.hop_exit import Departure, Exit
from notifier.sending.hop_parts import HopParts
from notifier.sending.send_queue import REST_ABOVE_S


class Completion:
    """Looks at what is left of a lane."""

    def __init__(self, hop: HopParts) -> None:
        self._hop = hop
        self.rests_for_rate = False
        """The last departure was a rest until the rate limit allows another first request."""

    def end_reading(self) -> None:
        """Go on with deferred devices only, once the audience has ended and all of it is settled."""
        if not self._hop.reading.has_ended or self._hop.checkpoint.is_reading_over:
            return
        # The cursor moves to round 1 only when all batches of the audience are settled: after a crash before that, the
        # next claim must form them again.
        if self._hop.queue.has_first or not self._hop.checkpoint.has_settled_all:
            return
        source = self._hop.reading.source
        if not self._hop.checkpoint.is_in_legacy_round:
            # Where nothing is deferred there is no round 1: the write that completes the run is the next.
            if self._hop.checkpoint.account.deferred > 0:
                self._hop.checkpoint.end_reading()
        elif self._hop.deferred.is_listed and isinstance(source, EndedAudience):
            self._hop.checkpoint.end_reading(source.settled, self._hop.deferred.asked_by_old_claims(source.settled))

    def departure(self, *, is_idle: bool) -> Departure | None:
        """How a lane leaves that waits for no answer: complete, at rest, or stopped. None while there is work.

        Args:
            is_idle: nothing waits to be sent or settled.

        Raises:
            InputUnreachable: what is deferred cannot be read now.
        """
        # Something is left and no request is out: perhaps only the rate limit is waited for.
        if not self._has_read or not is_idle:
            return self._rest_for_rate()
        # Deferred devices leave this count as the round that asked for them is settled: at 0 all have an outcome.
        if self._hop.checkpoint.account.deferred <= 0:
            return Departure(Exit.COMPLETE)
        due_at = self._hop.deferred.due_at()
        if due_at is None:
            return None  # still reading, decided in a later turn
        if due_at < math.inf:
            return self._rest_until(due_at)
        # The account counts deferred devices and no object holds them. A listing may have been older than they are.
        if self._hop.deferred.look_again():
            return None
        return Departure(Exit.STOP, "deferred_missing: the objects of devices that are still to be asked for are gone")

    @property
    def _has_read(self) -> bool:
        """Whether the audience is read to its end."""
        # Where nothing is deferred, that need not be written first: the write that completes the run has it.
        nothing_left = not self._hop.checkpoint.is_in_legacy_round and self._hop.checkpoint.account.deferred <= 0
        return self._hop.checkpoint.is_read or (self._hop.reading.has_ended and nothing_left)

    def _rest_for_rate(self) -> Departure | None:
        """Rest where the rate lets the next first request pass so late that the time until then is not worth paying."""
        # `has_ended` is known only after one more read, which needs a permit: one more wait follows the last push.
        if not self._hop.queue.has_first and self._hop.reading.has_ended:
            return None
        wait_s = self._hop.queue.rest_s(self._hop.deadline.before_near_ms())
        try:
            due_at = self._hop.deferred.due_at() if wait_s else None
        except InputUnreachable:
            return None  # read again meanwhile; whether the lane can go on without is decided at the end of the reading
        # None: something is being read, and what that brings may be due at once.
        if due_at is None or due_at <= (now_s := self._hop.clock.now()):
            return None
        self.rests_for_rate = True
        return Departure(Exit.REST, None, min(now_s + wait_s, due_at, self._hop.plan.abort_after or math.inf))

    def _rest_until(self, due_at: float) -> Departure | None:
        """Rest until then if the wait is long; a short one passes in the loop."""
        wait_s = due_at - self._hop.clock.now()
        beyond_hop = wait_s * 1000 > self._hop.deadline.before_near_ms()
        # Credentials that were missing for 30 s (`keys.PATIENCE_S`) will not arrive in the next seconds either.
        unavailable = self._hop.dispatch.unavailable
        if wait_s <= REST_ABOVE_S and not (wait_s > 0 and (beyond_hop or unavailable)):
            return None
        # Not beyond `abort_after`: a run that is aborted must be ended then.
        until = min(due_at, self._hop.plan.abort_after or math.inf)
        return Departure(Exit.REST, unavailable.reason if unavailable else None, until)
