"""Sends pushes and takes in their answers: from a push that the hop sends to its outcome or its deferral.

Dispatch starts requests and passes answers on. Beside it are `open_pushes` (where each open push is),
`endpoint_state` (how fast an endpoint may be asked, with which credentials), `answers` (what becomes of an answered
push) and `refusals` (which refusals could be our fault).
"""

import math
from collections.abc import Callable, Mapping
from typing import assert_never

from notifier.model.exchange import Transport
from notifier.model.health import Health
from notifier.model.local_time import QUIET
from notifier.model.outcome import Access, Disposition, Readiness, Verdict
from notifier.model.runtime import Clock
from notifier.sending.answers import AnswerHandler, OnAnswer
from notifier.sending.batch import Push
from notifier.sending.carrier import DRY_RUN, Carrier
from notifier.sending.circuit_breaker import MIN_REFUSED
from notifier.sending.endpoint_state import EndpointState
from notifier.sending.lane_shares import LaneShares
from notifier.sending.open_pushes import OpenPushes
from notifier.sending.rate_limit import SharedBudget
from notifier.sending.refusals import WITHHELD_WINDOW_DIVISOR, Refusals
from notifier.sending.retry import trying_s
from notifier.sending.send_times import ALWAYS, SendTimes

ABANDONED = Verdict(Disposition.RETRY, "unanswered", maybe_processed=True)
"""The verdict on a request whose answer is not waited for: the phone may have the push."""


