"""What the parent says to the process that runs SQL, and what that answers: JSON on its standard input and output."""

from typing import Literal

import msgspec

from notifier.model.stored_query import ParameterKind


class Bound(msgspec.Struct, frozen=True):
    """A parameter's value. A date and a number are texts: JSON has no dates, and not every digit."""

    kind: ParameterKind
    value: str | int | bool | list[str]


class Job(msgspec.Struct, frozen=True):
    """One query to run, or only to judge.

    Args:
        path: where Python finds modules: the process has no environment that says so.
        tables: absolute paths of files by the table's name; all of them in `input`.
        input: the only directory that the query may read.
        work: where DuckDB may spill to.
        output: the file to write the rows to; empty: only judge the query.
        is_audience: the rows are users with devices: before any is read, the columns are checked.
    """

    path: list[str]
    text: str
    parameters: dict[str, Bound]
    tables: dict[str, list[str]]
    input: str
    work: str
    output: str
    memory_mb: int
    threads: int
    spill_mb: int
    is_audience: bool = False


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """It went well. `rows` is 0 if the query was only judged."""

    columns: list[str]
    rows: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It did not. `offset` is the place in the SQL, in bytes of UTF-8. `cause` says what limit was reached."""

    problem: str
    mend: str = ""
    offset: int | None = None
    cause: Literal["query", "memory", "disk", "crash"] = "query"


Answer = Finished | Failed
