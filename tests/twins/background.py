"""Threads that are none: tasks wait until a test runs them, in any order."""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class TwinTask(Generic[T]):
    """A call that has not been made yet, or its result."""

    def __init__(self, function: Callable[..., Any], call: Callable[[], T]) -> None:
        self.function = function
        """What is called."""
        self._call = call
        self._results: list[T] = []
        self._error: Exception | None = None
        self._done = False
        self.ready_s: float | None = None
        """When a slow store answers, in the simulation's time; None while that has not been drawn."""

    def done(self) -> bool:
        """Whether the call was made."""
        return self._done

    def result(self) -> T:
        """What it returned; raises what it raised."""
        if not self._done:
            raise RuntimeError("the task has not run yet")
        if self._error is not None:
            raise self._error
        return self._results[0]

    def run(self) -> None:
        """Make the call."""
        try:
            self._results.append(self._call())
        except Exception as error:  # noqa: BLE001 - as an executor does
            self._error = error
        self._done = True


class TwinBackground:
    """An executor whose tasks run when the simulation runs them.

    Args:
        at_once: tasks run as they are submitted.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.pending: list[TwinTask[Any]] = []

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TwinTask[T]:
        """Take a call."""
        task = TwinTask(call, partial(call, *args, **kwargs))
        if self.at_once:
            task.run()
        else:
            self.pending.append(task)
        return task

    def run(self, index: int = 0) -> None:
        """Run one of the pending tasks."""
        self.pending.pop(index).run()

    def run_all(self) -> None:
        """Run what is pending, and what that submits."""
        while self.pending:
            self.run()
