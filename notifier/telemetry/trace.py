"""Traces: what one invocation did, when, and what failed. Knows no service; `notifier.telemetry.xray` writes to X-Ray.

A process has one `Tracing`, made by `start_tracing`. Each invocation gets a `Trace` from it, or `NO_TRACE` when nothing
is recorded, so that no caller has to ask whether tracing is on.
"""

import enum
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar

import msgspec

P = ParamSpec("P")
R = TypeVar("R")


class CallKind(enum.Enum):
    """How a call to a gateway went, as far as a trace is concerned."""

    FINE = enum.auto()
    """Answered. A dead token is a fine answer."""
    THROTTLED = enum.auto()
    """The gateway asks for a lower rate (429)."""
    ERROR = enum.auto()
    """Ours to correct: credentials, for instance."""
    FAULT = enum.auto()
    """The gateway failed, or did not answer at all."""


class GatewayCall(msgspec.Struct, frozen=True):
    """One request to a gateway, after it ended. Times in seconds since the epoch; `status` is 0 without an answer."""

    node: str
    url: str
    began_s: float
    ended_s: float
    status: int
    kind: CallKind
    reason: str | None = None
    why: str = ""
    """Why this one is kept: `slowest` or `failing`."""


class BatchSpan(msgspec.Struct, frozen=True):
    """One batch, after it ended: `calls` are a few examples, `figures` count all of its requests."""

    name: str
    began_s: float
    ended_s: float
    why: str
    calls: tuple[GatewayCall, ...]
    figures: dict[str, object]
    faulty: bool = False


class Trace(Protocol):
    """Records one invocation: `XRayTrace`, `NoTrace`, and the tests' own."""

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        ...

    def annotate(self, **values: str | float | bool) -> None:
        """Make the invocation findable by these values."""
        ...

    def note(self, name: str, value: object) -> None:
        """Attach a value to read, not to search by."""
        ...

    def fault(self, reason: str) -> None:
        """Mark the invocation as failed although it returned an answer."""
        ...

    def open(self, name: str) -> object:
        """Begin a span of the work. Ended by `close`, in the same thread."""
        ...

    def close(self, span: object, error: BaseException | None = None) -> None:
        """End a span."""
        ...

    def batch(self, batch: BatchSpan) -> bool:
        """Record a batch that has ended. False when there is no room for it."""
        ...

    def start_new_trace(self) -> None:
        """Give the invocations that are asked for from now on a trace of their own."""
        ...


class NoTrace:
    """Records nothing."""

    active = False

    def annotate(self, **values: str | float | bool) -> None:
        """Nothing."""

    def note(self, name: str, value: object) -> None:
        """Nothing."""

    def fault(self, reason: str) -> None:
        """Nothing."""

    def open(self, name: str) -> object:
        """Nothing."""
        return None

    def close(self, span: object, error: BaseException | None = None) -> None:
        """Nothing."""

    def batch(self, batch: BatchSpan) -> bool:
        """Nothing."""
        return False

    def start_new_trace(self) -> None:
        """Nothing."""


NO_TRACE = NoTrace()


class Recorder(Protocol):
    """The service that keeps traces, as this module needs it: `xray.XRay` and `NoRecorder`."""

    def begin(self, header: str, name: str) -> Trace | None:
        """Begin an invocation's trace; None when it is not sampled."""
        ...

    def end(self, trace: Trace, error: BaseException | None) -> None:
        """End what `begin` returned and send it."""
        ...

    def close(self) -> None:
        """Send nothing more."""
        ...


class NoRecorder:
    """Samples nothing."""

    def begin(self, header: str, name: str) -> Trace | None:
        """None: not sampled."""
        return None

    def end(self, trace: Trace, error: BaseException | None) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Tracing:
    """One process's traces. `recorder` keeps them."""

    current: Trace = NO_TRACE
    """The invocation's. One at a time: a Lambda environment serves one invocation after the other."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder: Recorder = recorder or NoRecorder()

    @contextmanager
    def invocation(self, header: str, name: str) -> Iterator[Trace]:
        """Record one invocation. `header` is the trace header that Lambda set; empty outside Lambda."""
        trace = self._recorder.begin(header, name) if header else None
        if trace is None:
            yield NO_TRACE
            return
        Tracing.current = trace
        error: BaseException | None = None
        try:
            yield trace
        except BaseException as raised:
            error = raised
            raise
        finally:
            # Reset before it is sent: what sending itself does must not be recorded into a trace that has ended.
            Tracing.current = NO_TRACE
            self._recorder.end(trace, error)

    def close(self) -> None:
        """Record nothing more."""
        self._recorder.close()
        self._recorder = NoRecorder()


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record each call of a function as a span of the invocation. Costs one comparison while nothing is recorded."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            # Looked up at each call, not when decorated: the trace belongs to the invocation, the function to the code.
            trace = Tracing.current
            if trace is NO_TRACE:
                return function(*args, **kwargs)
            with span(trace, name):
                return function(*args, **kwargs)

        return recorded

    return decorate


@contextmanager
def span(trace: Trace, name: str) -> Iterator[None]:
    """Record what happens inside as a span of the invocation."""
    opened = trace.open(name)
    error: BaseException | None = None
    try:
        yield
    # BaseException, so that a span is closed when the process must exit; `close` marks only real exceptions.
    except BaseException as raised:
        error = raised
        raise
    finally:
        trace.close(opened, error)
