"""Decodes whole records of an array, many at once, by msgspec: eight times as fast as ijson builds them.

The text begins with the array's bracket. It is cut where a record seems to end, and closed with a bracket. If the
result is JSON, a record did end there: a cut inside a string or a deeper value leaves brackets that do not match.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec

from notifier.audience.limits import MAX_BRACKETS, brackets, has_endless_number, without_lone_surrogates
from notifier.model.recipient import PlainRecord

_SPACE = b" \t\r\n"
_CANDIDATES = 256
"""Closing brackets that are looked at, from the end backwards."""
_DECODES = 4
"""Candidates that are tried: each costs a decoding of the whole text."""
_SPACE_BYTES = 256
"""White space between two records that is looked through."""
ENOUGH_BYTES = 16 * 1024
"""Less text is not worth an attempt. So ijson decodes a small file alone."""
PATIENCE_BYTES = 256 * 1024
"""After this much text without the end of a record, leave the array to ijson."""

_FAULTS = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
_decode = msgspec.json.Decoder(list, float_hook=Decimal).decode
_decode_plain = msgspec.json.Decoder(list[PlainRecord], float_hook=Decimal).decode

T = TypeVar("T")


def whole_records(text: bytes, decode: Callable[[bytes], Sequence[T]]) -> tuple[Sequence[T], bytes] | None:
    """The whole records at the beginning of an array's text, and the text of the array that is left.

    None if no record's end was found. At least one record, whole or not, is left, because the comma before it becomes
    the opening bracket of the rest.
    """
    attempts = _DECODES
    end = len(text)
    for _ in range(_CANDIDATES):
        end = text.rfind(b"}", 0, end)
        if end < 0 or not attempts:
            return None
        # A record's end looks like `}, {`. Nested objects in a list look the same, and so may text within a string.
        after = text[end + 1 : end + 1 + _SPACE_BYTES].lstrip(_SPACE)
        if not after.startswith(b",") or not after[1:].lstrip(_SPACE).startswith(b"{"):
            continue
        attempts -= 1
        try:
            records = decode(text[: end + 1] + b"]")
        except _FAULTS:
            continue
        return records, b"[" + text[end + 1 :].lstrip(_SPACE)[1:]
    return None


class Unusual(ValueError):
    """The text may be JSON, but has something that only `ArrayParser` handles."""


def decoded(text: bytes) -> list[object]:
    """The records of an array's text.

    Raises:
        Unusual: it is close to a limit or has a lone surrogate.
        msgspec.DecodeError: it is not JSON.
    """
    _look_for_unusual(text)
    return _decode(text)


def decoded_plain(text: bytes) -> Sequence[object]:
    """The same, as `PlainRecord`s where all records of the text have that form. Raises as `decoded`."""
    _look_for_unusual(text)
    try:
        return _decode_plain(text)
    except msgspec.ValidationError:  # JSON so far
        return _decode(text)


def _look_for_unusual(text: bytes) -> None:
    if brackets(text) > MAX_BRACKETS or has_endless_number(text) or without_lone_surrogates(text) != text:
        raise Unusual


class BulkDecoder:
    """Decodes an array, from its opening bracket on, as long as nothing about it is unusual.

    When it stops, `rest` is the text of an array that begins with the next record.

    Args:
        plain: records in their usual form come as `PlainRecord`.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._decode: Callable[[bytes], Sequence[object]] = decoded_plain if plain else decoded
        self.rest: bytes | None = None
        self._text = b""

    def feed(self, text: bytes) -> tuple[Sequence[object], int]:
        """Take more text. Returns the records that it completes and the number of bytes that they were."""
        self._text += text
        if len(self._text) < ENOUGH_BYTES:
            return (), 0
        found = whole_records(self._text, self._decode)
        if found is None:
            if len(self._text) > PATIENCE_BYTES:
                self.stop()
            return (), 0
        records, left = found
        taken, self._text = len(self._text) - len(left), left
        return records, taken

    def stop(self) -> None:
        """Stop decoding: `rest` is set."""
        if self.rest is None:
            self.rest = self._text