class Dispatch:
    """The pushes of one hop on their way.

    Args:
        transport: carries requests.
        carriers: by endpoint.
        health: what is known of each endpoint over all hops; kept in the ledger by the checkpoint.
        draw: a number in [0, 1), for jitter.
        budgets: by endpoint, the rate limit of requests where there is one.
        window: how many pushes may be open at once: in flight, queued, or waiting for another attempt.
        on_answer: is called with every answer.
        shares: the other lanes of the run; None where it has one.
        times: when requests may start.
    """

    def __init__(
        self,
        transport: Transport,
        carriers: Mapping[str, Carrier],
        health: Health,
        clock: Clock,
        draw: Callable[[], float],
        budgets: Mapping[str, SharedBudget],
        window: int,
        on_answer: OnAnswer | None = None,
        shares: LaneShares | None = None,
        times: SendTimes = ALWAYS,
    ) -> None:
        self._shares = shares
        self.times = times
        self._transport = transport
        self._clock = clock
        now_s = clock.monotonic()
        # Never so many withheld that they fill the window: other pushes must be able to prove that the endpoint works.
        most_withheld = max(min(MIN_REFUSED, window // WITHHELD_WINDOW_DIVISOR), 1)
        self._endpoints = {
            name: EndpointState(name, carrier, budgets.get(name), now_s, most_withheld)
            for name, carrier in carriers.items()
        }
        self._pushes = OpenPushes(carriers, window)
        self._refusals = Refusals(self._pushes, self._endpoints, clock, draw)
        self._answers = AnswerHandler(
            self._pushes, self._endpoints, self._refusals, transport, health, clock, draw, on_answer
        )
        if shares is not None:
            shares.tally = self._refusals.tally
        self.stop_reason: str | None = None
        """Why the run has to stop; None while it need not."""

    # -- state --------------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more pushes `enqueue` may take."""
        return self._pushes.window - self._pushes.count

    @property
    def open_count(self) -> int:
        """Pushes taken that have neither an outcome nor are deferred."""
        return self._pushes.count

    @property
    def withheld_count(self) -> int:
        """Pushes whose refusal is withheld."""
        return self._refusals.count

    @property
    def is_asking_who_shares(self) -> bool:
        """Whether the question who shares the rates, which enters this lane among them, is under way."""
        return self._shares is not None and self._shares.is_asking

    @property
    def is_draining(self) -> bool:
        """Whether no request starts any more."""
        return self._pushes.is_draining

    @property
    def unavailable(self) -> Access | None:
        """Until when, and why, an endpoint cannot be asked for want of credentials; None when all can."""
        found = [endpoint.unavailable for endpoint in self._endpoints.values() if endpoint.unavailable is not None]
        return min(found, key=lambda access: access.until_s, default=None)

    @property
    def rest(self) -> Access | None:
        """Until when the hop should rest: set when no endpoint that it uses has credentials."""
        # Endpoints without a push in this hop do not count: they are looked at only when something waits for them.
        used = [endpoint for endpoint in self._endpoints.values() if endpoint.is_used]
        return self.unavailable if used and all(endpoint.unavailable is not None for endpoint in used) else None

    def slowed(self, endpoint: str) -> tuple[float, float] | None:
        """An endpoint's requests a second while it is slowed down, and since when (monotonic); None while it is not."""
        found = self._endpoints.get(endpoint)
        return found.slowed() if found is not None else None

    # -- what the hop calls -------------------------------------------------------------------------------------------

    def enqueue(self, push: Push) -> None:
        """Take a push; it is asked for as soon as its endpoint has room."""
        self._endpoints[push.endpoint].is_used = True
        self._pushes.queue(push)

    def set_aside(self, push: Push) -> None:
        """Take a push that is asked for when it is due, or deferred when the rest of its batch is through."""
        self._pushes.set_aside(push)

    def step(self, timeout_s: float, *, may_start: bool = True) -> None:
        """Start what requests may start, wait for answers for at most `timeout_s`, act on them.

        Args:
            may_start: False while settlements fail or the lease is not renewed; what is in flight goes on.
        """
        now_s = self._clock.now()
        self._pushes.wake(now_s)
        if may_start:
            self._start_requests(now_s)
        # Also while nothing may start: answers to what is in flight go on arriving.
        answers = self._transport.poll(timeout_s)
        answered_s = self._clock.monotonic()
        for answer in answers:
            reason = self._answers.take(answer, answered_s)
            if reason is not None:
                self.drain(reason)
        self._refusals.make_room()
        if self._shares is not None and self._shares.has_news:
            self._take_elsewhere(self._shares)

    def _take_elsewhere(self, shares: LaneShares) -> None:
        """Refusals are judged over the run: by what the other lanes have seen, too."""
        reason = self._refusals.take_elsewhere(shares.others())
        if reason is not None:
            self.drain(reason)

    def drain(self, stop_reason: str | None = None) -> None:
        """Start no request from now on: what is not in flight is deferred, what would be asked again too.

        With a reason to stop, withheld refusals are deferred as well: a resumed run asks for them again.
        """
        self.stop_reason = self.stop_reason or stop_reason
        # Each call again, not only the first: pushes that were set aside or asked again since are deferred, too.
        self._pushes.drain(self._clock.now())
        if self.stop_reason is not None:
            self._refusals.defer_all()

    def abandon(self) -> None:
        """Wait for no answer any more: what is in flight is deferred; asked for again, it may be a repeat."""
        for push in self._pushes.abandon():
            self._answers.ask_again(push, ABANDONED, 0)

    def release_withheld(self, *, is_last_round: bool) -> None:
        """Decide the withheld refusals: no more answers will come that could show whose fault they are.

        Args:
            is_last_round: nothing is left to be asked in the whole run, so that nothing can be asked again after it.
        """
        reason = self._refusals.decide(is_last_round=is_last_round)
        if reason is not None:
            self.drain(reason)

    # -- starting requests --------------------------------------------------------------------------------------------

    def _start_requests(self, now_s: float) -> None:
        for endpoint in self._endpoints.values():
            queue = self._pushes.queues[endpoint.name]
            # An unavailable one is looked at although nothing waits for it: what waited was deferred, and only this
            # look finds out that it is back.
            is_wanted = queue or endpoint.unavailable is not None
            if not is_wanted or not self._may_ask(endpoint, now_s):
                continue
            permits = endpoint.permits(self._transport.room(endpoint.name), self._clock.monotonic())
            started = 0
            if permits > 0:
                endpoint.note_requests()
            # A push may end without a request (too large, a rehearsal): that uses no permit.
            while queue and started < permits:
                if self._start(queue.popleft(), endpoint, now_s):
                    started += 1
            endpoint.take(started)

    def _start(self, push: Push, endpoint: EndpointState, now_s: float) -> bool:
        """Ask for one push. Returns whether a request was made: a push can end without one, or have to wait."""
        if not self.times.is_free and self._must_wait(push, endpoint, now_s):
            return False
        request = endpoint.carrier.ask(push, now_s)
        if isinstance(request, Verdict):
            if request.reason == DRY_RUN:
                push.batch.account.dry += 1
            self._pushes.end(push, request, None)
            return False
        push.attempts += 1
        # Kept over all rounds: the time to live runs from the first request.
        if push.asked_at == 0.0:
            push.asked_at = now_s
        push.previous_asked_at = push.last_at or now_s
        push.last_at = now_s
        # Before the request goes out, so that whatever ends this hop finds it counted.
        push.batch.note_asked(push)
        self._pushes.start(push)
        self._transport.submit(request)
        return True

    def _must_wait(self, push: Push, endpoint: EndpointState, now_s: float) -> bool:
        """Whether its time is over, or it is in quiet hours: then it has failed, or is deferred to their end."""
        found = self.times.obstacle(push.timezone, now_s, is_first=not push.attempts)
        if found is None:
            return False
        expires_at = push.asked_at + trying_s(endpoint.carrier.ttl_s(push.arm)) if push.attempts else math.inf
        if isinstance(found, str):
            self._pushes.end(push, Verdict(Disposition.FAIL, found), None)
        elif found >= expires_at:
            # Its time to live runs from its first request, and is over before the quiet hours are.
            self._pushes.end(push, Verdict(Disposition.FAIL, QUIET), None)
        else:
            self._pushes.defer(push, found)
        return True

    def _may_ask(self, endpoint: EndpointState, now_s: float) -> bool:
        """Whether an endpoint can be asked now. If not for long, what waits for it is deferred; else it waits here."""
        access = endpoint.look(now_s)
        if endpoint.has_new_credentials():
            self._refusals.forget_old_credentials(endpoint)
        match access.readiness:
            case Readiness.READY:
                return True
            case Readiness.WAITING:
                # Ready or unavailable within a minute: the queue is kept until then.
                return False
            case Readiness.UNAVAILABLE:
                # Deferred, so that their batches can settle while the other endpoints go on.
                self._pushes.defer_queue(endpoint.name, access.until_s)
                return False
            case Readiness.REFUSED:
                self.drain(f"credentials_refused: {access.reason}")
                return False
            case _:
                assert_never(access.readiness)
