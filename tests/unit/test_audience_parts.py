"""Audience parts: which form they have, lines and their bytes, skipping."""

import codecs
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.audience import BrokenFile
from notifier.audience.batch_file_parser import BatchFileParser
from notifier.audience.lines import LineParser
from notifier.audience.part_parser import PartParser
from notifier.model.spelling import BrokenRecord
from tests.examples import examples


def parse(text: bytes, piece: int = 65536, parser: Any = None) -> list[Any]:
    """The records of a part cut into pieces."""
    parser = parser or PartParser("s3://b/part")
    records: list[Any] = []
    for start in range(0, len(text), piece):
        records += parser.feed(text[start : start + piece])
    records += parser.feed(b"", final=True)
    return records


A = {"user_id": "a"}
B = {"user_id": "b", "users": [1]}
FORMS = {
    b'[{"user_id": "a"}, {"user_id": "b", "users": [1]}]': [A, B],
    b" \n [] ": [],
    b'{"users": [{"user_id": "a"}]}': [A],
    b'{"users":[{"user_id": "a"}]}\n': [A],
    b'{\n "users": [\n{"user_id": "a"}\n]\n}\n': [A],
    b'{ "users":\n[]}': [],
    b'{"user_id": "a"}': [A],
    b'{"user_id": "a"}\n': [A],
    b'{"user_id": "b", "users": [1]}': [B],
    b'{"user_id": "a"}\n{"user_id": "b", "users": [1]}': [A, B],
    b'\n\r\n{"user_id": "a"}\r\n\r\n \t\n{"user_id": "b", "users": [1]}\r\n': [A, B],
    b'{"token": "t", "users": []}\n': [{"token": "t", "users": []}],
    b"{}": [{}],
    b"": [],
    b" \r\n ": [],
}


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_the_form_is_told_by_the_content(text: bytes, mark: bytes) -> None:
    """A list, an object with `users` or lines, also of one line, however it arrives and after a byte order mark."""
    for piece in (65536, 1, 2, 5):
        assert parse(mark + text, piece) == FORMS[text]


@pytest.mark.parametrize("text", [b'"a"', b"1", b"oops"])
def test_another_format_is_refused_at_once(text: bytes) -> None:
    """What cannot be named does not become a million broken records either."""
    with pytest.raises(BrokenFile, match=r"begins with neither \[ nor \{; byte 0"):
        parse(text)


def test_a_part_has_users_and_nothing_else() -> None:
    """A batch file is no part, and what follows the users is named."""
    with pytest.raises(BrokenFile, match=r"known: users"):
        parse(b'{"users": [], "campaign": {}}')
    with pytest.raises(BrokenFile, match="a second `users`"):
        parse(b'{"users": [],\n"users": []}')
    for text in (b"[{}] x", b"[{}]]", b'{"users": [{}]} x', b'{"users": [{}]}\n[{}]]'):
        for piece in (65536, 1):
            with pytest.raises(
                BrokenFile, match=r"follows the users|follows the end of the list|none of the known keys"
            ):
                parse(text, piece)
    with pytest.raises(BrokenFile, match="cut off"):
        parse(b"[{}, ")


def test_a_huge_first_line_is_an_object_if_it_says_users() -> None:
    """A list in one line of over 1 MiB is read as such; a line that long without `users` is a broken record."""
    records = [{"user_id": str(n), "x": "y" * 100} for n in range(20_000)]
    assert parse(json.dumps({"users": records}).encode()) == records
    broken = parse(b'{"user_id": "' + b"a" * 2_000_000 + b'"}\n{"user_id": "a"}')
    assert [str(record) for record in broken[:1]] == ["a line of over 1 MiB"]
    assert broken[1:] == [A]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ['[{"user_id": "a"}]', '{"user_id": "a"}\n', '{"users": []}'])
def test_another_encoding_is_refused_at_once(text: str, encoding: str) -> None:
    """It is named, with the mend, and does not become a million broken records."""
    with pytest.raises(BrokenFile, match="not UTF-8 but UTF-16: save it as UTF-8; byte 0"):
        parse(text.encode(encoding))


NULL = "is not JSON: write null (pandas: DataFrame.to_json does; json.dumps(…, allow_nan=False) finds the place)"
LINES = [
    (b'{"a": 1.10}', None),
    (b"{oops}", "not JSON"),
    (b'{"a": "\xff"}', "not UTF-8: save it as UTF-8"),
    ('{"a": "Zoë"}'.encode("latin-1"), "not UTF-8: save it as UTF-8"),
    (b'{"a": "\x00"}', "zero bytes are not JSON: the file was not written whole: write it again"),
    (b'{"a": 1} oops', "not JSON"),
    (b'{"a": NaN}', f"NaN {NULL}"),
    (b'{"a": 1e99999999999999999999}', "not JSON"),
    (b'{"a": ' + b"1" * 100_000 + b"}", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b'{"a": "\\ud800"}', "has a lone surrogate: not encodable as UTF-8"),
    (b'{"a": "' + b"x" * 3_000_000 + b'"}', "a line of over 1 MiB"),
    (b'{"a": "\\ud83d\\ude00"}', None),
]


