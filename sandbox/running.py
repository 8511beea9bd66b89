"""Processes, threads and servers that were started together and are ended together."""

import contextlib
from types import TracebackType
from typing import Self


class Running:
    """Something that runs until `stop`, or until the end of its `with`.

    Args:
        running: ends it, part by part, in the reverse order of the starts.
    """

    def __init__(self, running: contextlib.ExitStack) -> None:
        self._running = running

    def stop(self) -> None:
        """End everything that was started. May be called twice. Logs stay."""
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
