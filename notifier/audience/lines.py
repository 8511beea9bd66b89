"""Parses newline-delimited JSON: one record a line, with the byte at which each line begins.

Most lines are one call of msgspec. All else in this file is for lines that are not JSON: a value may go on over several
lines, a line may hold several values, or a line may be cut off, and then it must not take the next lines with it.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from notifier.audience.json_faults import why_not_json
from notifier.audience.limits import MAX_VALUE_BYTES, UNENCODABLE, without_lone_surrogates
from notifier.audience.scan import BETWEEN, ValueScan
from notifier.model.recipient import PlainRecord
from notifier.model.spelling import BrokenRecord

TOO_LONG = "a line of over 1 MiB"
LONG_LINE_BYTES = 64 * 1024
"""A line that has not ended by this length is scanned: it may be many objects without a line break."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_decode_plain = msgspec.json.Decoder(PlainRecord, float_hook=Decimal).decode
_check = msgspec.json.Decoder(msgspec.Raw).decode
_FAULTS = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
_OPENINGS = (b"{", b"[")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")


class LineParser:
    """Push text in, take records out. A line that cannot be decoded becomes a `BrokenRecord`.

    Windows line ends, byte-order marks, commas after lines and empty lines are accepted; an empty line is no record.
    If a value goes on over several lines, or another value follows in its line, `rest` is the text from that line on,
    for `ValueParser`.

    Args:
        offset: of the text's first byte in the file.
        skip: the number of records already processed: they are checked, not decoded, and are None.
        plain: records in their usual form come as `PlainRecord`.
    """

    def __init__(self, offset: int = 0, *, skip: int = 0, plain: bool = False) -> None:
        self._decode: Callable[[bytes], object] = _plain_or_any if plain else _decode
        self.starts: Sequence[int | None] = ()
        self.count = 0
        self.rest: bytes | None = None
        self._skip = skip
        self._line_start = offset
        self._tail = b""
        """The beginning of a line that has not ended yet."""
        self._dropped = 0
        """Bytes of that line that were dropped already, because it is too long to be a record."""
        self._scan: ValueScan | None = None
        """Follows a value over several lines, from the first line that is not complete."""
        self._long_scan: ValueScan | None = None
        """Follows the first value of a line that has not ended yet."""
        self._single: list[tuple[int, int]] = []
        """Ranges of bytes whose lines are each decoded alone: a value was followed through them and had no end."""

    @property
    def offset(self) -> int:
        """The offset of the first line that is not complete."""
        return self._line_start

    @property
    def byte(self) -> int | None:
        """The same, or None if reading cannot begin there."""
        return None if self._is_single(self._line_start) else self._line_start

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records of the lines that these bytes complete; `starts` has the byte of each, or None.

        A record has no byte if reading from there would find other records: within a value over several lines that
        turned out to be broken.
        """
        *lines, tail = (self._tail + text).split(b"\n")
        if final:
            lines.append(tail)
            tail = b""
        self._tail = tail
        records: list[object] = []
        starts: list[int] = []
        if lines:
            self._long_scan = None
            if self._dropped:
                self._end_dropped_line(lines.pop(0), records, starts)
        self._read(lines, final, records, starts)
        self.starts = self._resumable(starts) if self._single else starts
        self.count += len(records)
        if self.rest is None and len(self._tail) > LONG_LINE_BYTES:
            self._look_at_long_line()
        return records

    def salvage(self) -> list[object]:
        """Always empty: `feed` returns every record that it completes."""
        return []

    def _end_dropped_line(self, end: bytes, records: list[object], starts: list[int]) -> None:
        """The rest of a line that is too long has arrived: it is one broken record."""
        records.append(BrokenRecord(TOO_LONG))
        starts.append(self._line_start)
        self._line_start += self._dropped + len(end) + 1
        self._dropped = 0

    def _read(self, lines: list[bytes], final: bool, records: list[object], starts: list[int]) -> None:
        """Append the record of each line and its byte. Runs once for every record of an audience."""
        at = self._line_start
        # A line to skip is checked all the same: if it is not exactly one value, it is not exactly one record.
        undecoded = max(0, self._skip - self.count - len(records))
        decode: Callable[[bytes], object] = _checked
        for n, line in enumerate(lines):
            if n == undecoded:
                decode = self._decode
            try:
                if len(line) > MAX_VALUE_BYTES:  # it may be many values
                    raise OverflowError
                records.append(decode(line))
                starts.append(at)
            except _FAULTS:
                if not self._take_unusual(lines, n, at, final, records):
                    break
                starts += [at] * (len(records) - len(starts))
            at += len(line) + 1
        self._line_start = at

    def _take_unusual(self, lines: list[bytes], n: int, at: int, final: bool, records: list[object]) -> bool:
        """Append the record of a line that is not JSON as it is, if it is one. Returns False if reading stops here."""
        line = lines[n]
        bare = line.strip(BETWEEN)
        if not bare:
            return True
        # A comma, a byte-order mark or a separator around a value that is JSON.
        if bare != line and len(line) <= MAX_VALUE_BYTES:
            try:
                records.append(_decode(bare))
            except _FAULTS:
                pass
            else:
                return True
        if bare[:1] in _OPENINGS:
            rest = b"\n".join(lines[n:] if final else [*lines[n:], self._tail])
            is_single = self._is_single(at)
            goes_on = self._goes_on(line, line if is_single else rest, at, final or is_single)
            if goes_on is None:
                # Read again from this line on when there is more text.
                self._tail = rest
                return False
            if goes_on:
                self.rest, self._tail = rest, b""
                return False
        records.append(broken(bare) if len(line) <= MAX_VALUE_BYTES else BrokenRecord(TOO_LONG))
        return True

    def _goes_on(self, line: bytes, rest: bytes, at: int, final: bool) -> bool | None:
        """Whether a value of this line ends in a later line, or another one follows in this line. None: not known yet.

        If the value has no end, the lines through which it was followed are decoded alone from now on. Following again
        from each of them would take quadratic time.
        """
        start = len(line) - len(line.lstrip(BETWEEN))
        scan = self._scan or ValueScan(start)
        ends = scan.follow(rest)
        if ends is None and not final and not scan.is_too_long(rest):
            self._scan = scan
            return None
        self._scan = None
        if ends:
            return scan.at > len(line) or _opens(line[scan.at :])
        # The whole lines after this one that the scan went through.
        after, scanned = len(line) + 1, rest.rfind(b"\n", 0, scan.at) + 1
        if scanned > after:
            self._single.append((at + after, at + scanned))
        return False

    def _resumable(self, starts: list[int]) -> list[int | None]:
        """The bytes of lines; None for a line that was decoded alone: a reader that begins there would not do so."""
        resumable = [None if self._is_single(start) else start for start in starts]
        self._single = [lines for lines in self._single if lines[1] > self._line_start]
        return resumable

    def _is_single(self, at: int) -> bool:
        return any(begin <= at < end for begin, end in self._single)

    def _look_at_long_line(self) -> None:
        """Leave a line of many values to `ValueParser`; of any other line that does not end keep at most 1 MiB."""
        tail = self._tail
        # A value over several lines is followed already; of a dropped line the beginning is not here any more.
        if self._scan is None and not self._dropped:
            start = len(tail) - len(tail.lstrip(BETWEEN))
            scan = self._long_scan or ValueScan(start)
            ends = tail[start : start + 1] in _OPENINGS and scan.follow(tail)
            self._long_scan = scan if ends is None else None
            if ends and _opens(tail[scan.at :]):
                self.rest, self._tail = tail, b""
                return
        if len(tail) > MAX_VALUE_BYTES and self._scan is None:
            self._dropped += len(tail)
            self._tail = b""


def broken(text: bytes) -> BrokenRecord:
    """The reason why a value could not be decoded, as a record."""
    marked = without_lone_surrogates(text)
    if marked != text and _is_json(marked):
        return BrokenRecord(UNENCODABLE)
    at = None
    try:
        _decode(text)
    except _FAULTS as error:
        offset = _AT_BYTE.search(str(error))
        at = int(offset[1]) if offset else None
    return BrokenRecord(why_not_json(text, at))


def decode_or_broken(text: bytes) -> object:
    """The record, or a BrokenRecord with the reason."""
    try:
        return _decode(text)
    except _FAULTS:
        return broken(text)


def _checked(line: bytes) -> None:
    """None, if the line is exactly one value; it is not decoded. Raises as `_decode`."""
    _check(line)


def _plain_or_any(line: bytes) -> object:
    try:
        return _decode_plain(line)
    except msgspec.ValidationError:  # JSON so far
        return _decode(line)


def _is_json(text: bytes) -> bool:
    try:
        _decode(text)
    except _FAULTS:
        return False
    return True


def _opens(text: bytes) -> bool:
    """Whether another value follows."""
    return text.lstrip(BETWEEN)[:1] in _OPENINGS
