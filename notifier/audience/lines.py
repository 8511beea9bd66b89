"""Newline-delimited JSON: one record a line, with the byte each line begins at."""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from notifier.audience.json_faults import why_not_json
from notifier.audience.limits import MAX_VALUE_BYTES, UNENCODABLE, without_lone_surrogates
from notifier.audience.scan import BETWEEN, ValueScan
from notifier.model.recipient import BrokenRecord

TOO_LONG = "a line of over 1 MiB"
LONG_LINE_BYTES = 64 * 1024
"""From here on a line that has not ended is looked at: it may be many objects without a line break."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_check = msgspec.json.Decoder(msgspec.Raw).decode
_FAULTS = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
_OPENINGS = (b"{", b"[")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")


class LineParser:
    """Push text in, take records out. A line that cannot be decoded is a `BrokenRecord` in its place.

    Windows line ends, byte-order marks, commas behind the lines and empty lines are taken; an empty line is no record.
    Where a value goes on over lines, or another one follows it in its line, `rest` is the text from that line on: it is
    somebody else's to parse.

    Args:
        offset: byte of the text that comes first.
        skip: so many records are not decoded but None: their reader has had them.
    """

    def __init__(self, offset: int = 0, *, skip: int = 0) -> None:
        self.starts: Sequence[int | None] = ()
        self.count = 0
        self.rest: bytes | None = None
        self._skip = skip
        self._line_start = offset
        self._tail = b""
        self._dropped = 0
        self._scan: ValueScan | None = None
        self._long_scan: ValueScan | None = None
        """Follows the first value of a line that has not ended yet."""
        self._single: list[tuple[int, int]] = []
        """Where lines stand, from byte to byte, that a value without an end goes over: each is judged alone."""

    @property
    def offset(self) -> int:
        """Where the first line begins that is not complete yet."""
        return self._line_start

    @property
    def byte(self) -> int | None:
        """The same, if reading can begin there."""
        return None if self._is_single(self._line_start) else self._line_start

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records of the lines that these bytes complete; `starts` has the byte of each, or None.

        A record has no byte where reading from there would not find the same records: within a value over several
        lines that turned out to be broken.
        """
        *lines, tail = (self._tail + text).split(b"\n")
        if final:
            lines.append(tail)
            tail = b""
        self._tail = tail
        if lines:
            self._long_scan = None
        records: list[object] = []
        starts: list[int] = []
        at = self._line_start
        # Skipped lines are checked all the same: one that is not one value would not be one record.
        undecoded = max(0, self._skip - self.count)
        decode: Callable[[bytes], object] = _checked
        for n, line in enumerate(lines):
            if n == undecoded:
                decode = _decode
            length = len(line) + 1 + self._dropped
            if self._dropped:
                records.append(BrokenRecord(TOO_LONG))
                starts.append(at)
                self._dropped = 0
            else:
                try:
                    if len(line) > MAX_VALUE_BYTES:  # it may be many values
                        raise OverflowError
                    records.append(decode(line))
                    starts.append(at)
                except _FAULTS:
                    if not self._take_unusual(lines, n, at, final, records):
                        break
                    starts += [at] * (len(records) - len(starts))
            at += length
        self._line_start = at
        self.starts = self._places(starts) if self._single else starts
        self.count += len(records)
        if self.rest is None and len(self._tail) > LONG_LINE_BYTES:
            self._look_at_long_line()
        return records

    def salvage(self) -> list[object]:
        """Nothing waits here: a line is judged alone."""
        return []

    def _take_unusual(self, lines: list[bytes], n: int, at: int, final: bool, records: list[object]) -> bool:
        """The record of a line that is not JSON as it stands, if it is one. False where reading has to stop here."""
        line = lines[n]
        bare = line.strip(BETWEEN)
        if not bare:
            return True
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
                self._tail = rest
                return False
            if goes_on:
                self.rest, self._tail = rest, b""
                return False
        records.append(broken(bare) if len(line) <= MAX_VALUE_BYTES else BrokenRecord(TOO_LONG))
        return True

    def _goes_on(self, line: bytes, rest: bytes, at: int, final: bool) -> bool | None:
        """Whether a value of this line is followed by another one in it, or ends in a later line. None: not known yet.

        Lines that were looked at in vain are single ones: looking on from each of them would take for ever.
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
        after, looked_at = len(line) + 1, rest.rfind(b"\n", 0, scan.at) + 1
        if looked_at > after:
            self._single.append((at + after, at + looked_at))
        return False

    def _places(self, starts: list[int]) -> list[int | None]:
        """The bytes of lines, without those from which reading would join what was judged alone."""
        places = [None if self._is_single(start) else start for start in starts]
        self._single = [lines for lines in self._single if lines[1] > self._line_start]
        return places

    def _is_single(self, at: int) -> bool:
        return any(begin <= at < end for begin, end in self._single)

    def _look_at_long_line(self) -> None:
        """A line of many values is somebody else's; of any other that does not end, no more than 1 MiB is kept."""
        tail = self._tail
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
    """Why a value could not be decoded."""
    mended = without_lone_surrogates(text)
    if mended != text and _is_json(mended):
        return BrokenRecord(UNENCODABLE)
    at = None
    try:
        _decode(text)
    except _FAULTS as error:
        place = _AT_BYTE.search(str(error))
        at = int(place[1]) if place else None
    return BrokenRecord(why_not_json(text, at))


def decode_or_broken(text: bytes) -> object:
    """A record, or why it is none."""
    try:
        return _decode(text)
    except _FAULTS:
        return broken(text)


def _checked(line: bytes) -> None:
    """None for a line that is one value. It is not decoded."""
    _check(line)


def _is_json(text: bytes) -> bool:
    try:
        _decode(text)
    except _FAULTS:
        return False
    return True


def _opens(text: bytes) -> bool:
    """Whether another value follows."""
    return text.lstrip(BETWEEN)[:1] in _OPENINGS
