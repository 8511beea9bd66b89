"""Decodes the members of one JSON array as its bytes arrive: many at once by msgspec, anything unusual by ijson.

ijson does not report its position, and further keys may follow the `users` of a batch file. So ijson gets the bytes in
pieces that end wherever the array may end, and after such a piece the next character alone: if ijson calls it garbage,
the array has ended. It may end at a bracket before the end of the text or before a key that we know. Such brackets are
rare, so the additional calls cost nothing.
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
    broken_if_marked,
    escapes_held_back,
    has_endless_number,
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
_AFTER_THE_END = ("trailing garbage", "Additional data")
"""Messages of ijson's backends for a character after the end of the array: yajl's, and that of the one in Python."""

_WITHOUT_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
_ARROW = re.compile(r"\n(?P<excerpt>[^\n]*)\n(?P<arrow> *\(right here\) -*)\^")
"""yajl's message: an excerpt of the text in one line, and below it an arrow to the last byte that it read."""
_SALVAGES_WITH_MARK = 2
"""A marked record ends in the marked text or in a later one, so the next two lists of records are looked through."""

log = logging.getLogger(__name__)


def plain_backend() -> ModuleType:
    """ijson's backend in C, or with a warning another one if the wheel has none for this platform."""
    module: ModuleType = ijson
    try:
        module = ijson.get_backend(BACKEND)
    except ImportError:
        log.warning("ijson has no %s here: parsing is several times slower (backend: %s)", BACKEND, ijson.backend)
    return module


def _is_after_the_end(error: Exception) -> bool:
    return any(message in str(error) for message in _AFTER_THE_END)


def _error_offset(text: bytes, message: str) -> int | None:
    """Where in the text yajl stopped; None if its message does not say so, or its excerpt occurs more than once."""
    found = _ARROW.search(message)
    if found is None:
        return None
    excerpt, arrow = found["excerpt"], len(found["arrow"])
    indent = len(excerpt) - len(excerpt.lstrip())
    # yajl prints line ends as spaces.
    line = text.translate(_WITHOUT_LINE_ENDS)
    at = line.find(excerpt.strip().encode())
    if at < 0 or line.find(excerpt.strip().encode(), at + 1) >= 0:
        return None
    return at + arrow - indent - 1


class ArrayParser:
    """Push text in, take records out. At the array's end `rest` is set to the text after it.

    Args:
        name: of the object, for messages.
        offset: the offset of the opening bracket in the text.
        skip: the number of records already processed: most of them are not decoded, and are None.
        alone: the array is not a member of an object: the text may end with it, or another value may follow.
        backend: of ijson, for all records. By default msgspec decodes them, and ijson in C what is unusual.
        plain: records in their usual form come as `PlainRecord`, by msgspec.
    """

    def __init__(
        self,
        name: str,
        offset: int = 0,
        *,
        alone: bool = True,
        skip: int = 0,
        backend: ModuleType | None = None,
        plain: bool = False,
    ) -> None:
        self.rest: bytes | None = None
        self.count = 0
        self._name = name
        self._alone = alone
        self._offset = offset
        self._skipper = RecordSkipper(skip) if skip and backend is None else None
        self._bulk = BulkDecoder(plain=plain) if backend is None else None
        self._held_back = b""
        """Escapes at the end of the text that the next piece may continue."""
        self._digits = DigitRun()
        self._probing = False
        """The array may have ended: the next character is sent to ijson alone."""
        self._marked = 0
        """Calls of `salvage` that still have to look for marks of lone surrogates."""
        self._unfinished_bytes = 0
        self._unfinished_brackets = 0
        self._records: Any = ijson.sendable_list()
        self._parser: Any = (backend or plain_backend()).items_coro(self._records, "item")

    @property
    def offset(self) -> int:
        """The offset in the text of the first byte that is not parsed yet."""
        return self._offset

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. With `final` nothing follows.

        Raises:
            BrokenFile: not JSON from here on, or beyond a limit. `salvage` has the records before the fault.
        """
        # Three stages, each for the rest of the one before: skip, decode in bulk, decode by ijson.
        if self._skipper is not None:
            return self._feed_skipper(self._skipper, text, final)
        if self._bulk is not None:
            return self._feed_bulk(self._bulk, text, final)
        return self._feed_ijson(text, final)

    def _feed_ijson(self, text: bytes, final: bool) -> list[object]:
        # ijson would take half of a surrogate pair for a lone one: it gets an escape only when all of it has arrived.
        text = self._held_back + text
        cut = len(text) if final else escapes_held_back(text)
        text, self._held_back = text[:cut], text[cut:]
        original = text
        if len(self._held_back) > MAX_VALUE_BYTES:
            raise self._broken("a record of over 1 MiB", 0)
        marked = without_lone_surrogates(text)
        if marked is not text and marked != text:
            text, self._marked = marked, _SALVAGES_WITH_MARK
        if has_endless_number(text) or self._digits.is_endless_with(text):
            raise self._broken("a number of over 2,000 digits", len(text))
        self._feed_pieces(text)
        if self.rest is not None and text is not original:
            # What follows the array belongs to another parser, which gets it as it is in the file.
            self.rest = (original + self._held_back)[-len(self.rest) :] if self.rest else b""
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
        """Records that are complete and not taken yet, also after a fault."""
        records = list(self._records)
        self._records.clear()
        if self._marked:
            self._marked -= 1 if records else 0
            records = [broken_if_marked(record) for record in records]
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
        """Send the next character that is not white space alone. Returns the offset behind it.

        After a closing bracket the same question comes up again: is the array over?
        """
        while True:
            at = len(text) - len(text[start:].lstrip(_SPACE))
            self._offset += at - start
            self._probing = at == len(text)
            if self._probing:
                return at
            try:
                self._parser.send(text[at : at + 1])
            except ijson.JSONError as error:
                if not _is_after_the_end(error):
                    raise self._broken("not JSON", 1) from None
                self.rest = text[at:] + self._held_back
                return at
            start = at + 1
            self._offset += 1
            if text[at] != _CLOSING:
                return start

    def _send(self, text: bytes) -> None:
        if not text:  # ijson takes an empty piece for the end of the file
            return
        opened = brackets(text)
        # Halved until each piece is below the limit, so that only an unfinished record counts against it.
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
        """The fault that ijson found in this text, at its offset if ijson reports it."""
        if _is_after_the_end(error):
            reason = "after `users` comes something that is none of the known keys"
            return self._broken("something follows the end of the list" if self._alone else reason, len(text))
        at = _error_offset(text, str(error))
        if at is None:
            return self._broken(why_not_json(text), len(text))
        return BrokenFile(self._name, why_not_json(text, at), (self._offset + at,), self.count)

    def _broken(self, reason: str, length: int) -> BrokenFile:
        return BrokenFile(self._name, reason, (self._offset, self._offset + length), self.count)
