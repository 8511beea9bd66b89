"""The records of a file in any form that preparation and the worker accept, each as its own bytes.

An erasure that reads less than they do says "Nobody is left" while a person is. So what cannot be read here is never
taken for a file without users: it is `Unreadable`, or a record in which nobody can be ruled out.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from notifier.audience.scan import BETWEEN
from notifier.model.record_reading import id_of, user_id_in
from notifier.model.spelling import BrokenRecord

PARQUET = b"PAR1"
"""What such a file begins with."""
_GZIP = b"\x1f\x8b"
NO_JSON_ID = re.compile(rb'"user_id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9]+)', re.IGNORECASE)
"""A user id in a text that is no JSON as a whole, such as a line that was cut off."""
_BETWEEN = BETWEEN.decode(errors="surrogateescape") + "\ufeff"
_DAMAGED = (OSError, EOFError, zlib.error)
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for what is no JSON. Letters in another encoding and deep nesting have errors of their own."""
_NO_USERS = "neither JSON nor a table with a column user_id"


class Unreadable(Exception):
    """An object in a form that cannot be rewritten here. The message says which."""


class Records(msgspec.Struct, frozen=True):
    """The records of a text. `head` has the other members of a batch file, and is None for any other text."""

    head: dict[str, msgspec.Raw] | None
    records: list[bytes]


class Rows(msgspec.Struct, frozen=True):
    """A table in CSV. `head` is all up to its columns' names, and `at` the number of the column of the user id."""

    head: str
    separator: str
    columns: list[str]
    at: int
    rows: list[list[str]]


def unpacked(body: bytes) -> bytes:
    """The text of an object that may be gzipped, which its content says and not its name."""
    try:
        # Tools that compress what is compressed already are known to the worker, too.
        while body.startswith(_GZIP):
            body = gzip.decompress(body)
    except _DAMAGED:
        raise Unreadable("gzip that is damaged") from None
    return body


def packed(text: bytes, like: bytes) -> bytes:
    """A text in the form that an object had."""
    return gzip.compress(text, compresslevel=1, mtime=0) if like.startswith(_GZIP) else text


def is_json(text: bytes) -> bool:
    """Whether a text begins as JSON does: else it is a table, if anything."""
    bare = text.lstrip(BETWEEN)
    # A table may begin with a quote, and a list of ids with a number.
    return bare[:1] in (b"{", b"[", b"") or is_value(bare.partition(b"\n")[0].strip(BETWEEN))


def read_records(text: bytes) -> Records:
    """The records in their order, as the worker counts them. One that is not JSON is among them."""
    bare = text.strip(BETWEEN)
    try:
        if bare.startswith(b"["):
            return Records(None, [bytes(one) for one in msgspec.json.decode(bare, type=list[msgspec.Raw])])
        if bare.startswith(b"{"):
            head = msgspec.json.decode(bare, type=dict[str, msgspec.Raw])
            # A file with one record is a line.
            users = msgspec.json.decode(head["users"], type=list[msgspec.Raw]) if "users" in head else None
            return Records(None, [bare]) if users is None else Records(head, [bytes(one) for one in users])
    except NOT_JSON:
        if bare.startswith(b"["):
            raise Unreadable("a list that is not JSON, or several") from None
    lines = [line for each in text.split(b"\n") if (line := each.strip(BETWEEN))]
    if all(map(is_value, lines)):
        return Records(None, lines)
    # Values over several lines, or several on a line. With a line that is cut off among them lines are all there is.
    return Records(None, _values(bare) or lines)


