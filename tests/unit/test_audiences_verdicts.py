"""SQL and the worker's reader say the same of every line: SQL passes only what the reader would, and as it would."""

import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audiences.database import Limits, connect
from audiences.faults import AudienceFault
from audiences.reader import DUPLICATE, Invalid, Row, judged
from audiences.rows import DEVICES, RowTable
from audiences.sources import InputFile
from notifier.audience.local import read_local
from notifier.audience.part_parser import PartParser
from notifier.model.audience_faults import BrokenFile
from tests.examples import examples

IOS = {"platform": "ios", "token": "ab" * 32}
ANDROID = {"platform": "android", "token": "cX9:APA91b-x_yz0123456789"}
NESTED = {
    "user_id": "u",
    "devices": [IOS, ANDROID],
    "locale": "de",
    "timezone": "Europe/Vienna",
    "attributes": {"first_name": "Jürgen", "price": 1.5, "n": 12345678901234567890},
}
FLAT = {
    "user_id": 7,
    **ANDROID,
    "gateway": "fcm",
    "environment": "production",
    "updated_at": "2026-11-28T10:00:00Z",
    "First name": "Ann",
    "price": 1.10,
    "member": True,
}
decode = msgspec.json.Decoder(float_hook=Decimal).decode


def by_sql(path: Path, work: Path) -> tuple[dict[int, Any], list[tuple[int, str]], int]:
    """Rows and reasons as the table has them, and how many rows SQL left to the reader."""
    con = connect(Limits(work))
    try:
        table = RowTable(con, work / "rows")
        table.add(0, InputFile(path, "x"))
        columns = f"place, user_id, {DEVICES}, locale, timezone, updated_at IS NOT NULL, attributes"
        rows = {row[0]: plain(*row[1:]) for row in con.execute(f"SELECT {columns} FROM rows").fetchall()}  # noqa: S608
        invalid = con.execute("SELECT place, reason FROM invalid ORDER BY place, device").fetchall()
        return rows, [one for one in invalid if one[1] != DUPLICATE], table.read_by_reader
    finally:
        con.close()


def by_reader(path: Path) -> tuple[dict[int, Any], list[tuple[int, str]]]:
    """The same by the worker's parsers and reader alone."""
    rows, invalid, number = dict[int, Any](), list[tuple[int, str]](), 0
    for records in read_local(path, PartParser("x")):
        for record in records:
            for one in judged(number, record):
                if isinstance(one, Row):
                    time = one.updated_at is not None
                    rows[number] = plain(one.user_id, one.devices, one.locale, one.timezone, time, one.attributes)
                elif one.reason != DUPLICATE:
                    invalid.append((number, one.reason))
            number += 1
    return rows, invalid


def plain(user_id: str, devices: Any, locale: Any, timezone: Any, timed: bool, attributes: str | None) -> Any:
    """A row to compare: each token once, by its first device; no attribute that is null; numbers by their digits."""
    kept: dict[str, Any] = {}
    for one in devices:
        carrier = one.get("gateway") or ("apns" if one["platform"] == "ios" else "fcm")
        token = one["token"].lower() if carrier == "apns" else one["token"]
        environment = one.get("environment") or "production"
        kept.setdefault(token, (one["platform"], one["token"], one.get("gateway"), environment))
    values = decode(attributes) if attributes else {}
    # As they are rendered: 1.5E+16 is the same as its integer.
    shown = {
        name: (str(value),) if isinstance(value, int | Decimal) and not isinstance(value, bool) else repr(value)
        for name, value in values.items() if value is not None
    }  # fmt: skip
    return user_id, tuple(kept.values()), locale, timezone, shown


