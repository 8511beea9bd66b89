"""A count that stores few rows says the same as one that stores all of them."""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audiences.counted_rows import CountedRows
from audiences.counts import counts_of
from audiences.database import Limits, connect
from audiences.faults import AudienceFault
from audiences.joined_users import Preparation
from audiences.line_kinds import learned
from audiences.raw import Format, RawFile
from audiences.reader import Row, judged
from audiences.relations import relation_of, split_lines
from audiences.rows import RowTable
from audiences.shape import shape_of
from audiences.sources import InputFile
from notifier.audience.lines import decode_or_broken
from notifier.model.audience_counts import Counts
from notifier.model.audience_faults import BrokenFile
from notifier.model.spelling import BrokenRecord
from tests.examples import examples
from tests.unit.test_audiences_verdicts import HARD

SPLIT_AT = ',"'
LOOKED_AT = 8
HEAD = 10
"""So many first rows are stored whatever they are like."""
Line = Callable[[int, str, str], str]
"""A line of a form, by a number, and by the user id and the token as JSON has them between their quotes."""


def fcm(n: int) -> str:
    return f"cX9{n:04}:APA91b-x_yz0123456789"


def hexadecimal(n: int) -> str:
    return f"{n:04}" + "ab" * 30


def nested(n: int, user_id: str, token: str, *, separators: tuple[str, str] | None) -> str:
    """A user with one device, of one of four kinds."""
    user = {
        "user_id": "U",
        "devices": [{"platform": "ios" if n % 2 else "android", "token": "T"}],
        "locale": "de" if n % 4 < 2 else "en",
        "timezone": "Europe/Vienna",
        "attributes": {"first_name": 'J\xfcrgen, "J"', "price": 1.50},
    }
    return text_of(user, user_id, token, separators)


def flat(n: int, user_id: str, token: str, *, separators: tuple[str, str] | None) -> str:
    """The same in a row: the token is the last, words are in capitals, a gateway may be named, and no locale."""
    row = {"USER_ID": "U", "city": "Wien", "member": True, "Platform": "iOS" if n % 2 else "Android"}
    row |= {"gateway": ("FCM", "APNS", None, None)[n % 4], "locale": None if n % 4 < 2 else "de", "token": "T"}
    return text_of(row, user_id, token, separators)


def shouted(n: int, user_id: str, token: str) -> str:
    """As Snowflake writes names: the token's is in capitals, too, and no part of what is compared."""
    return text_of(
        {"USER_ID": "U", "PLATFORM": "ios" if n % 2 else "android", "TOKEN": "T"}, user_id, token, (",", ":")
    )


def text_of(record: dict[str, Any], user_id: str, token: str, separators: tuple[str, str] | None) -> str:
    return json.dumps(record, separators=separators).replace('"U"', f'"{user_id}"').replace('"T"', f'"{token}"')


FORMS: tuple[Line, ...] = tuple(partial(one, separators=how) for one in (nested, flat) for how in ((",", ":"), None))


def ordinary(form: Line, n: int) -> bytes:
    return form(n, f"user-{n}", hexadecimal(n) if n % 2 else fcm(n)).encode()


def first_lines(form: Line) -> list[bytes]:
    return [ordinary(form, n) for n in range(HEAD)]


def counted(path: Path, table_of: Callable[[duckdb.DuckDBPyConnection, Path], RowTable]) -> tuple[Counts | str, int]:
    """What a file holds, or what is wrong with it; and of how many users no row is stored."""
    con = connect(Limits(path.parent / "work"))
    try:
        work = path.parent / "work" / "rows"
        made = Preparation(con, (InputFile(path, "x"),), work, table=table_of(con, work))
        made.run()
        [(users,)] = con.execute("SELECT coalesce(sum(users), 0) FROM counted").fetchall()
        return counts_of(con, made, None, LOOKED_AT), int(users)
    except (BrokenFile, AudienceFault) as error:
        return str(error), 0
    finally:
        con.close()


