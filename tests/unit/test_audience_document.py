"""Batch files: keys in any order, pieces cut anywhere, and every fault in words."""

import itertools
import json
from decimal import Decimal
from typing import Any

import ijson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.audience import BrokenFile
from notifier.audience.array import ArrayParser
from notifier.audience.batch_file_parser import BatchFileParser
from notifier.model.spelling import BrokenRecord
from tests.examples import examples

USERS = [
    {"user_id": "a", "devices": [{"platform": "ios", "token": "t"}], "campaign": "x", "users": [1], "audience": {}},
    {"user_id": 'b "]}, "campaign": {', "devices": [], "locale": "\\"},
    {"user_id": "\u00e9\U0001f600", "attributes": {"a": [[[]]], "b": {"c": "}]"}}},
    {},
]
CAMPAIGN = {"id": "c", "variants": [{"users": [1]}], "text": '[{"users": [', "nothing": None}


def parse(text: bytes, cuts: list[int] | int) -> tuple[list[object], BatchFileParser]:
    """The users, and the parser for the rest. `cuts`: where pieces end, or how long each is."""
    if isinstance(cuts, int):
        cuts = list(range(cuts, len(text), cuts))
    parser = BatchFileParser("s3://b/k")
    records: list[object] = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(text)]):
        records += parser.feed(text[start:end])
    return records + parser.feed(b"", final=True), parser


def fault_of(text: bytes, piece: int = 65536) -> str:
    """What is said about a broken file."""
    with pytest.raises(BrokenFile) as raised:
        parse(text, piece)
    return str(raised.value)


LAYOUTS: list[dict[str, Any]] = [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("first", ["users", "campaign"])
@pytest.mark.parametrize("users", [USERS, USERS[:1], []])
def test_any_order_and_any_single_cut(layout: dict[str, Any], first: str, users: list[Any]) -> None:
    """A document cut in two at every byte, and into single bytes, is the same document."""
    document = {"campaign": CAMPAIGN, "users": users}
    if first == "users":
        document = dict(reversed(document.items()))
    text = json.dumps(document, **layout).encode() + b" \n"
    places: list[list[int] | int] = [[], 1, 3, *([n] for n in range(len(text)))]
    for cuts in places:
        records, parser = parse(text, cuts)
        assert records == users
        assert parser.values == {"campaign": CAMPAIGN}
        assert parser.count == len(users)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('[]{}",\\:')),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["users", "campaign", "audience", "a"]) | st.text(), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=examples(75))
