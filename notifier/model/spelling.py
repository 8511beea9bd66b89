"""Reads what other tools write into records: names in any case, ids as decimals, JSON as text, decorated tokens.

GA4 writes `iOS`, Snowflake `USER_ID`, pandas 1000.0, warehouses an object as text, and iOS apps the description of a
token instead of the token. An ordinary record needs nothing of this: `recipient` calls it only if that fails.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

FIRST_INEXACT = 2**53
"""From here on a double, in which most tools keep numbers, cannot represent every integer."""
DESCRIBED = "token: a description of the data ({length = …, bytes = …}), the token is not in it: send the bytes as hex"
_MAX_NAMES = 10_000
"""Distinct names of members that are remembered as usual."""

_PLATFORMS = frozenset({"ios", "android", "web"})
_LONGEST_NAME = 63
"""Of a column's name: PostgreSQL's limit. A token has at least 64 characters."""
VALUES = "its first line has values in place of the names of columns"
NAMES_FIRST = "put a first line before it that names the columns: user_id, platform, token, with the same separator"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_FAULTS = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
_NO_TOKENS = frozenset({"null", "(null)", "nil", "none", "undefined", "nan", "\\n"})


class BrokenRecord(ValueError):
    """A record that cannot be sent to. The message is the reason, without any value of the record."""


class Columns:
    """Finds known columns in any case. Every other name is an attribute's, and keeps its case.

    Args:
        known: the columns' names, in lower case.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self.usual = set(known)
        """Names that need not be changed: the known columns, and attributes that were met."""

    def are_usual(self, record: Mapping[str, object]) -> bool:
        """Whether no known column is in the record in another case.

        Names are remembered, because this is called for most records. Their number is bounded, because a file may have
        new ones in every record.
        """
        if self.usual.issuperset(record):
            return True
        others = [name for name in record if name not in self.usual]
        if any(name.lower() in self._known for name in others):
            return False
        # Beyond that the check is made for each record again: slower, and right.
        if len(self.usual) < _MAX_NAMES:
            self.usual.update(others)
        return True

    def renamed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with the known columns in lower case. Raises BrokenRecord if one has two values."""
        found: dict[str, Any] = {}
        for name, value in record.items():
            lower = name.lower()
            column = lower if lower in self._known else name
            # A null beside a value is no second value: exports of joined tables have both columns.
            if column not in found or found[column] is None:
                found[column] = value
            elif value is not None:
                raise BrokenRecord(f"{column}: given twice, in names that differ only in case")
        return found


def are_values(header: Iterable[str]) -> bool:
    """Whether a table's first line has values, such as tokens, in place of the names of columns."""
    cells = [cell.strip() for cell in header]
    return any(
        cell.lower() in _PLATFORMS or len(cell) > _LONGEST_NAME or "{" in cell or "\x01" in cell for cell in cells
    )


def normalised(value: object) -> object:
    """A name such as `iOS` or ` Android` as `recipient` looks it up; any other value as it is."""
    return value.strip().lower() if isinstance(value, str) else value


def integer_of(number: Decimal | float) -> int:
    """The integer that was written as a decimal, such as 1000.0.

    Raises:
        BrokenRecord: it has a fraction, or is so large that its last digits may be lost.
    """
    if not -FIRST_INEXACT < number < FIRST_INEXACT:
        raise BrokenRecord("user_id: a decimal of 2^53 or more, which may have lost digits: write it as text")
    if number != int(number):
        raise BrokenRecord("user_id: a number with a fraction: write it as text")
    return int(number)


def object_in(text: str, field: str) -> dict[str, Any] | None:
    """The JSON object in a column of text; None if the text is empty or null."""
    value = _json_in(text, field, "object")
    if value is not None and type(value) is not dict:
        raise BrokenRecord(f"{field}: text that is not a JSON object")
    return value


def list_in(text: str, field: str) -> list[Any] | None:
    """The JSON list in a column of text; None if the text is empty or null."""
    value = _json_in(text, field, "list")
    if value is not None and type(value) is not list:
        raise BrokenRecord(f"{field}: text that is not a JSON list")
    return value


def _json_in(text: str, field: str, kind: str) -> Any:
    if not text.strip():
        return None
    try:
        return _decode(text)
    except _FAULTS:
        raise BrokenRecord(f"{field}: text that is not a JSON {kind}") from None


def token_of(text: str, *, is_hex: bool) -> str:
    """A token without what other tools put around it.

    Up to version 12 iOS described the bytes of a token as `<abcd 1234>`. White space comes from lines and columns.

    Args:
        is_hex: the token is for APNs: bytes in hexadecimal.

    Raises:
        BrokenRecord: the text has no token.
    """
    bare = text.strip()
    if bare.lower() in _NO_TOKENS:
        raise BrokenRecord("token: a word that means no token (null, None, NaN…)")
    # Since version 13 the description has the length and only some of the bytes.
    if bare.startswith("{length") or (bare.endswith(" bytes") and bare[:-6].isdigit()):
        raise BrokenRecord(DESCRIBED)
    if is_hex:
        joined = "".join(bare.removeprefix("<").removesuffix(">").split())
        if joined and all(character in "0123456789abcdefABCDEF" for character in joined):
            return joined
    if not bare:
        raise BrokenRecord("token: empty")
    # Each of these would be part of a header or a path, where it breaks the request.
    if not bare.isascii() or not bare.isprintable() or " " in bare or bare.startswith("<"):
        raise BrokenRecord("token: has characters no token has")
    return bare
