"""DuckDB as an engine: each query in a process of its own, with an empty environment and a limit of time and memory."""

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO

import msgspec

from audiences.engines.job import Answer, Bound, Failed, Finished, Job
from audiences.engines.port import Cost, Limits, Place, Query, QueryFault, Value, check_rows, column_fault
from audiences.faults import MEMORY_PARAMETER, STORAGE_PARAMETER
from audiences.sources import InputFile
from audiences.watch import LOOK_EVERY_S, bytes_on_disk

RESULT = "rows.parquet"
_VALIDATE_WITHIN_S = 30.0
_LAST_BYTES = 2_000
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from audiences.engines.child import main; main()"
"""What the process runs. It is isolated (-I): neither the environment nor the working directory adds modules."""
_NO_MEMORY = ("MemoryError", "cannot allocate memory", "bad_alloc", "bad allocation")
"""What Python, the loader of libraries and C++ say as they end for want of memory."""
_LOADER = "LD_LIBRARY_PATH"
"""The one variable that is passed on, where it is set: Lambda's Python does not find its own library without it."""


class DuckDb:
    """Runs queries over files of this machine.

    Args:
        work: a directory of this attempt alone; what DuckDB spills goes there.
        check: called while a query runs; where it raises, the query's process is killed.
    """

    def __init__(self, work: Path, limits: Limits | None = None, check: Callable[[], object] = lambda: None) -> None:
        self._work = work
        self._limits = limits or Limits()
        self._check = check
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def validate(self, query: Query, tables: Mapping[str, Sequence[InputFile]]) -> tuple[str, ...]:
        """The columns of the result. Nothing but the tables' heads is read."""
        return self._finished(query, tables, None).columns_checked(query)

    def cost(self, query: Query, tables: Mapping[str, Sequence[InputFile]]) -> Cost:
        """The bytes of the files: DuckDB reads no more, and it costs no more than the time."""
        size = sum(file.path.stat().st_size for files in tables.values() for file in files)
        return cost_of_files(size)

    def run(self, query: Query, tables: Mapping[str, Sequence[InputFile]], directory: Path) -> tuple[InputFile, ...]:
        """Run it. Raises QueryFault if it fails, reaches a limit, or finds nobody."""
        directory.mkdir(parents=True, exist_ok=True)
        output = directory / RESULT
        check_rows(query, self._finished(query, tables, output).rows)
        return (InputFile(output, query.name, ordered=False),)

    def cancel(self) -> None:
        """Kill the process of a query that another thread waits for."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def _finished(self, query: Query, tables: Mapping[str, Sequence[InputFile]], output: Path | None) -> "_Result":
        time_s = self._limits.time_s if output else min(self._limits.time_s, _VALIDATE_WITHIN_S)
        answer = self._ask(query, self._job(query, tables, output), time_s)
        if isinstance(answer, Failed) and answer.cause == "crash":
            # The log has what it wrote last. A query leaves nothing behind, and can be run again.
            _log(f"{query.name}: {answer.problem}; it is run again")
            answer = self._ask(query, self._job(query, tables, output), time_s)
        if isinstance(answer, Failed):
            raise self._fault(query, answer)
        return _Result(tuple(answer.columns), answer.rows)

    def _job(self, query: Query, tables: Mapping[str, Sequence[InputFile]], output: Path | None) -> Job:
        spill = self._work / "spilled"
        spill.mkdir(parents=True, exist_ok=True)
        files = {name: [str(file.path.resolve()) for file in listed] for name, listed in tables.items()}
        return Job(
            path=[],
            text=query.text,
            parameters={name: bound(value) for name, value in query.parameters.items()},
            tables=files,
            input=_common_directory(query, files),
            work=str(spill.resolve()),
            output=str(output.resolve()) if output else "",
            memory_mb=self._limits.memory_mb,
            threads=self._limits.threads,
            spill_mb=self._limits.spill_mb,
            is_audience=query.is_audience,
        )

    def _ask(self, query: Query, job: Job, time_s: float) -> Answer:
        """Start a process for the job, and wait for its answer; kill it when its time is over."""
        path = msgspec.json.encode([str(Path(entry).resolve()) for entry in sys.path]).decode()
        environment = {_LOADER: os.environ[_LOADER]} if _LOADER in os.environ else {}
        with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
            # A file, because `communicate` forgets what it has not written when it is called again after a time-out: of
            # a job above a pipe's 64 KB (a table of a thousand files) the process would wait for the rest for ever.
            asked.write(msgspec.json.encode(job))
            asked.seek(0)
            with self._lock:
                if self._cancelled:
                    raise _cancelled(query)
                # The interpreter that runs this, and constant code: nothing of the query is in the arguments.
                process = self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-I", "-c", _START, path],
                    env=environment,
                    cwd=job.work,
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=said,
                )
            try:
                out = self._await(query, process, job, time_s)
            finally:
                self._end(process, Path(job.work))
            last_words = _last_of(said)
        if self._cancelled:
            raise _cancelled(query)
        if out is None:
            return Failed("the disk is full", cause="disk")
        with contextlib.suppress(msgspec.DecodeError):
            answer: Finished | Failed = msgspec.json.decode(out, type=Finished | Failed)
            return answer
        if last_words:
            _log(f"{query.name}: its process ended ({process.returncode}); it wrote last: {last_words}")
        return _died(process.returncode, last_words)

    def _await(self, query: Query, process: "subprocess.Popen[bytes]", job: Job, time_s: float) -> bytes | None:
        """What the process writes; None if it has spilled more than it may.

        DuckDB 2.0 does not keep to its own `max_temp_directory_size` (it wrote 4 GB with a limit of 200 MB): hence the
        look at the directory.
        """
        deadline = time.monotonic() + time_s
        while time.monotonic() < deadline:
            try:
                return process.communicate(timeout=LOOK_EVERY_S)[0]
            except subprocess.TimeoutExpired:
                self._check()
                if bytes_on_disk(Path(job.work)) > job.spill_mb * 1_000_000:
                    return None
        raise QueryFault(
            query.name,
            f"has not ended after {time_s:,.0f} s",
            "read less: filter earlier, and join by equal columns; or split the query",
        )

    def _end(self, process: "subprocess.Popen[bytes]", spill: Path) -> None:
        with self._lock:
            self._process = None
        process.kill()
        # Reaps it and closes its pipes.
        process.communicate()
        # A process that was killed leaves what it has spilled: gigabytes, of a disk that the next one needs.
        shutil.rmtree(spill, ignore_errors=True)

    def _fault(self, query: Query, failed: Failed) -> QueryFault:
        limit_mb = self._limits.memory_mb
        if failed.cause == "memory":
            return QueryFault(
                query.name,
                f"needs more than the {limit_mb:,} MB of memory that it may use",
                f"read less, or give the function more by the stack's parameter {MEMORY_PARAMETER} (here: --memory-mb)",
            )
        if failed.cause == "disk":
            return QueryFault(
                query.name,
                "the disk for what does not fit into memory is full",
                f"read less, or give the function more by the stack's parameter {STORAGE_PARAMETER}"
                " (here: --work names a larger disk)",
            )
        place = None
        if failed.offset is not None:
            before = query.text.encode()[: failed.offset].decode(errors="ignore")
            place = Place.at(query.text, len(before))
        return QueryFault(query.name, failed.problem, failed.mend, place)


class _Result(msgspec.Struct, frozen=True):
    """What the process found."""

    columns: tuple[str, ...]
    rows: int

    def columns_checked(self, query: Query) -> tuple[str, ...]:
        """The columns. Raises QueryFault if no audience can be made of them."""
        if fault := column_fault(query, self.columns):
            raise fault
        return self.columns


def _last_of(said: IO[bytes]) -> str:
    """The end of what a process wrote on standard error: Python's last words, or those of a library."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _LAST_BYTES))
    return said.read().decode(errors="replace").strip()


