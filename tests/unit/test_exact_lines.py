"""A line that its own values give again is proven: what is proven so, the worker's reader takes just as it is."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from audiences.exact_lines import exact_line
from audiences.raw import opened
from audiences.reader import Row, judged
from audiences.rows import DEVICES, _select
from audiences.shape import shape_of
from audiences.sources import InputFile
from notifier.audience.lines import decode_or_broken
from notifier.model.spelling import BrokenRecord
from tests.unit.test_audiences_verdicts import plain

IOS = {"platform": "ios", "token": "ab" * 32}
ANDROID = {"platform": "android", "token": "cX9:APA91b-x_yz0123456789", "gateway": "fcm"}
FILES: dict[str, Sequence[Mapping[str, Any]]] = {
    "one device": [{"user_id": "u1", "devices": [IOS], "locale": "de", "attributes": {"name": "Jürgen", "n": 1}}],
    "one device and a column": [{"user_id": "u1", "devices": [IOS], "city": "Wien"}],
    "several devices": [{"user_id": "u1", "devices": [IOS, ANDROID]}, {"user_id": "u2", "devices": [ANDROID]}],
    "flat": [{"user_id": 7, **ANDROID, "updated_at": 1_700_000_000, "city": "Wien", "price": 1.5, "member": True}],
    "members left out": [{"user_id": "u1", **IOS, "locale": "de", "city": "x"}, {"user_id": "u2", **IOS}],
    "members that are null": [{"user_id": "u1", "locale": None, **IOS, "city": None}, {"user_id": "u2", **IOS}],
    "capitals": [{"USER_ID": "u1", "Platform": "iOS", "token": "ab" * 32}],
    "no attributes": [{"user_id": "u1", "devices": [IOS], "attributes": {}}],
}
PUT = (b"", b" ", b",", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b"0", b"-", b".", b"\x00", b"\x1f", b"\x7f", b"N")
"""What is put in place of each byte, or before it."""


def written(record: object) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def proven(records: Sequence[Mapping[str, Any]], lines: Sequence[bytes]) -> set[str]:
    """The lines that are exact in a file that begins with these records."""
    shape = shape_of(records)
    assert shape is not None
    exact = exact_line(shape, records)
    assert exact is not None
    with duckdb.connect() as database:
        database.execute("CREATE TABLE lines AS SELECT unnest(?) AS line", [sorted(set(texts(lines)))])
        # A file with a line that is no JSON is read by the other way as a whole: here each line is judged alone.
        parsed = msgspec.structs.replace(exact, parsed=f"TRY({exact.parsed})")
        found = database.execute(f"SELECT line FROM {parsed.over('lines')} WHERE exact")  # noqa: S608
        return {line for (line,) in found.fetchall()}


def texts(lines: Sequence[bytes]) -> Iterator[str]:
    """Those that DuckDB could read at all."""
    for line in lines:
        try:
            yield line.decode()
        except UnicodeDecodeError:
            continue


def is_json(line: bytes) -> bool:
    return not isinstance(decode_or_broken(line), BrokenRecord)


def damaged(line: bytes) -> Iterator[bytes]:
    """The line with one byte replaced, one put before it, or a stretch of it doubled."""
    for at in range(len(line)):
        for put in PUT:
            yield line[:at] + put + line[at + 1 :]
            yield line[:at] + put + line[at:]
        yield line[:at] + line[at : at + 12] + line[at:]


@pytest.mark.parametrize("file", FILES)
def test_lines_as_most_programs_write_them_are_exact(file: str) -> None:
    """The file's own lines are: else each would be compared with a regular expression."""
    lines = [written(record) for record in FILES[file]]
    if file == "members that are null":
        lines = lines[:1]  # one that leaves them out is of another form, which the expression proves
    assert proven(FILES[file], lines) == set(texts(lines))


@pytest.mark.parametrize(
    ("lines", "shortest"),
    [
        ([b'{"user_id":"u1","a":1.10}'], True),
        ([b'{"user_id":"u1","a":1}\r'], True),
        ([b'{"user_id": "u1", "a": 1}'], False),
        ([b'{"user_id": "u1", "a": 1}', b'{"user_id":"u2","a":1}'], True),
    ],
)
def test_the_shortest_form_is_tried_only_where_first_lines_have_it(
    lines: list[bytes], shortest: bool, tmp_path: Path
) -> None:
    """Written with spaces, no line would be exact: to try that for each of them costs a fifth of the time."""
    path = tmp_path / "users.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert opened(InputFile(path, "x"), tmp_path / "work").is_shortest is shortest


