"""What DuckDB lists of itself, its catalog, functions and settings, is tried name by name: a query reads none of it.

The lists are the engine's own, so that what a later release brings is tried as well.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from audiences.database import text
from audiences.engines import child
from audiences.engines.job import Job
from audiences.engines.port import Limits
from audiences.engines.statement import FUNCTIONS, OF_THE_SESSION, Refused, judged

SECRET = "swordfish-4711"
HARMLESS = frozenset(
    {
        "error", "gen_random_uuid", "get_current_time", "get_current_timestamp", "now", "random", "setseed", "today",
        "transaction_timestamp", "current_date", "uuid", "uuidv4", "uuidv7",
    }
)  # fmt: skip
"""Functions that do not give the same for the same arguments, and still read nothing: times, chance, an error."""
OF_TABLES = {
    "plainly": "SELECT * FROM {}",
    "in quotes": 'SELECT * FROM "{}"',
    "in capitals": "SELECT * FROM {upper}",
    "with an alias": "SELECT u.* FROM users AS u JOIN {} AS other ON true",
    "in WITH": "WITH a AS (FROM {}) SELECT * FROM a",
    "in WITH as its own name": "WITH {0} AS (FROM users) SELECT * FROM {0}",
    "hidden by a name of an inner WITH": "SELECT *, (WITH {0} AS (SELECT 1 AS n) SELECT n FROM {0}) FROM {0}",
    "in a recursive WITH": "WITH RECURSIVE a AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM a, {} WHERE n < 2) FROM a",
    "in a subquery": "SELECT *, (SELECT count(*) FROM {}) AS n FROM users",
    "in a condition": "SELECT * FROM users WHERE EXISTS (FROM {})",
    "LATERAL": "SELECT * FROM users, LATERAL (FROM {})",
    "in a set operation": "SELECT user_id FROM users UNION ALL BY NAME FROM {}",
    "in a schema": "SELECT * FROM main.{}",
    "in pg_catalog": "SELECT * FROM pg_catalog.{}",
    "in information_schema": "SELECT * FROM information_schema.{}",
    "in a catalog and a schema": 'SELECT * FROM "system"."main".{}',
    "in the temporary catalog": "SELECT * FROM temp.main.{}",
}
OF_FUNCTIONS = {
    "plainly": "SELECT * FROM {}({})",
    "in quotes": 'SELECT * FROM "{}"({})',
    "in capitals": "SELECT * FROM {upper}({})",
    "in a schema": "SELECT * FROM main.{}({})",
    "in a catalog": "SELECT * FROM system.main.{}({})",
    "in WITH": "WITH a AS (FROM {}({})) SELECT * FROM a",
    "in a subquery": "SELECT (SELECT count(*) FROM {}({})) AS n FROM users",
    "LATERAL": "SELECT * FROM users, LATERAL (FROM {}({}))",
    "under its own name in WITH": "WITH {0} AS (FROM users) SELECT * FROM {0}({1})",
}
OF_VALUES = {
    "plainly": "SELECT {}({}) AS user_id FROM users",
    "in quotes": 'SELECT "{}"({}) AS user_id FROM users',
    "in capitals": "SELECT {upper}({}) AS user_id FROM users",
    "in a schema": "SELECT system.main.{}({}) AS user_id FROM users",
    "in a lambda": "SELECT list_transform([1], lambda x: {}({})) AS n FROM users",
    "in a condition": "SELECT * FROM users WHERE token = {}({})",
    "in TRY": "SELECT TRY({}({})) AS n FROM users",
    "in an order": "SELECT * FROM users ORDER BY {}({})",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a table of users."""
    folder = tmp_path_factory.mktemp("catalog")
    for name in ("input", "work"):
        (folder / name).mkdir()
    users = "SELECT 'u' || i AS user_id, 'ios' AS platform, 't' || i AS token FROM range(3) AS t(i)"
    with duckdb.connect() as database:
        database.execute(f"COPY ({users}) TO '{folder / 'input' / 'users.parquet'}'")
    return folder


def job(place: Path, text: str = "") -> Job:
    """A job over the users."""
    return Job(
        path=[],
        text=text,
        parameters={},
        tables={"users": [str(place / "input" / "users.parquet")]},
        input=str(place / "input"),
        work=str(place / "work"),
        output="",
        memory_mb=200,
        threads=1,
        spill_mb=100,
    )


