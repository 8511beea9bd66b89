"""A gateway that plays a script for each phone, and counts what the phones would have seen."""

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future

from notifier.model.exchange import Answer, NoAnswer, Request
from notifier.model.outcome import Access, Disposition, Readiness, Suspicion, Verdict
from notifier.model.runtime import Clock
from notifier.sending.batch import Push
from notifier.sending.carrier import Ticket

TIMEOUT_S = 20.0
"""A request without an answer is given up by the transport after this."""


class Act(enum.Enum):
    """What becomes of one request for a phone."""

    ACCEPT = "accept"
    REJECT = "reject"
    """This device only."""
    DEAD = "dead"
    """The token is dead."""
    BUSY = "busy"
    """Refused for now; to be asked again soon."""
    LATER = "later"
    """Refused for five minutes."""
    MINUTE = "minute"
    """Refused for a minute."""
    HOUR = "hour"
    """Refused for an hour."""
    REFUSED = "refused"
    """The connection goes away without having looked at it (GOAWAY, REFUSED_STREAM)."""
    BROKEN = "broken"
    """The connection breaks after the phone got it, before the answer."""
    LOST = "lost"
    """The connection breaks before anything was done."""
    SILENT = "silent"
    """The phone gets it; an answer never comes."""
    MUTE = "mute"
    """Nothing is done and an answer never comes."""
    WRONG = "wrong"
    """The payload is refused: the device's fault, or the campaign's."""
    FOREIGN = "foreign"
    """A token of another project than the secret's."""
    OFF = "off"
    """Its platform cannot be sent to until an operator has changed something."""
    HALT = "halt"
    """Refused for what would be everybody's trouble."""
    STALE = "stale"
    """The credentials are refused, whatever they are."""

    @property
    def reaches(self) -> bool:
        """Whether the phone sees it."""
        return self in (Act.ACCEPT, Act.BROKEN, Act.SILENT)


VERDICTS: Mapping[Act, Verdict] = {
    Act.ACCEPT: Verdict(Disposition.ACCEPT),
    Act.REJECT: Verdict(Disposition.REJECT, "MessageTooBig"),
    Act.DEAD: Verdict(Disposition.DROP_TOKEN, "Unregistered"),
    Act.BUSY: Verdict(Disposition.RETRY, "ServiceUnavailable"),
    Act.LATER: Verdict(Disposition.RETRY, "TooManyRequests", retry_after_s=300),
    Act.MINUTE: Verdict(Disposition.RETRY, "TooManyRequests", retry_after_s=60),
    Act.HOUR: Verdict(Disposition.RETRY, "TooManyRequests", retry_after_s=3_600),
    Act.REFUSED: Verdict(Disposition.RECONNECT, "refused"),
    Act.BROKEN: Verdict(Disposition.RETRY, "unanswered", maybe_processed=True, is_of_connection=True),
    Act.LOST: Verdict(Disposition.RETRY, "unanswered", maybe_processed=True, is_of_connection=True),
    Act.SILENT: Verdict(Disposition.RETRY, "unanswered", maybe_processed=True),
    Act.MUTE: Verdict(Disposition.RETRY, "unanswered", maybe_processed=True),
    Act.WRONG: Verdict(Disposition.REJECT, "BadCollapseId", suspicion=Suspicion.PAYLOAD),
    Act.FOREIGN: Verdict(Disposition.DROP_TOKEN, "SENDER_ID_MISMATCH", suspicion=Suspicion.SENDER),
    Act.OFF: Verdict(Disposition.PUT_OFF, "THIRD_PARTY_AUTH_ERROR"),
    Act.HALT: Verdict(Disposition.STOP, "BadTopic"),
    Act.STALE: Verdict(Disposition.RENEW, "ExpiredProviderToken"),
}


class Phones:
    """Every phone's script and count.

    Args:
        act_of: what becomes of the n-th request for a token, from 0.
    """

    def __init__(self, act_of: Callable[[str, int], Act] = lambda _, __: Act.ACCEPT) -> None:
        self.act_of = act_of
        self.asked: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.on_ask: Callable[[str, float, int], None] = lambda _, __, ___: None
        """Is called with each request: the token, when it began, and the round of its batch."""
        self.suppressed: list[str] = []
        """Tokens of users that were asked although the claim had read that they are suppressed."""
        self.began: list[float] = []
        """When each request began."""
        self.good_generation = 0
        """Credentials of an earlier generation are refused."""
        self.secret_is_good = True
        """Whether renewed credentials are of the good generation."""

    def ask(self, token: str, generation: int, now_s: float) -> Act | None:
        """One request. None when the credentials are stale."""
        self.began.append(now_s)
        if generation < self.good_generation:
            return None
        act = self.act_of(token, self.asked[token])
        self.asked[token] += 1
        if act.reaches:
            self.seen[token] += 1
        return act

    @property
    def repeats(self) -> int:
        """How often a phone saw what it had seen."""
        return self.repeats_of(self.seen)

    def repeats_of(self, tokens: Iterable[str]) -> int:
        """The same for some phones."""
        return sum(max(self.seen[token] - 1, 0) for token in tokens)


