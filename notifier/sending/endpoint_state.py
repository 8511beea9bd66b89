"""One endpoint during a hop: whether and how fast it may be asked, and how its credentials fare."""

from notifier.model.exchange import Answer
from notifier.model.outcome import Access, Readiness
from notifier.sending.backpressure import Backpressure
from notifier.sending.carrier import Carrier
from notifier.sending.circuit_breaker import CircuitBreaker
from notifier.sending.open_pushes import Refusal
from notifier.sending.rate_limit import SharedBudget


class EndpointState:
    """What a hop knows of one endpoint.

    Args:
        budget: the rate limit of requests for endpoints that have one of their own (FCM's, shared by all runs).
        now_s: monotonic time.
        most_withheld: so many withheld refusals open the circuit breaker.
    """

    def __init__(
        self, name: str, carrier: Carrier, budget: SharedBudget | None, now_s: float, most_withheld: int
    ) -> None:
        self.name = name
        self.carrier = carrier
        self.circuit: CircuitBreaker[Refusal] = CircuitBreaker(now_s, most_withheld)
        self.is_used = False
        """It had something to send in this hop."""
        self.unavailable: Access | None = None
        """Why and until when it cannot be asked for want of credentials; None when it can."""
        self._backpressure = Backpressure(now_s)
        self._budget = budget
        self._generation: int | None = None
        """Of the credentials, when `has_new_credentials` looked last."""
        self._first_generation: int | None = None
        """That this hop asked with first."""
        self._accepted_generation: int | None = None
        """That the endpoint accepted a push with last."""
        self._is_renewing = False
        """The credentials are being renewed because of a refusal."""
        self._renewed_for: set[tuple[int, int]] = set()
        """Devices whose refusal brought a renewal: another refusal of theirs brings none."""

    # -- how fast -----------------------------------------------------------------------------------------------------

    def permits(self, room: int, now_s: float) -> int:
        """How many requests may start now: the least of the transport's room and of all limits. `now_s` monotonic."""
        least = min(room, self._backpressure.permits(now_s), self.circuit.permits(now_s))
        return min(least, self._budget.permits(now_s)) if self._budget else least

    def take(self, requests: int) -> None:
        """Use up permits for requests that were made."""
        self._backpressure.take(requests)
        self.circuit.take(requests)
        if self._budget:
            self._budget.take(requests)

    def note_load(self, answer: Answer, now_s: float) -> None:
        """Learn from an answer's status and latency how much the endpoint can take. `now_s` monotonic."""
        self._backpressure.note(answer.status, answer.latency_s, now_s)

    def slowed(self) -> tuple[float, float] | None:
        """Requests a second that it may get while it is slowed down, and since when (monotonic); else None."""
        rate = self._backpressure.rate
        return None if rate is None else (rate, self._backpressure.limited_since_s)

    # -- credentials --------------------------------------------------------------------------------------------------

    def look(self, now_s: float) -> Access:
        """Whether it can be asked now; remembers it as `unavailable`. `now_s` in seconds since the epoch."""
        access = self.carrier.access(now_s)
        self.unavailable = access if access.readiness is Readiness.UNAVAILABLE else None
        return access

    def has_new_credentials(self) -> bool:
        """Whether the credentials were replaced since the last call; what the old ones met then proves nothing."""
        before, self._generation = self._generation, self.carrier.generation
        if before is None or before == self._generation:  # None: the first look of this hop
            return False
        self._is_renewing = False
        return True

    def note_requests(self) -> None:
        """Requests may be made now, with the credentials as they are."""
        if self._first_generation is None:
            self._first_generation = self.carrier.generation

    def note_acceptance(self, generation: int) -> None:
        """A push was accepted with the credentials of this generation."""
        self._accepted_generation = generation

    def refuses_renewed(self, device: tuple[int, int], generation: int) -> bool:
        """Whether credentials are refused that a renewal does not help: renewed ones, or this device's second time."""
        if generation != self.carrier.generation:
            return False  # a request of before the renewal
        is_renewed = self._first_generation is not None and generation > self._first_generation
        # Renewed ones that were accepted once may have expired since: those are worth another renewal.
        return (is_renewed and self._accepted_generation != generation) or device in self._renewed_for

    def renew_for(self, device: tuple[int, int], generation: int) -> None:
        """Renew the credentials because this device was refused, unless that is done or under way already."""
        if generation == self.carrier.generation and not self._is_renewing:
            self._is_renewing = True
            self._renewed_for.add(device)
            self.carrier.renew()
