"""Stored queries: what is taken, what is refused, and the words in which it is."""

import csv
import datetime as dt
import gzip
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import jsonschema  # type: ignore[import-untyped]
import pytest
from backports import zstd

from audiences.engines import child
from audiences.engines.athena import literal
from audiences.engines.duckdb import DuckDb
from audiences.engines.job import Failed, Finished, Job
from audiences.engines.placeholders import Unterminated, code_of, placeholders, replaced
from audiences.engines.port import EngineName, Limits, Place, Query, column_fault
from audiences.queries import BrokenQuery, free_query, from_texts, read_query, with_values
from audiences.query_input import pinned_query, plain
from audiences.sources import InputFile
from notifier.model.stored_query import Parameter, ParameterKind
from operations.query_schema import as_text, query_schema

ROOT = Path(__file__).parents[2]
SQL = "SELECT user_id, platform, token FROM users WHERE brand = ANY($brands) AND day >= $day"
ABOUT: dict[str, Any] = {
    "tables": {"users": ["standing/users/*.parquet"]},
    "parameters": {
        "brands": {"type": "texts", "choices": ["Accessorize", "Monsoon"], "default": ["Monsoon"]},
        "day": {"type": "date"},
    },
    "show": ["country"],
}


def stored(sql: str = SQL, name: str = "follows-brands", **changes: Any) -> Any:
    """A query with some members changed."""
    return read_query(name, sql.encode(), json.dumps(ABOUT | changes).encode())


def test_the_kept_schema_is_the_types() -> None:
    """`docs/query.schema.json` is what `python -m operations.query_schema` prints: print it after a change."""
    assert (ROOT / "docs/query.schema.json").read_text(encoding="utf-8") == as_text()
    jsonschema.Draft202012Validator.check_schema(query_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "events/queries").glob("*.json")), ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    """Every sample is valid by the schema, and has no fault."""
    jsonschema.Draft202012Validator(query_schema()).validate(json.loads(path.read_text(encoding="utf-8")))
    found = read_query(path.stem, path.with_suffix(".sql").read_bytes(), path.read_bytes())
    assert found.about.description
    assert found.about.owner


REFUSED_BY_BOTH: dict[str, dict[str, Any]] = {
    "an unknown field": {"engin": "duckdb"},
    "an unknown engine": {"engine": "spark"},
    "an unknown type": {"parameters": {"day": {"type": "datum"}}},
    "no choices": {"parameters": {"day": {"type": "date", "choices": []}}},
    "a choice of another type": {"parameters": {"day": {"type": "integer", "choices": ["7"]}}},
    "a default of another type": {"parameters": {"day": {"type": "boolean", "default": "true"}}},
    "a list that is none": {"parameters": {"day": {"type": "texts", "default": "a"}}},
    "a date in another form": {"parameters": {"day": {"type": "date", "default": "20261121"}}},
    "no files": {"tables": {"users": []}},
}


