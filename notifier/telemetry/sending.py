"""Counts the gateways' answers for the metrics, and chooses the few batches that go into the trace.

It is called for every answer, so that each line runs millions of times. While a batch is in flight only a few numbers
of it are kept. A document is made of it, if at all, when it has ended.
"""

from collections.abc import Callable, Mapping

import msgspec

from notifier.model.exchange import Answer
from notifier.model.outcome import Disposition, Verdict
from notifier.sending.batch import Batch, Push
from notifier.telemetry.trace import BatchSpan, CallKind, GatewayCall, Trace

FAILING_BATCHES = 10
"""Batches with a failing answer that are recorded, beside the first, the sample and the slowest."""
EDGES_MS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000)
"""Upper limits of the slots that latencies are counted in."""
SLOWEST_MS = EDGES_MS[-1]
"""Latencies from here on share the last slot."""
FAULTY_ONE_IN = 10
"""A batch is marked as faulty if one answer in this many fails. A few failures are normal, and mark nothing."""
TOO_MANY_REQUESTS = 429

_ACCEPT = Disposition.ACCEPT
_AGAIN = frozenset({Disposition.RETRY, Disposition.RECONNECT, Disposition.RENEW, Disposition.PUT_OFF})
"""After which a device is asked for again, or later."""
_KINDS = {
    Disposition.ACCEPT: CallKind.FINE,
    Disposition.DROP_TOKEN: CallKind.FINE,
    Disposition.REJECT: CallKind.FINE,
    Disposition.FAIL: CallKind.FAULT,
    Disposition.RETRY: CallKind.FAULT,
    Disposition.RECONNECT: CallKind.FAULT,
    Disposition.RENEW: CallKind.ERROR,
    Disposition.PUT_OFF: CallKind.ERROR,
    Disposition.STOP: CallKind.ERROR,
}


class Node(msgspec.Struct, frozen=True):
    """A gateway as X-Ray's map shows it. `url` is its base only: a path may hold a device token."""

    name: str
    url: str


class GatewayFigures(msgspec.Struct):
    """One gateway's answers in this hop. `slots` counts latencies: the n-th below `EDGES_MS[n]`, the last all above."""

    answers: int = 0
    failing: int = 0
    total_s: float = 0.0
    max_s: float = 0.0
    statuses: dict[int, int] = {}
    retries: dict[str, int] = {}
    slots: list[int] = msgspec.field(default_factory=lambda: [0] * (len(EDGES_MS) + 1))

    def percentile_ms(self, share: float) -> int:
        """The latency that this share of the answers was under: the upper limit of its slot."""
        wanted, seen = self.answers * share, 0
        for number, n in enumerate(self.slots):
            seen += n
            if n and seen >= wanted:
                return EDGES_MS[number] if number < len(EDGES_MS) else int(self.max_s * 1000)
        return 0

    def as_metadata(self) -> dict[str, object]:
        """The figures as a note of the trace."""
        return {
            "requests": self.answers,
            "failing": self.failing,
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "mean_ms": round(self.total_s / self.answers * 1000, 1) if self.answers else 0.0,
            "p50_ms": self.percentile_ms(0.5),
            "p99_ms": self.percentile_ms(0.99),
            "max_ms": round(self.max_s * 1000, 1),
        }


class _Example:
    """One request that is kept. A slotted class, because a struct's keyword arguments take longer on this path."""

    __slots__ = ("ended_s", "endpoint", "kind", "reason", "status", "took_s")

    def __init__(
        self, endpoint: str, took_s: float, ended_s: float, status: int, kind: CallKind, reason: str | None
    ) -> None:
        self.endpoint = endpoint
        self.took_s = took_s
        self.ended_s = ended_s
        self.status = status
        self.kind = kind
        self.reason = reason


class _BatchInFlight:
    """The answers of a batch so far."""

    __slots__ = ("answers", "began_s", "ended_s", "failing", "first_failing", "slowest", "slowest_s")

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.ended_s = began_s
        self.answers = 0
        self.failing = 0
        self.slowest_s: dict[str, float] = {}
        self.slowest: dict[str, _Example] = {}
        self.first_failing: dict[str, _Example] = {}


