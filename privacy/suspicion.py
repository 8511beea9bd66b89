"""Whether an erased user may be where no `user_id` says so: in a record, a table, a text, a Parquet file.

A record or a row with a valid `user_id` is that user's, and nothing else of it is looked at. All else is looked
through, by the one rule of `privacy.id_shapes`. What is found may be an id and may be a word: it is named, so that a
person sees to it, and not deleted. Only what cannot be read and the stack made for itself goes (`MADE_HERE`).

A whole number may be anything. It counts

- in a record or a table: where a name says user, or is an id; where none does, as a whole value. The name of a member
  may be a user, as in a map by users;
- in any other text: behind such a word (`user 17`), as a whole cell, and anywhere with five digits or more.
"""

import csv
import io
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

from privacy.id_shapes import SEPARATORS, forms
from privacy.records import NO_JSON_ID, PARQUET, Unreadable, is_value, unpacked, user_of, value_of, values_in
from privacy.whom import Whom

MAX_CHARS = 1 << 20
"""A larger text that is neither JSON nor a table with user ids is not looked through."""
_SAYS_USER = (
    r"user|usr|cust|client|member|person|people|subscri|recipient|contact|account|acct|buyer|visitor|player|patient"
    r"|guest|profile|owner|msisdn|kunde|kdnr|nutzer|mitglied|usuari|utilis|utente|klant|gebruik|abonn"
)
_NAMES_USER = re.compile(rf"(?:{_SAYS_USER})|(?:^|[^a-z])[a-z]?[gu]?u?ids?(?:[^a-z]|$)", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# A part of a decimal number is no whole number; `17.00` is one.
_WHOLE = r"([0-9]{1,15})(?:\.0+)?(?![0-9]|\.[0-9])"
_APART_BEFORE, _APART_BEHIND = r"(?<![0-9A-Za-z])(?<![0-9]\.)", r"(?![0-9A-Za-z])"
_STRETCH = re.compile(_APART_BEFORE + _WHOLE + _APART_BEHIND)
_CELL = re.compile(rf"""(?:^|[,;|\t"'])[ ]*{_WHOLE}[ \r]*(?=$|[,;|\t"'])""", re.MULTILINE)
# Each part has an end: a long run of letters is no reason to read it once for each of them.
_BEHIND_WORD = re.compile(
    rf"(?:{_SAYS_USER}|(?<![a-z])id)[a-z_]{{0,20}}[\W_]{{1,4}}{_WHOLE}{_APART_BEHIND}", re.IGNORECASE
)
_LARGE_DIGITS = 5
_AT_ONCE, _RECORDS_AT_ONCE = 10_000, 1_000
_LINES = "\n" * 5
"""Between texts that have nothing to do with each other: more than may be between a word and its number."""
_Said = Sequence[tuple[str | None, str]]
"""Names and values, each with the name that says whose it is; None for a name."""


# -- JSON -------------------------------------------------------------------------------------------------------------


def suspects(records: Iterable[bytes], whom: Whom) -> int:
    """In how many records an erased user cannot be ruled out: those that are no JSON, or have no valid user id."""
    broken, values = list[bytes](), list[bytes]()
    for record in records:
        (values if is_value(record) else broken).append(record)
    return sum(_cut_off_may_have(record, whom) for record in broken) + _suspects(map(value_of, values), whom)


def _cut_off_may_have(record: bytes, whom: Whom) -> bool:
    ids = NO_JSON_ID.findall(record)
    # Without an id it was cut off before that.
    return whom.has_any(map(user_of, ids)) or not ids


def row_suspects(columns: Sequence[str], rows: Iterable[Sequence[str]], whom: Whom) -> int:
    """In how many rows without a user id an erased user may be in another cell."""
    lines = ([{name: cell} for name, cell in zip_longest(columns, row, fillvalue="")] for row in rows)
    return _suspects(lines, whom)


def _suspects(values: Iterable[object], whom: Whom) -> int:
    found, left = 0, iter(values)
    # Most have nobody: many at once cost little more than one.
    while some := [[*_said(_without_campaign(value))] for value in islice(left, _RECORDS_AT_ONCE)]:
        together = _LINES.join(text for said in some for _, text in said)
        if whom.is_in(together) or _has_number(together, whom):
            found += sum(_said_has(said, whom) for said in some)
    return found


def value_may_have(value: object, whom: Whom, *, only_named: bool = False) -> bool:
    """Whether an erased user may be in a decoded value.

    Args:
        only_named: a whole number counts only where a name says user.
    """
    return _said_has([*_said(_without_campaign(value))], whom, only_named=only_named)


def _without_campaign(value: object) -> object:
    # A batch file without users has the words of a campaign, and where its audience is. With anything else in it, it is
    # something else.
    if (
        isinstance(value, dict)
        and value.keys() == {"campaign", "audience"}
        and all(isinstance(one, dict) for one in value.values())
    ):
        return {}
    return value


def _said_has(said: _Said, whom: Whom, *, only_named: bool = False) -> bool:
    # Some at a time: a column of a Parquet file may have millions. All of them: caps may count each who is met.
    texts = (_LINES.join(text for _, text in said[at : at + _AT_ONCE]) for at in range(0, len(said), _AT_ONCE))
    found = sum(map(whom.is_in, texts)) > 0
    has_number = _has_number(_LINES.join(text for _, text in said), whom)
    return found or (has_number and whom.has_any(set(_numbers(said, only_named=only_named))))


def _has_number(letters: str, whom: Whom) -> bool:
    """Whether a text has the number of an erased user at all. Most have none, and then no names need to be read."""
    return whom.shapes.numbers and whom.has_any(_all(_STRETCH, letters))


def _said(value: object) -> Iterator[tuple[str | None, str]]:
    """Every name and value of a JSON value, however deep: with the name that says whose it is, None for a name."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, dict):
            yield from ((None, each) for each in one)
            # `{"user": {"ids": […]}}`: what is in a user's member is a user's.
            waiting += [(name if names_user(name) else each, member) for each, member in one.items()]
        elif isinstance(one, list):
            waiting += [(name, each) for each in one]
        elif isinstance(one, str):
            yield name, one
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield name, str(int(one)) if isinstance(one, float) and one.is_integer() else str(one)


def _numbers(said: _Said, *, only_named: bool) -> Iterator[str]:
    named = [text for name, text in said if name is not None and names_user(name)]
    for text in named:
        yield from _all(_STRETCH, text)
    for name, text in said:
        # A name that is a number is of a map by something: by users, perhaps.
        if name is None or not (named or only_named):
            yield from (whole for form in forms(text) for whole in _whole(form))
    yield from _all(_BEHIND_WORD, _LINES.join(text for _, text in said))


def _all(pattern: re.Pattern[str], letters: str) -> set[str]:
    """The numbers that a pattern finds in a text, in any form in which it may be escaped."""
    return {number for form in forms(letters) for number in pattern.findall(form)}


def _whole(text: str) -> Iterator[str]:
    if found := re.fullmatch(_WHOLE, text.strip()):
        yield found[1]


def names_user(name: str) -> bool:
    """Whether the name of a member or a column says that it has users, or is an id."""
    return _NAMES_USER.search(_HUMP.sub("_", name)) is not None


# -- texts ------------------------------------------------------------------------------------------------------------


def has_user(body: bytes, whom: Whom) -> bool | None:
    """Whether an object in a form that is not rewritten here has an erased user. None where nobody can be ruled out."""
    if body.startswith(PARQUET):
        return _of_parquet(body, lambda rows: _rows_have(rows, whom))
    return _text_has(body, whom)


def _text_has(body: bytes, whom: Whom) -> bool | None:
    """A marker with a time in it, or a page of notes, is no list of users: it is looked through."""
    try:
        letters = unpacked(body).decode("utf-8-sig")
    except (UnicodeDecodeError, Unreadable):
        return None
    # In another encoding an id is not there as it is.
    if "\0" in letters or len(letters) > MAX_CHARS:
        return None
    if (values := values_in(letters)) is not None:
        # Lists of lists, or several lists of users.
        return sum(value_may_have(value, whom) for value in values) > 0
    found, has_number = whom.is_in(letters), _has_number(letters, whom)
    return found or (has_number and whom.has_any(_numbers_in_text(letters)))


def _numbers_in_text(letters: str) -> set[str]:
    found = _all(_BEHIND_WORD, letters)
    columns = list(_columns_of_users(letters))
    if columns:
        return found.union(*(_all(_STRETCH, cell) for cell in columns))
    large = (one for one in _all(_STRETCH, letters) if len(one) >= _LARGE_DIGITS)
    return found.union(_all(_CELL, letters), large)


def _columns_of_users(letters: str) -> Iterator[str]:
    """The cells below a header that says user, of a table whose rows are all as long as its header."""
    for separator in SEPARATORS:
        try:
            rows = [row for row in csv.reader(io.StringIO(letters, newline=""), delimiter=separator) if row]
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1 and len({*map(len, rows)}) == 1:
            at = [n for n, name in enumerate(rows[0]) if names_user(name)]
            yield from (row[n] for row in rows[1:] for n in at)


# -- Parquet ----------------------------------------------------------------------------------------------------------


def is_of_user(body: bytes, whom: Whom) -> bool:
    """Whether a Parquet file has an erased user in its column `user_id`: that is no suspicion."""
    return body.startswith(PARQUET) and _of_parquet(body, lambda rows: _column_has(rows, whom)) is True


def _rows_have(rows: Any, whom: Whom) -> bool:
    ids, found = _ids(rows), _column_has(rows, whom)
    # A row without an id may have it elsewhere.
    others = rows.filter(f"nullif({_text(rows, ids[0])}, '') IS NULL") if ids else rows
    said = [(name, text) for name in rows.columns if name not in ids for text in _distinct(others, name)]
    return _said_has(said, whom) or found


def _column_has(rows: Any, whom: Whom) -> bool:
    """Whether one of the users of the column is erased: an integer as preparation reads it."""
    return whom.has_any(
        whole[0] if (whole := [*_whole(text)]) else text for name in _ids(rows) for text in _distinct(rows, name)
    )


def _ids(rows: Any) -> list[str]:
    return [name for name in rows.columns if name.lower() == "user_id"]


def _distinct(rows: Any, name: str) -> list[str]:
    found = rows.project(f"{_text(rows, name)} AS text").distinct().fetchall()
    return [text for (text,) in found if text is not None]


def _text(rows: Any, name: str) -> str:
    column = '"' + name.replace('"', '""') + '"'
    # Some writers do not mark texts as such.
    is_bytes = str(rows.types[rows.columns.index(name)]) == "BLOB"
    return f"TRY(decode({column}))" if is_bytes else f"CAST({column} AS VARCHAR)"


def _of_parquet(body: bytes, look: Callable[[Any], bool]) -> bool | None:
    """What is said of the rows of a Parquet file; None if it is damaged, which may show at its last page only."""
    # Late: few objects are Parquet files, and the function of the officers is invoked at each run's end.
    import duckdb  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(body)
        file.flush()
        try:
            return look(duckdb.read_parquet(file.name))
        except duckdb.Error:
            return None
