"""An erasure reads files in every form that preparation and the worker accept, or says that it cannot."""

import gzip
from pathlib import Path

import duckdb
import pytest

from notifier.audience.part_parser import PartParser
from notifier.model.keyed_id import keyed
from privacy.erased_bytes import Position, listed, pinned
from privacy.records import Unreadable, user_of
from privacy.suspicion import has_user, is_of_user
from privacy.whom import Whom

KEY = b"k" * 32
GONE = ("rows", "1000", "Jürgen")
TOKEN = "ab" * 32
JSON: dict[str, bytes] = {
    "lines": b'{"user_id": "rows"}\n{"user_id": "b"}\n',
    "commas after lines": b'{"user_id": "rows"},\n{"user_id": "b"},\n',
    "a list that lost its brackets": b'{"user_id": "rows", "x": [1]},\r\n\r\n{"user_id": "b"}',
    "a byte-order mark": b'\xef\xbb\xbf{"user_id": "rows"}\n{"user_id": "b"}\n',
    "a byte-order mark before a list": b'\xef\xbb\xbf[{"user_id": "rows"}, {"user_id": "b"}]',
    "over several lines": b'{\n "user_id":\n  "rows"\n}\n{\n "user_id": "b"\n}\n',
    "several on a line": b'{"user_id": "rows"}{"user_id": "b"} {"user_id": "c"}\n',
    "with separators": b'\x1e{"user_id": "rows"}\n\x1e{"user_id": "b"}\n',
    "carriage returns in a record": b'{"user_id": "rows",\r "x": 1}\n{"user_id": "b"}',
    "NaN": b'{"user_id": "rows", "x": NaN}\n{"user_id": "b"}',
    "half of a character": b'{"user_id": "rows", "x": "\\ud83d"}\n{"user_id": "b"}',
    "an integer": b'{"user_id": 1000}\n{"user_id": 1000.0}\n{"USER_ID": "b"}',
    "beyond ASCII": '{"user_id": "Jürgen"}\n{"user_id": "J\\u00fcrgen"}\n{"user_id": "b"}'.encode(),
    "one record": b'{\n"user_id": "rows"\n}',
    "gzip in gzip": gzip.compress(gzip.compress(b'{"user_id": "rows"}\n{"user_id": "b"}')),
}
TABLES: dict[str, bytes] = {
    "commas": b"user_id,token\nrows,%s\nb,%s\n",
    "semicolons": b"user_id;token\nrows;%s\nb;%s\n",
    "tabs": b"token\tuser_id\n%s\trows\n%s\tb\n",
    "carriage returns": b"user_id,token\rrows,%s\rb,%s\r",
    "pipes": b"user_id|token\nrows|%s\nb|%s\n",
    "a line that names the separator": b"sep=;\r\nUser ID;token\r\nrows;%s\r\nb;%s\r\n",
    "quotes": b'"user_id";"token"\n"rows";"%s"\n"b";"%s"\n',
    "a byte-order mark": b"\xef\xbb\xbfuser_id;token\n rows ;%s\nb;%s\n",
    "an integer as a spreadsheet writes it": b"user-id;token\n1000.0;%s\nb;%s\n",
}


def whom() -> Whom:
    """The erased users, of whom only keyed hashes are known."""
    return Whom(KEY, [keyed(KEY, user_id) for user_id in GONE])


@pytest.mark.parametrize("form", JSON)
def test_json_in_any_form(form: str) -> None:
    """The erased are gone, whoever else is there stays, and the worker reads what is left."""
    found = listed(JSON[form], whom(), looks=True)
    kept = {"one record": 0, "several on a line": 2}.get(form, 1)
    assert (found.erased, found.unread) == (found.records - kept, 0)
    left = PartParser("x", ids=True).feed(gzip.decompress(found.body) if "gzip" in form else found.body, final=True)
    assert {one.get("user_id", one.get("USER_ID")) for one in left if isinstance(one, dict)} <= {"b", "c"}
    assert len(left) == found.records - found.erased
    assert listed(found.body, whom()).erased == 0


