"""JSON values one after the other: anything between them, cut anywhere, resumed from anywhere."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.audience.lines import LineParser
from notifier.audience.part_parser import PartParser
from notifier.model.audience_faults import BrokenFile
from notifier.model.spelling import BrokenRecord
from tests.examples import examples

USERS: list[Any] = [
    {"user_id": "a", "devices": [{"t": 'a}, {"'}, {"t": "]}{"}], "attributes": {"a": {"b": [{}, {}]}}, "é": "\\"},
    {"user_id": "b", "x": "\ufeff,\x1e"},
    {"user_id": "c", "x": [1, -2.5, True, None, '\\"']},
]
MARK = "\ufeff"


def read(text: bytes, cuts: list[int] | int = 65536, **settings: Any) -> list[Any]:
    """The records, broken ones as their reasons."""
    return [str(record) if isinstance(record, BrokenRecord) else record for record in parse(text, cuts, **settings)[0]]


def all_cuts(text: bytes) -> list[list[int] | int]:
    """In one piece, in tiny ones, and in two, at every byte."""
    return [65536, 1, 3, *([n] for n in range(len(text)))]


def parse(text: bytes, cuts: list[int] | int, **settings: Any) -> tuple[list[Any], list[int | None]]:
    """The records, and where each begins as far as that is known."""
    if isinstance(cuts, int):
        cuts = list(range(cuts, len(text), cuts))
    parser = PartParser("s3://b/part", **settings)
    records: list[Any] = []
    starts: list[int | None] = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(text)]):
        _feed(parser, text[start:end], records, starts)
    _feed(parser, b"", records, starts, final=True)
    assert parser.count == len(records)
    return records, starts


def _feed(
    parser: PartParser, text: bytes, records: list[Any], starts: list[int | None], *, final: bool = False
) -> None:
    found = parser.feed(text, final=final)
    records += found
    starts += [*parser.starts, *[None] * (len(found) - len(parser.starts))]


BETWEEN = ["", "\n", "\r\n", ",", ",\n", " , \n", "\n\n\t", MARK, "\n" + MARK, MARK + "\n", "\x1e", "\n,", ",,"]


@pytest.mark.parametrize("indent", [None, 0, 1, "\t"])
@pytest.mark.parametrize("between", BETWEEN)
def test_whatever_stands_between_them(between: str, indent: Any) -> None:
    """Nothing, white space, commas, byte-order marks; in one line or in many; cut anywhere."""
    text = between.join(json.dumps(user, indent=indent, ensure_ascii=False) for user in USERS)
    for whole in (text, between + text + between):
        stored = whole.encode()
        for cuts in all_cuts(stored):
            assert read(stored, cuts) == USERS


@pytest.mark.parametrize("between", ["", "\n", ",", MARK, " \n, "])
def test_lists_and_objects_with_users_one_behind_the_other(between: str) -> None:
    """Two exports put together are one, whatever their form; records may follow, too."""
    a, b, c = (json.dumps(user, ensure_ascii=False) for user in USERS)
    texts = {
        between.join((f"[{a}, {b}]", f"[{c}]")): USERS,
        between.join((f'{{"users": [{a}]}}', f'{{"users": [{b}, {c}]}}\n')): USERS,
        between.join((f"[{a}]", f'{{"users": [{b}]}}', f"[{c}]")): USERS,
        between.join((f"[{a}]", "[]", b, c)): USERS,
        between.join(("[]", '{"users": []}', f"[{a}]", "[[1], [2, [{}]]]", "[]")): [USERS[0], [1], [2, [{}]]],
    }
    for text, users in texts.items():
        for cuts in all_cuts(text.encode()):
            assert read(text.encode(), cuts) == users


def test_many_small_lists_take_no_longer_than_their_text() -> None:
    """A list a user: 20,000 of them, in any pieces."""
    text = b"".join(b'[{"user_id": "u%d"}]' % n for n in range(20_000))
    assert len(read(text)) == 20_000


def test_large_lists_one_behind_the_other() -> None:
    """Also where the first is read in bulk."""
    users = [{"user_id": f"u{n}", "x": "y" * 50} for n in range(9_000)]
    text = json.dumps(users).encode()
    assert read(text + text) == users + users


def test_skipping_counts_what_reading_counts() -> None:
    """In any format the first records are skipped, and the others come in their order."""
    users = [{**USERS[n % 3], "n": n} for n in range(60)]
    a = [json.dumps(user) for user in users]
    texts = ["".join(a), ",\n".join(a), "\n".join(json.dumps(user, indent=1) for user in users), "\n".join(a)]
    texts += ["\n".join(a[:30]) + "".join(a[30:]), f"[{','.join(a[:20])}]" + "".join(a[20:])]
    texts += ["\n".join(a[:9]) + "\n{oops}\n" + "\n".join(a[9:]), "\n".join(a[:9]) + '\n{"a": [\n' + "\n".join(a[9:])]
    for text in texts:
        whole = read(text.encode(), 200)
        for skip, piece in itertools.product((1, 10, 31, 59, len(whole)), (100, 1000, 65536)):
            records = read(text.encode(), piece, skip=skip)
            assert len(records) == len(whole)
            assert records[skip:] == whole[skip:]


BROKEN: dict[bytes, list[Any]] = {
    # A line that was cut off does not swallow those behind it, whatever it was cut in.
    b'{"a": 1}\n{"a": [\n{"a": 2}\n{"a": 3}': [1, "not JSON", 2, 3],
    b'{"a": 1}\n{"a": 5, \n{"a": 2}\n{"a": 3}': [1, "not JSON", 2, 3],
    b'{"a": 1}\n{"a": "x\n{"a": 2}\n{"a": 3}': [1, "not JSON", 2, 3],
    b'{"a": 1}\n{"a": [{"b": 1},\n{"a": 2}\n{"a": 3}': [1, "not JSON", 2, 3],
    b'{"a": 1}\n{"a": [}\n{"a": 2}': [1, "not JSON", 2],
    b'{"a": 1}\n{"a": [': [1, "not JSON"],
    b'{"a": 1}\n{"a": [\n{"a": 2}\n,{"a": 3}{"a": 4}\n{"a": 5}': [1, "not JSON", 2, 3, 4, 5],
    b'{"a": 1}\n{"a": [\n{"a": 2},\n{"a": 3},\n{"a": 4},\n{"a": 5}': [1, "not JSON", 2, 3, 4, 5],
    # Nor does a value in the middle of others.
    b'{"a": 1}{"a": oops}{"a": 2}': [1, "not JSON", 2],
    b'{"a": 1}{"a": "x}{"a": 2}{"a": 3}\n{"a": 4}': [1, "not JSON", 2, 3, 4],
    b'{"a": 1}{"a": [}{"a": 2}': [1, "not JSON", 2],
    b'{"a": 1}{"a": 2': [1, "not JSON"],
    b'{"a": 1}{"a": 2}null{"a": 3}': [1, 2, None, 3],
    b'{"a": 1}{"a": 2} oops {"a": 3}': [1, 2, "not JSON", 3],
    b'{"a": 1}{"a": 2}\n"b", 7, "c{"\n{"a": 3}': [1, 2, "b", 7, "c{", 3],
    b'{"a": 1}{"a": 2}"b': [1, 2, "not JSON"],
    # A broken record over many lines is one.
    b'{\n "a": 1\n}\n{\n "a": NaN,\n "b": 1\n}\n{\n "a": 2\n}': [1, "NaN is", 2],
    b'{\n "a": NaN\n}\n{\n "a": 1\n}\n': ["NaN is", 1],
    b'{\n "a": 1\n}\n{\n "a": [\n}\n{\n "a": 2\n}': [1, "not JSON", 2],
    b'{\n "a": 1\n}\n{\n "a": "x\n}\n{\n "a": 2\n}': [1, "not JSON", 2],
    b'{\n "a": 1\n}\n{\n "b": 3\n{\n "a": 2\n}': [1, "not JSON", 2],
    b'{"a": 1}{"a": "\\ud800"}{"a": 2}': [1, "has a lone surrogate", 2],
    b'{"a": 1}{"a": "\xff"}{"a": 2}': [1, "not UTF-8", 2],
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_value_costs_itself_only(text: bytes) -> None:
    """The ones around it are read, in whatever pieces they come."""
    for cuts in all_cuts(text):
        found = [record["a"] if isinstance(record, dict) else record for record in read(text, cuts)]
        assert [str(one).split(" is")[0].split(":")[0] for one in found] == [
            str(one).split(" is")[0].split(":")[0] for one in BROKEN[text]
        ]


def test_a_value_of_over_a_mebibyte() -> None:
    """It is broken, those around it are read, and what is found is the same in any pieces."""
    large = b'{"a": [' + (b'{"b": "' + b"y" * 1_000 + b'"},') * 1_100 + b"1]}"
    around = b'{"a": 1}{"a": 2}'
    texts = [around + large + around, around + large + b"\n" + around, large + b"\n" + around]
    texts += [b'{"a": 1}\n' + large + b"\n" + around, b'{"a": "' + b"x" * 2_000_000 + b'"}{"a": 1}\n{"a": 2}']
    for text in texts:
        whole = [repr(record) for record in parse(text, 65536)[0]]
        assert whole.count("BrokenRecord('a record of over 1 MiB')") + whole.count(
            "BrokenRecord('a line of over 1 MiB')"
        ) in (1, 2)
        assert whole[-1] == "{'a': 2}"
        for piece in (1_000_003, 30_011, len(text)):
            assert [repr(record) for record in parse(text, piece)[0]] == whole


@pytest.mark.slow
def test_broken_text_takes_no_longer_than_its_length() -> None:
    """Brackets without an end, quotes without an end: what is looked at again is bounded."""
    for text in (b'{"a": [\n', b'{"a": "x}', b"{", b'{"a": [{},\n', b'}{"a":' + b"[" * 50, b'{"a": {}}{"b'):
        stored = b'{"a": 1}{"a": 2}' + text * (10_000 // len(text))
        assert len(read(stored)) >= 3
        assert len(read(b'{"a": 1}\n' + text * (10_000 // len(text)))) >= 2


@settings(max_examples=examples(75))
@given(
    st.lists(
        st.sampled_from(
            [
                b'{"a": 1}',
                b'{"a": 1}\n',
                b"{\n",
                b"}\n",
                b"}",
                b'"a": ',
                b"[",
                b"]",
                b"\n",
                b",",
                b'"',
                b" ",
                b"oops\n",
                b'{"a": [\n',
                b'{"a": 1},\n',
                b'{"b": {}}\n',
                b"\xef\xbb\xbf",
                b"\x1e",
                b"1,",
                b"null\n",
            ]
        ),
        max_size=25,
    ),
    st.lists(st.integers(0, 200), max_size=8),
    st.booleans(),
)
def test_any_pieces_give_the_same_and_reading_begins_where_a_record_does(
    pieces: list[bytes], cuts: list[int], ids: bool
) -> None:
    """What is counted never depends on how bytes arrive, and the byte of a record gives it and all behind it."""
    text = b'{"a": 0}\n' + b"".join(pieces)
    records, starts = parse(text, 65536, ids=ids)
    shown = list(map(repr, records))
    for others in ([cut for cut in cuts if cut < len(text)], 1, 2):
        assert list(map(repr, parse(text, others, ids=ids)[0])) == shown
    for n, start in enumerate(starts):
        if start is not None:
            parser = PartParser("s3://b/part", line=start)
            again = parser.feed(text[start:]) + parser.feed(b"", final=True)
            assert list(map(repr, again)) == shown[n:]


def test_a_byte_is_known_in_plain_lines_only() -> None:
    """Elsewhere reading resumes by counting; a mark or a comma at a line's end changes nothing."""
    assert parse(b'{"a": 1}\n\xef\xbb\xbf{"a": 2},\r\n{oops\n{"a": 3}\n', 7)[1] == [0, 9, 23, 29]
    assert parse(b'{"a": 1}\n{"a": 2}{"a": 3}\n{"a": 4}\n', 7)[1] == [0, None, None, None]
    assert parse(b'{"a": 1}{"a": 2}', 65536)[1] == [None, None]
    assert parse(b'{\n"a": 1}\n{"a": 2}', 65536)[1] == [None, None]
    # Lines that a broken value may have swallowed have no byte: read from there, they might be one.
    assert parse(b'{"a": [\n{"a": [\n1]}\n{"a": 3}', 65536)[1] == [0, None, None, 20]
    text = b'{"a": [\n{"a": 1},\n{"a": 2},\n{"a": 3}\n'
    assert parse(text, 65536)[1] == [0, None, None, None]


def test_ids_one_behind_the_other() -> None:
    """An exclude list may have commas, too."""
    assert read(b'"a",\n"b"\n', 1, ids=True) == ["a", "b"]
    assert read(b"1,\n2,\n", 1, ids=True) == [1, 2]
    for text in (b"u1\nu2\n", b"ann@example.com\n", b"user_id,reason\nu1,x\n"):
        with pytest.raises(BrokenFile, match=r"of a file with one id a line jq -R \. FILE > ids\.jsonl"):
            read(text, 1, ids=True)


def test_lines_alone_hand_over() -> None:
    """The text from the unusual line on is left, and nothing of it is read."""
    parser = LineParser()
    assert parser.feed(b'{"a": 1}\n{"a": 2}{"a": 3}\n') == [{"a": 1}]
    assert (parser.rest, parser.offset, parser.count) == (b'{"a": 2}{"a": 3}\n', 9, 1)