@pytest.mark.parametrize("file", FILES)
def test_no_damaged_line_is_exact_unless_the_reader_takes_it(file: str) -> None:
    """Whatever one byte is replaced by: the reader finds nothing wrong in a line that is still exact."""
    for record in FILES[file]:
        for line in proven(FILES[file], list(damaged(written(record)))):
            found = decode_or_broken(line.encode())
            assert not isinstance(found, BrokenRecord), line
            assert all(isinstance(one, Row) for one in judged(0, found)), line


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_line_that_is_exact_has_what_the_reader_reads(file: str) -> None:
    """User, devices, locale, time zone and attributes are the same, or the reader is asked."""
    shape = shape_of(FILES[file])
    assert shape is not None
    for record in FILES[file]:
        lines = sorted(proven(FILES[file], list(damaged(written(record)))))
        # "members that are null": its second line is of another form, and none of its damaged ones is exact.
        assert lines or record is not FILES[file][0]
        with duckdb.connect() as database:
            database.execute("CREATE TABLE lines AS SELECT unnest(range(len($1))) AS row, unnest($1) AS line", [lines])
            taken = _select(shape, "lines", 0, exact_line(shape, FILES[file]))
            columns = f"row, user_id, {DEVICES}, locale, timezone, updated_at IS NOT NULL, attributes"
            names = "t(row, user_id, device, several, locale, timezone, updated_at, attributes, raw)"
            query = f"SELECT {columns} FROM ({taken}) AS {names} WHERE raw IS NULL"  # noqa: S608
            rows = database.execute(query).fetchall()
        assert len(rows) == len(lines)
        for number, *row in rows:
            [one] = judged(0, decode_or_broken(lines[number].encode()))
            assert isinstance(one, Row)
            timed = one.updated_at is not None
            expected = plain(one.user_id, one.devices, one.locale, one.timezone, timed, one.attributes)
            assert plain(*row) == expected, lines[number]


DEVICES_WITHOUT: tuple[list[dict[str, str]], ...] = (
    [{"token": "ab" * 32}],
    [{"token": "ab" * 32}, {"token": "cd" * 32}],
    [{"token": "ab" * 32, "gateway": "fcm"}],
)


@pytest.mark.parametrize("devices", DEVICES_WITHOUT)
def test_devices_without_a_platform_are_left_to_the_reader(devices: list[dict[str, str]]) -> None:
    """If no device of a file's first records has one, no line is exact, and none has the shape."""
    records = [{"user_id": "u1", "devices": devices}]
    shape = shape_of(records)
    assert shape is not None
    assert exact_line(shape, records) is None
    with duckdb.connect() as database:
        matched = "SELECT regexp_full_match(?, ?)"
        assert database.execute(matched, [written(records[0]).decode(), shape.pattern]).fetchall() == [(False,)]


@pytest.mark.parametrize("without", [{"token": "ab" * 32}, {"platform": "ios"}, {}])
def test_a_row_that_lacks_a_part_of_its_device_is_not_exact(without: dict[str, str]) -> None:
    """Flat rows, too: what the first records all lack is asked about nowhere."""
    records = [{"user_id": "u1", "city": "x", **without}]
    shape = shape_of(records)
    assert shape is not None
    assert exact_line(shape, records) is None


