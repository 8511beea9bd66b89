"""The process in which a query runs: DuckDB, locked, with one directory to read from. Its parent is `duckdb`.

It has no environment and no credentials, so that there is nothing to find; and when it runs out of memory, it dies and
not the function. It reads a job on standard input and writes an answer on standard output.
"""

import contextlib
import datetime as dt
import json
import os
import re
import resource
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from audiences.database import text
from audiences.engines.columns import column_problem
from audiences.engines.job import Answer, Bound, Failed, Finished, Job
from audiences.engines.statement import Refused, judged
from audiences.engines.tables import create_views
from audiences.table_faults import fault_in_words, file_in

_CLASS = re.compile(r"^(?:[A-Z]\w*(?: [A-Z]\w*)* Error|[A-Za-z]+Exception): ")
"""How DuckDB begins its messages. Of several, one within another, the last says what happened."""
_DISK = ("max_temp_directory_size", "No space left", "Disk quota")
_SHOWN_CHARS = 600
_BESIDE_DUCKDB_MB = 200
_EXPLAIN = "EXPLAIN "


def main() -> None:
    """Does one job."""
    # The kernel kills this process first when memory is short, not its parent, which has to say what happened.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    # DuckDB writes to standard output by itself, such as a progress bar: the answer alone goes to where that was.
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    # DuckDB's own limit leaves out what single functions allocate: repeat('x', 1000000000) takes a gigabyte beside it.
    most = (job.memory_mb * 3 // 2 + _BESIDE_DUCKDB_MB) * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        answer = do(job)
    except MemoryError:
        answer = Failed("out of memory", cause="memory")
    with os.fdopen(answers, "wb") as out:
        out.write(msgspec.json.encode(answer))
    # Without Python's own ending: DuckDB's binding would print what it has not freed.
    os._exit(0)


def do(job: Job) -> Answer:
    """Judge the query, and run it if there is a file to write to."""
    try:
        with _database(job) as database:
            parameters = judged(database, job.text, job.tables)
            values = _values(job.parameters, parameters)
            found = _bound(database, job.text, values)
            columns, kinds = found.columns, [str(kind) for kind in found.types]
            _refuse_kinds(columns, kinds)
            # A query that reads for five minutes should not fail afterwards.
            if job.output and (wrong := column_problem(columns, is_audience=job.is_audience)) is not None:
                raise Refused(*wrong)
            return Finished(columns, _write(found, Path(job.output)) if job.output else 0)
    except Refused as refused:
        return Failed(refused.problem, refused.mend, refused.offset)
    except _Unbound as unbound:
        failed = failure(unbound.error)
        return msgspec.structs.replace(failed, offset=failed.offset and failed.offset - len(_EXPLAIN))
    except duckdb.Error as error:
        return failure(error)


def _database(job: Job) -> duckdb.DuckDBPyConnection:
    """An empty database with the job's tables, which can reach nothing else any more."""
    database = duckdb.connect(
        ":memory:",
        config={
            "threads": job.threads,
            "memory_limit": f"{job.memory_mb}MB",
            "temp_directory": job.work,
            "max_temp_directory_size": f"{job.spill_mb}MB",
            "home_directory": "/tmp",  # noqa: S108 - what can be written to in Lambda; nothing is
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
            # Else a table that does not exist is looked for among the variables of this program.
            "python_enable_replacements": False,
            "errors_as_json": True,
        },
    )
    create_views(database, {name: [Path(file) for file in files] for name, files in job.tables.items()})
    # With the slash: the setting is a prefix, and /tmp/a would allow /tmp/ab too. The output is not among them.
    allowed = ", ".join(text(folder.rstrip("/") + "/") for folder in (job.input, job.work))
    database.execute(f"SET allowed_directories = [{allowed}]")
    database.execute("SET enable_external_access = false")
    # Last: from here on no statement can change any of the above.
    database.execute("SET lock_configuration = true")
    return database


def _bound(database: duckdb.DuckDBPyConnection, query: str, values: dict[str, object]) -> duckdb.DuckDBPyRelation:
    """The query with its parameters, its names and types resolved, not run."""
    try:
        return database.sql(query, params=values) if values else database.sql(query)
    except duckdb.Error:
        # Errors of this call have no place in the text; those of EXPLAIN do, and it runs nothing either.
        try:
            database.execute(_EXPLAIN + query, values)
        except duckdb.Error as error:
            raise _Unbound(error) from None
        raise


class _Unbound(Exception):
    """An error of EXPLAIN, whose place counts the word EXPLAIN too."""

    def __init__(self, error: duckdb.Error) -> None:
        super().__init__(str(error))
        self.error = error


def _values(given: dict[str, Bound], wanted: set[str]) -> dict[str, object]:
    """What is bound. DuckDB refuses one too many as well as one too few."""
    lower = {name.lower(): bound for name, bound in given.items()}
    if missing := sorted(name for name in wanted if name.lower() not in lower):
        raise Refused(f"no value for the parameter ${missing[0]}", "give it one, or a default in the query's file")
    return {name: _value(lower[name.lower()]) for name in wanted}


def _value(bound: Bound) -> object:
    match bound.kind:
        case "date":
            return dt.date.fromisoformat(str(bound.value))
        case "number":
            return Decimal(str(bound.value))
        case _:
            return bound.value


def _refuse_kinds(columns: list[str], kinds: list[str]) -> None:
    """Refuse columns that are neither a scalar nor what `devices` and `attributes` may be."""
    for column, kind in zip(columns, kinds, strict=True):
        nested = kind.startswith(("STRUCT", "MAP", "UNION", "VARIANT")) or kind.endswith("]")
        if nested and column.lower() not in ("devices", "attributes"):
            raise Refused(f"the column {column} is a {kind.split('(')[0]}", f"write to_json({column}) AS {column}")
        if kind in ("BLOB", "BIT", "GEOMETRY"):
            raise Refused(f"the column {column} is a {kind}", f"write hex({column}) AS {column}")


class _Stream:
    """A result as another database can read it. DuckDB refuses to read its own results from a second database."""

    def __init__(self, found: duckdb.DuckDBPyRelation) -> None:
        self._found = found

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._found.__arrow_c_stream__(requested_schema)


def _write(found: duckdb.DuckDBPyRelation, output: Path) -> int:
    """Write the rows as Parquet, and count them. They stream: no more than a few thousand are in memory.

    A second database writes them, which has never seen the query's text: the one that runs it can write nowhere.
    """
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB"}) as writer:
        writer.execute("SET preserve_insertion_order = true")
        writer.register("rows", _Stream(found))
        row = writer.execute(f"COPY (FROM rows) TO {text(str(output))} (FORMAT parquet, COMPRESSION zstd)").fetchone()
    return int(row[0]) if row else 0


def failure(error: duckdb.Error) -> Failed:
    """DuckDB's message, without its names of classes, and the place in the SQL."""
    message, offset = str(error), None
    begin = message.find('{"exception_type"')
    if begin >= 0:
        parts = _decoded(message[begin:])
        message = str(parts.get("exception_message", message))
        # The writer's errors quote the reader's: only those of the query have a position.
        offset = int(parts["position"]) if str(parts.get("position", "")).isdigit() else None
    else:
        # Without JSON the message begins with one class name or several, one within another.
        while class_name := _CLASS.match(message):
            message = message[class_name.end() :]
    if (of_file := fault_in_words(message)) is not None:
        problem, mend = of_file
        return Failed(f"the file {file_in(message) or 'of a table'}: {problem}", mend)
    # What follows quotes our own text of the query, or lists signatures.
    message = message.partition("\n\nLINE ")[0].partition("\n\tCandidate functions:")[0]
    # DuckDB suggests the catalog's own tables and functions, which a query's author does not know.
    message = re.sub(r"\nDid you mean .*", "", message).strip()[:_SHOWN_CHARS]
    if any(word in str(error) for word in _DISK):
        return Failed(message, offset=offset, cause="disk")
    if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in str(error):
        return Failed(message, offset=offset, cause="memory")
    return Failed(message, _mend(error), offset)


def _decoded(text: str) -> dict[str, Any]:
    try:
        decoded, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _mend(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.ParserException):
        return "correct the SQL (DuckDB's dialect)"
    if isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return "correct the name, or the types: CAST(x AS …)"
    if "onversion" in type(error).__name__ or "Could not convert" in str(error):
        return "use TRY_CAST, or leave such rows out"
    return "correct the SQL"
