"""For tests of traces: the SDK with a listener in the daemon's place, and Lambda's trace headers."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from notifier.telemetry import Trace, start_tracing
from sandbox.xray import Daemon, Document

_numbers = itertools.count(1)


def header(root: str = "", parent: str = "", sampled: int = 1, lineage: str = "") -> str:
    """A trace header as Lambda hands it to a function."""
    number = next(_numbers)
    root = root or f"1-6b000000-{number:024x}"
    parent = parent or f"{number:016x}"
    return f"Root={root};Parent={parent};Sampled={sampled}" + (f";Lineage={lineage}" if lineage else "")


@contextmanager
def invocation(daemon: Daemon, head: str, sample: float = 100.0) -> Iterator[Trace]:
    """One invocation of a function with tracing on, as `notifier.composition.hop_metrics` wraps it."""
    tracing = start_tracing(daemon.address, sample)
    try:
        with tracing.invocation(head, "worker") as trace:
            yield trace
    finally:
        tracing.close()


def documents(daemon: Daemon, invocations: int = 1) -> list[Document]:
    """What the daemon got of so many invocations: the part that covers one is the last that it sends."""
    arrived = daemon.wait_for(lambda found: sum(document.name == "worker" for document in found) >= invocations)
    assert arrived, daemon.rejected
    return daemon.documents()


def named(found: list[Document], name: str) -> Document:
    """The one of this name."""
    [one] = [document for document in found if document.name == name]
    return one