TRAPS = {
    "a gateway, which the first ones lack": b'{"user_id":"u1","devices":[%s]}' % written({**IOS, "gateway": "apns"}),
    "a device whose members are elsewhere": b'{"user_id":"u1","devices":{"0":%s}}',
    "a member twice": b'{"user_id":"u1","user_id":"u2","devices":[%s]}',
    "another member": b'{"user_id":"u1","devices":[%s],"x":1}',
    "a number in quotes": b'{"user_id":7,"devices":[%s]}',
    "an object for a text": b'{"user_id":{"a":"b"},"devices":[%s]}',
    "a list for a text": b'{"user_id":["a"],"devices":[%s]}',
    "null": b'{"user_id":null,"devices":[%s]}',
    "no text": b'{"user_id":"","devices":[%s]}',
    "a blank": b'{"user_id": "u1","devices":[%s]}',
    "an escape": b'{"user_id":"\\u0041","devices":[%s]}',
    "a device twice in brackets": b'{"user_id":"u1","devices":[[%s]]}',
    "an unknown platform": b'{"user_id":"u1","devices":[{"platform":"pager","token":"0123456789abcdef"}]}',
    "a short token": b'{"user_id":"u1","devices":[{"platform":"ios","token":"null"}]}',
    "a token with a blank": b'{"user_id":"u1","devices":[{"platform":"ios","token":"01234567 89abcdef"}]}',
    "a token that is a placeholder": b'{"user_id":"u1","devices":[{"platform":"ios","token":"<0123456789abcdef>"}]}',
    "a token beyond ASCII": '{"user_id":"u1","devices":[{"platform":"ios","token":"0123456789abcdeü"}]}'.encode(),
    "no device": b'{"user_id":"u1","devices":[]}',
    "a device that is null": b'{"user_id":"u1","devices":[null]}',
    "two devices": b'{"user_id":"u1","devices":[%s,%s]}',
    "too long": b'{"user_id":"' + b"u" * 4_000 + b'","devices":[%s]}',
}
OF_ATTRIBUTES = (
    "[]",
    "1",
    "null",
    '{"a":{"b":1}}',
    '{"a":[1]}',
    '{"a":NaN}',
    '{"a":-Infinity}',
    '{"a":nan}',
    '{"a":-nAN}',
    '{"a":inf}',
    '{"a":-Inf}',
    '{"a":iNFINITY}',
    '{"b":null,"a":nan}',
    '{"a":1e5}',
    '{"a":-0}',
    '{"a":1.10}',
    '{"a":1,}',
)


@pytest.mark.parametrize("trap", TRAPS)
def test_what_another_reading_would_take_is_not_exact(trap: str) -> None:
    """Each is left to the expression, or to the reader."""
    first = [{"user_id": "u1", "devices": [IOS]}]
    line = TRAPS[trap].replace(b"%s", written(IOS))
    assert proven(first, [line]) == set()
    assert proven(first, [written(first[0])])


@pytest.mark.parametrize("value", ['{"a":null}', '{"a":-7,"b":"-x"}', '{"a":"nan:n"}', '{"a":-1.5,"b":null,"c":true}'])
def test_attributes_that_only_begin_like_no_number_are_exact(value: str) -> None:
    """Null, negative numbers, and texts with anything in them."""
    first = [{"user_id": "u1", "devices": [IOS], "attributes": {"a": "x"}}]
    line = written(first[0]).replace(b'{"a":"x"}', value.encode())
    assert proven(first, [line]) == {line.decode()}


@pytest.mark.parametrize("value", OF_ATTRIBUTES)
def test_attributes_are_an_object_of_plain_values(value: str) -> None:
    """With numbers whose text JSON functions keep."""
    first = [{"user_id": "u1", "devices": [IOS], "attributes": {"a": "x"}}]
    line = written(first[0]).replace(b'{"a":"x"}', value.encode())
    assert proven(first, [line]) == set()


@pytest.mark.parametrize("member", ["user_id", "locale", "a"])
def test_no_text_with_an_escape_is_exact(member: str) -> None:
    """Whatever stands between the quotes of a member, and however often: backslashes, quotes, what they escape."""
    first = [{"user_id": "u1", "devices": [IOS], "locale": "de", "attributes": {"a": "x"}}]
    value = {"user_id": "u1", "locale": "de", "a": "x"}[member]
    texts = ["".join(some) for n in range(1, 6) for some in itertools.product('\\"un1,', repeat=n)]
    lines = {one: written(first[0]).replace(f'"{value}"'.encode(), f'"{one}"'.encode()) for one in texts}
    # Lines that are no JSON cost DuckDB a hundred times as much, and none of them can be parsed.
    valid = [line for line in lines.values() if is_json(line)]
    assert len(valid) > 1_000
    assert proven(first, valid) == {line.decode() for one, line in lines.items() if not {"\\", '"'} & set(one)}


def test_a_file_in_which_a_row_may_have_both_is_left_to_the_reader() -> None:
    """Devices and a token of its own, attributes and other columns: which of them wins is not for SQL to say."""
    for both in ({"devices": [IOS], "token": "x" * 20}, {**IOS, "attributes": {"a": 1}, "b": 2}):
        records = [{"user_id": "u1", **both}]
        shape = shape_of(records)
        assert shape is not None
        assert exact_line(shape, records) is None
