"""What can be wrong with making an audience. Each message is for people: what, where, and what to do about it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from notifier.model.audience_faults import BrokenFile as BrokenFile  # noqa: PLC0414 - one place for callers to look

STORAGE_PARAMETER = "AudienceStorageMb"
"""The stack's parameter that sets how large /tmp is."""
MEMORY_PARAMETER = "AudienceMemoryMb"
"""The stack's parameter that sets the function's memory."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AudienceFault(Exception):
    """The audience cannot be made. `mend` says what to do.

    Args:
        problem: what is wrong, with the file or place.
    """

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.mend = mend


class NothingThere(AudienceFault):
    """No file, and no object, has the name that was given."""


def storage_full(what: str) -> AudienceFault:
    """The directory for work is full."""
    return AudienceFault(
        f"the disk for work is full: {what}",
        f"give the function more room by the stack's parameter {STORAGE_PARAMETER} (here: --work names a larger disk), "
        "or prepare fewer files at once",
    )


def out_of_memory() -> AudienceFault:
    """DuckDB's share of the memory did not suffice, although it may spill."""
    return AudienceFault(
        "the audience needs more memory than there is",
        f"give the function more by the stack's parameter {MEMORY_PARAMETER} (here: --memory-mb), or split the files",
    )


@contextmanager
def limits_as_faults(what: str) -> Iterator[None]:
    """Turns a full disk and too little memory into faults that name the parameter."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        # DuckDB says so of its temporary directory, too, when that has reached its limit.
        raise (storage_full(what) if "max_temp_directory_size" in str(error) else out_of_memory()) from None
    except duckdb.IOException as error:
        if "No space left" in str(error):
            raise storage_full(what) from None
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise storage_full(what) from None
        raise
