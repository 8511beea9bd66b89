"""Tables out of spreadsheets and databases become audiences, or say by row and column why not."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from operations.cli import app
from operations.convert.audience import RowCounts, records
from operations.convert.files import NotText, encoding_of, text_of
from operations.convert.table import BadTable, Table

SAMPLE = Path(__file__).parents[2] / "events" / "tables" / "audience.csv"
HEADER = "user_id,platform,token,locale,first_name\n"
ROW = "u1,ios,0123456789abcdef0123456789abcdef,de-AT,Jürgen\n"


def convert(*arguments: object) -> Result:
    # Wide, so that no path is broken where a line ends.
    return CliRunner().invoke(app, ["convert", *map(str, arguments)], env={"COLUMNS": "2000"})


def said(result: Result) -> str:
    return " ".join(result.output.split())


def converted(path: Path, *options: object) -> list[dict[str, Any]]:
    """What comes of a file that is converted by the plain command."""
    out = path.with_name("audience.jsonl")
    result = convert(path, "-o", out, *options)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "audience.csv"
    path.write_bytes(text.encode(encoding))
    return path


JUERGEN = {
    "user_id": "u1",
    "devices": [{"platform": "ios", "token": "0123456789abcdef0123456789abcdef"}],
    "locale": "de-AT",
    "first_name": "Jürgen",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", '"sep={}"\r\n', "\r\n"])
def test_the_way_it_was_saved_is_found_out(tmp_path: Path, encoding: str, separator: str, first: str) -> None:
    """Encoding and separator, with and without a byte-order mark and Excel's own first line."""
    text = first.format(separator) + (HEADER + ROW).replace(",", separator).replace("\n", "\r\n")
    assert converted(written(tmp_path, text, encoding)) == [JUERGEN]


def test_the_sample_out_of_excel() -> None:
    """Semicolons, Excel's first line, Windows-1252, and two rows of one user."""
    counts = RowCounts()
    with text_of(SAMPLE) as text:
        _, found = records(text, counts)
        users = [(record["user_id"], len(record["devices"]), record["First name"]) for record in found]
    assert users == [("1001", 2, "Jürgen"), ("1002", 1, 'Zoé; "Z"')]
    assert (counts.rows, counts.devices, [group.reason for group in counts.left_out]) == (4, 3, ["token: missing"])


def test_how_it_was_read_is_told(tmp_path: Path) -> None:
    """Windows-1252 fits almost any bytes: a person who knows the names should look at them."""
    path = written(tmp_path, (HEADER + ROW).replace(",", ";"), "cp1252")
    shown = said(convert(path, "-o", tmp_path / "a.jsonl"))
    assert "read as cp1252, separated by semicolon" in shown
    assert "check that names with accents are right, else name it with --encoding" in shown
    assert "1 device of 1 row, in 1 record" in shown


def test_another_encoding_can_be_said(tmp_path: Path) -> None:
    """And another separator; words that are none are refused."""
    text = (HEADER + ROW.replace("Jürgen", "Łukasz")).replace(",", "~")
    path = written(tmp_path, text, "cp1250")
    [record] = converted(path, "--encoding", "windows-1250", "--separator", "~")
    assert record["first_name"] == "Łukasz"
    out = tmp_path / "a.jsonl"
    assert "--encoding klingon: not known" in said(convert(path, "-o", out, "--encoding", "klingon"))
    assert "--separator ab: not one character" in said(convert(path, "-o", out, "--separator", "ab"))
    assert "not ascii throughout" in said(convert(path, "-o", out, "--encoding", "ascii"))