class Sending:
    """The answers of one hop. `answered` takes each; `collect_ended` and `end` turn them into figures and documents.

    Args:
        trace: takes the batches that are kept.
        nodes: the gateways by endpoint.
        now: seconds since the epoch.
        log_batch: logs the name and the figures of each batch that has ended; None unless the log is at DEBUG.
    """

    def __init__(
        self,
        trace: Trace,
        nodes: Mapping[str, Node],
        now: Callable[[], float],
        log_batch: Callable[[str, Mapping[str, object]], None] | None = None,
    ) -> None:
        self._log_batch = log_batch
        self._trace = trace
        self._nodes = nodes
        self._now = now
        self._active = trace.active
        self._flights: dict[Batch, _BatchInFlight] = {}
        self._ended = self._failing_kept = 0
        self._slowest: tuple[float, BatchSpan] | None = None
        self._slots = slots_by_ms()
        self.gateways = {endpoint: GatewayFigures() for endpoint in nodes}
        self.batches_s: list[float] = []
        """Seconds that each batch took from its first request to its last answer, until the caller empties the list."""

    def answered(self, push: Push, answer: Answer, verdict: Verdict) -> None:
        """Count one answer with its verdict."""
        endpoint, took_s, status = push.endpoint, answer.latency_s, answer.status
        figures = self.gateways[endpoint]
        figures.answers += 1
        figures.total_s += took_s
        statuses = figures.statuses
        statuses[status] = statuses.get(status, 0) + 1
        figures.slots[self._slots[min(int(took_s * 1000), SLOWEST_MS)]] += 1
        if took_s > figures.max_s:
            figures.max_s = took_s
        flight = self._flights.get(push.batch)
        if flight is None:
            # The batch began with the request that is answered first, as far as its answers show.
            flight = self._flights[push.batch] = _BatchInFlight(self._now() - took_s)
        flight.answers += 1
        if verdict.disposition is not _ACCEPT and _KINDS[verdict.disposition] is not CallKind.FINE:
            figures.failing += 1
            flight.failing += 1
            if verdict.disposition in _AGAIN:
                reason = verdict.reason or str(status)
                figures.retries[reason] = figures.retries.get(reason, 0) + 1
            flight.first_failing.setdefault(endpoint, self._example(push, answer, verdict))
        # Without a trace no example is read, so that the comparison would cost time for nothing.
        if self._active and took_s > flight.slowest_s.get(endpoint, -1.0):
            flight.slowest_s[endpoint] = took_s
            flight.slowest[endpoint] = self._example(push, answer, verdict)

    def _example(self, push: Push, answer: Answer, verdict: Verdict) -> _Example:
        kind = _KINDS[verdict.disposition]
        if kind is CallKind.FAULT and answer.status == TOO_MANY_REQUESTS:
            kind = CallKind.THROTTLED
        return _Example(push.endpoint, answer.latency_s, self._now(), answer.status, kind, verdict.reason)

    # -- batches that have ended --------------------------------------------------------------------------------------

    def collect_ended(self) -> None:
        """Count, log and perhaps record the batches that ended since the last call. Called a few times a second."""
        now_s = self._now()
        for batch in [batch for batch in self._flights if batch.is_complete]:
            flight = self._flights.pop(batch)
            flight.ended_s = now_s
            self.batches_s.append(now_s - flight.began_s)
            if self._log_batch is not None:
                took_ms = round((now_s - flight.began_s) * 1000)
                self._log_batch(batch.name, {"took_ms": took_ms, "answers": flight.answers, "failing": flight.failing})
            if self._active:
                self._choose(batch, flight)

    def _choose(self, batch: Batch, flight: _BatchInFlight) -> None:
        """Record the first batch, the first failing ones, and a sample that thins out; keep the slowest for `end`."""
        self._ended += 1
        took_s = flight.ended_s - flight.began_s
        why = ""  # of none: the batch is not recorded, unless it is the slowest in the end
        if self._ended == 1:
            why = "first"
        elif flight.failing and self._failing_kept < FAILING_BATCHES:
            self._failing_kept += 1
            why = "failing"
        elif self._ended & (self._ended - 1) == 0:  # the 2nd, 4th, 8th, 16th…: a few of each hop, however long it is
            why = "sample"
        # A batch that found no room in the trace may still turn out to be the slowest.
        kept = bool(why) and self._trace.batch(self._span(batch, flight, why))
        if not kept and (self._slowest is None or took_s > self._slowest[0]):
            self._slowest = took_s, self._span(batch, flight, "slowest")

    def _span(self, batch: Batch, flight: _BatchInFlight, why: str) -> BatchSpan:
        calls = [self._call(example, "failing") for example in flight.first_failing.values()]
        calls += [
            self._call(example, "slowest")
            for endpoint, example in flight.slowest.items()
            # The slowest call may be the failing one that is listed already: the same end means the same call.
            if example.ended_s != getattr(flight.first_failing.get(endpoint), "ended_s", None)
        ]
        figures: dict[str, object] = {"answers": flight.answers, "failing": flight.failing}
        faulty = flight.failing * FAULTY_ONE_IN >= flight.answers
        return BatchSpan(
            batch.name.replace("=", " "), flight.began_s, flight.ended_s, why, tuple(calls), figures, faulty
        )

    def _call(self, example: _Example, why: str) -> GatewayCall:
        node = self._nodes[example.endpoint]
        began_s = example.ended_s - example.took_s
        return GatewayCall(
            node.name, node.url, began_s, example.ended_s, example.status, example.kind, example.reason, why
        )

    def end(self) -> None:
        """End of the hop: record the slowest batch and the figures of each gateway."""
        self.collect_ended()
        if self._slowest is not None:
            self._trace.batch(self._slowest[1])
            self._slowest = None
        for endpoint, figures in self.gateways.items():
            if figures.answers:
                self._trace.note(self._nodes[endpoint].name, figures.as_metadata())


def slots_by_ms() -> list[int]:
    """The slot of each whole millisecond up to `SLOWEST_MS`: a look-up instead of a search for every answer."""
    table, slot = [], 0
    for ms in range(SLOWEST_MS + 1):
        while slot < len(EDGES_MS) and ms >= EDGES_MS[slot]:
            slot += 1
        table.append(slot)
    return table


__all__ = ["GatewayFigures", "Node", "Sending"]