def compare(text: bytes) -> int:
    """Check that both say the same. Returns how many users were counted without a row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.jsonl"
        path.write_bytes(text)
        expected, none = counted(path, RowTable)
        found, users = counted(path, partial(CountedRows, looked_at=LOOKED_AT))
    assert none == 0
    assert found == expected
    return users


def text(lines: Sequence[bytes], end: bytes = b"\n") -> bytes:
    return end.join(lines) + end


@pytest.mark.parametrize("form", FORMS)
def test_ordinary_lines_are_counted_and_not_stored(form: Line) -> None:
    """However JSON is written. All but the first: otherwise a count would take twice as long."""
    assert compare(text([ordinary(form, n) for n in range(40)])) == 30


@pytest.mark.parametrize("ends", [(b"\r\n", b"\r\n"), (b"\n", b"\r\n"), (b"\n", b",\r"), (b"\n", b',"\r')])
def test_lines_with_other_ends(ends: tuple[bytes, bytes]) -> None:
    """All rows are stored: such lines are not split."""
    lines = [ordinary(FORMS[0], n) for n in range(40)]
    assert compare(text(lines[:30], ends[0]) + text(lines[30:], ends[1])) == 0


USERS = (
    "user-1234567 ", "\u200bu", "user-12345678\x7f", "\x7fuser-1", "user 1",
    "", " ", "null", "N/A", "NA", "na", " null ", "\u3000nil", "\xa0", "undefined", "Undefined1",  "x" * 512, "x" * 513,
    "\xe9" * 257, 'a"b', 'a"', "a\\\\", "a\\", "a\\n", "a\\u0041", "a\tb", "a\x01", "a\x7f", 'a","b', 'a, "b', 'a":"b',
    'user-1","x":"', "USER-1", "1e5", "true",
)  # fmt: skip
"""User ids as a line may have them between quotes; some break it."""
TOKENS = (
    "", "x" * 15, "x" * 16, "y" * 1100, "z" * 4100, "<" + "x" * 20, "{" + "x" * 20, "[" + "x" * 20, "x" * 20 + " ",
    "x" * 20 + "\x7f", "x" * 20 + "\xe9", "x" * 20 + "\t", "x" * 20 + "\\", "x" * 20 + "\\\\", "x" * 20 + '"',
    "x" * 20 + '","y', "x" * 20 + ', "y', "x" * 20 + "\\u0041", "ab" * 32, "AB" * 32, "12" * 32, "ab" * 31, "ab" * 101,
    "APA91" + "x" * 30, "a:" + "b" * 30, "a:APA91" + "b" * 30, "null",
)  # fmt: skip
"""Tokens in the same way: among them those that look like the other gateway's."""


def odd_lines(form: Line) -> list[bytes]:
    """Lines that differ from ordinary ones in a text, in what is around it, or altogether."""
    line = ordinary(form, 31)
    texts = [form(n, user_id, fcm(n)) for n, user_id in enumerate(USERS, 100)]
    texts += [form(n, f"user-{n}", token) for at in range(2) for n, token in enumerate(TOKENS, 200 + 101 * at)]
    others = (
        line.replace(b'"locale"', b'"Locale"'), line.replace(b'"city"', b'"user_id"'), b"", b" ",
        line[:-1], line + b",", line + b',"', line + b', "', b"," + line, line + line,
        line[:-1] + b', "token": "x"}', line[:-1] + b',"token":"' + fcm(60).encode() + b'"}', line + b" ",
        line[:-1] + b',"a":"b"}', line[:-1] + b', "a": "b"}', line[:-1] + b"," + b'"' * 2 + b"}",
        b"[" + line + b"]", b'{"attributes":{"token":"' + hexadecimal(31).encode() + b'"},' + line[1:],
        line.replace(b'"devices":[', b'"devices":[{"platform":"ios","token":"' + hexadecimal(61).encode() + b'"},'),
    )  # fmt: skip
    traps = [one.replace(b"%s", b"ab" * 32) for one in HARD if not {b"\r", b"\n", b"\xff"} & {bytes([c]) for c in one}]
    return [*map(str.encode, texts), *others, *traps]


def known(first: Sequence[bytes], others: Sequence[bytes]) -> list[tuple[Any, ...]] | None:
    """The other lines of a kind known from the first: their numbers and members. None if there are no kinds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.jsonl"
        path.write_bytes(text(first))
        con = connect(Limits(Path(folder) / "work"))
        try:
            RowTable(con, Path(folder) / "work" / "rows").add(0, InputFile(path, "x"))
            path.write_bytes(text([*first, *others]))
            shape = shape_of([json.loads(line) for line in first])
            assert shape is not None
            kinds = learned(con, path, 0, len(first), shape)
            if kinds is None:
                return None
            columns = "row, platform, coalesce(gateway, ''), coalesce(locale, ''), timezone, attributes"
            query = f"SELECT {columns} FROM ({kinds.rows(len(first))}) JOIN line_kinds USING (kind)"  # noqa: S608
            return [(row - len(first), *members) for row, *members in con.execute(query).fetchall()]
        finally:
            con.close()


def check_kinds(form: Line, lines: Sequence[bytes]) -> int:
    """Check that each line of a known kind is what the worker's reader says. Returns how many there are."""
    lines = [line for line in lines if line and is_text(line)]
    found = known(first_lines(form), lines)
    assert found is not None
    for row, *members, attributes in found:
        [one] = judged(row, decode_or_broken(lines[row]))
        assert isinstance(one, Row)
        [device] = one.devices
        assert members == [device["platform"], device.get("gateway", ""), one.locale or "", one.timezone]
        assert json.loads(attributes) == json.loads(one.attributes or "null")
        # As the line has both: what the reader would change is not compared with other rows as it is.
        texts = [json.dumps(value, ensure_ascii=False).encode() for value in (one.user_id, device["token"])]
        assert all(value in lines[row] for value in texts)
    return len(found)


