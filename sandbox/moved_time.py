"""A process whose time of day is put forward or back by the sandbox's owner: what takes days is tried in seconds.

`SANDBOX_CLOCK_FILE` names a file with the seconds to add. `follow` has to come before modules that keep `time.time`.
"""

import os
import time
from pathlib import Path

VARIABLE = "SANDBOX_CLOCK_FILE"
_LOOK_EVERY_S = 0.02
_real = time.time


def real() -> float:
    """The machine's own time: what libraries sign with, which do not ask `time.time`."""
    return _real()


class Moved:
    """The moved clock of a process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_s = 0.0
        self._look_at_s = 0.0

    @property
    def offset_s(self) -> float:
        """Seconds that are added now."""
        if time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + _LOOK_EVERY_S
            self._offset_s = float(self._path.read_text(encoding="ascii") or 0)
        return self._offset_s

    def time(self) -> float:
        """Seconds since the epoch, moved."""
        return _real() + self.offset_s


def follow() -> Moved | None:
    """Move this process's `time.time`, if it is ordered."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    moved = Moved(Path(path))
    time.time = moved.time
    return moved
