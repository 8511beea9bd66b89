"""Untrusted SQL reads its own tables and nothing else. There are two locks; each is tried alone."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import pytest

from audiences.engines import child
from audiences.engines.duckdb import DuckDb, bound
from audiences.engines.job import Failed, Finished, Job
from audiences.engines.port import Limits, Query, QueryFault, Value
from audiences.sources import InputFile

SECRET = "swordfish-4711"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a table of users in `input`, and a secret beside it."""
    folder = tmp_path_factory.mktemp("escape")
    for name in ("input", "work", "output", "input-other"):
        (folder / name).mkdir()
    (folder / "secret.txt").write_text(SECRET, encoding="utf-8")
    (folder / "input-other" / "secret.csv").write_text(f"user_id\n{SECRET}\n", encoding="utf-8")
    users = "SELECT 'u' || i AS user_id, 'ios' AS platform, 't' || i AS token, 'b' || i AS brand FROM range(9) AS t(i)"
    with duckdb.connect() as database:
        database.execute(f"COPY ({users}) TO '{folder / 'input' / 'users.parquet'}'")
        database.execute(f"ATTACH '{folder / 'other.duckdb'}' AS other")
        database.execute(f"CREATE TABLE other.kept AS SELECT '{SECRET}' AS user_id")
    return folder


def job(place: Path, text: str, **parameters: Value) -> Job:
    """A job over the users."""
    return Job(
        path=[],
        text=text,
        parameters={name: bound(value) for name, value in parameters.items()},
        tables={"users": [str(place / "input" / "users.parquet")]},
        input=str(place / "input"),
        work=str(place / "work"),
        output=str(place / "output" / "rows.parquet"),
        memory_mb=200,
        threads=1,
        spill_mb=100,
    )


@pytest.fixture(autouse=True)
def _output(place: Path) -> Iterator[None]:
    """No test leaves rows for the next one."""
    yield
    (place / "output" / "rows.parquet").unlink(missing_ok=True)