def test_a_broken_line_is_a_broken_record_in_its_place() -> None:
    """The others are read; the reason has no value of the line."""
    text = b"\n".join(line for line, _ in LINES)
    for piece in (65536, 1_000_003, len(text)):
        records = parse(text, piece, LineParser())
        reasons = [str(record) if isinstance(record, BrokenRecord) else None for record in records]
        assert reasons == [reason for _, reason in LINES]
        assert str(records[0]["a"]) == "1.10"


def test_a_long_line_is_not_held() -> None:
    """Of a line that never ends no more than 1 MiB and a piece is kept."""
    parser = LineParser()
    for _ in range(100):
        parser.feed(b"x" * 65536)
        assert len(parser._tail) <= 1024 * 1024
    assert [str(record) for record in parser.feed(b"\n")] == ["a line of over 1 MiB"]
    assert parser.offset == 100 * 65536 + 1


@settings(max_examples=examples(40))
@given(
    st.lists(st.sampled_from([b'{"a": 1}', b"", b" \r", b"oops", b'{"b": "\xc3\xa9"}\r', b'"c"'])),
    st.integers(1, 30),
    st.booleans(),
)
def test_every_line_knows_its_byte(lines: list[bytes], piece: int, ended: bool) -> None:
    """Reading from a record's byte on gives that record and the rest, and `offset` is the next one's."""
    text = b"\n".join(lines) + b"\n" * ended
    parser = LineParser()
    records: list[object] = []
    starts: list[Any] = []
    for start in range(0, len(text), piece):
        records += parser.feed(text[start : start + piece])
        starts += parser.starts
        rest = parse(text[parser.offset :], 65536, LineParser(parser.offset))
        assert len(records) + len(rest) == len(parse(text, 65536, LineParser()))
    records += parser.feed(b"", final=True)
    starts += parser.starts
    assert len(starts) == len(records) == parser.count
    for n, start in enumerate(starts):
        again = parse(text[start:], 65536, LineParser(start))
        assert list(map(repr, again)) == list(map(repr, records[n:]))


USERS = [
    {
        "user_id": f"u{n}",
        "devices": [{"t": 'a}, {"'}, {"t": "]}"}][: n % 3],
        "attributes": {"a": {"b": [{}, {}]}},
        "é": "\\",
    }
    for n in range(400)
]


@pytest.mark.parametrize("skip", [1, 2, 199, 200, 399, 400])
@pytest.mark.parametrize("piece", [700, 4096, 65536])
@pytest.mark.parametrize("form", ["list", "object", "batch file", "lines"])
def test_skipping_counts_exactly(form: str, piece: int, skip: int) -> None:
    """However many are skipped: as many records come, in their places, and the last ones are decoded."""
    text = json.dumps(USERS, indent=1 if piece == 700 else None).encode()
    parser: Any = PartParser("s3://b/part", skip=skip)
    if form == "object":
        text = b'{"users": ' + text + b"}"
    elif form == "batch file":
        text = b'{"users": ' + text + b', "campaign": {"a": [{"users": [{}]}, {}]}}'
        parser = BatchFileParser("s3://b/part", skip=skip)
    elif form == "lines":
        text = b"\n\n".join(json.dumps(user).encode() for user in USERS)
    records = parse(text, piece, parser)
    assert len(records) == parser.count == 400
    assert records[skip:] == USERS[skip:]
    assert all(record is None or record == USERS[n] for n, record in enumerate(records))
    if skip > 300:
        assert records.count(None) > 100


def test_skipping_over_what_it_cannot_skip() -> None:
    """Records that are no objects, or one of 900 KB, are decoded instead."""
    for records in (
        list(range(1000)),
        [[n] for n in range(1000)],
        [{"a": "x" * 900_000}, {}, {}],
        [{}, {"a": "x" * 900_000}, {}],
    ):
        text = json.dumps(records).encode()
        skip = len(records) - 1
        assert parse(text, 65536, PartParser("s3://b/part", skip=skip))[skip:] == records[skip:]


def test_a_file_that_breaks_while_it_is_skipped_is_broken() -> None:
    """Skipping forgives nothing that follows."""
    text = json.dumps(USERS).encode()
    for broken in (text[:-1], text[:30_000], text + b"]", text[:30_000] + b"]" + text[30_000:]):
        with pytest.raises(BrokenFile):
            parse(broken, 4096, PartParser("s3://b/part", skip=390))
