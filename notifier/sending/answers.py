"""Acts on gateways' answers: a push gets its outcome, another attempt, a deferral, or its refusal is withheld."""

from collections.abc import Callable, Mapping
from typing import assert_never

from notifier.model.exchange import Answer, Transport
from notifier.model.health import Health
from notifier.model.outcome import Disposition, Outcome, Verdict
from notifier.model.runtime import Clock
from notifier.sending.batch import Push
from notifier.sending.carrier import DRY_RUN, Ticket
from notifier.sending.endpoint_state import EndpointState
from notifier.sending.open_pushes import OpenPushes, Refusal
from notifier.sending.refusals import Refusals
from notifier.sending.retry import Tried, decide, trying_s

MANY_PUT_OFF = 100
"""So many devices of a platform that cannot be sent to, if they are half of all answers, stop the run at once."""

OnAnswer = Callable[[Push, Answer, Verdict], None]
"""Is called with every answer, for metrics and traces (`notifier.telemetry.sending`)."""


class AnswerHandler:
    """Judges answers and acts on each verdict. Methods that return a text return the reason to stop the run.

    Args:
        health: what is known of each endpoint over all hops; decides which refusals count against a device.
        draw: a number in [0, 1), for jitter.
    """

    def __init__(
        self,
        pushes: OpenPushes,
        endpoints: Mapping[str, EndpointState],
        refusals: Refusals,
        transport: Transport,
        health: Health,
        clock: Clock,
        draw: Callable[[], float],
        on_answer: OnAnswer | None,
    ) -> None:
        self._pushes = pushes
        self._endpoints = endpoints
        self._refusals = refusals
        self._transport = transport
        self._health = health
        self._clock = clock
        self._draw = draw
        self._on_answer = on_answer
        self._answers = 0
        self._number_put_off = 0

    def take(self, answer: Answer, now_s: float) -> str | None:
        """Judge an answer, which came at `now_s` (monotonic), and act on it."""
        self._answers += 1
        ticket: Ticket = answer.ticket
        push = ticket.push
        if not self._pushes.land(push):
            return None  # abandoned: it is deferred already, and its next request counts as a possible repeat
        endpoint = self._endpoints[push.endpoint]
        verdict = endpoint.carrier.judge(answer)
        endpoint.note_load(answer, now_s)
        if self._on_answer is not None:
            self._on_answer(push, answer, verdict)
        return self._act(endpoint, ticket, verdict, answer)

    def _act(self, endpoint: EndpointState, ticket: Ticket, verdict: Verdict, answer: Answer) -> str | None:
        push, status = ticket.push, answer.status
        match verdict.disposition:
            case Disposition.ACCEPT:
                self._accept(endpoint, ticket, verdict, status)
            case Disposition.DROP_TOKEN | Disposition.REJECT:
                return self._refusals.refuse(Refusal(push, verdict, status))
            case Disposition.FAIL:
                self._pushes.end(push, verdict, status)
            case Disposition.RETRY:
                self.ask_again(push, verdict, status)
            case Disposition.RECONNECT:
                # Before the push is queued again, so that it cannot get the spoilt connection once more.
                self._transport.replace_connection(push.endpoint, answer.connection)
                self.ask_again(push, verdict, status)
            case Disposition.RENEW:
                return self._renew(endpoint, ticket, verdict, status)
            case Disposition.PUT_OFF:
                return self._put_off(push, verdict)
            case Disposition.STOP:
                return self._refusals.refuse_everything(Refusal(push, verdict, status))
            case _:
                assert_never(verdict.disposition)
        return None

    def _accept(self, endpoint: EndpointState, ticket: Ticket, verdict: Verdict, status: int) -> None:
        push = ticket.push
        # A rehearsal at a gateway that validates: accepted, and counted as not sent.
        if verdict.reason == DRY_RUN:
            push.batch.account.dry += 1
        self._pushes.end(push, verdict, status)
        # By when it was asked, not answered: a late answer says nothing about what was asked since.
        self._health.accept(push.endpoint, push.last_at)
        endpoint.note_acceptance(ticket.generation)
        self._refusals.accept(push)

    def ask_again(self, push: Push, verdict: Verdict, status: int) -> None:
        """Ask again as the retry policy says, or end the push as failed when it says no. `status` 0: no answer."""
        now_s = self._clock.now()
        push.maybe_repeat = push.maybe_repeat or verdict.maybe_processed
        is_counted = self._health.refuse(push.endpoint, push.last_at, push.previous_asked_at, push.counted)
        # Which requests a failing connection takes with it is chance: only answers, and silence, can be a device's own.
        is_counted = is_counted and verdict.disposition is Disposition.RETRY and not verdict.is_of_connection
        if is_counted:
            push.counted += 1
        # From its first request on, over all rounds: a device is not tried longer because it was deferred.
        expires_at = push.asked_at + trying_s(self._endpoints[push.endpoint].carrier.ttl_s(push.arm))
        tried = Tried(push.attempts, push.counted, is_counted)
        again = decide(verdict, tried, expires_at - now_s, self._draw())
        if again is None:
            self._pushes.end(push, verdict, status or None, Outcome.FAILED)
        else:
            self._pushes.ask_again(push, again, now_s, expires_at, maybe_processed=verdict.maybe_processed)

    def _renew(self, endpoint: EndpointState, ticket: Ticket, verdict: Verdict, status: int) -> str | None:
        """Stale credentials: renew them once. What is refused with renewed ones too is a refusal of everything."""
        push, generation = ticket.push, ticket.generation
        if endpoint.refuses_renewed(push.key, generation):
            return self._refusals.refuse_everything(Refusal(push, verdict, status))
        # Asked again at once, with status 0: the refusal of a stale authorization is no answer about this device.
        endpoint.renew_for(push.key, generation)
        self.ask_again(push, verdict, 0)
        return None

    def _put_off(self, push: Push, verdict: Verdict) -> str | None:
        """Its platform cannot be sent to: all other devices first, then the run stops for these."""
        self._pushes.defer_to_end(push)
        self._number_put_off += 1
        # Half of everything: stop before the whole audience was asked in vain.
        is_much = self._number_put_off >= MANY_PUT_OFF and self._number_put_off * 2 >= self._answers
        if push.at_end or is_much:
            return f"{verdict.reason}: {push.endpoint} refuses these devices until this is fixed"
        return None