ATTEMPTS = {
    # what is tried: what the answer says
    "SELECT * FROM users; SELECT * FROM read_text('{secret}')": "2 statements",
    "SELECT * FROM users; DROP VIEW users": "2 statements",
    "; COPY (SELECT 1) TO '{place}/stolen'": "kind COPY",
    "COPY (SELECT * FROM users) TO '{place}/stolen'": "kind COPY",
    "COPY users FROM '{secret}'": "kind COPY",
    "ATTACH '{place}/other.duckdb' AS other": "kind ATTACH",
    "EXPORT DATABASE '{place}/stolen'": "kind EXPORT",
    "IMPORT DATABASE '{place}'": "kind",
    "INSTALL httpfs": "kind LOAD",
    "LOAD httpfs": "kind LOAD",
    "PRAGMA database_list": "kind PRAGMA",
    "CALL pragma_version()": "kind CALL",
    "SET memory_limit = '90GB'": "kind SET",
    "RESET allowed_directories": "kind SET",
    "CREATE TABLE t AS SELECT 1": "kind CREATE",
    "CREATE SECRET s (TYPE s3)": "kind CREATE",
    "INSERT INTO users VALUES (1)": "kind INSERT",
    "PREPARE p AS SELECT 1": "kind PREPARE",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')": "kind EXPLAIN",
    "WITH a AS (INSERT INTO users VALUES (1) RETURNING *) SELECT * FROM a": "a statement that writes",
    "PIVOT users ON platform": "more than a SELECT",
    "SELECT * FROM (PIVOT users ON platform)": "more than a SELECT",
    "DESCRIBE users": "DESCRIBE, SHOW and SUMMARIZE",
    "SHOW ALL TABLES": "DESCRIBE, SHOW and SUMMARIZE",
    "SELECT * FROM (SHOW DATABASES)": "DESCRIBE, SHOW and SUMMARIZE",
    "SELECT * FROM read_text('/etc/passwd')": "read_text is not allowed",
    "SELECT * FROM read_blob('{secret}')": "read_blob is not allowed",
    "SELECT * FROM read_csv('{secret}')": "read_csv is not allowed",
    "SELECT * FROM read_csv_auto('{secret}')": "read_csv_auto is not allowed",
    "SELECT * FROM read_json('{secret}')": "read_json is not allowed",
    "SELECT * FROM read_parquet('{place}/input/../secret.txt')": "read_parquet is not allowed",
    "SELECT * FROM parquet_metadata('{place}/input/users.parquet')": "parquet_metadata is not allowed",
    "SELECT * FROM sniff_csv('{secret}')": "sniff_csv is not allowed",
    "SELECT * FROM glob('/etc/*')": "glob is not allowed",
    "SELECT (SELECT content FROM read_text('{secret}')) AS user_id FROM users": "read_text is not allowed",
    "SELECT * FROM users WHERE token IN (SELECT content FROM read_text('{secret}'))": "read_text is not allowed",
    "WITH a AS (FROM read_text('{secret}')) SELECT * FROM a": "read_text is not allowed",
    "SELECT * FROM users, LATERAL (FROM read_text('{secret}'))": "read_text is not allowed",
    "SELECT * FROM users UNION ALL BY NAME SELECT * FROM read_text('{secret}')": "read_text is not allowed",
    "SELECT * FROM read_text('/proc/self/environ')": "read_text is not allowed",
    "SELECT * FROM duckdb_secrets()": "duckdb_secrets is not allowed",
    "SELECT * FROM duckdb_settings()": "duckdb_settings is not allowed",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')": "query is not allowed",
    "SELECT * FROM query_table('duckdb_secrets')": "query_table is not allowed",
    "SELECT * FROM which_secret('s3://a/b', 's3')": "which_secret is not allowed",
    "SELECT * FROM postgres_scan('host=10.0.0.1', 'public', 't')": "postgres_scan is not allowed",
    "SELECT * FROM '{secret}'": "there is no table",
    "SELECT * FROM '{place}/input-other/secret.csv'": "there is no table",
    "SELECT * FROM 's3://bucket/secret.parquet'": "there is no table",
    "SELECT * FROM 'https://example.com/secret.parquet'": "there is no table",
    "SELECT * FROM SECRET_ROWS": "there is no table SECRET_ROWS",
    "SELECT * FROM duckdb_tables": "there is no table duckdb_tables",
    "SELECT * FROM pg_class": "there is no table pg_class",
    "SELECT *, (WITH sqlite_master AS (SELECT 1 AS n) SELECT n FROM sqlite_master) FROM sqlite_master": "DuckDB's own",
    'SELECT *, (WITH "{secret}" AS (SELECT 1 AS n) SELECT n FROM "{secret}") FROM "{secret}"': "the name of a file",
    'SELECT *, (WITH "*.csv" AS (SELECT 1 AS n) SELECT n FROM "*.csv") FROM "*.csv"': "the name of a file",
    'WITH RECURSIVE "s3:" AS (SELECT 1 AS n UNION SELECT n + 1 FROM "s3:") SELECT * FROM "s3:"': "the name of a file",
    "SELECT *, (WITH PG_Tables AS (SELECT 1 AS n) SELECT n FROM pg_tables) FROM pg_tables": "DuckDB's own",
    "SELECT * FROM information_schema.tables": "information_schema.tables is in another schema",
    "SELECT * FROM pg_catalog.pg_settings": "pg_catalog.pg_settings is in another schema",
    "SELECT * FROM system.main.duckdb_settings": "is in another schema",
    "SELECT * FROM temp.main.users": "is in another schema",
    "SELECT * FROM other.main.kept": "other.main.kept is in another schema",
    "SELECT getenv('NOTIFIER_SECRET') AS user_id": "getenv does not exist",
    "SELECT * FROM users WHERE brand = ?": "a parameter without a name",
    "SELECT * FROM users WHERE brand = $1": "a parameter without a name",
    "SELECT * FROM users -- \n WHERE brand = $day": "no value for the parameter $day",
    "SELECT 1) TO '{place}/stolen' --": "syntax error",
    "SELECT 1 /* ": "unterminated",
    "": "no statement",
    "-- nothing": "no statement",
}