def _log(message: str) -> None:
    """For whoever operates the function, not for people who wait for a query: they get a message of their own."""
    sys.stderr.write(json.dumps({"level": "WARNING", "message": message}) + "\n")


def cost_of_files(size: int) -> Cost:
    """The cost of a query that reads files of these bytes."""
    shown = f"{size / 1e6:,.1f} MB" if size >= 1_000_000 else f"{size / 1e3:,.1f} KB"
    return Cost(size, None, f"reads at most {shown} of files; nothing is paid by the byte")


def bound(value: Value) -> Bound:
    """A parameter's value as the job has it."""
    match value:
        case bool():
            # Before int: Python's booleans are integers.
            return Bound("boolean", value)
        case int():
            return Bound("integer", value)
        case Decimal():
            return Bound("number", str(value))
        case dt.date():
            return Bound("date", value.isoformat())
        case tuple():
            return Bound("texts", list(value))
        case _:
            return Bound("text", value)


def _common_directory(query: Query, files: Mapping[str, Sequence[str]]) -> str:
    """The directory of all files: the only one that the query may read."""
    folders = {str(Path(file).parent) for listed in files.values() for file in listed}
    if not folders:
        return "/nonexistent"
    found = os.path.commonpath(folders)
    if found == os.path.sep:
        raise QueryFault(query.name, "its tables have no directory in common", "put the files into one directory")
    return found


def _died(code: int, last_words: str) -> Failed:
    """The process ended without an answer."""
    # Killed: not by us, so by the kernel, for want of memory. Aborted, or with such words: an allocation has failed.
    if code in (-signal.SIGKILL, -signal.SIGABRT) or any(words in last_words for words in _NO_MEMORY):
        return Failed("killed", cause="memory")
    problem = f"the process that ran it ended unexpectedly ({code})"
    if code in (-signal.SIGSEGV, -signal.SIGBUS):
        # Tried with 137 queries at limits from 60 to 330 MB: DuckDB and the libraries below it answer a refused
        # allocation with an error in most places, and with a bad address in some (26 of 137). So it is mostly memory,
        # and may be a fault of DuckDB's.
        mend = f"read less, or give the function more memory by the stack's parameter {MEMORY_PARAMETER}"
        return Failed(f"{problem}, as happens where memory is short", mend, cause="crash")
    return Failed(problem, "run it again; if it happens again, simplify the query", cause="crash")


def _cancelled(query: Query) -> QueryFault:
    return QueryFault(query.name, "was cancelled")
