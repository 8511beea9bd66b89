"""What is in flight, what is asked for again, what is deferred: from a push to the end of its batch's wait for it."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import assert_never

import msgspec

from notifier.model.exchange import Answer, Transport
from notifier.model.health import Health
from notifier.model.outcome import Access, Disposition, Outcome, Readiness, Verdict, timestamp
from notifier.model.runtime import Clock
from notifier.sending.backpressure import Backpressure
from notifier.sending.batch import Push
from notifier.sending.carrier import Carrier, Ticket
from notifier.sending.circuit_breaker import MIN_REFUSED, Circuit
from notifier.sending.rate_limit import Permits
from notifier.sending.retry import Tried, decide, on_grid, trying_s
from notifier.sending.withheld_refusals import WithheldRefusals

MANY_PUT_OFF = 100
"""So many devices put off, if they are half of all answers, stop the run before it has asked for everybody."""
LOOK_ASIDE_S = 0.25
PATIENCE_S = 2.0
"""A device whose next attempt is later than this is deferred, so that its batch can settle."""


class Dispatch:
    """Everything between a push that is let go and the end of its batch's wait.

    Args:
        transport: carries requests.
        carriers: by endpoint.
        clock: the times.
        draw: a number in [0, 1), for jitter.
        budgets: a pace of requests for endpoints that have one.
        window: how many pushes may be open at once: in flight, queued, or waiting for another attempt.
    """

    def __init__(
        self,
        transport: Transport,
        carriers: Mapping[str, Carrier],
        clock: Clock,
        draw: Callable[[], float],
        budgets: Mapping[str, Permits],
        window: int,
    ) -> None:
        self._transport = transport
        self._carriers = carriers
        self._clock = clock
        self._draw = draw
        self._budgets = budgets
        self._window = window
        self._backpressure = {name: Backpressure(clock.monotonic()) for name in carriers}
        self._queues: dict[str, deque[Push]] = {name: deque() for name in carriers}
        self._later: list[tuple[float, int, Push]] = []
        self._aside: list[tuple[float, int, Push]] = []
        """A heap like `_later`, of those that are deferred as soon as their batch waits for nothing else."""
        self._look_aside_at = 0.0
        self._tick = count()
        self._withheld: WithheldRefusals[tuple[Push, Verdict, int]] = WithheldRefusals()
        most_withheld = max(min(MIN_REFUSED, window // 4), 1)
        self._once_aside: set[tuple[int, int]] = set()
        """Devices whose withheld refusal was put aside for want of room: it is counted already."""
        self._circuits: dict[str, Circuit[tuple[Push, Verdict, int]]] = {
            name: Circuit(clock.monotonic(), most_withheld) for name in carriers
        }
        self._renewing: set[str] = set()
        """Endpoints whose credentials are being renewed because of a refusal."""
        self._renewed_for: set[tuple[int, int]] = set()
        """Devices whose refusal brought a renewal: another refusal of theirs brings none."""
        self._used: set[str] = set()
        """Endpoints that had something to ask in this hop."""
        self._unavailable: dict[str, Access] = {}
        self._generations: dict[str, int] = {}
        self._proven: dict[str, int] = {}
        self._began_with: dict[str, int] = {}
        self.health = Health()
        """What was seen of each endpoint. Kept in the ledger from hop to hop by the worker."""
        self._in_flight: dict[int, Push] = {}
        self._open = 0
        self._at = ""
        self.draining = False
        self.holding = False
        """No request starts while this is so; what is in flight goes on."""
        self.on_answer: Callable[[Push, Answer, Verdict], None] | None = None
        """Is told of every answer (`notifier.telemetry`)."""
        self.stop_reason: str | None = None
        self._number_put_off = 0
        self.answers = 0

    # -- what the worker asks -----------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more pushes may be let go."""
        return self._window - self._open

    @property
    def open(self) -> int:
        """Pushes let go that are neither ended nor deferred."""
        return self._open

    def send(self, push: Push) -> None:
        """Take a push; it is asked for as soon as its endpoint has room."""
        self._open += 1
        self._used.add(push.endpoint)
        self._queues[push.endpoint].append(push)

    def set_aside(self, push: Push) -> None:
        """Take a push that is asked for when it is due, or deferred when the rest of its batch is through."""
        self._open += 1
        heapq.heappush(self._aside, (push.due_at, next(self._tick), push))

    def step(self, timeout_s: float) -> None:
        """Submit what may go, wait for answers for at most `timeout_s`, judge them."""
        now_s = self._clock.now()
        self._at = timestamp(now_s)
        self._wake(now_s)
        self._submit(now_s)
        for answer in self._transport.poll(timeout_s):
            self.answers += 1
            if self._in_flight.pop(id(answer.ticket.push), None) is not None:
                self._take(answer)
        self._make_room()

    def drain(self, reason: str | None = None) -> None:
        """Start no request from now on: what is not in flight is deferred, what comes back to be asked again too."""
        self.draining = True
        self.stop_reason = self.stop_reason or reason
        now_s = self._clock.now()
        for queue in self._queues.values():
            while queue:
                self._defer(queue.popleft(), now_s)
        for due_at, _, push in (*self._later, *self._aside):
            self._defer(push, due_at)
        self._later.clear()
        self._aside.clear()
        if self.stop_reason is not None:
            self._put_aside()

    def abandon(self) -> None:
        """Wait for no answer any more: what is in flight is deferred; asked for again, it may be a repeat."""
        for push in list(self._in_flight.values()):
            self._again(push, Verdict(Disposition.RETRY, "unanswered", maybe_processed=True), 0)
        self._in_flight.clear()

    def release_withheld(self, *, for_good: bool) -> None:
        """Nothing more is learnt in this hop or, `for_good`, in this round.

        What may still be our fault is asked for again if there is an again; else it is refused, and no token is
        called dead for it.
        """
        own, doubtful = self._withheld.settle()
        for push, verdict, status in own:
            self._end(push, verdict, status)
        if not for_good:
            self._defer_all(doubtful)
            self._put_aside()
            return
        self._reject_all(doubtful)
        for circuit in self._circuits.values():
            own, doubtful = circuit.settle()
            self._reject_all(own)
            self._defer_all(doubtful)
            for push, verdict, _ in doubtful[:1]:
                self.drain(_refuses_everything(push, verdict, self._carriers[push.endpoint].advice))

    @property
    def withheld(self) -> int:
        """Pushes whose refusal is held back."""
        return self._withheld.held + sum(circuit.withheld for circuit in self._circuits.values())

    def _make_room(self) -> None:
        """Refusals that are held back never fill the window: beyond a quarter of it they are asked for again later.

        Each device is so once, and rejected the second time: otherwise rounds could follow each other for ever.
        """
        if self._withheld.held * 4 < self._window:
            return
        for held in self._withheld.put_aside():
            key = held[0].record, held[0].number
            if key in self._once_aside:
                self._reject_all([held])
            else:
                self._once_aside.add(key)
                self._defer_all([held])

    def _put_aside(self) -> None:
        """Defer all whose refusal is held back."""
        self._defer_all(self._withheld.put_aside())
        for circuit in self._circuits.values():
            self._defer_all(circuit.put_aside())

    # -- asking -------------------------------------------------------------------------------------------------------

    def _defer_aside(self, now_s: float) -> None:
        """Defer those set aside whose batch waits for nothing else now."""
        if now_s < self._look_aside_at:
            return
        self._look_aside_at = now_s + LOOK_ASIDE_S
        left = [one for one in self._aside if one[2].batch.waiting or one[0] <= now_s + PATIENCE_S]
        if len(left) < len(self._aside):
            for due_at, _, push in self._aside:
                if not push.batch.waiting and due_at > now_s + PATIENCE_S:
                    self._defer(push, due_at)
            heapq.heapify(left)
            self._aside = left

    def _wake(self, now_s: float) -> None:
        while self._aside and self._aside[0][0] <= now_s:
            _, _, push = heapq.heappop(self._aside)
            self._queues[push.endpoint].append(push)
        if self._aside:
            self._defer_aside(now_s)
        while self._later and self._later[0][0] <= now_s:
            _, _, push = heapq.heappop(self._later)
            self._queues[push.endpoint].append(push)

    def _submit(self, now_s: float) -> None:
        for endpoint, queue in self._queues.items():
            # One that was unavailable is looked at although nothing waits for it: so that it is known when it is back.
            is_wanted = queue or endpoint in self._unavailable
            if self.holding or not is_wanted or not self._may_ask(endpoint, now_s):
                continue
            room = self._transport.room(endpoint)
            limits: list[Permits] = [self._backpressure[endpoint], self._circuits[endpoint]]
            if endpoint in self._budgets:
                limits.append(self._budgets[endpoint])
            for limit in limits:
                room = min(room, limit.permits(self._clock.monotonic()))
            asked = 0
            while queue and asked < room:
                asked += self._ask(queue.popleft(), endpoint, now_s)
            for limit in limits:
                limit.take(asked)

    def _ask(self, push: Push, endpoint: str, now_s: float) -> int:
        """Ask for one push. Returns how many requests that made: 1, or 0 when it ended without."""
        carrier = self._carriers[endpoint]
        request = carrier.ask(push, now_s)
        if isinstance(request, Verdict):
            if request.reason == "dry_run":
                push.batch.account.dry += 1
            self._end(push, request, None)
            return 0
        self._began_with.setdefault(endpoint, carrier.generation)
        push.attempts += 1
        if push.asked_at == 0.0:
            push.asked_at = now_s
        push.since = push.last_at or now_s
        push.last_at = now_s
        push.batch.note_asked(push)
        self._in_flight[id(push)] = push
        self._transport.submit(request)
        return 1

    # -- judging ------------------------------------------------------------------------------------------------------

    def _take(self, answer: Answer) -> None:
        ticket: Ticket = answer.ticket
        push = ticket.push
        carrier = self._carriers[push.endpoint]
        verdict = carrier.judge(answer)
        self._backpressure[push.endpoint].note(answer.status, answer.latency_s, self._clock.monotonic())
        if self.on_answer is not None:
            self.on_answer(push, answer, verdict)
        match verdict.disposition:
            case Disposition.ACCEPT:
                self._accept(push, verdict, answer.status, ticket.generation)
            case Disposition.DROP_TOKEN | Disposition.REJECT:
                self._refuse(push, verdict, answer.status)
            case Disposition.FAIL:
                self._end(push, verdict, answer.status)
            case Disposition.RETRY:
                self._again(push, verdict, answer.status)
            case Disposition.RECONNECT:
                self._transport.replace_connection(push.endpoint, answer.connection)
                self._again(push, verdict, answer.status)
            case Disposition.RENEW:
                self._renew(push, verdict, answer.status, ticket.generation, carrier)
            case Disposition.PUT_OFF:
                self._put_off(push, verdict)
            case Disposition.STOP:
                self._try_again_or_stop(push, verdict, answer.status)
            case _:
                assert_never(verdict.disposition)

    def _accept(self, push: Push, verdict: Verdict, status: int, generation: int) -> None:
        if verdict.reason == "dry_run":
            push.batch.account.dry += 1
        self._end(push, verdict, status)
        self.health.accept(push.endpoint, push.last_at)
        self._prove(push)
        self._proven[push.endpoint] = generation
        for held in self._withheld.accept(push.endpoint, push.arm):
            self._end(*held)

    def _prove(self, push: Push) -> None:
        """The endpoint looked at this push: refusals that would be everybody's are, by exception, the devices' own."""
        circuit = self._circuits[push.endpoint]
        circuit.accept((push.record, push.number))
        if circuit.withheld:
            self._reject_all(circuit.exceptions())

    def _try_again_or_stop(self, push: Push, verdict: Verdict, status: int) -> None:
        """A refusal that would be everybody's: one proves nothing; many, and nothing accepted in between, is a stop."""
        circuit, now_s = self._circuits[push.endpoint], self._clock.now()
        key, held = (push.record, push.number), (push, verdict, status)
        push.maybe_repeat = push.maybe_repeat or verdict.maybe_processed
        delay_s = circuit.refuse(key, held, self._clock.monotonic(), self._draw())
        if delay_s is not None and (self.draining or verdict.maybe_processed):
            self._defer(push, now_s + delay_s)
        elif delay_s is not None:
            heapq.heappush(self._later, (now_s + delay_s, next(self._tick), push))
        self._reject_all(circuit.exceptions())
        if circuit.is_open:
            self.drain(_refuses_everything(push, verdict, self._carriers[push.endpoint].advice))

    def _refuse(self, push: Push, verdict: Verdict, status: int) -> None:
        if verdict.disposition is Disposition.DROP_TOKEN and verdict.suspicion is None:
            self._prove(push)
        is_counted = (push.record, push.number) in self._once_aside
        held = (push, verdict, status)
        clear, reason = self._withheld.refuse(push.endpoint, push.arm, verdict, held, is_counted=is_counted)
        for one in clear:
            self._end(*one)
        if reason is not None:
            self.drain(reason)

    def _again(self, push: Push, verdict: Verdict, status: int) -> None:
        now_s = self._clock.now()
        push.maybe_repeat = push.maybe_repeat or verdict.maybe_processed
        is_counted = self.health.refuse(push.endpoint, push.last_at, push.since, push.counted)
        # Whom a connection takes with it is chance: only answers, and silence, can be a device's own.
        is_counted = is_counted and verdict.disposition is Disposition.RETRY and not verdict.is_of_connection
        push.counted += is_counted
        expires_at = push.asked_at + trying_s(self._carriers[push.endpoint].ttl_s(push.arm))
        tried = Tried(push.attempts, push.counted, is_counted)
        again = decide(verdict, tried, expires_at - now_s, self._draw())
        if again is None:
            self._end(push, verdict, status or None, Outcome.FAILED)
        elif self.draining or again.delay_s > PATIENCE_S or verdict.maybe_processed:
            due_at = on_grid(now_s + again.delay_s, again.grid_s)
            due_at = due_at if due_at < expires_at else now_s + again.delay_s
            if push.batch.waiting and not (self.draining or verdict.maybe_processed):
                # Its batch cannot settle yet: it may be a slow pace that holds the others. Deferred, it would wait too.
                heapq.heappush(self._aside, (due_at, next(self._tick), push))
                return
            # What may have reached the phone is asked again in a later round: a claim makes one such request at most,
            # and what a crash leaves uncounted is told by the batches it may have reached.
            self._defer(push, due_at)
        else:
            heapq.heappush(self._later, (now_s + again.delay_s, next(self._tick), push))

    def _put_off(self, push: Push, verdict: Verdict) -> None:
        """The others first: what is put off again when all were asked, or is half of everything, stops the run."""
        self._leave_to_end(push)
        self._number_put_off += 1
        is_much = self._number_put_off >= MANY_PUT_OFF and self._number_put_off * 2 >= self.answers
        if push.at_end or is_much:
            self.drain(f"{verdict.reason}: {push.endpoint} refuses these devices until this is mended")

    def _renew(self, push: Push, verdict: Verdict, status: int, generation: int, carrier: Carrier) -> None:
        """Stale credentials: renew them once. What is refused with the renewed ones too is judged like any refusal."""
        endpoint, key = push.endpoint, (push.record, push.number)
        if generation == carrier.generation:
            is_renewed = generation > self._began_with[endpoint] and self._proven.get(endpoint) != generation
            if is_renewed or key in self._renewed_for:
                self._try_again_or_stop(push, verdict, status)
                return
            if endpoint not in self._renewing:
                self._renewed_for.add(key)
                self._renewing.add(endpoint)
                carrier.renew()
        self._again(push, verdict, 0)

    # -- credentials --------------------------------------------------------------------------------------------------

    def _may_ask(self, endpoint: str, now_s: float) -> bool:
        """Whether the endpoint can be asked now. If not for long, what waits for it is deferred; else it waits here."""
        carrier = self._carriers[endpoint]
        access = carrier.access(now_s)
        self._note_generation(endpoint, carrier.generation)
        self._unavailable.pop(endpoint, None)
        match access.readiness:
            case Readiness.READY:
                return True
            case Readiness.WAITING:
                return False
            case Readiness.UNAVAILABLE:
                self._unavailable[endpoint] = access
                queue = self._queues[endpoint]
                while queue:
                    self._defer(queue.popleft(), access.until_s)
                return False
            case Readiness.REFUSED:
                self.drain(f"credentials_refused: {access.reason}")
                return False
            case _:
                assert_never(access.readiness)

    def _note_generation(self, endpoint: str, generation: int) -> None:
        """With other credentials, what the old ones were told of tokens proves nothing: those are asked for again."""
        if self._generations.setdefault(endpoint, generation) != generation:
            self._generations[endpoint] = generation
            self._renewing.discard(endpoint)
            self._defer_all(self._withheld.renewed(endpoint))
            self._defer_all(self._circuits[endpoint].renewed())

    @property
    def unavailable(self) -> Access | None:
        """Set while an endpoint cannot be asked for want of credentials: until when, and why."""
        return min(self._unavailable.values(), key=lambda access: access.until_s, default=None)

    @property
    def rest(self) -> Access | None:
        """The same, while none that this hop uses can be asked: waiting would be paid for."""
        return self.unavailable if self._used and self._used <= self._unavailable.keys() else None

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _end(self, push: Push, verdict: Verdict, status: int | None, outcome: Outcome | None = None) -> None:
        outcome = outcome or _outcome_of(verdict.disposition)
        if verdict.disposition is Disposition.DROP_TOKEN:
            push.batch.record_dead_token(push, verdict.reason or "unknown", verdict.since_ms)
        push.batch.end(push, outcome, verdict.reason, self._at, status, verdict.message_id)
        self._open -= 1

    def _reject_all(self, refusals: Iterable[tuple[Push, Verdict, int]]) -> None:
        """Refused, and no token is called dead for it."""
        for push, verdict, status in refusals:
            self._end(push, msgspec.structs.replace(verdict, disposition=Disposition.REJECT), status)

    def _defer(self, push: Push, due_at: float) -> None:
        push.due_at = max(due_at, push.due_at)
        push.batch.defer(push)
        self._open -= 1

    def _leave_to_end(self, push: Push) -> None:
        """Ask for it again when the audience has been read."""
        push.due_at = 0.0
        self._defer(push, 0.0)

    def _defer_all(self, refusals: Iterable[tuple[Push, Verdict, int]]) -> None:
        for push, _, _ in refusals:
            self._leave_to_end(push)


def _refuses_everything(push: Push, verdict: Verdict, advice: str) -> str:
    """The reason with which a run stops when an endpoint refuses everybody."""
    if verdict.disposition is Disposition.RENEW:
        return f"credentials_refused: {verdict.reason} by {push.endpoint}, with renewed credentials too; {advice}"
    return f"{verdict.reason}: {push.endpoint} refuses everything until this is mended"


def _outcome_of(disposition: Disposition) -> Outcome:
    match disposition:
        case Disposition.ACCEPT:
            return Outcome.ACCEPTED
        case Disposition.DROP_TOKEN | Disposition.REJECT:
            return Outcome.REJECTED
        case _:
            return Outcome.FAILED
