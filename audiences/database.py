"""The embedded database that joins, sorts and counts: DuckDB in memory, with a directory that it may spill to.

It runs SQL of this package only. Untrusted SQL runs in a process of its own (`audiences.engines`).
"""

from pathlib import Path

import duckdb
import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What preparing may use.

    Args:
        work: a directory of this attempt alone: everything in it may be deleted.
        memory_mb: of DuckDB. Python needs about 150 MB beside it.
        spill_mb: what DuckDB may write to the directory when its memory is full. `audiences.watch` holds it to that.
    """

    work: Path
    memory_mb: int = 400
    threads: int = 1
    spill_mb: int = 8_192

    @property
    def spill(self) -> Path:
        """Where it is written."""
        return self.work / "spilled"


def connect(limits: Limits) -> duckdb.DuckDBPyConnection:
    """An empty database. Closing it deletes what it has spilled."""
    limits.work.mkdir(parents=True, exist_ok=True)
    return duckdb.connect(
        ":memory:",
        config={
            "threads": limits.threads,
            "memory_limit": f"{limits.memory_mb}MB",
            "temp_directory": str(limits.spill),
            "max_temp_directory_size": f"{limits.spill_mb}MB",
            # Nothing is looked for on the network.
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            # A time without an offset is UTC, wherever this runs.
            "TimeZone": "UTC",
            # Rows are numbered by their place in the file.
            "preserve_insertion_order": "true",
        },
    )


def text(value: str) -> str:
    """A text as SQL writes it: table functions take no bound parameters everywhere."""
    return "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """A name as SQL writes it."""
    return '"' + column.replace('"', '""') + '"'