def _values(text: bytes) -> list[bytes] | None:
    """JSON values one behind the other, with anything or nothing between them; None if something is no JSON."""
    letters = text.decode(errors="surrogateescape")
    found = list[bytes]()
    try:
        for _, first, end in _decoded(letters):
            found.append(letters[first:end].encode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return found


def values_in(letters: str) -> list[Any] | None:
    """The objects and lists of a text, as the worker reads them one behind the other; None if it is something else."""
    bare = letters.strip(_BETWEEN)
    # A date, too, begins with a number.
    if not bare.startswith(("{", "[")):
        return None
    try:
        return [value for value, _, _ in _decoded(bare)]
    except (ValueError, RecursionError):
        return None


def _decoded(letters: str) -> Iterator[tuple[Any, int, int]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(letters):
        value, end = decoder.raw_decode(letters, at)
        yield value, at, end
        at = end
        while at < len(letters) and letters[at] in _BETWEEN:
            at += 1


def is_value(record: bytes) -> bool:
    """Whether a record is JSON."""
    try:
        value_of(record)
    except Unreadable:
        return False
    return True


def value_of(record: bytes) -> Any:
    """The value that a record is. Raises Unreadable if it is no JSON."""
    try:
        return msgspec.json.decode(record)
    except NOT_JSON:
        pass
    try:
        # It takes what msgspec refuses: NaN, and half of a character in two escapes. Such a record has a user, too.
        return json.loads(record)
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None


def user_of(record: bytes) -> str | None:
    """The user of a record, or the id that it is; None where it has none.

    Raises:
        Unreadable: it has several records.
    """
    try:
        value = value_of(record)
    except Unreadable:
        return None
    try:
        user_id = user_id_in(value) if isinstance(value, dict) else id_of(value)
    except BrokenRecord:
        user_id = None
    # The worker reads lists one behind the other. None of their records has a line of its own.
    several = value.get("users") if isinstance(value, dict) else value
    if user_id is None and isinstance(several, list):
        raise Unreadable("several lists of users")
    return user_id


def read_rows(text: bytes) -> Rows:
    """A table with any separator that preparation finds. Raises Unreadable if it has no column of user ids."""
    # Late: it needs DuckDB, and few objects are tables.
    from audiences.relations import header_of  # noqa: PLC0415

    try:
        letters = text.decode("utf-8-sig")
        if "\n" not in letters:
            # Lines as Excel for Mac can end them, which preparation reads.
            letters = letters.replace("\r", "\n")
        separator, columns, skip = header_of(letters)
    except (UnicodeDecodeError, StopIteration):
        raise Unreadable(_NO_USERS) from None
    if "user_id" not in columns:
        raise Unreadable(_NO_USERS)
    lines = letters.split("\n")
    rows = [row for row in _rows_of("\n".join(lines[skip:]), separator) if row]
    return Rows("\n".join(lines[:skip]), separator, columns, columns.index("user_id"), rows)


def _rows_of(letters: str, separator: str) -> list[list[str]]:
    """Rows as preparation reads them, which takes blanks behind a quote; one with words there is a row, too.

    Raises:
        Unreadable: a quote is never closed, or only by the next one that another cell opens: rows are in its cell.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(letters)))
    try:
        # Most are without fault, and read in half the time.
        return [*csv.reader(io.StringIO(letters, newline=""), delimiter=separator, strict=True)]
    except csv.Error:
        return [*_loose_rows(letters, separator)]


def _loose_rows(letters: str, separator: str) -> Iterator[list[str]]:
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(letters, newline=""):
            taken.append(line)
            yield line

    for row in csv.reader(lines(), delimiter=separator):
        may_be_open = len(taken) > 1 or taken[0].count('"') % 2
        if may_be_open and not _is_strict(taken, separator):
            raise Unreadable("a table with a quote that is opened and never closed")
        taken.clear()
        yield row


def _is_strict(lines: list[str], separator: str) -> bool:
    try:
        return len([*csv.reader(lines, delimiter=separator, strict=True)]) == 1
    except csv.Error:
        return False


def user_in_row(row: list[str], at: int) -> str:
    """The user of a row as preparation reads it; "" without one."""
    cell = row[at].strip(" \t\r\n") if len(row) > at else ""
    # As a spreadsheet or pandas writes an integer.
    return cell.partition(".")[0] if re.fullmatch(r"[0-9]{1,15}\.0+", cell) else cell
