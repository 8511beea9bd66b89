"""Threads that are none: tasks wait until a test runs them, in any order."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class TwinTask(Future[T]):
    """A call that has not been made yet, or its result."""

    def __init__(self, function: Callable[..., Any], call: Callable[[], T]) -> None:
        super().__init__()
        self.function = function
        """What is called."""
        self._call = call
        self.ready_s: float | None = None
        """When a slow store answers, in the simulation's time; None while that has not been drawn."""

    def result(self, timeout: float | None = None) -> T:
        """What it returned; raises what it raised."""
        # A real future would block here, and the product's loop must never: so the twin raises instead.
        if not self.done():
            raise RuntimeError("the task has not run yet")
        return super().result(timeout)

    def run(self) -> None:
        """Make the call."""
        try:
            self.set_result(self._call())
        except Exception as error:  # noqa: BLE001 - as an executor does
            self.set_exception(error)


class TwinBackground(Executor):
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