@pytest.mark.parametrize("case", REFUSED_BY_BOTH)
def test_the_schema_refuses_what_is_refused(case: str) -> None:
    """What the schema can say, both say."""
    changed = ABOUT | REFUSED_BY_BOTH[case]
    assert not jsonschema.Draft202012Validator(query_schema()).is_valid(changed)
    with pytest.raises(BrokenQuery):
        stored(sql="SELECT $day", **REFUSED_BY_BOTH[case])


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "an expiring prefix": (
        {"tables": {"users": ["audiences/x.csv"]}},
        'query.tables.users[0]: the text "audiences/x.csv" is under a prefix whose objects expire',
    ),
    "a way out": ({"tables": {"users": ["standing/../secret"]}}, "query.tables.users[0]: the text"),
    "a way out of a bucket": ({"tables": {"users": ["s3://bucket/a/../../b"]}}, "leads out of its prefix"),
    "an absolute path": ({"tables": {"users": ["/etc/passwd"]}}, "leads out of its prefix"),
    "another scheme": ({"tables": {"users": ["https://x/a.csv"]}}, "is not the name of files"),
    "a table's name": ({"tables": {'users"; DROP': ["standing/a"]}}, "not a name for a table"),
    "tables of a warehouse": ({"engine": "athena"}, "athena has tables of its own"),
    "a default that is no choice": (
        {"parameters": {"brands": {"type": "texts", "choices": ["a"], "default": ["b"]}, "day": {"type": "date"}}},
        'query.parameters.brands.default: the text "b" is not one of the choices (one of a)',
    ),
    "an unused parameter": (
        {"parameters": ABOUT["parameters"] | {"extra": {"type": "text"}}},
        "queries/follows-brands.sql: $extra: is a parameter of queries/follows-brands.json, and not in the SQL",
    ),
    "an unknown parameter": (
        {"parameters": {"brands": {"type": "texts"}}},
        "queries/follows-brands.sql: line 1, column 82: $day is not a parameter of queries/follows-brands.json",
    ),
    "a token shown": ({"show": ["Token"]}, "query.show[0]: Token may not be shown"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_name_file_and_field(case: str) -> None:
    """A fault names the file, the field and what to write."""
    changes, says = FAULTS[case]
    with pytest.raises(BrokenQuery) as fault:
        stored(**changes)
    assert says in str(fault.value)
    assert all(one.mend for one in fault.value.faults)


FILES: dict[str, tuple[str, bytes, bytes, str]] = {
    "not JSON": ("q", b"SELECT 1", b'{"a":', "queries/q.json: line 1, column 6: is not JSON"),
    "twice": ("q", b"SELECT 1", b'{"show": [], "show": []}', "queries/q.json: query.show: given twice"),
    "not UTF-8": ("q", b"SELECT '\xff'", b"{}", "queries/q.sql: byte 8: is not UTF-8"),
    "empty": ("q", b" \n", b"{}", "queries/q.sql: line 1: the file is empty"),
    "a path": ("../q", b"SELECT 1", b"{}", "is not the name of a query"),
    "deep": ("q", b"SELECT 1", b"[" * 100_000, "queries/q.json: query: nested too deeply"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_read(case: str) -> None:
    """The file and the place, for bytes that are no query."""
    name, sql, about, says = FILES[case]
    with pytest.raises(BrokenQuery) as fault:
        read_query(name, sql, about)
    assert says in str(fault.value)


def test_values_are_typed() -> None:
    """Defaults fill in; a date is a date, a list a list, a number keeps its digits."""
    assert with_values(stored(), {"day": "2026-11-21"}).parameters == {
        "brands": ("Monsoon",),
        "day": dt.date(2026, 11, 21),
    }
    assert free_query("SELECT $n", {"n": 0.1}, "q").parameters == {"n": Decimal("0.1")}
    assert plain({"d": dt.date(2026, 1, 2), "l": ("a",)}) == {"d": "2026-01-02", "l": ("a",)}


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "missing": ({}, "the query follows-brands: parameters.day: missing (give it a date such as 2026-11-21)"),
    "unknown": ({"day": "2026-11-21", "dya": 1}, "parameters.dya: unknown (known: brands, day)"),
    "no date": ({"day": "2026-02-30"}, "is not a date"),
    "no choice": ({"day": "2026-11-21", "brands": ["Monsoon", "x'"]}, "is not one of the choices"),
    "a number": ({"day": 7}, "the number 7 is not a date such as 2026-11-21"),
    "one text": ({"day": "2026-11-21", "brands": "Monsoon"}, "is not a list of texts"),
    "no text": ({"day": "2026-11-21", "brands": ["\x00"]}, "has a character that is no text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values(case: str) -> None:
    """Each value that cannot be used is named, with what to write."""
    given, says = WRONG[case]
    with pytest.raises(BrokenQuery) as fault:
        with_values(stored(), given)
    assert says in str(fault.value)


def test_values_of_a_command_line() -> None:
    """Texts of a command line become what JSON would have; what they cannot be is left for the fault."""
    kinds: dict[ParameterKind, tuple[str, object]] = {
        "boolean": ("true", True),
        "integer": ("7", 7),
        "number": ("1.50", Decimal("1.50")),
        "text": ("7", "7"),
        "date": ("2026-11-21", "2026-11-21"),
        "texts": ("a", ("a",)),
    }
    for kind, (text, value) in kinds.items():
        assert from_texts(Parameter(kind), (text,), "p") == value
    assert from_texts(Parameter("integer"), ("seven",), "p") == "seven"
    with pytest.raises(BrokenQuery, match="given twice"):
        from_texts(Parameter("text"), ("a", "b"), "p")


TEXTS: dict[EngineName, dict[str, list[str]]] = {
    "athena": {
        "SELECT $a, '$b', \"$c\", `$d` -- $e\n/* $f */, $a": ["a", "a"],
        "SELECT 'it''s $a', $b": ["b"],
        "SELECT '\\', $a": ["a"],
        "SELECT a$b, $1, $$": [],
    },
    "duckdb": {
        "SELECT $$ $a $$, $x$ $b $x$, $c": ["c"],
        "SELECT E'\\' $a', $b": ["b"],
        "SELECT 'a\\', $b": ["b"],
    },
    "bigquery": {
        "SELECT '\\' $a', \"$b\", $c # $d": ["c"],
        "SELECT '''it's $a''', $b": ["b"],
        "SELECT r'\\' $a', $b": ["b"],
    },
}


@pytest.mark.parametrize("engine", TEXTS)
def test_placeholders(engine: EngineName) -> None:
    """`$name` is one outside of strings, quoted names and comments of the engine's dialect, and only there."""
    for text, names in TEXTS[engine].items():
        assert [one.name for one in placeholders(text, engine)] == names
        assert replaced(text, engine, lambda _name: "?").count("?") == len(names)
        assert len(code_of(text, engine)) == len(text)


@pytest.mark.parametrize("text", ["SELECT '", "SELECT /* ", 'SELECT "a', "SELECT `a", "SELECT 'it''"])
def test_no_end(text: str) -> None:
    """A string or a comment without an end would take in what is written after the query."""
    with pytest.raises(Unterminated):
        code_of(text, "athena")


def test_literals_are_what_they_say() -> None:
    """Whatever a text has, its literal parsed by a database is that text."""
    with duckdb.connect() as database:
        for text in ("it's", "''", "a\nb", "--", "/*", "\\", "'); DROP TABLE x; --", "ü"):
            assert database.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]
    assert literal(True) == "TRUE"
    assert literal(("a", "b'")) == "ARRAY['a', 'b''']"


def test_columns() -> None:
    """A device list replaces platform and token; a known column may be there once, in any case."""
    assert column_fault(Query("", name="q"), ("USER_ID", "Platform", "token", "x", "X")) is None
    assert column_fault(Query("", name="q"), ("user_id", "devices")) is None
    assert "no column token" in str(column_fault(Query("", name="q"), ("user_id", "platform")))
    assert "user_id is in the result twice" in str(
        column_fault(Query("", name="q"), ("user_id", "USER_ID", "platform", "token"))
    )


PEOPLE = [
    {"user_id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "day": "2026-11-21", "hour": "08:30:00", "n": 7},
    {"user_id": "007", "day": "2026-11-22", "hour": "09:30:00", "n": 8},
]
FORMS = {
    "jsonl": "\n".join(map(json.dumps, PEOPLE)),
    "array": json.dumps(PEOPLE),
    "csv": "user_id,day,hour,n\n" + "\n".join(",".join(map(str, one.values())) for one in PEOPLE),
}


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("form", FORMS)
def test_texts_in_tables_stay_texts(tmp_path: Path, form: str, packed: str) -> None:
    """A user id that looks like a UUID or a number, a date and a time are in the result as they are in the file."""
    packs: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
    # A folder's name is no value either: of a file in S3 it is not looked at.
    (tmp_path / "input" / "user_id=5").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    file = tmp_path / "input" / "user_id=5" / "00000"
    file.write_bytes(packs[packed](FORMS[form].encode()))
    answer = child.do(job(tmp_path, "SELECT * FROM people WHERE CAST(n AS INTEGER) > 0", {"people": [str(file)]}))
    assert isinstance(answer, Finished), answer
    with duckdb.connect() as database:
        found = database.execute(f"SELECT user_id, day, hour FROM '{tmp_path / 'rows.parquet'}' ORDER BY n").fetchall()  # noqa: S608
    assert found == [(one["user_id"], one["day"], one["hour"]) for one in PEOPLE]


def job(directory: Path, text: str, tables: Mapping[str, list[str]]) -> Job:
    """A job without parameters."""
    return Job(
        [],
        text,
        {},
        dict(tables),
        str(directory / "input"),
        str(directory / "work"),
        str(directory / "rows.parquet"),
        200,
        1,
        100,
    )


def test_a_table_of_two_formats(tmp_path: Path) -> None:
    """Files of a table are of one format: the message names the table."""
    for name in ("input", "work"):
        (tmp_path / name).mkdir()
    files = [tmp_path / "input" / name for name in ("a", "b")]
    files[0].write_text(FORMS["csv"], encoding="utf-8")
    files[1].write_text(FORMS["jsonl"], encoding="utf-8")
    answer = child.do(job(tmp_path, "SELECT * FROM people", {"people": list(map(str, files))}))
    assert isinstance(answer, Failed)
    assert "the table people has files of several formats" in answer.problem


PLACES = {
    "SELECT user_id,\n  nope FROM users": ('column "nope" not found', Place(2, 3)),
    "SELECT 'ü', nofunc(1) FROM users": ("nofunc does not exist", Place(1, 13)),
    "SELECT *\nFROM users\nWHER x": ("syntax error", Place(3, 6)),
    "SELECT *, {'a': 1} AS nested FROM users": ("the column nested is a STRUCT", None),
    "SELECT *, encode(token) AS raw FROM users": ("the column raw is a BLOB", None),
}


@pytest.mark.parametrize("text", PLACES)
def test_errors_have_a_place(tmp_path: Path, text: str) -> None:
    """The engine's own message, the place in the SQL, what to do; no class, no advice about settings."""
    (tmp_path / "users.csv").write_text("user_id,platform,token\n1,ios,abc\n", encoding="utf-8")
    says, place = PLACES[text]
    answer = child.do(
        Job([], text, {}, {"users": [str(tmp_path / "users.csv")]}, str(tmp_path), str(tmp_path / "w"), "", 200, 1, 9)
    )
    assert isinstance(answer, Failed)
    fault = DuckDb(tmp_path / "w", Limits())._fault(Query(text, name="q.sql"), answer)
    assert says in fault.problem
    assert fault.place == place
    assert fault.mend
    assert "Error" not in fault.problem
    assert "SET " not in fault.problem


def test_the_cost_is_the_files(tmp_path: Path) -> None:
    """Before it runs people see how much it reads."""
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    cost = DuckDb(tmp_path / "w").cost(Query("SELECT 1"), {"a": [InputFile(tmp_path / "a", "a")]})
    assert cost.scanned_bytes == 3_000_000
    assert cost.sentence == "reads at most 3.0 MB of files; nothing is paid by the byte"


def test_the_same_query_is_the_same_audience(tmp_path: Path) -> None:
    """The id's part changes with the SQL, a value, the table's bytes; of a warehouse also after 15 minutes."""
    file = tmp_path / "a"
    file.write_bytes(b"x")
    tables = {"a": [InputFile(file, "a")]}
    query = Query("SELECT $x", {"x": "1"})
    same = pinned_query(query, tables, "duckdb")
    assert pinned_query(query, tables, "duckdb") == same
    assert pinned_query(Query("SELECT  $x", {"x": "1"}), tables, "duckdb") != same
    assert pinned_query(Query("SELECT $x", {"x": "2"}), tables, "duckdb") != same
    file.write_bytes(b"xy")
    assert pinned_query(query, tables, "duckdb") != same
    assert pinned_query(query, {}, "athena", 899.0) == pinned_query(query, {}, "athena", 0.0)
    assert pinned_query(query, {}, "athena", 900.0) != pinned_query(query, {}, "athena", 899.0)


def follows(brands: set[str], since: str) -> set[str]:
    """Whom the sample query selects, computed from its files without SQL."""
    standing = ROOT / "events/standing"
    users = list(csv.DictReader((standing / "users/2026-11.csv").read_text(encoding="utf-8").splitlines()))
    lines = (standing / "follows/2026-11.jsonl").read_text(encoding="utf-8").splitlines()
    fans = {one["user_id"] for one in map(json.loads, lines) if one["brand"] in brands}
    return {
        user["user_id"]
        for user in users
        if user["user_id"] in fans and user["last_seen"] >= since and user["push_consent"] != "no"
    }


def test_the_sample_by_the_command_line(tmp_path: Path) -> None:
    """`notifier audience build --query follows-brands` makes an audience of exactly these people, once."""
    from typer.testing import CliRunner

    from operations.cli import app

    arguments = [
        "audience",
        "build",
        "--query",
        "follows-brands",
        "--from",
        str(ROOT / "events"),
        "-o",
        str(tmp_path),
        "--json",
    ]
    arguments += ["--param", "brands=Accessorize", "--param", "brands=Mint Velvet", "--param", "since=2026-10-15"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.stderr
    manifest = json.loads(first.stdout)
    lines = [
        json.loads(line)
        for part in manifest["parts"]
        for line in (tmp_path / part["key"]).read_text(encoding="utf-8").splitlines()
    ]
    wanted = follows({"Accessorize", "Mint Velvet"}, "2026-10-15")
    assert {one["user_id"] for one in lines} == wanted
    assert len(lines) == len(wanted) > 10
    assert manifest["request"]["query"]["parameters"]["since"] == "2026-10-15"
    # The same again is not run again: the manifest of the first is the answer.
    assert json.loads(CliRunner().invoke(app, arguments).stdout) == manifest


def test_queries_are_listed(tmp_path: Path) -> None:
    """Each query with its parameters; a broken one with its fault, and then the answer is no."""
    from typer.testing import CliRunner

    from operations.cli import app

    listed = CliRunner().invoke(app, ["audience", "queries", "--from", str(ROOT / "events"), "--json"])
    assert listed.exit_code == 0
    names = [query["name"] for query in json.loads(listed.stdout)["queries"]]
    assert {"day-2-engagement", "follows-brands"} <= set(names)
    assert names == sorted(names)
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries/a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "queries/a.sql").write_text("SELECT $x", encoding="utf-8")
    broken = CliRunner().invoke(app, ["audience", "queries", "--from", str(tmp_path)])
    assert broken.exit_code == 1
    assert "$x is not a parameter of" in " ".join(broken.stdout.split())
