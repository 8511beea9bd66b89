"""Calls that block are made in a few threads, and their results are collected when they are done."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Task(Protocol[T_co]):
    """A call under way. `concurrent.futures.Future` is one."""

    def done(self) -> bool:
        """Whether the call has returned or raised. Never waits."""
        ...

    def result(self) -> T_co:
        """What the call returned; raises what it raised. Only for a task that is done: otherwise it may wait."""
        ...


class Background(Protocol):
    """Makes calls in threads. `concurrent.futures.Executor` is one."""

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Begin a call and return at once."""
        ...