def is_text(line: bytes) -> bool:
    """Whether it is UTF-8: a file is read by lines of it only."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("form", FORMS)
def test_a_known_kind_is_what_the_reader_says(form: Line) -> None:
    """A line of a known kind is clean, and has the kind's members, whatever its user id and token are."""
    odd = odd_lines(form)
    assert check_kinds(form, odd) >= len(odd) // 8
    assert check_kinds(form, [ordinary(form, n) for n in range(20, 40)]) == 20


@pytest.mark.parametrize("form", [FORMS[0], FORMS[3]])
def test_user_ids_and_tokens_that_have_to_be_looked_at(form: Line) -> None:
    """Those that look wrong are stored: each is judged, and shown, as in a count that stores all."""
    odd = [one for one in odd_lines(form) if not isinstance(decode_or_broken(one), BrokenRecord)]
    lines = first_lines(form) + odd + [ordinary(form, n) for n in range(500, 520)]
    assert 20 <= compare(text(lines)) <= 20 + len(odd) // 2


@pytest.mark.parametrize("form", [FORMS[0], FORMS[3]])
@pytest.mark.parametrize("change", ["user", "token", "case"])
def test_rows_of_one_user_or_with_one_token(form: Line, change: str) -> None:
    """They are joined, or one of them loses the token: among the first, among those counted, and between the two."""
    pairs = ((3, 50), (21, 51), (52, 53), (22, 54), (55, 55), (9, 57))
    lines = [ordinary(form, n) for n in range(30)]
    for first, again in pairs:
        if change == "user":
            lines.append(form(again, f"user-{first}", fcm(again)).encode())
        else:
            token = fcm(first) if first % 2 == 0 else hexadecimal(first)
            lines.append(form(first, f"user-{again}", token.upper() if change == "case" else token).encode())
    assert compare(text(lines)) >= 14


def test_one_token_of_both_gateways() -> None:
    """It is one token, whatever letters its member's name has."""
    for form in (FORMS[0], FORMS[3], shouted):
        lines = [ordinary(form, n) for n in range(40)]
        for n, token in enumerate(("0123" + "cd" * 30, "simulator-token-aaaa")):
            lines += [form(at, f"user-{50 + 2 * n + at}", token).encode() for at in (1, 0)]
        assert compare(text(lines)) >= 26


def test_a_line_of_many_more_members_ends_the_short_way() -> None:
    """It cannot be read in pieces. The file is read as for a preparation."""
    many = json.dumps({"user_id": "u", "platform": "ios", "token": "ab" * 32, **{f"a{n}": "b" for n in range(80)}})
    lines = [*first_lines(FORMS[0]), *(ordinary(FORMS[0], n) for n in range(20, 40))]
    assert compare(text([*lines, many.replace(", ", ",").encode()])) == 0
    assert compare(text(lines)) == 20


@pytest.mark.parametrize(
    "member", ['"n":"{}"', '"token":"{}"', '"user_id":"user-{}"', '"a":{{"token":"ab"}},"n":"{}"', '"updated_at":{}']
)
def test_members_that_differ_from_line_to_line(member: str) -> None:
    """There are no kinds. No attribute is taken for the user id or the token by its name."""
    for pattern in ("{{{0},{1}}}", "{{{1},{0}}}"):
        user = FORMS[0](0, "one", fcm(0))[1:-1]
        same = [pattern.format(user, f'"attributes":{{{member.format(n)}}}').encode() for n in range(12)]
        assert not known(same, same)
        others = [pattern.format(ordinary(FORMS[0], n).decode()[1:-1], member.format(n)).encode() for n in range(12)]
        assert not known(others, others)


