"""An erasure finds an id wherever it is, in whatever form, or says that it cannot; and few others are taken for one."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiences.cut_rules import hash_of_user
from notifier.model.keyed_id import keyed
from privacy.erased_bytes import listed
from privacy.id_shapes import ENTRY, UNKNOWN, Shapes, is_number, shape_of
from privacy.records import Unreadable
from privacy.suspicion import has_user
from privacy.whom import Whom
from tests.bench.looking import files

KEY = b"k" * 32
SEPARATORS = ",;\t|"


def whom(*user_ids: str) -> Whom:
    """The erased, as a later erasure knows them: by hashes and shapes."""
    shapes = Shapes(map(shape_of, user_ids), are_all=True)
    return Whom(KEY, [keyed(KEY, one) for one in user_ids], shapes=shapes)


def may_be_in(text: str | bytes, erased: Whom) -> bool:
    """Whether an object is named, as one that may have one of them."""
    body = text if isinstance(text, bytes) else text.encode()
    try:
        found = listed(body, erased, looks=True)
    except Unreadable:
        return has_user(body, erased) is not False
    return bool(found.erased or found.unread)


def table(
    separator: str,
    column: str = "customer",
    quoting: Any = csv.QUOTE_MINIMAL,
    *,
    first: str = "place",
    other: str = "y",
) -> Callable[[str], str]:
    """A table with other people, and the user in the last of its columns but one, beside `other` in the first."""

    def written(user_id: str) -> str:
        out = io.StringIO(newline="")
        rows = [[first, column, "n"], ["x", "another one", "3"], [other, user_id, "4"]]
        csv.writer(out, delimiter=separator, quoting=quoting).writerows(rows)
        return out.getvalue()

    return written


def around(before: str, behind: str) -> Callable[[str], str]:
    """A text with the id as it is."""
    return lambda user_id: f"{before}{user_id}{behind}"


def record(value: Callable[[str], Any], **how: Any) -> Callable[[str], str]:
    """JSON lines, one of them of the user, with another name for its member."""
    return lambda user_id: '{"customer": "another one"}\n' + json.dumps(value(user_id), **how) + "\n"


WITH_NAMES: dict[str, Callable[[str], str]] = {
    **{f"a table with {each!r}": table(each) for each in SEPARATORS},
    **{f"cells in quotes, with {each!r}": table(each, quoting=csv.QUOTE_ALL) for each in SEPARATORS},
    **{f"a first column, bare, before {each!r}": around(f"client{each}n\n", f"{each}3\n") for each in SEPARATORS},
    "a value": record(lambda one: {"customer": one, "n": 3}),
    "a value with blanks": record(lambda one: {"customer": f" {one} "}),
    "a value beyond ASCII": record(lambda one: {"customer": one}, ensure_ascii=False),
    "a value within": record(lambda one: {"user": {"ids": ["b", {"of": one}]}}),
    "a name": record(lambda one: {one: {"n": 3}}),
    "a name within": record(lambda one: {"events": [{"by user": {one: 1}}]}),
    "an address in a value": record(lambda one: {"customer": f"mailto:{one}"}),
    "beside a campaign's name": record(lambda one: {"customer": one, "campaign": "spring"}),
    "beside a campaign": record(lambda one: {"customer": one, "campaign": {"id": "spring"}}),
    "a list of lists": lambda one: json.dumps([["customer", "n"], [one, 3]]),
    "beside a list of users": lambda one: json.dumps({"users": [{"user_id": "b"}], "owner": one}),
    "a record whose user id is none": record(lambda one: {"user_id": [one]}),
    "a row without a user id": table(";", "friend_id", first="user_id", other=""),
    "a list that was cut off": lambda one: f'[{{"customer": {json.dumps(one)}, "n": 3}}, {{"cus',
    "a sentence": around("Never write to user ", ".\n"),
    "an address": around("see https://crm.example.com/users/", "?tab=2 for more\n"),
}
"""Forms in which something says that it is a user: there any id is found."""
ANYWHERE: dict[str, Callable[[str], str]] = {
    **{f"before {each}": around("Write to ", f"{each} Never.\n") for each in ".!?…,;:)]}>*_`'\"”’»。！؟।🙂"},
    **{f"behind {each}": around(f"Never to {each}", " again\n") for each in "([{<*_`'\"“„«=:/#&%@-–🙂"},
    "the end of a line": around("Nobody writes to ", "\r\nfrom today\r\n"),
    "the end": around("Nobody writes to ", ""),
    "a cell of JSON": lambda one: table(",", "what")(json.dumps({"customer": one})),
    "escaped for an address": lambda one: f"see https://crm.example.com/{quote(one, safe='')}/edit\n",
    "escaped for HTML": lambda one: f"<p>Never write to <b>{html.escape(one)}</b></p>\n",
    "escaped for JSON, in a text": lambda one: f"data: {json.dumps(one)}\n",
    "in quotes of SQL": lambda one: "VALUES ('" + one.replace("'", "''") + "', 3);\n",
    "a table whose names say nothing": table(";", "who"),
    "a value whose name says nothing": record(lambda one: {"x": one}),
}
"""Forms in which nothing does."""
LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
IDS = (
    st.text(LETTERS, min_size=1, max_size=40).map(str.strip).filter(bool)
    | st.text("ab1-_.:|@/+=~ ,;'\"\\%&{}#", min_size=1, max_size=20).map(str.strip).filter(bool)
    | st.emails()
    | st.uuids().map(str)
).filter(lambda one: not is_number(one) and shape_of(one) != UNKNOWN)
NUMBERS = st.integers(0, 10**15 - 1).map(str) | st.integers(0, 99).map(str)


def missed(forms: dict[str, Callable[[str], str]], user_id: str, erased: Whom) -> dict[str, str]:
    """The texts in which a user is not found, by their forms."""
    texts = {form: text(user_id) for form, text in forms.items()}
    return {form: text for form, text in texts.items() if not may_be_in(text, erased)}


@given(user_id=IDS)
@example(user_id="auth0|5f7c")
@example(user_id="o'brien@example.com")
@example(user_id="doe, jane")
@example(user_id='the "boss"')
@example(user_id="u-17")
@example(user_id="+49 170 1234567")
@example(user_id="李小龍")
@example(user_id="YWJj+A==")
@example(user_id=r"DOMAIN\ann")
@example(user_id="?")
@example(user_id="--")
@example(user_id="🙂🙃")
@example(user_id="①②③")
@example(user_id="x" + ".-" * 250)
@example(user_id="0@A.place")
def test_any_id_is_found_in_any_form(user_id: str) -> None:
    """In each cell, name, value, sentence and address; and by whoever knows no more than its hash and its shape."""
    assert missed(WITH_NAMES | ANYWHERE, user_id, whom(user_id, "another")) == {}


@given(number=NUMBERS, behind=st.sampled_from(("", ".0", ".00")))
@example(number="17", behind="")
def test_a_whole_number_is_found_where_something_says_user(number: str, behind: str) -> None:
    """A small one, too, and as a spreadsheet or pandas writes it."""
    assert missed(WITH_NAMES, number + behind, whom(number)) == {}


@given(number=st.integers(10_000, 10**15 - 1).map(str))
def test_a_large_number_is_found_anywhere(number: str) -> None:
    """With five digits or more a number is rarely anything else."""
    assert missed(ANYWHERE, number, whom(number)) == {}


@pytest.mark.parametrize(
    "text",
    [
        r'data: "a\n12345"',
        r"data: \u002212345\u0022",
        "see https://crm.example.com/?q=u%3D12345",
        "see https://crm.example.com/?q=a%2012345",
        "<p>&quot;&#49;2345&quot;</p>",
        r'{"customer": "a\\n12345"}',
        '{"x": "%2012345"}',
        '{"x": "user%3D12345"}',
        "customer,n\nu%3D12345,3\n",
    ],
)
def test_a_number_is_found_however_it_is_escaped(text: str) -> None:
    """As other ids are: behind an escaped character, and with a digit that is one."""
    assert may_be_in(text, whom("12345"))


@pytest.mark.parametrize(
    "text",
    [
        '{"customer": 17}\n',
        '{"customer": 17.0}\n',
        '{"customerId": "17"}\n',
        '{"x": 17}\n',
        '{"17": {"n": 3}}\n',
        "customer,n\n17.00,3\n",
        "id;x\n17;b\n18;c\n",
        "x\n17\n18\nb\n",
        "see user_id=17 and\n",
        "Customer #17 wants nothing.\n",
        "[[17, 2]]",
    ],
)
def test_a_small_number(text: str) -> None:
    """Where a name says user, and where none says anything."""
    assert may_be_in(text, whom("17"))


def test_a_script_without_blanks() -> None:
    """Its letters right beside an id of another script do not make it another id."""
    for text in ("请勿联系u-17的用户\n", "u-17さんへ\n", "u-17에게\n"):
        assert may_be_in(text, whom("u-17"))


SMALL = whom("1", "2", "9", "00", "09", "11", "17", "28", "99", "2026")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-28T09:00:00Z",
        "2026-11-28",
        '{"customer_id":5512,"quantity":1}\n{"customer_id":5513,"quantity":2}\n',
        '{"customerId": "b", "price": 17, "at": "2026-11-28T09:00:00Z", "lines": [1, 2]}\n',
        "customer_id,quantity,price\n5512,1,17.99\n5513,2,9\n",
        '{"client": {"id": "c-5"}, "version": 2}\n',
        "Version 1.2 of 2026, page 17.\n",
        "Done in 17 s; 99 % of 2 parts.\n",
        '{\n"campaign": {"id": "a", "version": 1},\n"audience": {"parts": [{"key": "x", "records": 2}]}\n}\n',
        '{"users": [{"user_id": "b"}], "total": 1}',
    ],
)
def test_small_numbers_keep_no_erasure_open(text: str) -> None:
    """Quantities, prices and times are nobody, though users with such ids were erased once."""
    assert not may_be_in(text, SMALL)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.datetimes(), st.emails())
def test_records_of_other_users_are_nobodys(customer: int, amount: int, at: Any, email: str) -> None:
    """Events of people with ids like those of the erased, at any time and of any amount."""
    gone = [str(n) for n in range(0, 10**6, 997)] + [str(uuid4()) for _ in range(9)] + ["ann@example.com", "auth0|5f7c"]
    line = {"customer_id": customer * 997 + 1, "amount": amount, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "mail": f"x{email}"}
    table_of_it = ",".join(line) + "\n" + ",".join(map(str, line.values())) + "\n"
    assert not may_be_in(json.dumps(line) + "\n", whom(*gone))
    if "," not in email and '"' not in email:
        assert not may_be_in(table_of_it, whom(*gone))


@pytest.mark.parametrize("text", ["u-171", "au-17", "u-17a", "u_17", "u - 17", "U-17", "ü-17", "u-17é"])
def test_what_only_resembles_an_id_is_nobodys(text: str) -> None:
    """A letter or a digit beside it makes it another id."""
    assert not may_be_in(f"Write to {text}, please\n", whom("u-17"))
    assert not may_be_in(json.dumps({"customer": text}), whom("u-17"))


@pytest.mark.parametrize(
    "text",
    [
        '{"customer": "u-17", "friends": ["u-18", 1000, "1001"]}',
        '[["u-17", "u-18"], {"users": [1000, 1001]}]',
        "Write to u-17 and u-18, users 1000 and 10.01.01, user 1001",
        'u-17 u-18 {"user_id": "1000"} {"user_id": "1001"',
        "customer,n\nu-17,1\nu-18,2\n1000,3\n1001,4\n",
    ],
)
def test_all_who_are_met_are_known(text: str) -> None:
    """Not the first alone: caps may count each of them, by another hash that only the id gives."""
    gone = ("u-17", "u-18", "1000", "1001")
    erased = whom(*gone)
    assert may_be_in(text, erased)
    assert erased.counted == {hash_of_user(one) for one in gone}


class Counting(Whom):
    """Keeps the words that were hashed and are nobody."""

    def __init__(self, *user_ids: str) -> None:
        shapes = Shapes(map(shape_of, user_ids), are_all=True)
        super().__init__(KEY, [keyed(KEY, one) for one in user_ids], shapes=shapes)
        self.hashed: list[str] = []

    def _found(self, user_id: object) -> str | None:
        found = super()._found(user_id)
        if found is None and isinstance(user_id, str):
            self.hashed.append(user_id)
        return found


@pytest.mark.parametrize("name", [name for name in files() if "with user_id" not in name])
def test_looking_through_takes_little(name: str) -> None:
    """No word is hashed twice, and none of another shape: two for each word at most, whatever it is made of."""
    erased = Counting("ann.lee@example.com", "auth0|5f7c", "jane doe", "17", "rows")
    text = files()[name][:30_000]
    for _ in range(2):
        may_be_in(text, erased)
    words = [one for one in re.split(r"[^0-9A-Za-z]+", text) if one]
    assert len(erased.hashed) == len(set(erased.hashed)) <= 2 * len(words) + 10


LONGEST = "x" + "-" * 511
"""An id that audiences may have, and the entry of whose shape would be too long for a list."""


@given(user_id=st.text(LETTERS, max_size=512).filter(lambda one: len(one.encode()) <= 512))
def test_the_entry_of_a_shape_fits_in_a_list(user_id: str) -> None:
    """Whatever the id is made of."""
    assert len((ENTRY + shape_of(user_id)).encode()) <= 512


def test_a_shape_says_nothing_of_letters_and_digits() -> None:
    """It is kept in the stack, beside the hash."""
    shapes = {
        one: shape_of(one)
        for one in ("ann.lee@example.com", "auth0|5f7c", "Jürgen", "17", "李u-हिन्दी", "🙂🙃", "--", "?", LONGEST)
    }
    assert list(shapes.values()) == ["x.x@x.x", "x|x", "x", "0", "xx-x", "marks", "marks", "marks", "unknown"]
    assert {shape_of(word) for word in ("marks", "unknown")} == {"x"}


def test_an_id_of_an_unknown_shape_is_never_ruled_out() -> None:
    """Nothing that has no user ids can be looked through for it."""
    gone = whom(LONGEST)
    assert may_be_in("done\n", gone)
    assert not may_be_in('{"user_id": "b"}\n', gone)
    assert may_be_in('{"x": "b"}\n', gone)


def test_hashes_of_before_there_were_shapes() -> None:
    """Ids of any usual shape are found."""
    for user_id in ("u-17", "rows", "1000", "auth0|5f7c", str(uuid4()), "ann.lee@example.com", "o'brien@example.com"):
        assert may_be_in(f"customer;n\n{user_id};3\n", Whom(KEY, [keyed(KEY, user_id)]))
    assert not may_be_in("done\n", Whom(KEY, [keyed(KEY, "rows")]))


@pytest.mark.parametrize(
    "user_id", ["ann.b.lee@mail.example.co.uk", "x-1-2-3-4-5", "doe; j.k.l-m (x)", '"a"b"c"d"', "🙂"]
)
def test_hashes_of_before_there_were_shapes_of_unusual_ids(user_id: str) -> None:
    """As a whole value, cell or line any id is found."""
    wholes = ("a value", "a value with blanks", "a name", "a value within", "cells in quotes, with ','")
    forms = {form: WITH_NAMES[form] for form in (*wholes, *(f"a table with {each!r}" for each in SEPARATORS))}
    assert missed(forms | {"a line": around("ids:\n", "\nb\n")}, user_id, Whom(KEY, [keyed(KEY, user_id)])) == {}
