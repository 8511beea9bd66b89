"""The members of one JSON array, decoded as its bytes arrive: whole records at once, everything unusual by ijson.

ijson does not say where it is, and the `users` of a batch file may be followed by further keys. So the bytes are handed
over in pieces that end wherever the array may end, and the next character is handed over alone: if ijson calls it
garbage, the array is over. Pieces end so at a bracket that the end of the text or a key we know follows; that is rare,
and a piece more costs nothing but the call.
"""

import logging
import re
from types import ModuleType
from typing import Any

import ijson

from notifier.audience.bulk import BulkDecoder
from notifier.audience.json_faults import why_not_json
from notifier.audience.limits import (
    MAX_BRACKETS,
    MAX_VALUE_BYTES,
    DigitRun,
    brackets,
    escapes_held_back,
    has_endless_number,
    judged,
    without_lone_surrogates,
)
from notifier.audience.skip import RecordSkipper
from notifier.model.audience_faults import BrokenFile

BACKEND = "yajl2_c"

_MAY_END = re.compile(
    rb"""\](?=\s*(?:\Z|\}\s*(?:\Z|[\[{\x1e\xef]|,\s*(?:\Z|\[|\{\s*(?:\Z|"(?:[a-z]{0,4}\Z|users"))))"""
    rb"""|,\s*(?:\Z|"(?:[a-z]{0,8}\Z|(?:campaign|users|audience)"|[^"\\]{0,64}\\))))"""
)
_MAY_END_ALONE = re.compile(rb"\](?=\s*(?:\Z|[\[{\x1e\xef]|,\s*(?:\Z|[\[{])))")
_SPACE = b" \t\r\n"
_CLOSING = ord("]")
_OVER = ("trailing garbage", "Additional data")
"""How ijson's backends call a character after the end of the array: yajl's words, and those of the one in Python."""

_WITHOUT_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
_HERE = re.compile(r"\n(?P<shown>[^\n]*)\n(?P<arrow> *\(right here\) -*)\^")
"""yajl's words: some of the text in a line, and below it an arrow to what it read last."""

log = logging.getLogger(__name__)


def plain_backend() -> ModuleType:
    """The backend in C; any other, with a warning, where the wheel has none."""
    module: ModuleType = ijson
    try:
        module = ijson.get_backend(BACKEND)
    except ImportError:
        log.warning("ijson has no %s here: parsing is several times slower (backend: %s)", BACKEND, ijson.backend)
    return module


def _is_over(error: Exception) -> bool:
    return any(words in str(error) for words in _OVER)


def _place_in(text: bytes, words: str) -> int | None:
    """Where in the text yajl stopped; None where its words do not say so, or fit several places."""
    found = _HERE.search(words)
    if found is None:
        return None
    shown, arrow = found["shown"], len(found["arrow"])
    indent = len(shown) - len(shown.lstrip())
    # Line ends are shown as spaces.
    line = text.translate(_WITHOUT_LINE_ENDS)
    at = line.find(shown.strip().encode())
    if at < 0 or line.find(shown.strip().encode(), at + 1) >= 0:
        return None
    return at + arrow - indent - 1


