"""Parses JSON values one after the other, with white space, commas or nothing between them.

Amazon Data Firehose writes objects so, `jq` writes them over many lines, and a list that lost its brackets has commas.
The end of each value is found by its brackets, and the value is decoded alone. So a broken value is one broken record:
parsing goes on where the next value seems to begin.
"""

import re

from notifier.audience.json_faults import NOT_JSON
from notifier.audience.limits import MAX_VALUE_BYTES
from notifier.audience.lines import decode_or_broken
from notifier.audience.scan import ValueScan
from notifier.model.spelling import BrokenRecord

TOO_LONG = "a record of over 1 MiB"
VAIN_BYTES = 4 * MAX_VALUE_BYTES
VAIN_SHARE = 8
"""The budget for scanning values that turn out to have no end: at most `VAIN_BYTES`, and `VAIN_SHARE` bytes are added
for each byte that is read. Scanning a broken text again from each of its brackets would take quadratic time. Without
budget, all that was scanned becomes one broken record."""

# Possessive are single characters only: Python before 3.11.5 matches possessive groups wrongly (cpython#106052).
_BETWEEN = re.compile(rb"(?:[ \t\r\n,\x1e]++|\xef\xbb\xbf)*")
_NEXT_VALUE = re.compile(rb"(?:\n(?:\xef\xbb\xbf|,){0,8}|\}[ \t\r\n\x1e]{0,200}+(?:\xef\xbb\xbf)?)(?=\{)")
"""Where a value seems to begin after a broken one: at a line's beginning, or between two objects without a comma, which
does not occur within a value."""
_NEXT_VALUE_BYTES = 256
"""The longest match of `_NEXT_VALUE`."""
_STRING = re.compile(rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*"')
_QUOTE = ord('"')
_OTHER = re.compile(rb"[^\n{,]++")
"""A number, or garbage."""


class ValueParser:
    """Push text in, take records out; what is not JSON becomes a `BrokenRecord`.

    Args:
        offset: of the text's first byte in the file.
        skip: the number of records already processed: they are not decoded, and are None.
    """

    def __init__(self, offset: int = 0, *, skip: int = 0) -> None:
        self.count = 0
        self._offset = offset
        self.rest: bytes | None = None
        """Always None: this format ends only with the file."""
        self._skip = skip
        self._text = b""
        self._at = 0
        """Everything before it in `_text` is read."""
        self._scan: ValueScan | None = None
        self._vain_left = VAIN_BYTES
        self._is_lost = False
        """After a broken value: the beginning of the next one has to be found first."""
        self._records: list[object] = []

    @property
    def offset(self) -> int:
        """The offset of the first value that is not complete."""
        return self._offset + self._at

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. With `final` nothing follows."""
        self._drop_read_text()
        self._text += text
        while self._step(final):
            pass
        return self.salvage()

    def salvage(self) -> list[object]:
        """Records that are complete and not taken yet."""
        records, self._records = self._records, []
        return records

    def _drop_read_text(self) -> None:
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
        # An incomplete byte-order mark would be taken for garbage.
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
        """The value from `_at` to `end` is whole."""
        value = self._text[self._at : end]
        self._records.append(None if self.count < self._skip else decode_or_broken(value))
        self._at = end
        self.count += 1
        self._vain_left = min(VAIN_BYTES, self._vain_left + VAIN_SHARE * len(value))

    def _lose(self, looked_at: int, reason: str) -> None:
        """The value has no end: go on where the next one seems to begin, or after all that was scanned."""
        self._records.append(BrokenRecord(reason))
        self.count += 1
        self._vain_left -= looked_at - self._at
        self._is_lost = True
        # One byte further: the next value may begin inside the broken one.
        self._at += 1
        if self._vain_left < 0:
            # The budget is used up: pass over all that was scanned, which pays for a part of it.
            self._vain_left += VAIN_SHARE * (looked_at - self._at)
            self._at = max(self._at, looked_at - 1)

    def _find_next_value(self) -> bool:
        found = _NEXT_VALUE.search(self._text, self._at)
        self._is_lost = found is None
        # The white space before the next value may not have arrived yet, so the end of the text is searched again.
        self._at = found.end() if found else max(self._at, len(self._text) - _NEXT_VALUE_BYTES)
        return found is not None

    def _take_other(self, final: bool) -> bool:
        """A string, a number, or garbage up to the end of the line or to the next object."""
        is_string = self._text[self._at] == _QUOTE
        found = (_STRING if is_string else _OTHER).match(self._text, self._at)
        # A string without an end is garbage up to the end of its line.
        end = found.end() if found else self._text.find(b"\n", self._at)
        is_open = end < 0 or (end == len(self._text) and not is_string)
        if is_open and not final and len(self._text) - self._at <= MAX_VALUE_BYTES:
            return False
        self._take(end if end >= 0 else len(self._text))
        return True
