"""Looks at a database while one statement is at work, which may take minutes: it can be stopped only from outside."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from audiences.database import Limits
from audiences.faults import storage_full

LOOK_EVERY_S = 0.2
Progress = Callable[[str, int], object]
"""Called with what is done at the moment, and a number of users or 0. It raises where the result is not wanted more."""


class LastProgress:
    """Remembers what was reported last, so that the same can be reported again while a statement is at work."""

    def __init__(self, report: Progress) -> None:
        self._report = report
        self._last = ("", 0)

    def __call__(self, what: str, users: int) -> None:
        self._last = (what, users)
        self._report(what, users)

    def again(self) -> None:
        """Raises what the report raises: the attempt's lease is lost, or its run was cancelled."""
        self._report(*self._last)


@contextmanager
def watched(
    con: duckdb.DuckDBPyConnection, limits: Limits, check: Callable[[], object], every_s: float = LOOK_EVERY_S
) -> Iterator[None]:
    """Interrupts the database once it has spilled more than it may, or `check` raises; raises that reason.

    DuckDB 2.0 does not keep to its own `max_temp_directory_size`: what it spills would take all of /tmp, and with it
    the room for the parts.
    """
    over = threading.Event()
    reasons: list[Exception] = []

    def look() -> None:
        while not over.wait(every_s):
            try:
                check()
                _check_spilled(limits)
            except Exception as error:  # noqa: BLE001 - whatever it is, the thread that waits for the database raises it
                reasons.append(error)
                break
        # Again and again: an interrupt between two statements is forgotten.
        while not over.wait(every_s):
            con.interrupt()

    watch = threading.Thread(target=look, name="watch", daemon=True)
    watch.start()
    try:
        yield
    except duckdb.Error:
        if reasons:
            raise reasons[0] from None
        raise
    finally:
        over.set()
        watch.join()


def _check_spilled(limits: Limits) -> None:
    size = bytes_on_disk(limits.spill)
    if size > limits.spill_mb * 1_000_000:
        raise storage_full(f"what does not fit into memory takes {size / 1e6:,.0f} MB of {limits.spill_mb:,} MB")


def bytes_on_disk(directory: Path) -> int:
    """The bytes that a directory's files take on the disk."""
    size = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            # DuckDB may delete one meanwhile. Its files have holes: their length says nothing.
            with contextlib.suppress(FileNotFoundError):
                size += entry.stat().st_blocks * 512
    return size