@pytest.mark.parametrize("form", JSON)
def test_what_a_run_pinned_keeps_its_numbers(form: str) -> None:
    """Each erased record has one in its place, so that rows are identified as before."""
    text = JSON[form] if "gzip" not in form else gzip.decompress(gzip.decompress(JSON[form]))
    found = pinned(text, whom(), Position())
    assert found.erased
    assert found.records == len(PartParser("x").feed(text, final=True))
    assert len(PartParser("x").feed(found.body, final=True)) == found.records
    assert pinned(found.body, whom(), Position()).erased == 0


@pytest.mark.parametrize("form", TABLES)
def test_tables_with_any_separator(form: str) -> None:
    """The separator is found as preparation finds it; header and separator stay."""
    text = TABLES[form].replace(b"%s", TOKEN.encode())
    found = listed(text, whom())
    assert (found.erased, found.records) == (1, 2)
    assert found.body.splitlines()[:-1] == text.removeprefix(b"\xef\xbb\xbf").splitlines()[: len(text.splitlines()) - 2]
    assert b"b" in found.body
    assert TOKEN.encode() in found.body
    assert listed(found.body, whom()).erased == 0


@pytest.mark.parametrize(
    "text",
    [
        b'user_id,x\nrows,"a" \nb,c\n',
        b'user_id,x\n"rows" ,a\nb,c\n',
        b'user_id,x\nb,"Joe" Smith\nrows,c\n',
        b'user_id,x\nb,5" screen\nrows,c\n',
        b'user_id,x\nb,"two\nlines"\nrows,"a" \n',
        b"user_id,x\nb," + b"a" * 200_000 + b"\nrows,c\n",
    ],
)
def test_a_table_that_is_written_loosely(text: bytes) -> None:
    """Blanks or words behind a quote, and a long cell, hide no row, and keep no other from being erased."""
    found = listed(text, whom())
    assert (found.erased, found.records) == (1, 2)
    assert b"rows" not in found.body
    assert listed(found.body, whom()).erased == 0


@pytest.mark.parametrize(
    "text",
    [
        b"name;token\nrows;1\n",
        b"rows\nb\n",
        b"\x28\xb5\x2f\xfdzstd",
        b'[{"user_id": "rows"}',
        b'[{"user_id": "rows"}]\n[{"user_id": "b"}]',
        b'{"users": [{"user_id": "rows"}]}\n{"users": []}',
        b"\x1f\x8bno gzip",
        "user_id;x\nrows;1\n".encode("utf-16"),
        b'user_id,x\nb,"1\nrows,2\n',
        b'user_id,x\nb,"1\nrows,2\nc,"3\nd,4\n',
        b'user_id,x\nrows,"2',
    ],
)
def test_what_cannot_be_read_is_never_free_of_users(text: bytes) -> None:
    """Nobody can be ruled out in it, or the user is in it: it is named in what is left."""
    with pytest.raises(Unreadable):
        listed(text, whom())
    assert has_user(text, whom()) is not False


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (b"2026-11-28T09:00:00Z", False),
        (b"done\n", False),
        (b"[[1,2]]", False),
        (b"sep=;\n", False),
        (b"Of rows, by hand.", True),
        (b"[[1000,2]]", True),
        (b"name;token\n1000.0;1\n", True),
        ("id|x\nJürgen|1\n".encode(), True),
        (b"J\\u00fcrgen", True),
        (b'[["a\\n", 2]]', False),
        (rb"C:\rows", True),
        (b"u " * 600_000, None),
        ("rows".encode("utf-16"), None),
    ],
)
def test_words_of_a_text_that_is_no_table(text: bytes, has: bool | None) -> None:
    """A marker with a time in it has nobody, and keeps no erasure from its end; what may hide an id is not known."""
    with pytest.raises(Unreadable):
        listed(text, whom())
    assert has_user(text, whom()) is has