def test_columns_in_any_spelling_and_rows_of_one_user(tmp_path: Path) -> None:
    """Known ones by their words; attributes by their own; neighbours become one record, empty cells nothing."""
    text = (
        "User ID,PLATFORM,Token,Gateway,Last Name,\n"
        "1000.0,iOS,dGhpcyBpcyBhbiBGQ00gdG9rZW4:APA91b,fcm,O'Neill,\n"
        "1000,android,dGhpcyBpcyBhbm90aGVyIHRva2Vu:APA91b,,O'Neill,\n"
        ",,,,,\n"
        "2,android,YSB0aGlyZCB0b2tlbiBvZiB0aGVt:APA91b,,,\n"
    )
    path = written(tmp_path, text)
    assert converted(path) == [
        {
            "user_id": "1000",
            "devices": [
                {"platform": "ios", "token": "dGhpcyBpcyBhbiBGQ00gdG9rZW4:APA91b", "gateway": "fcm"},
                {"platform": "android", "token": "dGhpcyBpcyBhbm90aGVyIHRva2Vu:APA91b"},
            ],
            "Last Name": "O'Neill",
        },
        {"user_id": "2", "devices": [{"platform": "android", "token": "YSB0aGlyZCB0b2tlbiBvZiB0aGVt:APA91b"}]},
    ]


def test_a_quoted_cell_may_hold_anything(tmp_path: Path) -> None:
    """Separators, quotes and line breaks."""
    path = written(tmp_path, HEADER + ROW.replace("Jürgen", '"a ""b"",\r\nc"'))
    assert converted(path)[0]["first_name"] == 'a "b",\r\nc'


@pytest.mark.parametrize("ruined", ["1.23E+15", "1,23E+15", "1E+15", "1.23457e+18"])
@pytest.mark.parametrize("column", [0, 2])
def test_a_rounded_id_is_a_fault(tmp_path: Path, ruined: str, column: int) -> None:
    """With row and column as a spreadsheet shows them, and how to get at the whole id. Nothing is written."""
    row = ROW.strip().split(",")
    row[column] = f'"{ruined}"'
    path = written(tmp_path, HEADER + ROW + ",".join(row) + "\n")
    result = convert(path, "-o", tmp_path / "a.jsonl")
    assert result.exit_code == 1
    name = ("user_id", "", "token")[column]
    assert f"audience.csv: row 3, column {name}: {ruined} is a rounded number, not an id" in said(result)
    assert "import the column as text" in said(result)
    assert list(tmp_path.iterdir()) == [path]


def test_a_rounded_id_of_pinpoints_is_one_too(tmp_path: Path) -> None:
    """Its files are opened in spreadsheets as well, and come back with semicolons."""
    path = written(tmp_path, "ChannelType;Address;User.UserId\nGCM;token-of-a-phone;1.23E+15\n")
    result = convert("pinpoint", path, "-o", tmp_path / "a.jsonl")
    assert "row 2, column User.UserId: 1.23E+15 is a rounded number" in said(result)
    path.write_text("sep=;\nChannelType;Address;User.UserId\nGCM;token-of-a-phone;12345678\n", encoding="utf-16")
    assert convert("pinpoint", path, "-o", tmp_path / "a.jsonl").exit_code == 0


@pytest.mark.parametrize("whole", ["12e4567", "123e5", "9007199254740993.0", "a1.0"])
def test_an_id_that_only_looks_like_a_number_stays(tmp_path: Path, whole: str) -> None:
    """Hexadecimal digits, and what is too large to have been exact."""
    assert converted(written(tmp_path, HEADER + ROW.replace("u1", whole)))[0]["user_id"] == whole


