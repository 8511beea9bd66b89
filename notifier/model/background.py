"""Calls that block are made in a few threads, and taken in when they are done."""

from collections.abc import Callable
from typing import Any, Protocol


class Task(Protocol):
    """A call under way. `concurrent.futures.Future` is one."""

    def done(self) -> bool: ...
    def result(self) -> Any: ...


class Background(Protocol):
    """Makes calls in threads. `concurrent.futures.Executor` is one."""

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Task: ...
