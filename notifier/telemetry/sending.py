"""What the gateways answered, request by request: figures for the metrics, and the few batches worth a trace.

Told of every answer, so every line here is paid millions of times. Nothing is opened and nothing is sent while a batch
is on its way: what is kept of it is a handful of numbers, and it becomes a document, if at all, when the batch is over.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from notifier.outcome import Disposition, Verdict
from notifier.telemetry.trace import Call, Kind, Piece, Trace

FAILING_BATCHES = 10
"""Of the batches that met a failing gateway, so many are kept whatever else is."""
EDGES_MS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000)
"""Upper ends of the latency counts."""

_ACCEPT = Disposition.ACCEPT
_KINDS = {
    Disposition.ACCEPT: Kind.FINE,
    Disposition.DROP_TOKEN: Kind.FINE,
    Disposition.REJECT: Kind.FINE,
    Disposition.FAIL: Kind.FAULT,
    Disposition.RETRY: Kind.FAULT,
    Disposition.RECONNECT: Kind.FAULT,
    Disposition.RENEW: Kind.ERROR,
    Disposition.PUT_OFF: Kind.ERROR,
    Disposition.STOP: Kind.ERROR,
}


class Node(msgspec.Struct, frozen=True):
    """A gateway as the map shows it. `url` is its base: a path may hold a token."""

    name: str
    url: str


class GatewayFigures(msgspec.Struct):
    """One gateway's answers in this hop. `slots` counts latencies: the n-th below `EDGES_MS[n]`, the last all above."""

    answers: int = 0
    failing: int = 0
    total_s: float = 0.0
    max_s: float = 0.0
    statuses: dict[int, int] = {}
    slots: list[int] = msgspec.field(default_factory=lambda: [0] * (len(EDGES_MS) + 1))

    def percentile_ms(self, share: float) -> int:
        """The latency that this share of the answers stayed under: the upper end of its slot."""
        wanted, seen = self.answers * share, 0
        for number, n in enumerate(self.slots):
            seen += n
            if n and seen >= wanted:
                return EDGES_MS[number] if number < len(EDGES_MS) else int(self.max_s * 1000)
        return 0

    def told(self) -> dict[str, object]:
        """For people."""
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
    """One request: endpoint, seconds it took, end, status, kind, reason."""

    __slots__ = ("ended_s", "endpoint", "kind", "reason", "status", "took_s")

    def __init__(
        self, endpoint: str, took_s: float, ended_s: float, status: int, kind: Kind, reason: str | None
    ) -> None:
        self.endpoint = endpoint
        self.took_s = took_s
        self.ended_s = ended_s
        self.status = status
        self.kind = kind
        self.reason = reason