FAULTS = {
    "no such columns": (
        "name,phone\nAnn,1\n",
        'no column user_id in row 1; its columns, separated by comma, are "name"',
    ),
    "one column missing": ("user_id;token\nu;t\n", "no column platform in row 1; its columns, separated by semicolon"),
    "nothing": ("", "the file is empty"),
    "a column twice": ("user_id,platform,token,User ID\n", 'row 1: the column "user_id" is there twice'),
    "too many cells": (HEADER + ROW.strip() + ",more\n", "row 2 has 6 cells, and row 1 has 5 columns"),
    "a quote that is never closed": (HEADER + ROW.replace("Jür", '"Jür') + ROW, "line 2: a quote is opened in the row"),
    "a quote that swallows rows": (
        HEADER + ROW.replace("u1,ios", '"u1,ios') + ROW.replace("Jürgen", 'Jürgen"'),
        "row 2 has 1 cell, and one of them holds a line break",
    ),
    "a quote within": (HEADER + ROW.replace("Jürgen", '"a "b" c"'), "line 2: a quote within a quoted field must be"),
    "no names of columns": (f"u|ios|{'ab' * 32}\n", "its first line has values in place of the names of columns"),
    "nobody": (HEADER, "nobody to send to: it has no rows"),
    "nobody at all": (HEADER + ROW.replace("ios", "pager"), "1 × platform: not one of ios, android, web"),
    "Pinpoint's": ("ChannelType,Address\nGCM,t\n", "notifier convert pinpoint FILE -o OUT"),
    "JSON": ('{"user_id": "u"}\n', "JSON already, not a table"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_told_by_its_place(tmp_path: Path, name: str) -> None:
    """And nothing is written."""
    text, problem = FAULTS[name]
    path = written(tmp_path, text)
    result = convert(path, "-o", tmp_path / "a.jsonl")
    assert result.exit_code == 1, result.output
    assert problem in said(result)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04" + bytes(50), "an Excel workbook"),
        (b"PAR1" + bytes(50), "Parquet"),
        (b"a\x00bcdef", "NUL bytes"),
        (b"user_id\n\x81\x8d\x8f", "neither UTF-8 nor UTF-16 nor Windows-1252"),
        # Without the time that gzip writes: these bytes are the tests' names, which are the same in each process.
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "compressed with gzip twice"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-9], "cut off"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    """A workbook is not a table yet."""
    path = tmp_path / "audience.csv"
    path.write_bytes(data)
    assert what in said(convert(path, "-o", tmp_path / "a.jsonl"))


def test_rows_that_cannot_be_sent_to_are_left_out(tmp_path: Path) -> None:
    """By reason, with their rows; several files make one audience."""
    path = written(tmp_path, HEADER + ROW + ROW.replace("ios", "pager") + ",ios,t,,\n" + ROW.replace("ios", "pager"))
    other = tmp_path / "more.csv"
    other.write_text(HEADER.replace(",", ";") + ROW.replace(",", ";").replace("u1", "u2"), encoding="utf-8")
    shown = said(convert(path, other, "-o", tmp_path / "a.jsonl"))
    assert "2 devices of 5 rows, in 2 records" in shown
    assert "left out: 2 platform: not one of ios, android, web (row 3, 5)" in shown
    assert "user_id: missing (row 4)" in shown


def test_options_may_come_first(tmp_path: Path) -> None:
    """As with other commands; a name that is a command's is that command."""
    path = written(tmp_path, HEADER + ROW)
    for arguments in (["-o", tmp_path / "a.gz", path], ["table", path, "-o", tmp_path / "a.gz"]):
        assert convert(*arguments).exit_code == 0
        assert json.loads(gzip.decompress((tmp_path / "a.gz").read_bytes())) == JUERGEN
    assert "Example: notifier convert audience.csv -o audience.jsonl" in said(convert("table", "--help"))
    assert "Commands" in convert("--help").output


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=12)


@given(st.lists(CELLS, min_size=1, max_size=4), st.sampled_from([",", ";", "\t", "|"]))
def test_every_cell_comes_out_as_it_was(values: list[str], separator: str) -> None:
    """Whatever is in it, by whichever separator, once it is quoted."""
    names = [f"column {n}" for n in range(len(values))]
    quoted = ['"' + value.replace('"', '""') + '"' for value in values]
    text = separator.join(["user_id", "platform", "token", *names]) + "\n"
    text += separator.join(["u", "ios", "0123456789abcdef", *quoted]) + "\n"
    _, found = records(io.StringIO(text, newline=""), RowCounts())
    assert {name: value for name, value in zip(names, values, strict=True) if value} == {
        name: value for name, value in next(iter(found)).items() if name in names
    }


def test_a_table_is_read_row_by_row() -> None:
    """A file of any size costs the memory of one row."""

    def lines() -> Any:
        yield HEADER
        for n in range(10**9):
            yield ROW.replace("u1", f"u{n}")

    rows = iter(Table(lines(), {"user_id"}.__contains__))
    assert [number for number, _ in (next(rows) for _ in range(3))] == [2, 3, 4]


def test_errors_are_values_of_their_kind(tmp_path: Path) -> None:
    """What the command line catches."""
    with pytest.raises(BadTable):
        records(["name\n"], RowCounts())
    path = tmp_path / "a"
    path.write_bytes(b"\x81")
    with pytest.raises(NotText):
        encoding_of(path)
