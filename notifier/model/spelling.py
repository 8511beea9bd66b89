"""What a record says, as other tools spell it: columns and words in any case, ids as decimals, JSON as text.

GA4 writes `iOS`, Snowflake `USER_ID`, pandas 1000.0, warehouses an object as text, and iOS apps the description of a
token instead of the token. Everything here is off the way of an ordinary record: it is asked only where that fails.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

FIRST_INEXACT = 2**53
"""From here on a double, which is what most tools keep numbers as, cannot say every integer."""
DESCRIBED = "token: a description of the data ({length = …, bytes = …}), the token is not in it: send the bytes as hex"
_MAX_NAMES = 10_000

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_FAULTS = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
_NO_TOKENS = frozenset({"null", "(null)", "nil", "none", "undefined", "nan", "\\n"})


class BrokenRecord(ValueError):
    """A record nobody can be sent by. The message is the reason, without any value of the record."""


class Columns:
    """The columns that are known, found in any case; every other name is an attribute's, and keeps its case.

    Args:
        known: their names, in lower case.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self.usual = set(known)
        """Names that may stand in a record as they are."""

    def are_usual(self, record: Mapping[str, object]) -> bool:
        """Whether none of them stands in the record in another case. Names met once are remembered: it is asked often.

        The number of remembered names is bounded, because a file may have a new one in every record.
        """
        if self.usual.issuperset(record):
            return True
        others = [name for name in record if name not in self.usual]
        if any(name.lower() in self._known for name in others):
            return False
        if len(self.usual) < _MAX_NAMES:
            self.usual.update(others)
        return True

    def renamed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record with these columns in lower case. Where one is there twice, at most one may have a value."""
        found: dict[str, Any] = {}
        for name, value in record.items():
            lower = name.lower()
            column = lower if lower in self._known else name
            if column not in found or found[column] is None:
                found[column] = value
            elif value is not None:
                raise BrokenRecord(f"{column}: given twice, in names that differ only in case")
        return found


def word(value: object) -> object:
    """A word such as `iOS` or ` Android`, as the tables have it."""
    return value.strip().lower() if isinstance(value, str) else value


def integer_of(number: Decimal | float) -> int:
    """The integer that was written as a decimal, such as 1000.0.

    Raises:
        BrokenRecord: it has a fraction, or is so large that a tool may have lost its last digits.
    """
    if not -FIRST_INEXACT < number < FIRST_INEXACT:
        raise BrokenRecord("user_id: a decimal of 2^53 or more, which may have lost digits: write it as text")
    if number != int(number):
        raise BrokenRecord("user_id: a number with a fraction: write it as text")
    return int(number)


def object_in(text: str, field: str) -> dict[str, Any] | None:
    """The JSON object that a column holds as text; None where the column is empty or says null."""
    value = _json_in(text, field, "object")
    if value is not None and type(value) is not dict:
        raise BrokenRecord(f"{field}: text that is not a JSON object")
    return value


def list_in(text: str, field: str) -> list[Any] | None:
    """The JSON list that a column holds as text; None where the column is empty or says null."""
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

    `<abcd 1234>` is how iOS described the bytes of a token up to version 12; white space comes with lines and columns.

    Args:
        is_hex: the token is APNs': bytes in hexadecimal.

    Raises:
        BrokenRecord: there is no token in it.
    """
    bare = text.strip()
    if bare.lower() in _NO_TOKENS:
        raise BrokenRecord("token: a word that means no token (null, None, NaN…)")
    if bare.startswith("{length") or (bare.endswith(" bytes") and bare[:-6].isdigit()):
        raise BrokenRecord(DESCRIBED)
    if is_hex:
        joined = "".join(bare.removeprefix("<").removesuffix(">").split())
        if joined and all(character in "0123456789abcdefABCDEF" for character in joined):
            return joined
    if not bare:
        raise BrokenRecord("token: empty")
    if not bare.isascii() or not bare.isprintable() or " " in bare or bare.startswith("<"):
        raise BrokenRecord("token: has characters no token has")
    return bare
