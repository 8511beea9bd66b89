"""Parses a JSON object at the top of a file: its keys here, its small values by `json`, its `users` by `ArrayParser`.

The parser is a chain of steps (`_open`, `_read_key`, `_colon`, `_read_value`, `_comma`): `_step` is the one that the
next character belongs to. A step returns False if it needs more text.
"""

import codecs
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import ModuleType

from notifier.audience.array import ArrayParser
from notifier.audience.foreign_formats import HEAD_BYTES, SMALL_HEAD_BYTES, foreign_format, look_of, users_fault
from notifier.audience.json_faults import NOT_JSON, NOT_UTF8, foreign_word, why_not_json
from notifier.audience.limits import MAX_VALUE_BYTES, is_too_deep
from notifier.model.audience_faults import BrokenFile

USERS = "users"
BATCH_FILE_KEYS = ("campaign", USERS, "audience")
PART_KEYS = (USERS,)

_SPACE = b" \t\r\n"
_FIRST_TRY_BYTES = 4096
"""A value that is not complete is tried again at twice its length, and not before this length."""
_LONGEST_CHARACTER = 4
"""Bytes, in UTF-8."""


class _NotANumber(ValueError):
    """The campaign has NaN or an infinity. The message says what to write instead."""


def _refuse(literal: str) -> object:
    raise _NotANumber(foreign_word(literal.encode(), 0))


_decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse)


def _meant(key: object, known: Sequence[str]) -> str:
    """A hint for a key that is misspelled, or is a campaign's. The key itself may be a user's id, and is not shown."""
    import difflib  # noqa: PLC0415 - only for a file that is refused

    if key in ("id", "message", "variants", "title", "body"):
        return ": what is the campaign's belongs into `campaign`"
    close = difflib.get_close_matches(str(key).lower(), known, 1)
    return f": did you mean `{close[0]}`?" if close else ""


