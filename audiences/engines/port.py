"""What an engine is asked for, and what it answers: values and two protocols, without any engine's own words."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from audiences.engines.columns import KNOWN as KNOWN  # noqa: PLC0414 - one place for engines to look
from audiences.engines.columns import column_problem
from audiences.faults import AudienceFault
from audiences.sources import InputFile
from notifier.model.stored_query import EngineName as EngineName  # noqa: PLC0414 - one place for engines to look
from notifier.model.stored_query import Value as Value  # noqa: PLC0414


class Query(msgspec.Struct, frozen=True):
    """One SELECT and the values of its parameters.

    Args:
        text: SQL in the engine's dialect; `$name` is a parameter, in every engine.
        name: how messages call it, such as `queries/follows-brands.sql`.
        is_audience: its rows are users with devices, and there must be some; otherwise they may be any, or none.
    """

    text: str
    parameters: Mapping[str, Value] = {}
    name: str = "the SQL"
    is_audience: bool = True


class Place(msgspec.Struct, frozen=True):
    """A place in a text: line and column count from 1."""

    line: int
    column: int

    @classmethod
    def at(cls, text: str, offset: int) -> "Place":
        """The place of a character."""
        before = text[:offset]
        return cls(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class QueryFault(AudienceFault):
    """The query cannot be run, or gave no audience. The problem names the query and the place in it.

    Args:
        query: the query's name.
        problem: the engine's own message, or ours.
        place: in the SQL, where it is known.
    """

    def __init__(self, query: str, problem: str, mend: str = "", place: Place | None = None) -> None:
        where = f", line {place.line}, column {place.column}" if place else ""
        super().__init__(f"{query}{where}: {problem}", mend)
        self.place = place


class Unavailable(AudienceFault):
    """A warehouse does not answer, or asks to wait: the same call may be made again."""


class Cost(msgspec.Struct, frozen=True):
    """What a query will read, as far as it can be known before it runs.

    Args:
        scanned_bytes: what it reads; None where the engine does not say.
        at_most_bytes: where the engine stops it; None where nothing is paid by the byte.
    """

    scanned_bytes: int | None
    at_most_bytes: int | None
    sentence: str


class Limits(msgspec.Struct, frozen=True):
    """What a query on this machine may use. `memory_mb` is what DuckDB may: 60 % of the function's."""

    memory_mb: int = 1_024
    threads: int = 1
    spill_mb: int = 4_096
    time_s: float = 300.0

    @classmethod
    def of_function(cls, memory_mb: int, storage_mb: int, time_s: float) -> "Limits":
        """The share of a Lambda function: 60 % of the memory, as many threads as vCPUs, half of /tmp."""
        # One vCPU for each 1,769 MB, at least one (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
        return cls(memory_mb * 6 // 10, max(1, round(memory_mb / 1769)), storage_mb // 2, time_s)


class Attempt(msgspec.Struct, frozen=True):
    """Which audience a query is run for, and the how manieth time: the same attempt never runs a query twice."""

    audience: str
    number: int


class Running(msgspec.Struct, frozen=True, tag=True):
    """It has not ended. `ticket` replaces the one that was asked with."""

    ticket: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """It has ended, and its rows can be fetched with the ticket."""

    ticket: str
    scanned_bytes: int | None = None


class RemoteEngine(Protocol):
    """A warehouse: a query is started, and later asked about by its ticket, perhaps by another process."""

    def validate(self, query: Query) -> None:
        """Check what can be checked without running it, and that a limit of cost is set. Raises QueryFault."""
        ...

    def cost(self, query: Query) -> Cost:
        """What it would read, or where it is stopped."""
        ...

    def start(self, query: Query, attempt: Attempt) -> str:
        """Start it and return its ticket. The same attempt gets the same ticket: it is never started twice."""
        ...

    def look(self, query: Query, ticket: str) -> Running | Done:
        """How it is. Raises QueryFault if it has failed. Call it when its end is reported, else each minute."""
        ...

    def fetch(self, query: Query, ticket: str, directory: Path) -> tuple[InputFile, ...]:
        """Its rows, as files in the directory. Raises QueryFault if there are none."""
        ...

    def cancel(self, ticket: str) -> None:
        """Stop it, if it still runs: nothing is read, and paid, for an audience that is not wanted any more."""
        ...


def await_rows(
    engine: RemoteEngine,
    query: Query,
    attempt: Attempt,
    directory: Path,
    *,
    time_s: float,
    poll_s: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> tuple[InputFile, ...]:
    """Run a query and wait for it, on the command line, where waiting costs nothing. One that is left is stopped."""
    ticket, deadline = engine.start(query, attempt), now() + time_s
    try:
        while isinstance(state := engine.look(query, ticket), Running):
            ticket = state.ticket
            if now() >= deadline:
                raise QueryFault(query.name, f"has not ended after {time_s:,.0f} s", "give it more time, or read less")
            sleep(poll_s)
    except BaseException:
        # Ctrl-C too: what is not waited for would be paid for nothing.
        engine.cancel(ticket)
        raise
    return engine.fetch(query, state.ticket, directory)


def column_fault(query: Query, columns: Sequence[str]) -> QueryFault | None:
    """What is wrong with a result's columns: one that is missing, or is there twice."""
    found = column_problem(columns, is_audience=query.is_audience)
    return None if found is None else QueryFault(query.name, *found)


def check_rows(query: Query, rows: int) -> None:
    """Raise QueryFault where an audience's result is empty."""
    if not rows and query.is_audience:
        raise QueryFault(query.name, "found nobody: the result has no rows", "check the parameters and the tables")
