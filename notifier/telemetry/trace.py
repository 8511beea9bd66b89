"""Traces: what one invocation did, when, and what failed. Independent of X-Ray, which `notifier.telemetry.xray` uses.

A process has one `Tracing`, made by `start_tracing`. It gives each invocation a `Trace`, which is `NO_TRACE` where
nothing is recorded, so that no caller has to check whether tracing is on.
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
    """How a call to a gateway ended, in the terms of a trace."""

    FINE = enum.auto()
    """Answered. A dead token is a fine answer."""
    THROTTLED = enum.auto()
    """The gateway asks for a lower rate (429)."""
    ERROR = enum.auto()
    """Refused for something on our side, such as the credentials."""
    FAULT = enum.auto()
    """The gateway failed, or did not answer."""


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
    """Records one invocation: `XRayTrace`, `NoTrace`, and the tests' twin."""

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        ...

    def annotate(self, **values: str | float | bool) -> None:
        """Attach values by which the invocation can be found."""
        ...

    def note(self, name: str, value: object) -> None:
        """Attach a value for people to read. It is not searched."""
        ...

    def fault(self, reason: str) -> None:
        """Mark the invocation as failed although it returned an answer."""
        ...

    def open(self, name: str) -> object:
        """Begin a span. `close` ends it, in the same thread."""
        ...

    def close(self, span: object, error: BaseException | None = None) -> None:
        """End a span."""
        ...

    def batch(self, batch: BatchSpan) -> bool:
        """Record a batch that has ended. False where the trace has no room for it."""
        ...

    def start_new_trace(self) -> None:
        """Give the invocations that this one starts from now on a trace of their own."""
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
    """The service that stores traces: `xray.XRay`, `NoRecorder`, and the tests' twin."""

    def begin(self, header: str, name: str) -> Trace | None:
        """Begin an invocation's trace; None where it is not sampled."""
        ...

    def end(self, trace: Trace, error: BaseException | None) -> None:
        """End a trace that `begin` returned, and send it."""
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
    """The tracing of one process. `recorder` stores the traces."""

    current: Trace = NO_TRACE
    """The current invocation's trace. One suffices: a Lambda environment serves one invocation at a time."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder: Recorder = recorder or NoRecorder()

    @contextmanager
    def invocation(self, header: str, name: str) -> Iterator[Trace]:
        """Record what happens inside as one invocation.

        Args:
            header: the trace header that Lambda has set; empty outside Lambda, where nothing is recorded.
        """
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
            # Reset before the trace is sent: what the sending does must not be recorded into a trace that has ended.
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
