"""Newline-delimited JSON: one record a line, with the byte each line begins at."""

from decimal import Decimal

import msgspec

from notifier.audience.encoding import why_not_json
from notifier.audience.limits import MAX_VALUE_BYTES, UNENCODABLE, without_lone_surrogates
from notifier.recipient import BrokenRecord

TOO_LONG = "a line of over 1 MiB"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_FAULTS = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)


class LineParser:
    """Push text in, take records out. A line that cannot be decoded is a `BrokenRecord` in its place.

    Windows line ends and empty lines are taken; an empty line is no record.

    Args:
        offset: byte of the text that comes first.
        skip: so many records are not decoded but None: their reader has had them.
    """

    def __init__(self, offset: int = 0, *, skip: int = 0) -> None:
        self.starts: list[int] = []
        self.count = 0
        self._skip = skip
        self._line_start = offset
        self._tail = b""
        self._dropped = 0

    @property
    def offset(self) -> int:
        """Where the first line begins that is not complete yet."""
        return self._line_start

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records of the lines that these bytes complete; `starts` has the byte of each."""
        *lines, tail = (self._tail + text).split(b"\n")
        if final:
            lines.append(tail)
            tail = b""
        records: list[object] = []
        starts: list[int] = []
        at = self._line_start
        for line in lines:
            length = len(line) + 1 + self._dropped
            if self._dropped or len(line) > MAX_VALUE_BYTES:
                records.append(BrokenRecord(TOO_LONG))
                starts.append(at)
                self._dropped = 0
            elif self.count + len(records) < self._skip:
                if line.strip():
                    records.append(None)
                    starts.append(at)
            else:
                try:
                    records.append(_decode(line))
                    starts.append(at)
                except _FAULTS:
                    if line.strip():
                        records.append(_judged(line))
                        starts.append(at)
            at += length
        if len(tail) > MAX_VALUE_BYTES:
            self._dropped += len(tail)
            tail = b""
        self._tail = tail
        self._line_start = at
        self.starts = starts
        self.count += len(records)
        return records

    def salvage(self) -> list[object]:
        """Nothing waits here: a line is judged alone."""
        return []


def _judged(line: bytes) -> BrokenRecord:
    """Why a line could not be decoded."""
    mended = without_lone_surrogates(line)
    if mended != line:
        try:
            _decode(mended)
        except _FAULTS:
            return BrokenRecord(why_not_json(line))
        return BrokenRecord(UNENCODABLE)
    return BrokenRecord(why_not_json(line))
