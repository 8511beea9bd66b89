"""Threads that are none: tasks wait until somebody runs them, in any order."""

from collections.abc import Callable
from typing import Any


class TwinTask:
    """A call that has not been made yet, or its result."""

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._call = call
        self._args = args
        self._result: Any = None
        self._error: Exception | None = None
        self._done = False
        self.ready_s: float | None = None
        """When a slow store answers, in the simulation's time; None while nobody has drawn it."""

    def done(self) -> bool:
        """Whether the call was made."""
        return self._done

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        if not self._done:
            raise RuntimeError("the task has not run yet")
        if self._error is not None:
            raise self._error
        return self._result

    def run(self) -> None:
        """Make the call."""
        try:
            self._result = self._call(*self._args)
        except Exception as error:  # noqa: BLE001 - as an executor does
            self._error = error
        self._done = True


class TwinBackground:
    """An executor whose tasks run when the simulation says so.

    Args:
        at_once: tasks run as they are submitted.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.pending: list[TwinTask] = []

    def submit(self, call: Callable[..., Any], /, *args: Any) -> TwinTask:
        """Take a call."""
        task = TwinTask(call, args)
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