class TwinCarrier:
    """One endpoint's knowledge: asks by token, judges by the act.

    Args:
        background: where credentials are renewed.
        access_of: whether an endpoint can be asked, by its name and the time; None: it can.
    """

    advice = "the twins' secret: look at it"

    def __init__(
        self,
        endpoint: str,
        phones: Phones,
        background: Executor,
        generation: int = 0,
        ttl_s: float | None = None,
        access_of: Callable[[str, float], Access | None] = lambda _, __: None,
    ) -> None:
        self._endpoint = endpoint
        self._phones = phones
        self._background = background
        self._access_of = access_of
        self._renewing: Future[None] | None = None
        self.generation = generation
        self._ttl_s = ttl_s

    def access(self, now_s: float) -> Access:
        """Whether the endpoint can be asked now."""
        barred = self._access_of(self._endpoint, now_s)
        if barred is not None:
            return barred
        if self._renewing is not None and not self._renewing.done():
            return Access(Readiness.WAITING)
        return Access(Readiness.READY)

    def ask(self, push: Push, now_s: float) -> Request:
        """The request for a push; its path is the token."""
        ticket = Ticket(push, self.generation)
        return Request(endpoint=self._endpoint, path=push.device.token, headers=(), body=b"", ticket=ticket)

    def judge(self, answer: Answer) -> Verdict:
        """What an answer means."""
        return VERDICTS[Act(answer.body.decode())]

    def ttl_s(self, arm: str) -> float | None:
        """The message's time to live, the same for every arm."""
        return self._ttl_s

    def renew(self) -> None:
        """Read the secret again, in the background."""
        if self._renewing is None or self._renewing.done():
            self._renewing = self._background.submit(self._renewed)

    def _renewed(self) -> None:
        self.generation += 1
        if self._phones.secret_is_good:
            self._phones.good_generation = min(self._phones.good_generation, self.generation)


class TwinTransport:
    """Carries requests to phones, and answers back when their time has come.

    Args:
        latency_s: how long the next answer takes, in seconds.
        waits: lets the time of a poll pass; given what the caller would wait for.
    """

    def __init__(
        self,
        phones: Phones,
        clock: Clock,
        waits: Callable[[float], None],
        latency_s: Callable[[], float] = lambda: 0.1,
        streams: int = 100,
    ) -> None:
        self._phones = phones
        self._clock = clock
        self.waits = waits
        self._latency_s = latency_s
        self.streams = streams
        self.suppressed: frozenset[str] = frozenset()
        """User ids for which no request may come."""
        self._flying: list[tuple[float, Answer]] = []
        self.replaced = 0

    def room(self, endpoint: str) -> int:
        """How many more requests an endpoint takes."""
        return self.streams - len(self._flying)

    def submit(self, request: Request) -> None:
        """Take a request."""
        ticket: Ticket = request.ticket
        self._phones.on_ask(request.path, self._clock.now(), ticket.push.batch.round)
        if ticket.push.user_id in self.suppressed:
            self._phones.suppressed.append(request.path)
        act = self._phones.ask(request.path, ticket.generation, self._clock.now()) or Act.STALE
        silent = act in (Act.SILENT, Act.MUTE)
        due_s = self._clock.monotonic() + (TIMEOUT_S if silent else self._latency_s())
        self._flying.append((due_s, _answer(request, act)))

    def poll(self, timeout_s: float) -> list[Answer]:
        """Answers that have come after some time."""
        self.waits(timeout_s)
        now_s = self._clock.monotonic()
        here = [answer for due_s, answer in self._flying if due_s <= now_s]
        if here:
            self._flying = [(due_s, answer) for due_s, answer in self._flying if due_s > now_s]
        return here

    def replace_connection(self, endpoint: str, connection: int) -> None:
        """Count it."""
        self.replaced += 1

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._flying)

    def close(self) -> None:
        """Drop what is in flight."""
        self._flying.clear()

    @property
    def next_s(self) -> float | None:
        """When the next answer comes, monotonic; None when none is awaited."""
        return min((due_s for due_s, _ in self._flying), default=None)


def _answer(request: Request, act: Act) -> Answer:
    """The answer to a request; its body is the act, for `TwinCarrier.judge`."""
    is_answered = not VERDICTS[act].maybe_processed
    return Answer(
        ticket=request.ticket,
        status=(200 if act is Act.ACCEPT else 400) if is_answered else 0,
        no_answer=None if is_answered else NoAnswer.UNANSWERED,
        body=act.value.encode(),
        latency_s=0.1,
        connection=1,
    )