@pytest.fixture(scope="module")
def database(place: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database in which a query of those users would run."""
    with child._database(job(place)) as opened:
        yield opened


def names(kinds: str) -> list[str]:
    """The names of DuckDB's own functions of some kinds."""
    with duckdb.connect() as engine:
        query = f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ({kinds}) ORDER BY 1"  # noqa: S608
        return [name for (name,) in engine.execute(query).fetchall()]


def catalog() -> list[str]:
    """The names of the catalog's tables and views, of all its schemas."""
    with duckdb.connect() as engine:
        query = "SELECT view_name FROM duckdb_views() UNION SELECT table_name FROM duckdb_tables() ORDER BY 1"
        return [name for (name,) in engine.execute(query).fetchall()]


def refused(database: duckdb.DuckDBPyConnection, text: str) -> bool:
    """Whether a statement is refused: by us before it is bound, or by DuckDB's parser."""
    try:
        judged(database, text, {"users"})
    except (Refused, duckdb.ParserException):
        return True
    return False


def test_the_lists_are_the_engines(database: duckdb.DuckDBPyConnection) -> None:
    """They are not empty, and have what the issue names: else the tests below would try nothing."""
    assert {"sqlite_master", "pg_class", "tables", "duckdb_views", "pg_settings"} <= set(catalog())
    assert {"read_text", "duckdb_secrets", "glob", "query", "duckdb_settings"} <= set(names("'table', 'table_macro'"))
    assert not refused(database, "SELECT * FROM users")


@pytest.mark.parametrize("form", OF_TABLES)
def test_no_table_of_the_catalog(database: duckdb.DuckDBPyConnection, form: str) -> None:
    """In no form of naming a table is one of the catalog's read, hidden by a WITH or not."""
    tried = [OF_TABLES[form].format(name, upper=name.upper()) for name in catalog()]
    assert [statement for statement in tried if not refused(database, statement)] == []


@pytest.mark.parametrize("form", OF_FUNCTIONS)
def test_no_function_in_from(database: duckdb.DuckDBPyConnection, form: str) -> None:
    """Of all functions that give rows only those are taken that make them of their arguments."""
    given = {name: calls(OF_FUNCTIONS[form], name) for name in names("'table', 'table_macro', 'pragma'")}
    let_through = {name for name, tried in given.items() if any(not refused(database, one) for one in tried)}
    assert let_through <= FUNCTIONS


@pytest.mark.parametrize("form", OF_VALUES)
def test_no_function_of_the_session(database: duckdb.DuckDBPyConnection, form: str) -> None:
    """A function that reads settings or the catalog, or acts on the session, is refused wherever a value may be."""
    tried = [call for name in OF_THE_SESSION for call in calls(OF_VALUES[form], name)]
    assert [call for call in tried if not refused(database, call)] == []


def test_every_function_that_may_read_more_is_known(database: duckdb.DuckDBPyConnection) -> None:
    """DuckDB says of each function whether its arguments alone decide; macros of its own show what they read.

    A name that is neither refused nor known to be harmless is new: a person has to look at it.
    """
    query = """
        SELECT DISTINCT function_name FROM duckdb_functions() WHERE
            (function_type = 'scalar' AND stability <> 'CONSISTENT')
            OR (function_type = 'macro' AND (macro_definition ILIKE '%FROM %' OR macro_definition ILIKE '%setting%'))"""
    found = {name for (name,) in database.execute(query).fetchall()}
    assert found - OF_THE_SESSION == HARMLESS & found
    assert names("'scalar', 'macro'")


def calls(form: str, name: str) -> list[str]:
    """A function called with a text, and with nothing: the statement is judged before DuckDB looks for arguments."""
    return [form.format(name, given, upper=name.upper()) for given in ("'allowed_directories'", "")]


BY_POINTER = frozenset({"arrow_scan", "arrow_scan_dumb", "pandas_scan", "python_arrow_scan", "python_map_function"})
"""They take an address in memory. A query cannot name them (above), and a wrong address would end this process."""


def test_the_database_gives_no_file_either(place: Path) -> None:
    """With the first lock left out, each function in FROM is asked for a file beside the tables: none gives it."""
    secret = place / "secret.csv"
    secret.write_text(f"user_id\n{SECRET}\n", encoding="utf-8")
    seen = dict[str, str]()
    with child._database(job(place)) as database:
        for name in names("'table', 'table_macro'"):
            for given in ("", text(f"FROM {text(str(secret))}"), text(str(secret))):
                if name in BY_POINTER:
                    continue
                try:
                    seen[name] = str(database.sql(f'FROM "{name}"({given}) LIMIT 100').fetchall())
                except (duckdb.Error, RuntimeError) as error:
                    seen[name] = str(error)
                assert SECRET not in seen[name], name
    assert "file system operations are disabled" in seen["read_text"]
    assert len(seen) > 80


SETTINGS = {
    "memory_limit": "190.7 MiB",
    "threads": "1",
    "max_temp_directory_size": "95.3 MiB",
    "home_directory": "/tmp",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
}


def test_every_setting_holds_before_a_query_runs(place: Path, database: duckdb.DuckDBPyConnection) -> None:
    """As the job says, and the only directories are the tables' and the one for what is spilled."""
    found = dict(database.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert {name: found[name] for name in SETTINGS} == SETTINGS
    assert found["temp_directory"] == str(place / "work")
    # DuckDB adds what it spills to itself.
    allowed = {one.rstrip("/") for one in found["allowed_directories"].strip("[]").replace("'", "").split(", ")}
    assert allowed == {str(place / "input"), str(place / "work")}


def test_what_a_query_may_use_of_a_function() -> None:
    """60 % of its memory, a thread for each vCPU, half of its disk."""
    assert Limits.of_function(3538, 2048, 300.0) == Limits(memory_mb=2122, threads=2, spill_mb=1024, time_s=300.0)
    assert Limits.of_function(1024, 512, 60.0) == Limits(memory_mb=614, threads=1, spill_mb=256, time_s=60.0)
