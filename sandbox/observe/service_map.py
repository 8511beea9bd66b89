"""Traces as a map: who calls whom, how often, how long it takes, how much of it fails. Values only, no drawing."""

import enum
import statistics
from collections.abc import Iterable, Mapping

import msgspec

from sandbox.xray import API, FUNCTION, SERVICE, Document, Trace

SLOW_MS = 400.0
"""A node is slow from this mean on,"""
SLOWER = 3.0
"""if it is also so many times as slow as the median of the nodes that are called."""
FAILING = 0.05
"""A node is failing from this share of failed calls on."""

AWS_NAMES: Mapping[str, str] = {
    "dynamodb": "DynamoDB",
    "events": "EventBridge",
    "lambda": "Lambda",
    "s3": "S3",
    "secretsmanager": "Secrets Manager",
    "email": "SES",
    "sqs": "SQS",
}


class Kind(enum.StrEnum):
    """What a node is. Its place on the map."""

    API = "API"
    SERVICE = "AWS Lambda"
    FUNCTION = "function"
    AWS = "AWS service"
    REMOTE = "gateway"


class Node(msgspec.Struct):
    """One node. `exact` counts come from the function's own figures; others count the documents that were kept."""

    name: str
    kind: Kind
    calls: int = 0
    failed: int = 0
    total_ms: float = 0.0
    exact: bool = False
    p99_ms: float | None = None

    @property
    def id(self) -> str:
        """Unlike every other node's."""
        return f"{self.kind.name.lower()}-{self.name}"

    @property
    def mean_ms(self) -> float:
        """How long a call takes."""
        return self.total_ms / self.calls if self.calls else 0.0

    @property
    def failing(self) -> float:
        """The share that fails, 0 to 1."""
        return self.failed / self.calls if self.calls else 0.0


class Finding(msgspec.Struct, frozen=True):
    """A node that fails or is slow."""

    node: str
    what: str
    text: str


class ServiceMap(msgspec.Struct):
    """Nodes by id, and how often one called another."""

    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], int] = {}

    def findings(self) -> list[Finding]:
        """The culprits: what fails, and what is much slower than the rest of what is called."""
        called = [node for node in self.nodes.values() if node.kind in (Kind.AWS, Kind.REMOTE) and node.calls]
        middle_ms = statistics.median(node.mean_ms for node in called) if called else 0.0
        found = []
        for node in self.nodes.values():
            if node.failing >= FAILING:
                text = f"{node.failing:.0%} of {node.calls:,} calls fail"
                found.append(Finding(node.name, "failing", text))
            if node in called and node.mean_ms >= max(SLOW_MS, SLOWER * middle_ms):
                text = f"{node.mean_ms:,.0f} ms a call; the middle one of what is called takes {middle_ms:,.0f} ms"
                found.append(Finding(node.name, "slow", text))
        return found


def service_map(traces: Iterable[Trace]) -> ServiceMap:
    """The map of these traces."""
    result = ServiceMap()
    for trace in traces:
        _add(result, trace)
    return result


def _add(result: ServiceMap, trace: Trace) -> None:
    by_id = {document.id: document for document in trace.documents}
    exact = _exact(trace)
    for document in trace.documents:
        node = _node_of(result, document)
        if node is None:
            continue
        if node.kind is not Kind.REMOTE or node.name not in exact:
            _count(node, document)
        caller = _caller(document, by_id)
        if caller is not None:
            edge = (_node_of(result, caller), node)
            if edge[0] is not None and edge[0].id != node.id:
                pair = (edge[0].id, node.id)
                result.edges[pair] = result.edges.get(pair, 0) + 1
    # Of a gateway only a few requests became documents; the function's own figures replace them.
    for name, figures in exact.items():
        node = _known(result, Node(name, Kind.REMOTE))
        node.exact = True
        for requests, failing, mean_ms, p99_ms in figures:
            node.calls += requests
            node.failed += failing
            node.total_ms += mean_ms * requests
            node.p99_ms = max(node.p99_ms or 0.0, p99_ms)


def _exact(trace: Trace) -> dict[str, list[tuple[int, int, float, float]]]:
    """What functions say of the gateways: all requests are in it, not only the few that became documents."""
    found: dict[str, list[tuple[int, int, float, float]]] = {}
    for document in trace.documents:
        for name, figures in document.detail.get("metadata", {}).get("notifier", {}).items():
            if isinstance(figures, dict) and {"requests", "failing", "mean_ms", "p99_ms"} <= set(figures):
                row = (figures["requests"], figures["failing"], figures["mean_ms"], figures["p99_ms"])
                found.setdefault(name, []).append(row)
    return found


def _count(node: Node, document: Document) -> None:
    node.calls += 1
    node.failed += 1 if document.failed else 0
    node.total_ms += document.took_ms


def _node_of(result: ServiceMap, document: Document) -> Node | None:
    """The node that a document is a call of; None for a part of a function's own work."""
    if document.origin == FUNCTION:
        return _known(result, Node(document.name, Kind.FUNCTION))
    if document.origin == SERVICE:
        return _known(result, Node(f"Lambda: {document.name}", Kind.SERVICE))
    if document.origin == API:
        return _known(result, Node(document.name, Kind.API))
    if document.namespace == "aws":
        return _known(result, Node(AWS_NAMES.get(document.name, document.name), Kind.AWS))
    if document.namespace == "remote":
        return _known(result, Node(document.name, Kind.REMOTE))
    return None


def _known(result: ServiceMap, node: Node) -> Node:
    return result.nodes.setdefault(node.id, node)


def _caller(document: Document, by_id: Mapping[str, Document]) -> Document | None:
    """The nearest document above that is a node: who made this call."""
    parent = by_id.get(document.parent_id or "")
    while parent is not None:
        if parent.origin or parent.namespace in ("aws", "remote"):
            return parent
        parent = by_id.get(parent.parent_id or "")
    return None