def test_names_of_the_two_among_attributes() -> None:
    """The user id is a number, and an attribute of the same name is a text: the attribute is not the user id."""
    user = '{{"user_id":5,"token":"{}","platform":"android","attributes":{{"user_id":"{}"}}}}'
    first, others = ([user.format(fcm(n), what).encode() for n in range(12)] for what in (5, 6))
    assert not known(first, others)


def test_first_rows_without_enough_samples() -> None:
    """Samples are of the first users of all. Where later rows take the first ones' tokens, all rows are stored."""
    form = FORMS[0]
    lines = [ordinary(form, n) for n in range(40)]
    taken = [form(n, f"other-{n}", hexadecimal(n) if n % 2 else fcm(n)).encode() for n in range(4)]
    broken = form(50, "", fcm(50)).encode()
    assert compare(text([*lines, broken, *taken])) == 0
    assert compare(text([*lines, broken, *taken[:2]])) == 30


number = st.integers(0, 25)
user_ids = (
    st.sampled_from(USERS) | number.map("user-{}".format) | st.text(max_size=4).map(lambda one: json.dumps(one)[1:-1])
)
tokens = (
    st.sampled_from(TOKENS) | number.map(fcm) | number.map(hexadecimal) | number.map(lambda n: fcm(n).upper())
    | st.text(max_size=4).map(lambda one: "x" * 20 + one)
)  # fmt: skip


@st.composite
def some_lines(draw: st.DrawFn) -> tuple[Line, list[bytes]]:
    """A form, and lines of it: some of them damaged, some with a trap."""
    form = draw(st.sampled_from(FORMS))
    line = st.builds(form, number, user_ids, tokens).map(lambda one: one.encode(errors="replace"))
    byte = st.sampled_from((b"", b" ", b",", b'"', b',"', b', "', b"\\", b"}", b"0"))
    damaged = st.builds(lambda one, at, by: one[:at] + by + one[at + 1 :], line, st.integers(0, 250), byte)
    return form, draw(st.lists(line | damaged | st.sampled_from(odd_lines(form)), max_size=12))


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_lines())
def test_kinds_of_any_lines(some: tuple[Line, list[bytes]]) -> None:
    """The same of lines that nobody thought of."""
    form, lines = some
    check_kinds(form, [piece for line in lines for piece in line.replace(b"\r", b"").split(b"\n")])


@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_lines(), st.sampled_from((b"", b"\r", b"\xff")))
def test_counts_of_any_lines_after_ordinary_ones(some: tuple[Line, list[bytes]], end: bytes) -> None:
    """Repeated, broken, damaged, with traps: the same counts, samples, reasons and places, or the same fault."""
    form, lines = some
    compare(text([*first_lines(form), *lines, *(ordinary(form, n) for n in range(100, 125))]) + end)


def both_ways(path: Path) -> tuple[list[str] | None, list[str] | None]:
    """The file's lines, and what its pieces give when they are put together; None for what cannot be read."""
    con = connect(Limits(path.parent / "work"))
    names = [f"c{n}" for n in range(40)]
    pieces = split_lines(path, names, SPLIT_AT)
    lines = relation_of(con, InputFile(path, "x"), RawFile(path, Format.LINES))
    found: list[list[str] | None] = []
    for sql, relation in (("line", lines), (f"concat_ws('{SPLIT_AT}', {', '.join(names)})", pieces)):
        try:
            rows = con.execute(f"SELECT {sql} FROM {relation} ORDER BY row").fetchall()  # noqa: S608
            found.append([line for (line,) in rows])
        except duckdb.InvalidInputException:
            found.append(None)
    con.close()
    return found[0], found[1]


@settings(max_examples=examples(20), deadline=None)
@given(
    st.lists(
        st.sampled_from((",", '"', ',"', "a", " ", "\n", "\r\n", "\r", "\x02", "\xe9", "{", "\\", ":")), max_size=24
    )
)
@example([",", '"', "\n", ',"', "\n", "\n", "a", ",", ',"', ',"'])
def test_pieces_are_the_lines(some: list[str]) -> None:
    """Put together they are the lines as the file has them, and each has the same number: nothing else is compared."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(b"a\n" + "".join(some).encode())
        lines, pieces = both_ways(path)
        # Where only the pieces can be read, a line before another end is like none of a known kind.
        is_refused = lines is None and any(line.endswith((",", ',"')) for line in pieces or ())
        assert pieces is None or pieces == lines or is_refused