class DocumentParser:
    """Push text in, take users out; the other keys are in `values`.

    Args:
        known: the keys that the object may have, each once, in any order.
        offset: of the text's first byte in the file.
        skip: the number of users already processed: they need not be decoded.
        plain: users in their usual form come as `PlainRecord`.
    """

    def __init__(
        self, name: str, known: tuple[str, ...], offset: int = 0, *, skip: int = 0, plain: bool = False
    ) -> None:
        self.values: dict[str, object] = {}
        self.has_users = False
        self.count = 0
        self.ended = False
        self._name = name
        self._known = known
        self._skip = skip
        self._plain = plain
        self._backend: ModuleType | None = None
        self._text = b""
        self._offset = offset
        self._array: ArrayParser | None = None
        self._done: list[object] = []
        self._step: Callable[[], bool] = self._open
        self._key = ""
        self._retry_at = 0
        self._final = False

    @property
    def offset(self) -> int:
        """The offset in the text of the first byte that is not parsed yet."""
        return self._offset

    @property
    def in_users(self) -> bool:
        """Whether the next byte belongs to `users`."""
        return self._array is not None

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The users that these bytes complete. With `final` nothing follows.

        Raises:
            BrokenFile: not JSON from here on, an unknown or a second key, or a value beyond a limit.
        """
        self._final = final
        # Text for the array is not appended to what waits here: it would be copied for every piece of a large file.
        if self._array is None:
            self._text += text
            text = b""
        while True:
            if self._array is not None:
                self._feed_array(self._array, self._text + text)
                text = b""
                if self._array is not None:
                    return self.salvage()
            if not self._advance():
                return self.salvage()

    def salvage(self) -> list[object]:
        """Users that are complete and not taken yet."""
        records = self._done + (self._array.salvage() if self._array else [])
        self._done = []
        return records

    def _feed_array(self, array: ArrayParser, text: bytes) -> None:
        self._text = b""
        try:
            self._done += array.feed(text, final=self._final)
        finally:
            self.count = array.count
            self._offset = array.offset
        if array.rest is not None:
            self._text = array.rest
            self._array = None

    def _advance(self) -> bool:
        """Take steps as far as the text goes. Returns True where `users` begins."""
        while True:
            # White space is allowed before every step.
            left = self._text.lstrip(_SPACE)
            self._offset += len(self._text) - len(left)
            self._text = left
            if not self._text:
                if self._final and not self.ended:
                    raise self._broken("the file is empty" if self._step == self._open else "the file is cut off")
                return False
            if not self._step():
                if self._final and self._array is None:
                    raise self._broken("the file is cut off")
                return self._array is not None

    def _take(self, count: int) -> None:
        self._text = self._text[count:]
        self._offset += count

    def _expect(self, character: bytes) -> None:
        if not self._text.startswith(character):
            raise self._broken(why_not_json(self._text[:_FIRST_TRY_BYTES], 0))
        self._take(1)

    def _open(self) -> bool:
        if codecs.BOM_UTF8.startswith(self._text[: len(codecs.BOM_UTF8)]):
            # It may be the beginning of a byte-order mark.
            if len(self._text) < len(codecs.BOM_UTF8) and not self._final:
                return False
            self._take(len(codecs.BOM_UTF8))
            return True
        # A foreign format is recognised by more bytes than a first bracket.
        is_object = self._text.startswith(b"{")
        if len(self._text) < (SMALL_HEAD_BYTES if is_object else HEAD_BYTES) and not self._final:
            return False
        head = self._text[:HEAD_BYTES]
        if fault := foreign_format(head) or (None if is_object else look_of(head)):
            raise self._broken(fault)
        if not is_object:
            raise self._broken("not a JSON object with `campaign` and `users`")
        self._take(1)
        self._step = self._first_key
        return True

    def _first_key(self) -> bool:
        if self._text.startswith(b"}"):
            return self._close()
        return self._read_key()

    def _close(self) -> bool:
        self._take(1)
        self.ended = True
        self._step = self._nothing
        return True

    def _nothing(self) -> bool:
        raise self._broken("something follows the end of the object")

    def _read_key(self) -> bool:
        if not self._text.startswith(b'"'):
            raise self._broken(why_not_json(self._text[:_FIRST_TRY_BYTES], 0))
        found = self._value()
        if found is None:
            return False
        key, length = found
        if not isinstance(key, str) or key not in self._known:
            raise self._broken(f"an unknown key at the top (known: {', '.join(self._known)}){_meant(key, self._known)}")
        if key in self.values or (key == USERS and self.has_users):
            raise self._broken(f"a second `{key}` at the top")
        # A batch file with both would be sent to one of them, and its author may have meant the other.
        if (key == USERS and "audience" in self.values) or (key == "audience" and self.has_users):
            raise self._broken("both `users` and `audience`")
        self._take(length)
        self._key = key
        self._step = self._colon
        return True

    def _colon(self) -> bool:
        self._expect(b":")
        self._step = self._read_value
        return True

    def _read_value(self) -> bool:
        if self._key == USERS:
            if not self._text.startswith(b"["):
                # An example of the same type is enough for the message: an object, null, or anything else.
                example: object = {} if self._text.startswith(b"{") else None if self._text.startswith(b"n") else ""
                raise self._broken(users_fault(example) or "")
            self.has_users = True
            self._array = ArrayParser(
                self._name, self._offset, alone=False, skip=self._skip, backend=self._backend, plain=self._plain
            )
            self._step = self._comma
            return False
        found = self._value()
        if found is None:
            return False
        self.values[self._key], length = found
        self._take(length)
        self._step = self._comma
        return True

    def _comma(self) -> bool:
        if self._text.startswith(b"}"):
            return self._close()
        self._expect(b",")
        self._step = self._read_key
        return True

    def _value(self) -> tuple[object, int] | None:
        """The value that the text begins with and its length in bytes; None until all of it has arrived."""
        too_long = len(self._text) > MAX_VALUE_BYTES
        # Tried at doubling lengths, because each attempt decodes the value from its beginning.
        if len(self._text) < self._retry_at and not self._final and not too_long:
            return None
        text = self._decodable(self._text[: MAX_VALUE_BYTES + _LONGEST_CHARACTER])
        try:
            value, end = _decoder.raw_decode(text)
        except (RecursionError, ArithmeticError):
            raise self._broken("a value that is nested too deep or too large a number") from None
        except json.JSONDecodeError as error:
            self._not_yet(error, too_long=too_long)
            return None
        except _NotANumber as error:
            raise self._broken(f"`{self._key}`: {error}") from None
        except ValueError:
            raise self._broken("not JSON, or a number of too many digits") from None
        # A value at the end of the text may go on: 12 of 123.
        if end == len(text) and not self._final and not too_long:
            self._not_yet(None, too_long=False)
            return None
        if is_too_deep(value):
            raise self._broken("a value that is nested deeper than 64 levels")
        self._retry_at = 0
        return value, len(text[:end].encode())

    def _decodable(self, window: bytes) -> str:
        """The text up to the first byte that is not UTF-8. Raises BrokenFile if the value does not end before it."""
        try:
            return codecs.utf_8_decode(window, "strict", False)[0]
        except UnicodeDecodeError as error:
            text = window[: error.start].decode()
            try:
                if _decoder.raw_decode(text)[1] < len(text):
                    return text
            except (ValueError, RecursionError, ArithmeticError):
                pass
            raise self._broken(NOT_UTF8, error.start) from None

    def _not_yet(self, error: json.JSONDecodeError | None, *, too_long: bool) -> None:
        """The value is not complete: wait for more text, or raise BrokenFile if there cannot be more."""
        if too_long:
            raise self._broken(f"`{self._key}` is over 1 MiB, or not JSON" if self._key else "not JSON")
        if self._final:
            at = error.pos if error else 0
            # The decoder stopped at the end of the text, or in a string that has none: the file ends too early.
            cut_off = error is None or at >= len(self._text) - 1 or str(error).startswith("Unterminated")
            raise self._broken("the file is cut off" if cut_off else NOT_JSON, at)
        self._retry_at = max(_FIRST_TRY_BYTES, 2 * len(self._text))

    def _broken(self, reason: str, ahead: int = 0) -> BrokenFile:
        return BrokenFile(self._name, reason, (self._offset + ahead,))
