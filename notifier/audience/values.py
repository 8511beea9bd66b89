"""JSON values one behind the other, with any white space, commas or nothing between them.

Amazon Data Firehose writes objects so, `jq` writes them over many lines, and a list that lost its brackets has commas.
Each value's end is found by its brackets, and then it is decoded alone. So a broken value costs itself only: reading
goes on where the next one seems to begin.
"""

import re

from notifier.audience.json_faults import NOT_JSON
from notifier.audience.limits import MAX_VALUE_BYTES
from notifier.audience.lines import decode_or_broken
from notifier.audience.scan import ValueScan
from notifier.model.recipient import BrokenRecord

TOO_LONG = "a record of over 1 MiB"
VAIN_BYTES = 4 * MAX_VALUE_BYTES
VAIN_SHARE = 8
"""So much may be looked at in vain, and so many times what was read since: looking again from every place in a broken
text would take for ever. Beyond it everything that was looked at is one broken record."""

_BETWEEN = re.compile(rb"(?:[ \t\r\n,\x1e]|\xef\xbb\xbf)*+")
_NEXT_VALUE = re.compile(rb"(?:\n(?:\xef\xbb\xbf|,){0,8}+|\}[ \t\r\n\x1e]{0,200}+(?:\xef\xbb\xbf)?)(?=\{)")
"""Where a value seems to begin behind a broken one: at a line's beginning, or where two objects have no comma between
them, which they never have within a value."""
_NEXT_VALUE_BYTES = 256
"""No match of it is longer."""
_STRING = re.compile(rb'"(?:[^"\\\n]++|\\[^\n])*+"')
_QUOTE = ord('"')
_OTHER = re.compile(rb"[^\n{,]++")
"""A number, or garbage."""


class ValueParser:
    """Push text in, take records out; what is no JSON is a `BrokenRecord` in its place.

    Args:
        offset: byte of the text that comes first.
        skip: so many records are not decoded but None: their reader has had them.
    """

    def __init__(self, offset: int = 0, *, skip: int = 0) -> None:
        self.count = 0
        self._offset = offset
        self.rest: bytes | None = None
        """Never anything: this form has no end but the file's."""
        self._skip = skip
        self._text = b""
        self._at = 0
        self._scan: ValueScan | None = None
        self._vain_left = VAIN_BYTES
        self._is_lost = False
        self._records: list[object] = []

    @property
    def offset(self) -> int:
        """Where the first value begins that is not complete yet."""
        return self._offset + self._at

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. With `final` nothing follows."""
        self._forget()
        self._text += text
        while self._step(final):
            pass
        return self.salvage()

    def salvage(self) -> list[object]:
        """Records that are complete and not taken yet."""
        records, self._records = self._records, []
        return records

    def _forget(self) -> None:
        """Let go of the text that is read."""
        self._text = self._text[self._at :]
        self._offset += self._at
        if self._scan is not None:
            self._scan.moved(self._at)
        self._at = 0

    def _step(self, final: bool) -> bool:
        """Read one value. False when more text is needed."""
        if self._is_lost and not self._find_next_value():
            return False
        found = _BETWEEN.match(self._text, self._at)
        self._at = found.end() if found else self._at
        left = len(self._text) - self._at
        # The beginning of a byte-order mark is not yet one.
        if not left or (left < 3 and self._text[self._at] == 0xEF and not final):
            return False
        if self._text[self._at] not in b"{[":
            return self._take_other(final)
        scan = self._scan or ValueScan(self._at)
        ends = scan.follow(self._text)
        is_too_long = ends is None and scan.is_too_long(self._text)
        if ends is None and not final and not is_too_long:
            self._scan = scan
            return False
        self._scan = None
        if ends:
            self._take(scan.at)
        else:
            self._lose(scan.at, TOO_LONG if is_too_long else NOT_JSON)
        return True

    def _take(self, end: int) -> None:
        """The value up to here is whole."""
        value = self._text[self._at : end]
        self._records.append(None if self.count < self._skip else decode_or_broken(value))
        self._at = end
        self.count += 1
        self._vain_left = min(VAIN_BYTES, self._vain_left + VAIN_SHARE * len(value))

    def _lose(self, looked_at: int, reason: str) -> None:
        """A value without an end: go on where the next one seems to begin, or behind all that was looked at."""
        self._records.append(BrokenRecord(reason))
        self.count += 1
        self._vain_left -= looked_at - self._at
        self._is_lost = True
        self._at += 1
        if self._vain_left < 0:
            self._vain_left += VAIN_SHARE * (looked_at - self._at)
            self._at = max(self._at, looked_at - 1)

    def _find_next_value(self) -> bool:
        found = _NEXT_VALUE.search(self._text, self._at)
        self._is_lost = found is None
        # The white space before the value may still be coming: some of what was searched is searched again.
        self._at = found.end() if found else max(self._at, len(self._text) - _NEXT_VALUE_BYTES)
        return found is not None

    def _take_other(self, final: bool) -> bool:
        """A string, a number, or garbage up to the end of the line or to the next object."""
        is_string = self._text[self._at] == _QUOTE
        found = (_STRING if is_string else _OTHER).match(self._text, self._at)
        end = found.end() if found else self._text.find(b"\n", self._at)
        is_open = end < 0 or (end == len(self._text) and not is_string)
        if is_open and not final and len(self._text) - self._at <= MAX_VALUE_BYTES:
            return False
        self._take(end if end >= 0 else len(self._text))
        return True