@pytest.mark.parametrize("text", ATTEMPTS)
def test_refused(place: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with a reason, nothing is written, and the answer has nothing of what was asked for."""
    monkeypatch.setenv("NOTIFIER_SECRET", SECRET)
    SECRET_ROWS = [(SECRET,)]  # noqa: N806 - what DuckDB would find among a program's variables
    answer = child.do(job(place, text.format(place=place, secret=place / "secret.txt")))
    assert isinstance(answer, Failed)
    assert ATTEMPTS[text] in answer.problem
    assert SECRET not in str(answer)
    assert "Exception" not in answer.problem
    assert not (place / "stolen").exists()
    assert not (place / "output" / "rows.parquet").exists()
    assert SECRET_ROWS


SECOND_LOCK = {
    "SELECT * FROM read_text('{secret}')": "file system operations are disabled",
    "SELECT * FROM read_text('/etc/passwd')": "file system operations are disabled",
    "SELECT * FROM read_text('/proc/self/environ')": "file system operations are disabled",
    "SELECT * FROM read_text('{place}/input/../secret.txt')": "file system operations are disabled",
    "SELECT * FROM read_csv('{place}/input-other/secret.csv')": "file system operations are disabled",
    "SELECT * FROM glob('/etc/*')": "file system operations are disabled",
    "SELECT * FROM 'https://example.com/secret.parquet'": "file system operations are disabled",
    "COPY (SELECT 1) TO '{place}/stolen'": "file system operations are disabled",
    "COPY (SELECT 1) TO '{place}/output/rows.parquet'": "file system operations are disabled",
    "ATTACH '{place}/other.duckdb' AS other": "file system operations are disabled",
    "SELECT * FROM duckdb_secrets()": "file system operations are disabled",
    "SELECT * FROM SECRET_ROWS": "does not exist",
    "INSTALL httpfs": "disabled",
    "LOAD httpfs": "disabled",
    "SET enable_external_access = true": "locked",
    "SET allowed_directories = ['/']": "locked",
    "SET lock_configuration = false": "locked",
    "SET python_enable_replacements = true": "locked",
    "SET memory_limit = '90GB'": "locked",
    "RESET memory_limit": "locked",
}


@pytest.mark.parametrize("text", SECOND_LOCK)
def test_refused_by_the_database_itself(place: Path, text: str) -> None:
    """What no judging of the statement would stop, the database refuses: files, network, settings, variables."""
    SECRET_ROWS = [(SECRET,)]  # noqa: N806
    with child._database(job(place, "")) as database, pytest.raises(duckdb.Error) as refused:
        database.sql(text.format(place=place, secret=place / "secret.txt")).fetchall()
    assert SECOND_LOCK[text] in str(refused.value)
    assert SECRET not in str(refused.value)
    assert not (place / "stolen").exists()
    assert SECRET_ROWS


QUOTES = [
    "it's",
    "'; DROP VIEW users; --",
    "' OR '1'='1",
    "b1' UNION SELECT * FROM users --",
    '"',
    "\\' OR 1=1 --",
    "a\nb",
]


@pytest.mark.parametrize("value", QUOTES)
def test_a_parameter_is_a_value(place: Path, value: str) -> None:
    """Quotes, comments and line breaks in a parameter are characters: it is compared, and never read as SQL."""
    found = child.do(job(place, "SELECT *, $v AS given FROM users WHERE brand = $v OR brand = 'b1'", v=value))
    assert isinstance(found, Finished)
    assert found.rows == 1
    with duckdb.connect() as database:
        rows = database.execute(f"SELECT brand, given FROM '{place / 'output' / 'rows.parquet'}'").fetchall()  # noqa: S608
    assert rows == [("b1", value)]
    listed = child.do(job(place, "SELECT * FROM users WHERE brand = ANY($v)", v=(value, "b2")))
    assert isinstance(listed, Finished)
    assert listed.rows == 1


def test_a_name_of_the_statement_does_not_open_the_catalog(place: Path) -> None:
    """A WITH may hide a table's name, and a table of the catalog under its schema stays refused."""
    answer = child.do(job(place, "WITH pg_class AS (FROM users) SELECT * FROM pg_class, pg_catalog.pg_class AS c"))
    assert isinstance(answer, Failed)
    assert "pg_catalog.pg_class is in another schema" in answer.problem


def test_the_process_has_no_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a query runs, /proc shows the environment of its process: there is nothing of the parent's in it."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    engine = DuckDb(place / "work", Limits(memory_mb=200, time_s=60))
    seen: list[bytes] = []

    class Watching(subprocess.Popen[bytes]):
        """Reads the environment of each process right after its start, as another process would."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            seen.append(_settled(Path(f"/proc/{self.pid}/environ")))

    monkeypatch.setattr("audiences.engines.duckdb.subprocess.Popen", Watching)
    engine.validate(Query("SELECT * FROM users"), _tables(place))
    assert seen == [b""]
    assert SECRET.encode() in Path("/proc/self/environ").read_bytes() or os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET


def _settled(file: Path) -> bytes:
    """The environment once the process is the new program: before that it is a copy of this one."""
    for _ in range(1_000):
        with contextlib.suppress(OSError):
            command = file.with_name("cmdline").read_bytes()
            if b"audiences.engines.child" in command:
                return file.read_bytes()
    raise AssertionError(f"{sys.executable} did not start")


def _tables(place: Path) -> dict[str, list[InputFile]]:
    return {"users": [InputFile(place / "input" / "users.parquet", "users.parquet")]}


def test_a_process_runs_a_query(place: Path) -> None:
    """Rows come as a Parquet file, whose order means nothing."""
    engine = DuckDb(place / "work", Limits(memory_mb=200, time_s=60))
    query = Query("SELECT * FROM users WHERE brand = ANY($b)", {"b": ("b1", "b3")})
    [file] = engine.run(query, _tables(place), place / "output")
    assert not file.ordered
    with duckdb.connect() as database:
        assert database.execute(f"SELECT user_id FROM '{file.path}' ORDER BY 1").fetchall() == [("u1",), ("u3",)]  # noqa: S608


def test_a_job_may_be_larger_than_a_pipe(place: Path) -> None:
    """A table of a thousand files, or a long query: the process gets all of it, however late it begins to read."""
    engine = DuckDb(place / "work", Limits(memory_mb=200, time_s=20))
    query = Query("SELECT * FROM users -- " + "x" * 200_000, {})
    assert "user_id" in engine.validate(query, _tables(place))


def test_a_crash_is_logged_and_tried_again(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once: what the process wrote last is in the log, for whoever operates it."""
    engine = DuckDb(place / "work", Limits(memory_mb=200, time_s=20))
    # No module of that name is on the path that it is given: it cannot begin.
    path, sys.path[:] = list(sys.path), ["/nonexistent"]
    try:
        with pytest.raises(QueryFault, match="ended unexpectedly"):
            engine.validate(Query("SELECT * FROM users", {}), _tables(place))
    finally:
        sys.path[:] = path
    lines = capfd.readouterr().err.splitlines()
    assert sum("No module named" in line for line in lines) == 2
    assert sum("it is run again" in line for line in lines) == 1


DEATHS = {
    "a bad address": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "as happens where memory is short", 2),
    "no memory for a library": ("raise SystemExit('cannot allocate memory for thread-local data')", "MB of memory", 1),
    "no memory for Python": ("raise MemoryError", "MB of memory", 1),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_process_that_dies_is_a_message(place: Path, death: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it dies: what happened, and what to do, in words; only what may go better is tried again."""
    code, says, times = DEATHS[death]
    monkeypatch.setattr("audiences.engines.duckdb._START", code)
    began: list[object] = []

    class Counted(subprocess.Popen[bytes]):
        """Counts the processes."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[call-overload]
            began.append(self)

    monkeypatch.setattr("audiences.engines.duckdb.subprocess.Popen", Counted)
    engine = DuckDb(place / "work", Limits(memory_mb=200, time_s=20))
    with pytest.raises(QueryFault, match=says) as fault:
        engine.run(Query("SELECT * FROM users"), _tables(place), place / "output")
    assert "AudienceMemoryMb" in fault.value.mend
    assert len(began) == times


ENDLESS = "SELECT u.*, hash(r.range) AS h FROM users AS u, range(100000000000) AS r ORDER BY h, token"
"""Sorts 900 billion rows."""
LIMITED = {
    "time": (Limits(memory_mb=400, spill_mb=100_000, time_s=2), "has not ended after 2 s"),
    "disk": (Limits(memory_mb=100, spill_mb=50, time_s=60), "the disk for what does not fit into memory is full"),
}


@pytest.mark.parametrize("limit", LIMITED)
def test_a_limit_is_a_message(place: Path, tmp_path: Path, limit: str) -> None:
    """Out of time or disk: a message says so, what to do, and nothing is left on the disk; this process lives on."""
    limits, says = LIMITED[limit]
    began = time.monotonic()
    with pytest.raises(QueryFault) as fault:
        DuckDb(tmp_path / "work", limits).run(Query(ENDLESS), _tables(place), place / "output")
    assert says in fault.value.problem
    assert fault.value.mend
    assert not list((tmp_path / "work").rglob("*.tmp"))
    assert time.monotonic() - began < 60


GREEDY = {
    "what DuckDB counts": "len(string_agg(repeat(token, 9999), '')) AS n FROM users, range(900000) AS r GROUP BY ALL",
    "what it does not count": "len(repeat(repeat('x', 1000000), 1000)) AS n FROM users",
}


@pytest.mark.parametrize("how", GREEDY)
def test_out_of_memory_is_a_message(place: Path, how: str) -> None:
    """What neither fits into memory nor can be spilled ends the query: the message names limit and parameter."""
    query = Query(f"SELECT user_id, platform, token, {GREEDY[how]}")
    with pytest.raises(QueryFault, match="needs more than the 60 MB of memory") as fault:
        DuckDb(place / "work", Limits(memory_mb=60, time_s=60)).run(query, _tables(place), place / "output")
    assert "AudienceMemoryMb" in fault.value.mend


@pytest.mark.slow
def test_a_long_query_answers(place: Path) -> None:
    """After two seconds DuckDB shows its progress on standard output: the answer is not mixed with it."""
    query = Query("SELECT u.* FROM users AS u, range(400000) AS r WHERE hash(sha256(u.token || r.range)) % 100000 = 7")
    assert DuckDb(place / "work", Limits(memory_mb=200, time_s=60)).run(query, _tables(place), place / "output")


@pytest.mark.parametrize(("by", "says"), [("the kernel", "MB of memory"), ("cancel", "was cancelled")])
def test_a_killed_process_is_a_message(place: Path, tmp_path: Path, by: str, says: str) -> None:
    """The kernel kills the process for want of memory, or the run is cancelled: a message says which of them."""
    engine = DuckDb(tmp_path / "work", Limits(memory_mb=60, spill_mb=100_000, time_s=60))

    def kill() -> None:
        # Any moment will do: later it might have ended by itself, for want of memory.
        while engine._process is None:
            pass
        if by == "cancel":
            engine.cancel()
        else:
            os.kill(engine._process.pid, signal.SIGKILL)

    asking = threading.Thread(target=kill)
    asking.start()
    with pytest.raises(QueryFault, match=says):
        engine.run(Query(ENDLESS), _tables(place), place / "output")
    asking.join()


def test_answers_have_no_secrets(place: Path) -> None:
    """An answer is the columns and a count, never a row."""
    answer = child.do(job(place, "SELECT * FROM users"))
    assert msgspec.to_builtins(answer) == {
        "type": "finished",
        "columns": ["user_id", "platform", "token", "brand"],
        "rows": 9,
    }