@given(st.lists(JSON), JSON, st.booleans(), st.sampled_from(LAYOUTS), st.data())
def test_any_document_in_any_pieces(
    users: list[Any], campaign: Any, first: bool, layout: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever the values are and wherever it is cut, users and campaign are what the json module reads."""
    document = {"users": users, "campaign": campaign} if first else {"campaign": campaign, "users": users}
    text = json.dumps(document, **layout).encode(errors="surrogatepass")
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    records, parser = parse(text, cuts)
    assert records == users
    assert parser.values["campaign"] == campaign


def test_a_reference_in_the_place_of_users() -> None:
    """And keys written with escapes are the keys they spell."""
    _, parser = parse(b'{"\\u0061udience": {"parts": []}, "campaign": 0.10}', 1)
    assert parser.values == {"audience": {"parts": []}, "campaign": Decimal("0.10")}
    assert str(parser.values["campaign"]) == "0.10"
    records, _ = parse(b'{"\\u0075sers": [ [1] ] , "c\\u0061mpaign" : 1 }', 1)
    assert records == [[1]]


def test_a_byte_order_mark_is_taken() -> None:
    """Windows writes it."""
    assert parse(b'\xef\xbb\xbf{"users": [1], "campaign": 1}', 1)[0] == [1]


FAULTS = {
    b"": "the file is empty",
    b" \n ": "the file is empty",
    b"[]": "not a JSON object",
    b"user_id,token\n": "a table (CSV), not JSON: notifier convert FILE -o audience.jsonl",
    b"{": "cut off",
    b'{"campaign"': "cut off",
    b'{"campaign": {"id": "x': "cut off",
    b'{"campaign": {}, "users": [': "cut off",
    b'{"campaign": {}, "users": [{"a": 1}': "cut off",
    b'{"campaign": {}, "users": [{"a": 1}]': "cut off",
    b'{"campaign": {}, "users": [{"a": 1}],': "cut off",
    b'{"campaign": {}}': "neither `users` nor `audience`",
    b"{}": "no `campaign`",
    b'{"users": []}': "no `campaign`",
    b'{"audience": {}}': "no `campaign`",
    b'{"campaign": 1, "campaign": 2, "users": []}': "a second `campaign` at the top",
    b'{"campaign": 1, "users": [], "users": []}': "a second `users` at the top",
    b'{"campaign": 1, "users": [{}], "campaign": 1}': "a second `campaign` at the top",
    b'{"campaign": 1, "users": [{}], "\\u0063ampaign": 1}': "a second `campaign` at the top",
    b'{"campaign": 1, "audience": 1, "audience": 1}': "a second `audience` at the top",
    b'{"campaign": 1, "audience": {}, "users": []}': "both `users` and `audience`",
    b'{"users": [{}], "audience": {}, "campaign": 1}': "both `users` and `audience`",
    b'{"campain": {}}': "an unknown key at the top (known: campaign, users, audience): did you mean `campaign`?",
    b'{"Campaign": {}}': "an unknown key at the top (known: campaign, users, audience): did you mean `campaign`?",
    b'{"id": "x", "users": []}': "(known: campaign, users, audience): what is the campaign's belongs into `campaign`",
    "{“campaign”: {}}".encode(): "curly quotes are not JSON: write straight ones",
    b'{"campaign": {}, "users": [{}], "more": [{}]}': "something that is none of the known keys",
    b'{"campaign": {}, "users": {}}': "`users` is an object keyed by id, not a list: jq '.users |= [",
    b'{"campaign": {}, "users": null}': "`users` is null, not a list",
    b'{"campaign": {}, "users": 5}': "`users` is not a list",
    b'{"campaign": {}, "users": [{}]} {': "something follows the end of the object",
    b'{"campaign": {}, "users": [{}]}]': "something that is none of the known keys",
    b'{"users": [{}], "campaign": {}} x': "something follows the end of the object",
    b'{"campaign": {}, "users": [[{}}': "not JSON",
    b'{"campaign": {}, "users": [{}},{}]}': "not JSON",
    b'{"campaign": {}, "users": [{},]}': "not JSON",
    b'{"campaign": {}, "users": [{} {}]}': "not JSON",
    b'{"campaign": {}, "users": [{"a": "\xff"}]}': "not UTF-8: save it as UTF-8",
    b'{"campaign": {}, "users": [{"a": "\x00"}]}': "not JSON",
    b'{"campaign": {}, "users": [\x00]}': "not JSON",
    b'{"campaign": {}, "users": [NaN]}': "not JSON",
    b'{"campaign": {}, "users": [1e99999999999999999999]}': "not JSON",
    b'{"campaign": NaN, "users": []}': "not JSON",
    b'{"campaign": {"a": "\xff"}, "users": []}': "not UTF-8: save it as UTF-8",
    b"{\xff: 1}": "not UTF-8: save it as UTF-8",
    b"PK\x03\x04\xff": "a zip archive, not JSON: unzip FILE",
    b"{'campaign': 1}": "not JSON",
    b'{"campaign" 1}': "not JSON",
    b'{"campaign": 1 "users": []}': "not JSON",
}


@pytest.mark.parametrize(
    "text", FAULTS, ids=lambda text: text.decode(errors="replace").encode("ascii", "replace").decode()
)
def test_every_fault_has_its_words(text: bytes) -> None:
    """However the file is cut; only where something follows `users` the words may depend on it."""
    for piece in (65536, 1, 2, 7):
        said = fault_of(text, piece)
        assert said.startswith("s3://b/k: ")
        assert "byte" in said
        assert FAULTS[text] in said or (piece < 65536 and "something" in said), said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ['{"campaign": 1, "users": [{}]}', '{\r\n "campaign": 1, "users": [{}]}'])
def test_another_encoding_is_named_with_its_mend(text: str, encoding: str) -> None:
    """What Windows' tools save as "Unicode", with a mark or without one."""
    for piece in (65536, 1, 3):
        name = encoding[:6].upper()
        assert f"not UTF-8 but {name}: save it as UTF-8; byte " in fault_of(text.encode(encoding), piece)


@pytest.mark.parametrize("users", ['[{"user_id": "Zoë"}]', '[{"user_id": "a"}, {"locale": "français"}]'])
def test_an_old_encoding_is_named_with_its_mend(users: str) -> None:
    """Latin-1, in the campaign or in the users."""
    for text in (f'{{"users": {users}, "campaign": 1}}', f'{{"campaign": {{"id": "Grüße"}}, "users": {users}}}'):
        assert "not UTF-8: save it as UTF-8; " in fault_of(text.encode("latin-1"))
        assert parse(text.encode(), 1)[0]


def test_a_fault_says_where() -> None:
    """The byte, and the record counted from 0; no value of the file."""
    said = fault_of(b'{"campaign": {}, "users": [{"user_id": "a"}, {"user_id": "b"}, {"secret": oops}]}')
    assert said == "s3://b/k: not JSON; byte 74, in or after record 2 (counted from 0)"


BOMBS = {
    "a campaign of lists": (b'{"campaign": ' + b"[" * 500_000, "nested too deep"),
    "a campaign a little too deep": (b'{"campaign": ' + b"[" * 66 + b"]" * 66 + b"}", "deeper than 64"),
    "a campaign of digits": (b'{"campaign": ' + b"1" * 1_000_000 + b"}", "too many digits"),
    "a campaign of text": (b'{"campaign": "' + b"a" * 3_000_000, "over 1 MiB"),
    "a key of text": (b'{"' + b"a" * 3_000_000, "not JSON"),
    "a record of lists": (b'{"campaign": 1, "users": [' + b"[" * 1_000_000, "over 2,048 objects and lists"),
    "a record of objects": (b'{"campaign": 1, "users": [' + b'{"":' * 500_000, "over 2,048 objects and lists"),
    "a record of digits": (b'{"campaign": 1, "users": [{"a": ' + b"1" * 1_000_000, "2,000 digits"),
    "a record of decimals": (b'{"campaign": 1, "users": [{"a": 1.' + b"1" * 3_000_000, "over"),
    "a record of text": (b'{"campaign": 1, "users": [{"a": "' + b"a" * 3_000_000, "a record of over 1 MiB"),
    "a record of escapes": (b'{"campaign": 1, "users": [{"a": "' + b"\\" * 3_000_000, "a record of over 1 MiB"),
    "a record of nothing": (b'{"campaign": 1, "users": [' + b" " * 3_000_000, "a record of over 1 MiB"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(bomb: str) -> None:
    """A value that is too long, too deep or too large ends the file before it takes the memory."""
    text, words = BOMBS[bomb]
    assert words in fault_of(text)


@pytest.mark.parametrize("piece", [1, 7, 500, 1500, 4000])
def test_a_number_of_many_digits_in_many_pieces(piece: int) -> None:
    """It would crash ijson's C backend wherever it is cut; as many digits in a text are a text."""
    parser = ArrayParser("s3://b/k", backend=ijson.get_backend("yajl2_c"))
    parser.feed(b'[{"a": ')
    digits = b"1" * 6000
    with pytest.raises(BrokenFile, match="2,000 digits"):
        [parser.feed(digits[start : start + piece]) for start in range(0, 6000, piece)]
    parser = ArrayParser("s3://b/k", backend=ijson.get_backend("yajl2_c"))
    text = b'[{"a": "' + digits + b'", "b": ' + digits[:1500] + b"}]"
    records = [record for start in range(0, len(text), piece) for record in parser.feed(text[start : start + piece])]
    assert records == [{"a": digits.decode(), "b": int(digits[:1500])}]


def test_large_is_not_too_large() -> None:
    """A text of 900 KiB, 1,500 digits, and long digits within a text are taken."""
    users = [{"a": "x" * 900_000}, {"a": 10**1500}, {"a": "1" * 10_000}, {"a": [{}] * 1500}]
    assert parse(json.dumps({"campaign": 1, "users": users}).encode(), 65536)[0] == users


@pytest.mark.parametrize(
    "escape", [r"\ud800", r"\uDFFF", r"\udc00\ud800", r"\\\ud800", r"\ud83d\u0041", r"\\ud83d\ude00"]
)
def test_a_lone_surrogate_breaks_its_record_alone(escape: str) -> None:
    """Its neighbours are read; ijson by itself would replace it, or die of it."""
    text = b'{"users": [{"a": "\\ud83d\\ude00"}, {"a": "%s"}, {"a": "b"}], "campaign": 1}' % escape.encode()
    for piece in (65536, 1, 5):
        records, _ = parse(text, piece)
        assert [isinstance(record, BrokenRecord) for record in records] == [False, True, False]
        assert str(records[1]) == "has a lone surrogate: not encodable as UTF-8"
        assert records[0] == {"a": "\U0001f600"}


def test_an_escaped_backslash_is_no_surrogate() -> None:
    """What only looks like one is text, and so is the character that marks a lone one, where there is none."""
    assert parse(b'{"users": ["\\\\ud800", "\\uffff", "\\u0000"], "campaign": 1}', 1)[0] == [
        "\\ud800",
        "\uffff",
        "\x00",
    ]


@pytest.mark.parametrize("name", ["python", "yajl2_c"])
def test_any_backend_finds_the_end_of_the_users(name: str) -> None:
    """Where ijson's C backend is missing another does the same, slower."""
    parser = ArrayParser("s3://b/k", alone=False, backend=ijson.get_backend(name))
    assert parser.feed(b'[{"a": [1]}, {"b": []}], "camp') == [{"a": [1]}, {"b": []}]
    assert parser.rest == b', "camp'
    broken = ArrayParser("s3://b/k", alone=False, backend=ijson.get_backend(name))
    with pytest.raises(BrokenFile, match="not JSON"):
        broken.feed(b"[[1]}")


PLAIN = [{"user_id": f"u{n}", "devices": [{"platform": "ios", "token": f"{n:064x}"}], "n": n} for n in range(900)]
UNUSUAL: dict[str, bytes] = {
    "nothing": b"",
    "a lone surrogate": rb',{"user_id": "\ud800"}',
    "a pair": rb',{"user_id": "\ud83d\ude00"}',
    "numbers": b',{"a": 1.50, "b": 1e5, "c": 123456789012345678901234567890, "d": -0, "e": 1E400}',
    "brackets in a text": rb',{"user_id": "}, {\"user_id\": [", "b": "},{"}',
    "no object": b', 7, "text", null, [1], []',
    "the same key twice": b',{"a": 1, "a": 2}',
    "spaces": b' \n,\t {\r\n"a" : [ ] } ',
    "many brackets": b',{"a": [' + b"[]," * 1500 + b"1]}",
    "a tab in a text": b',{"a": "\t"}',
}


@pytest.mark.parametrize("unusual", UNUSUAL)
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("piece", [1000, 20_000, 65_536])
def test_whole_records_are_those_of_ijson(unusual: str, alone: bool, piece: int) -> None:
    """However many records are decoded at once: the same records, faults and end as record by record."""
    some = json.dumps(PLAIN)[1:-1].encode()
    text = b"[" + some + UNUSUAL[unusual] + b"," + some + b"]" + (b"" if alone else b', "campaign": {}}')
    slow = ArrayParser("s3://b/k", alone=alone, backend=ijson.get_backend("yajl2_c"))
    fast = ArrayParser("s3://b/k", alone=alone)
    assert outcome_of(fast, text, piece) == outcome_of(slow, text, piece)


def outcome_of(parser: ArrayParser, text: bytes, piece: int) -> tuple[list[object], str, int, bytes | None]:
    """Records (broken ones by their reason), the fault if there was one, how many records, and what is left."""
    records: list[object] = []
    fault, starts = "", range(0, len(text), piece)
    try:
        for start in starts:
            if parser.rest is None:
                records += parser.feed(text[start : start + piece], final=start == starts[-1])
            else:
                parser.rest += text[start : start + piece]
    except BrokenFile as error:
        fault = error.reason
        records += parser.salvage()
    return [repr(record) for record in records], fault, parser.count, parser.rest