class _Flight:
    """A batch on its way: what its requests were like so far."""

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
    """Is told of every answer of one hop.

    Args:
        trace: where batches worth it are recorded.
        nodes: the gateways by endpoint.
        now: seconds since the epoch.
        tell: takes the name and the figures of each batch that is over, for the log at DEBUG.
    """

    def __init__(
        self,
        trace: Trace,
        nodes: Mapping[str, Node],
        now: Callable[[], float],
        tell: Callable[[str, Mapping[str, object]], None] | None = None,
    ) -> None:
        self._tell = tell
        self._trace = trace
        self._nodes = nodes
        self._now = now
        self._active = trace.active
        self._flights: dict[Any, _Flight] = {}
        self._over = self._failing_kept = 0
        self._slowest: tuple[float, Piece] | None = None
        self._slots = slots_by_ms()
        self.gateways = {endpoint: GatewayFigures() for endpoint in nodes}
        self.batches_s: list[float] = []
        """How long each batch took from its first request to its last answer, since somebody last emptied this."""

    def answered(self, push: Any, reply: Any, verdict: Verdict) -> None:
        """One answer, judged."""
        endpoint, took_s, status = push.endpoint, reply.latency_s, reply.status
        figures = self.gateways[endpoint]
        figures.answers += 1
        figures.total_s += took_s
        statuses = figures.statuses
        statuses[status] = statuses.get(status, 0) + 1
        figures.slots[self._slots[min(int(took_s * 1000), 20_000)]] += 1
        if took_s > figures.max_s:
            figures.max_s = took_s
        flight = self._flights.get(push.batch)
        if flight is None:
            flight = self._flights[push.batch] = _Flight(self._now() - took_s)
        flight.answers += 1
        if verdict.disposition is not _ACCEPT and _KINDS[verdict.disposition] is not Kind.FINE:
            figures.failing += 1
            flight.failing += 1
            flight.first_failing.setdefault(endpoint, self._example(push, reply, verdict))
        if self._active and took_s > flight.slowest_s.get(endpoint, -1.0):
            flight.slowest_s[endpoint] = took_s
            flight.slowest[endpoint] = self._example(push, reply, verdict)

    def _example(self, push: Any, reply: Any, verdict: Verdict) -> _Example:
        kind = _KINDS[verdict.disposition]
        if kind is Kind.FAULT and reply.status == 429:
            kind = Kind.THROTTLED
        return _Example(push.endpoint, reply.latency_s, self._now(), reply.status, kind, verdict.reason)

    # -- batches that are over ----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take in the batches that are over. Called a few times a second."""
        now_s = self._now()
        for batch in [batch for batch in self._flights if batch.is_complete]:
            flight = self._flights.pop(batch)
            flight.ended_s = now_s
            self.batches_s.append(now_s - flight.began_s)
            if self._tell is not None:
                took_ms = round((now_s - flight.began_s) * 1000)
                self._tell(batch.name, {"took_ms": took_ms, "answers": flight.answers, "failing": flight.failing})
            if self._active:
                self._choose(batch, flight)

    def _choose(self, batch: Any, flight: _Flight) -> None:
        """The first, the failing, a sample that thins out; the slowest waits for the end, when it is known."""
        self._over += 1
        took_s = flight.ended_s - flight.began_s
        why = ""
        if self._over == 1:
            why = "first"
        elif flight.failing and self._failing_kept < FAILING_BATCHES:
            self._failing_kept += 1
            why = "failing"
        elif self._over & (self._over - 1) == 0:
            why = "sample"
        kept = bool(why) and self._trace.piece(self._piece(batch, flight, why))
        if not kept and (self._slowest is None or took_s > self._slowest[0]):
            self._slowest = took_s, self._piece(batch, flight, "slowest")

    def _piece(self, batch: Any, flight: _Flight, why: str) -> Piece:
        calls = [self._call(example, "failing") for example in flight.first_failing.values()]
        calls += [
            self._call(example, "slowest")
            for endpoint, example in flight.slowest.items()
            if example.ended_s != getattr(flight.first_failing.get(endpoint), "ended_s", None)
        ]
        figures: dict[str, object] = {"answers": flight.answers, "failing": flight.failing}
        faulty = flight.failing * 10 >= flight.answers  # one failing request in a thousand is weather
        return Piece(batch.name.replace("=", " "), flight.began_s, flight.ended_s, why, tuple(calls), figures, faulty)

    def _call(self, example: _Example, why: str) -> Call:
        node = self._nodes[example.endpoint]
        began_s = example.ended_s - example.took_s
        return Call(node.name, node.url, began_s, example.ended_s, example.status, example.kind, example.reason, why)

    def end(self) -> None:
        """The hop is over: what is still to be recorded is recorded."""
        self.look()
        if self._slowest is not None:
            self._trace.piece(self._slowest[1])
            self._slowest = None
        for endpoint, figures in self.gateways.items():
            if figures.answers:
                self._trace.note(self._nodes[endpoint].name, figures.told())


def slots_by_ms() -> list[int]:
    """The slot of each whole millisecond up to 20 s."""
    table, slot = [], 0
    for ms in range(20_001):
        while slot < len(EDGES_MS) and ms >= EDGES_MS[slot]:
            slot += 1
        table.append(slot)
    return table


__all__ = ["GatewayFigures", "Node", "Sending"]