class ArrayParser:
    """Push text in, take records out. At the array's end `rest` is set: the text behind it.

    Args:
        name: of the object, for messages.
        offset: where in the text the opening bracket stands.
        skip: of the first so many records most are not decoded: their reader has had them. They are None then.
        alone: the array is no member of an object: the text may end with it, or another value may follow.
        backend: one of ijson's, for all records; by default the one in C, for what is unusual.
    """

    def __init__(
        self, name: str, offset: int = 0, *, alone: bool = True, skip: int = 0, backend: ModuleType | None = None
    ) -> None:
        self.rest: bytes | None = None
        self.count = 0
        self._name = name
        self._alone = alone
        self._offset = offset
        self._skipper = RecordSkipper(skip) if skip and backend is None else None
        self._bulk = BulkDecoder() if backend is None else None
        self._held = b""
        self._digits = DigitRun()
        self._probing = False
        self._marked = 0
        self._unfinished_bytes = 0
        self._unfinished_brackets = 0
        self._records: Any = ijson.sendable_list()
        self._parser: Any = (backend or plain_backend()).items_coro(self._records, "item")

    @property
    def offset(self) -> int:
        """Where in the text the bytes begin that are not parsed yet."""
        return self._offset

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. With `final` nothing follows.

        Raises:
            BrokenFile: not JSON from here on, or beyond a limit. Records it did complete are in `salvage`.
        """
        if self._skipper is not None:
            return self._feed_skipper(self._skipper, text, final)
        if self._bulk is not None:
            return self._feed_bulk(self._bulk, text, final)
        text = self._held + text
        cut = len(text) if final else escapes_held_back(text)
        text, self._held = text[:cut], text[cut:]
        original = text
        if len(self._held) > MAX_VALUE_BYTES:
            raise self._broken("a record of over 1 MiB", 0)
        mended = without_lone_surrogates(text)
        if mended is not text and mended != text:
            text, self._marked = mended, 2
        if has_endless_number(text) or self._digits.is_endless_with(text):
            raise self._broken("a number of over 2,000 digits", len(text))
        self._feed_pieces(text)
        if self.rest is not None and text is not original:
            self.rest = (original + self._held)[-len(self.rest) :] if self.rest else b""
        if final and self.rest is None:
            self._close()
        return self.salvage()

    def _feed_skipper(self, skipper: RecordSkipper, text: bytes, final: bool) -> list[object]:
        skipped: list[object] = [None] * skipper.feed(text)
        self.count += len(skipped)
        if final:
            skipper.stop()
        if skipper.rest is None:
            return skipped
        self._skipper = None
        self._offset += skipper.skipped_bytes
        return skipped + self.feed(skipper.rest, final=final)

    def _feed_bulk(self, bulk: BulkDecoder, text: bytes, final: bool) -> list[object]:
        records, taken = bulk.feed(text)
        self._records += records
        self.count += len(records)
        self._offset += taken
        if final:
            bulk.stop()
        if bulk.rest is None:
            return self.salvage()
        self._bulk = None
        return self.feed(bulk.rest, final=final)

    def salvage(self) -> list[object]:
        """Records that are complete and not taken yet."""
        records = list(self._records)
        self._records.clear()
        if self._marked:
            self._marked -= 1 if records else 0
            records = [judged(record) for record in records]
        return records

    def _feed_pieces(self, text: bytes) -> None:
        start = 0
        if self._probing:
            start = self._probe(text, 0)
        for match in (_MAY_END_ALONE if self._alone else _MAY_END).finditer(text, start):
            if self.rest is not None:
                return
            if match.end() > start:
                self._send(text[start : match.end()])
                start = self._probe(text, match.end())
        if self.rest is None:
            self._send(text[start:])

    def _probe(self, text: bytes, start: int) -> int:
        """Hand over the next character that is not space, alone; a further closing bracket asks the same again."""
        while True:
            at = len(text) - len(text[start:].lstrip(_SPACE))
            self._offset += at - start
            self._probing = at == len(text)
            if self._probing:
                return at
            try:
                self._parser.send(text[at : at + 1])
            except ijson.JSONError as error:
                if not _is_over(error):
                    raise self._broken("not JSON", 1) from None
                self.rest = text[at:] + self._held
                return at
            start = at + 1
            self._offset += 1
            if text[at] != _CLOSING:
                return start

    def _send(self, text: bytes) -> None:
        if not text:  # to ijson that is the end
            return
        opened = brackets(text)
        if opened > MAX_BRACKETS:
            half = len(text) // 2
            self._send(text[:half])
            self._send(text[half:])
            return
        before = len(self._records)
        try:
            self._parser.send(text)
        except (ijson.JSONError, ValueError, ArithmeticError, RecursionError) as error:
            self.count += len(self._records) - before
            raise self._fault(error, text) from None
        finished = len(self._records) - before
        self.count += finished
        self._offset += len(text)
        self._unfinished_bytes = 0 if finished else self._unfinished_bytes + len(text)
        self._unfinished_brackets = 0 if finished else self._unfinished_brackets + opened
        if self._unfinished_bytes > MAX_VALUE_BYTES:
            raise self._broken("a record of over 1 MiB", 0)
        if self._unfinished_brackets > MAX_BRACKETS:
            raise self._broken("a record of over 2,048 objects and lists", 0)

    def _close(self) -> None:
        if not self._alone:
            raise self._broken("the file is cut off", 0)
        before = len(self._records)
        try:
            self._parser.close()
        except (ijson.JSONError, ValueError, ArithmeticError, RecursionError):
            self.count += len(self._records) - before
            raise self._broken("the file is cut off", 0) from None
        self.count += len(self._records) - before

    def _fault(self, error: Exception, text: bytes) -> BrokenFile:
        """What ijson stumbled over in this text, and where, as far as it says so."""
        if _is_over(error):
            reason = "after `users` comes something that is none of the known keys"
            return self._broken("something follows the end of the list" if self._alone else reason, len(text))
        at = _place_in(text, str(error))
        if at is None:
            return self._broken(why_not_json(text), len(text))
        return BrokenFile(self._name, why_not_json(text, at), (self._offset + at,), self.count)

    def _broken(self, reason: str, length: int) -> BrokenFile:
        return BrokenFile(self._name, reason, (self._offset, self._offset + length), self.count)
