"""The deployed functions with a time of day that the sandbox's owner moves (`sandbox.moved_time`).

How long an invocation may take is not moved: Lambda's own clock says that.
"""

from typing import Any

from sandbox import moved_time

# Before the functions' modules: some keep `time.time` as they are imported.
_moved = moved_time.follow()

from audiences import app as audiences_app  # noqa: E402
from notifier import app  # noqa: E402


class _Context:
    """Lambda's context. Its runtime client compares the deadline, which is not moved, with the time, which is."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def get_remaining_time_in_millis(self) -> int:
        left_ms: int = self._context.get_remaining_time_in_millis()
        return left_ms + int(_moved.offset_s * 1000) if _moved else left_ms


def worker(event: object, context: Any) -> Any:
    """The worker."""
    return app.worker(event, _Context(context))  # type: ignore[arg-type]


def sweeper(event: object, context: Any) -> Any:
    """The sweeper."""
    return app.sweeper(event, _Context(context))  # type: ignore[arg-type]


def audience(event: object, context: Any) -> Any:
    """The audience function."""
    return audiences_app.handler(event, _Context(context))  # type: ignore[arg-type]