@pytest.mark.parametrize(
    ("line", "unread"),
    [
        (b'{"user_id": "rows", "token', 1),
        (b'{"user_id": "b", "token', 0),
        (b'{"user_id": 1000, "x": 01}', 1),
        (b'{"user_id": 1001, "x": 01}', 0),
        (b"rows", 1),
        (b'{"user_i', 1),
        (b'{"user_id": "b", "x": {"user_id": "rows"', 1),
        (b'{"customer_id": "rows", "event": "bought"}', 1),
        (b'{"customer_id": 1000, "event": "bought"}', 1),
        (b'{"customer_id": 1000.0, "event": "bought"}', 1),
        (b'{"user": {"ids": ["b", "rows"]}}', 1),
        (b'{"customer_id": "b", "event": "bought"}', 0),
        (b'{"user_id": "b", "city": "rows"}', 0),
        (b'{"user_id": "b", "locale": "K\xfcln"}', 0),
        (b'{"user_id": "\xfc"}', 0),
        (b'{"user_id": "b", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0),
    ],
)
def test_a_line_that_is_not_json_beside_others(line: bytes, unread: int) -> None:
    """The others are erased; it stays, and is left to look at unless its own id rules the erased out."""
    text = b'{"user_id": "c"}\n' + line + b'\n{"user_id": "rows"}\n'
    for found in (listed(text, whom(), looks=True), pinned(text, whom(), Position())):
        assert (found.erased, found.records) == (1, 3)
        assert line in found.body
    found = listed(text, whom(), looks=True)
    assert found.unread == unread
    assert bool(found.why_left) == bool(unread)


def test_a_batch_file_without_users_is_read() -> None:
    """It is one object over many lines, and has nobody."""
    text = b'{\n"campaign": {"id": "rows"},\n"audience": {"parts": []}\n}\n'
    assert user_of(text) is None
    assert listed(text, whom()) == pinned(text, whom(), Position())
    assert listed(text, whom(), looks=True).why_left is None


@pytest.mark.parametrize(
    ("columns", "has"),
    [
        ("'rows' AS user_id", True),
        ("'b' AS user_id, 'rows' AS city", False),
        ('\'rows\' AS "customer ""id"', True),
        ("1000 AS customer", True),
        ("'b' AS customer", False),
        ("'rows'::BLOB AS user_id", True),
        ("1000.0 AS user_id", True),
        ("'b' AS customer, 1000 AS quantity", False),
        ("{'id': 'rows'} AS customer", True),
        ("NULL AS user_id, 'rows' AS friend", True),
    ],
)
def test_parquet_is_looked_through(tmp_path: Path, columns: str, has: bool) -> None:
    """By its column of ids; without one by every column."""
    path = tmp_path / "x.parquet"
    with duckdb.connect() as database:
        database.sql(f"SELECT {columns}").write_parquet(str(path))
    assert has_user(path.read_bytes(), whom()) is has
    # Only what its own column says is no suspicion: an older version goes for that alone.
    assert is_of_user(path.read_bytes(), whom()) is (has and columns.endswith("AS user_id"))


def test_damaged_parquet_has_anybody(tmp_path: Path) -> None:
    """Nobody can be ruled out, also where only its pages are broken, and its end says what is in it."""
    path = tmp_path / "x.parquet"
    for users in (
        "SELECT 'b' || range AS user_id FROM range(9000)",
        "SELECT 'b' || range AS customer FROM range(9000)",
    ):
        with duckdb.connect() as database:
            database.sql(users).write_parquet(str(path))
        body = path.read_bytes()
        broken = body[:4] + b"\xff" * 10_000 + body[10_004:]
        for damaged in (b"PAR1 and no more", broken):
            assert has_user(damaged, whom()) is None
            assert not is_of_user(damaged, whom())
