"""Traces: what an invocation did, when, and where it hurt. `notifier.telemetry.xray` knows the service that keeps them.

A process has one `Tracing`; each invocation gets a `Trace` from it, and `NO_TRACE` when nothing is to be recorded. So
nobody who tells something asks whether somebody listens.
"""

import enum
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar

import msgspec

P = ParamSpec("P")
R = TypeVar("R")


class Kind(enum.Enum):
    """How a call to a gateway went, as far as a trace is concerned."""

    FINE = enum.auto()
    """Answered. A dead token is a fine answer."""
    THROTTLED = enum.auto()
    """The gateway wants it slower."""
    ERROR = enum.auto()
    """Ours to mend: credentials, for instance."""
    FAULT = enum.auto()
    """The gateway's own trouble, or no answer at all."""


class Call(msgspec.Struct, frozen=True):
    """One request to a gateway as it was. Times in seconds since the epoch; `status` 0 without an answer."""

    node: str
    url: str
    began_s: float
    ended_s: float
    status: int
    kind: Kind
    reason: str | None = None
    why: str = ""
    """Why this one is kept: `first`, `slowest`, `failing`."""


class Piece(msgspec.Struct, frozen=True):
    """One batch as it was: its calls are examples, `figures` count all of them."""

    name: str
    began_s: float
    ended_s: float
    why: str
    calls: tuple[Call, ...]
    figures: dict[str, object]
    faulty: bool = False


class Trace(Protocol):
    """What is recorded of one invocation."""

    @property
    def active(self) -> bool:
        """Whether anything is recorded."""
        ...

    def annotate(self, **values: str | float | bool) -> None:
        """Make the invocation findable by these."""
        ...

    def note(self, name: str, value: object) -> None:
        """Something to read, not to search by."""
        ...

    def fault(self, reason: str) -> None:
        """The invocation ended in a way somebody must look at, although it answered."""
        ...

    def open(self, name: str) -> object:
        """Begin a part of the work. To be ended by `close`, by the same thread."""
        ...

    def close(self, part: object, error: BaseException | None = None) -> None:
        """End a part."""
        ...

    def piece(self, piece: Piece) -> bool:
        """Record a batch that is over. False when there is no room for it."""
        ...

    def part_ways(self) -> None:
        """The next invocation that is asked for begins a trace of its own."""
        ...


class NoTrace:
    """Nothing is recorded."""

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

    def close(self, part: object, error: BaseException | None = None) -> None:
        """Nothing."""

    def piece(self, piece: Piece) -> bool:
        """Nothing."""
        return False

    def part_ways(self) -> None:
        """Nothing."""


NO_TRACE = NoTrace()


class Recorder(Protocol):
    """Whoever keeps traces (`notifier.telemetry.xray`)."""

    def begin(self, header: str, name: str) -> Trace | None: ...
    def end(self, trace: Trace, error: BaseException | None) -> None: ...
    def close(self) -> None: ...


class Tracing:
    """One process' traces.

    Args:
        recorder: None records nothing.
    """

    current: Trace = NO_TRACE
    """The invocation's. One at a time: a Lambda environment serves one invocation after the other."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder

    @classmethod
    def start(cls, daemon_address: str, sample_percent: float) -> "Tracing":
        """Records to the X-Ray daemon. Without one, or when nothing is to be sampled, nothing is even imported."""
        if not daemon_address or sample_percent <= 0:
            return cls()
        from notifier.telemetry.xray import XRay  # noqa: PLC0415 - 40 ms, and only where there is a daemon

        return cls(XRay(daemon_address, sample_percent))

    @contextmanager
    def invocation(self, header: str, name: str) -> Iterator[Trace]:
        """Record one invocation: `header` is the trace header that Lambda gave it."""
        trace = self._recorder.begin(header, name) if self._recorder and header else None
        if trace is None or self._recorder is None:
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
            Tracing.current = NO_TRACE
            self._recorder.end(trace, error)

    def close(self) -> None:
        """Record nothing more."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record each call of a function as a part of the invocation. Costs one comparison while nothing is recorded."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            trace = Tracing.current
            if trace is NO_TRACE:
                return function(*args, **kwargs)
            with part(trace, name):
                return function(*args, **kwargs)

        return recorded

    return decorate


@contextmanager
def part(trace: Trace, name: str) -> Iterator[None]:
    """Record what happens inside as a part of the invocation."""
    opened = trace.open(name)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        trace.close(opened, error)
