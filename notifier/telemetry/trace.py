"""Traces: what one invocation did, when, and what failed. Independent of X-Ray, which `notifier.telemetry.xray` uses.

A process has one `Tracing`, made by `start_tracing`. It gives each invocation a `Trace`, which is `NO_TRACE` where
nothing is recorded, so that no caller has to check whether tracing is on.
"""

import enum
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

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


class Trace:
    """What is recorded of one invocation. This one records nothing; `xray.XRayTrace` does."""

    active = False
    """Whether anything is recorded."""

    def annotate(self, **values: str | float | bool) -> None:
        """Attach values by which the invocation can be found."""

    def note(self, name: str, value: object) -> None:
        """Attach a value for people to read. It is not searched."""

    def fault(self, reason: str) -> None:
        """Mark the invocation as failed although it returned an answer."""

    def open(self, name: str) -> object:
        """Begin a span. `close` ends it, in the same thread."""
        return None

    def close(self, span: object, error: BaseException | None = None) -> None:
        """End a span."""

    def batch(self, batch: BatchSpan) -> bool:
        """Record a batch that has ended. False where the trace has no room for it."""
        return False

    def start_new_trace(self) -> None:
        """Give the invocations that this one starts from now on a trace of their own."""

    def end(self, error: BaseException | None) -> None:
        """End the trace and send it."""


NO_TRACE = Trace()


class Tracing:
    """The tracing of one process.

    Args:
        begin: begins the trace of an invocation, by its trace header and name; `NO_TRACE` where it is not sampled.
        close: ends what `begin` needs.
    """

    current: Trace = NO_TRACE
    """The current invocation's trace. One suffices: a Lambda environment serves one invocation at a time."""

    def __init__(
        self,
        begin: Callable[[str, str], Trace] = lambda _header, _name: NO_TRACE,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self._begin = begin
        self._close = close

    @contextmanager
    def invocation(self, header: str, name: str) -> Iterator[Trace]:
        """Record what happens inside as one invocation.

        Args:
            header: the trace header that Lambda has set; empty outside Lambda, where nothing is recorded.
        """
        trace = self._begin(header, name) if header else NO_TRACE
        if trace is NO_TRACE:
            yield trace
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
            trace.end(error)

    def close(self) -> None:
        """Record nothing more."""
        self._begin = lambda _header, _name: NO_TRACE
        self._close()


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