def compare(text: bytes) -> int:
    """Check that both say the same of a file. Returns how many rows SQL left to the reader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.jsonl"
        path.write_bytes(text)
        try:
            rows, invalid = by_reader(path)
        except BrokenFile as error:
            # The worker reads no tables; preparation does, and needs its columns.
            is_table = error.reason.startswith("a table")
            with pytest.raises(AudienceFault if is_table else BrokenFile) as broken:
                by_sql(path, Path(folder) / "work")
            assert is_table or error.reason in str(broken.value)  # noqa: PT017
            return 0
        found, reasons, left = by_sql(path, Path(folder) / "work")
    assert found == rows
    assert sorted(reasons) == sorted(invalid)
    return left


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("record", [NESTED, FLAT, {**IOS, "USER_ID": "U", "Platform": "iOS"}])
def test_ordinary_lines_are_proven_by_sql(record: dict[str, Any], compact: bool, ascii_only: bool) -> None:
    """However JSON is written: with spaces or without, with escapes or without. Otherwise a file would take long."""
    record = {name: value for name, value in record.items() if name != "platform" or "Platform" not in record}
    separators = (",", ":") if compact else None
    text = json.dumps(record, separators=separators, ensure_ascii=ascii_only)
    assert compare((text + "\n").encode() * 3) == 0


def test_numbers_keep_their_text() -> None:
    """1.10 stays 1.10, in an object and in a column of its own, whoever reads the line."""
    numbers = '"a": 1.10, "b": 12345678901234567890, "c": 1e5, "d": -0.50, "e": 123456789012345678901234567890'
    listed = f'{{"user_id": "u", "devices": [{json.dumps(IOS)}], "attributes": {{{numbers}}}}}'
    flat = '{{"user_id": "u", "platform": "ios", "token": "{}", {}}}'.format(IOS["token"], numbers)
    for line in (listed, flat):
        assert compare(line.encode() + b"\n") == 0
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x"
            path.write_text(line + "\n")
            con = connect(Limits(Path(folder) / "work"))
            RowTable(con, Path(folder) / "work" / "rows").add(0, InputFile(path, "x"))
            [(attributes,)] = con.execute("SELECT attributes FROM rows").fetchall()
            con.close()
        assert attributes.replace(" ", "") == "{" + numbers.replace(" ", "") + "}"


LACKING: tuple[dict[str, Any], ...] = (
    {"user_id": "u", "devices": [{"token": "ab" * 32}]},
    {"user_id": "u", "devices": [{"token": "ab" * 32}, {"token": "cd" * 32}]},
    {"user_id": "u", "devices": [{"token": "ab" * 32, "gateway": "fcm"}], "locale": "de"},
    {"user_id": "u", "token": "ab" * 32},
    {"user_id": "u", "platform": "ios"},
)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("record", LACKING)
def test_a_file_of_devices_that_all_lack_something(record: dict[str, Any], compact: bool) -> None:
    """The reader gives each its reason: no row of them passes because the first ones are all the same."""
    separators = (",", ":") if compact else None
    text = json.dumps(record, separators=separators).encode() + b"\n"
    assert compare(text * 3) == 3
    whole = json.dumps({"user_id": "v", "devices": [IOS]}, separators=separators).encode() + b"\n"
    assert compare(text * 1_000 + whole) >= 1_000


HARD: tuple[bytes, ...] = (
    b'{"user_id": "a", "user_id": "b", "platform": "ios", "token": "%s"}',
    b'{"user_id": "a", "platform": "ios", "platform": "web", "token": "%s"}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "token": "c"}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "TOKEN": "c"}',
    b'{"user_id": "a", "devices": [{"platform": "ios", "platform": "web", "token": "%s"}]}',
    b'{"user_id": "a", "devices": [{"platform": "ios", "token": "%s"}], "token": "x"}',
    b'{"user_id": "a", "devices": [{"platform": "android", "token": "%s", "gateway": "apns"}]}',
    b'{"user_id": "a", "devices": [{"platform": "ios", "token": "%s"}, {"platform": "ios", "token": "%s"}]}',
    b'{"user_id": -0, "platform": "ios", "token": "%s"}',
    b'{"user_id": 1000.0, "platform": "ios", "token": "%s"}',
    b'{"user_id": "\\u0000", "platform": "ios", "token": "%s"}',
    b'{"user_id": "\\ud83d\\ude00", "platform": "ios", "token": "%s"}',
    b'{"user_id": "\\ud83d", "platform": "ios", "token": "%s"}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "x": NaN}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "x": 1,}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "x": 01}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "x": ' + b"9" * 5000 + b"}",
    b'{"user_id": "a", "platform": "ios", "token": "%s", "x": 1e400}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "attributes": {"x": 1}, "y": 2}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "attributes": {"x": {"y": 1.10}}}',
    (
        b'{"user_id": "a", "platform": "ios", "token": "%s", '
        b'"attributes": {"x": "\\"attributes\\": {\\"z\\": 1.5}", "y": 2.50}}'
    ),
    b'{"user_id": "a", "platform": "ios", "token": "%s", "city": "x", "City": "y"}',
    b'{"user_id": "a", "platform": "ios", "token": "%s", "x": [1], "y": {"z": 2}}',
    b'{"user_id": "a", "platform": "ios", "token": "%s"} {"user_id": "b", "platform": "ios", "token": "%s"}',
    b'{"user_id": "a",\n "platform": "ios", "token": "%s"}',
    b'{"user_id": "a",\r "platform": "ios", "token": "%s"}',
    b'\xef\xbb\xbf{"user_id": "a", "platform": "ios", "token": "%s"},',
    b'{"user_id": "\xff", "platform": "ios", "token": "%s"}',
    b'{"user_id": "a\x01", "platform": "ios", "token": "%s"}',
    b'{"user_id": "a", "platform": "ios", "token": "<%s>"}',
    b'{"user_id": "a", "platform": "ios", "token": "null"}',
    b"[1, 2]",
    b"7",
    b"",
    b" ",
    b"not JSON",
    b'{"user_id": "a", "platform": "ios", "tok',
    b'{"user_id": "%s", "platform": "ios", "token": "%s"}' % (b"u" * 513, b"%s"),
    b'{"user_id": "a", "platform": "ios", "token": "%s"}' % (b"f" * 4097),
)
"""Lines with a trap each: `%s` stands for a token."""


@pytest.mark.parametrize(
    ("number", "at"),
    [
        pytest.param(number, at, marks=() if number % 2 == at else pytest.mark.slow)
        for number in range(len(HARD))
        for at in (0, 1)
    ],
)
def test_lines_with_a_trap(number: int, at: int) -> None:
    """What JSON libraries read differently, alone among ordinary lines, at any place of the file."""
    line = HARD[number].replace(b"%s", b"ab" * 32)
    ordinary = [lines(NESTED).strip(), lines(FLAT).strip()]
    compare(b"\n".join([*ordinary[:at], line, *ordinary[at:]]) + b"\n")


names = ("user_id", "devices", "platform", "token", "gateway", "environment", "locale", "timezone", "attributes")
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(("ios", "iOS", "web", "apns", "fcm", "sandbox", "", "null", "ab" * 32, "x" * 20, "1.10"))
)  # fmt: skip
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)
devices = st.fixed_dictionaries(
    {
        "platform": st.sampled_from(("ios", "android", "web", "Web")),
        "token": st.sampled_from(("ab" * 32, "AB" * 32, "c" * 20, "d")),
    },
    optional={"gateway": st.sampled_from((None, "fcm", "apns")), "environment": st.sampled_from((None, "sandbox"))},
)  # fmt: skip
ordinary = st.fixed_dictionaries(
    {"user_id": st.text(min_size=1, max_size=4) | st.integers(0, 9), "devices": st.lists(devices, max_size=3)},
    optional={
        "locale": st.none() | st.text(max_size=3),
        "updated_at": scalars,
        "attributes": st.none() | st.dictionaries(st.text(max_size=3), scalars, max_size=3),
        "city": scalars,
    },
)
flat = st.builds(
    lambda user, own: {**user, **own}, ordinary.map(lambda user: {"user_id": user["user_id"], "city": "x"}), devices
)
odd = st.dictionaries(st.sampled_from(names + tuple(map(str.upper, names))) | st.text(max_size=3), values, max_size=6)
written = st.builds(
    lambda record, compact, ascii_only: json.dumps(
        record, separators=(",", ":") if compact else None, ensure_ascii=ascii_only
    ).encode(errors="surrogatepass"),
    ordinary | flat | odd,
    st.booleans(),
    st.booleans(),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A line in which one byte was replaced, or a few were left out."""
    line = draw(written)
    at = draw(st.integers(0, len(line)))
    return (
        line[:at]
        + draw(st.sampled_from((b"", b" ", b",", b'"', b"\\", b"}", b"\r", b"\xff", b"0", b"\n")))
        + line[at + 1 :]
    )


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(written | damaged(), min_size=1, max_size=6))
@example([b'{"user_id":"a","platform":"ios","token":"' + b"ab" * 32 + b'"}'])
def test_the_same_verdict_for_any_lines(some: list[bytes]) -> None:
    """Whatever the lines are made of: the same rows, and the same reasons at the same places."""
    compare(b"\n".join(some) + b"\n")


def test_results_are_of_one_kind() -> None:
    """A record gives at most one row."""
    found = list(judged(3, {**NESTED, "devices": [IOS, {"platform": "ios"}, IOS]}))
    assert [one for one in found if isinstance(one, Invalid)] == [
        Invalid(3, "token: missing", 1),
        Invalid(3, DUPLICATE, 2),
    ]
    assert [one.user_id for one in found if isinstance(one, Row)] == ["u"]
