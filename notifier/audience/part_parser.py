"""Recognises the format of a part by its content, and passes the text to that format's parser."""

import codecs
import re
from collections.abc import Sequence
from types import ModuleType
from typing import TypeAlias

import msgspec

from notifier.audience.array import ArrayParser, plain_backend
from notifier.audience.document import PART_KEYS, USERS, DocumentParser
from notifier.audience.foreign_formats import (
    BARE_IDS,
    HEAD_BYTES,
    SMALL_HEAD_BYTES,
    TABLE,
    foreign_format,
    look_of,
    shape_fault,
)
from notifier.audience.lines import LineParser
from notifier.audience.scan import BETWEEN, ValueScan
from notifier.audience.values import ValueParser
from notifier.model.audience_faults import BrokenFile

_LEADS_TO_USERS = re.compile(rb'\{\s*"users"\s*:')
_HAS_USERS = re.compile(rb'"users"\s*:\s*\[')
_KEYED = re.compile(rb'\{\s*"(?!users")[^"\\]*+"\s*:\s*\{')
_OPENING = b"[{"
_LIST = ord("[")
_FIRST_BYTES = frozenset(b'"-0123456789')
SMALL_LIST = 100
"""After a list of at most so many records, the next lists are expected to be short too, and not decoded in bulk."""
SMALL_PIECE_BYTES = 2048
"""Text that a short list's parser gets at once: what it returns as `rest` has to be copied."""


class _UsersParser(DocumentParser):
    """A part that is an object with `users`. At its end `rest` is set to the text after it."""

    def __init__(self, name: str, offset: int, skip: int, backend: ModuleType | None, *, plain: bool) -> None:
        super().__init__(name, PART_KEYS, offset, skip=skip, plain=plain)
        self._backend = backend
        self.rest: bytes | None = None

    def _close(self) -> bool:
        super()._close()
        if not self.has_users:
            raise self._broken("no `users`")
        self.rest, self._text = self._text, b""
        return True


Parser: TypeAlias = ArrayParser | LineParser | ValueParser | _UsersParser
"""A format's parser. `feed` takes bytes and returns the records that they complete; `salvage` returns those that are
complete and not taken yet, also after a fault; `rest` is the text that another parser has to read, once this one has
come to its end."""


class PartParser:
    """Parses a part: lists, objects with `users`, or records, one after the other.

    Most parts are one list, or one record a line.

    Args:
        line: the text begins at this byte of a newline-delimited file; None to recognise the format by the content.
        skip: the number of records already processed: they need not be decoded if that is cheaper.
        ids: the file may have bare ids instead of objects.
        plain: records in their usual form may come as `PlainRecord`.
    """

    def __init__(
        self, name: str, *, line: int | None = None, skip: int = 0, ids: bool = False, plain: bool = False
    ) -> None:
        self.starts: Sequence[int | None] = ()
        """The byte of each record of the last `feed` in the file, or None if reading cannot begin there."""
        self._name = name
        self._ids = ids
        self._plain = plain
        self._skip = skip
        self._text = b""
        self._offset = 0
        self._before = 0
        """Records of the parsers that have ended."""
        self._is_first = True
        """Nothing but white space was read yet."""
        self._done: list[object] = []
        self._scan: ValueScan | None = None
        self._is_bulky = True
        self._parser: Parser | None = LineParser(line, plain=plain) if line is not None else None

    @property
    def count(self) -> int:
        """Records so far."""
        return self._before + (self._parser.count if self._parser else 0)

    @property
    def byte(self) -> int | None:
        """The byte of the next record in the file if reading can begin there, which only lines allow; else None."""
        return self._parser.byte if isinstance(self._parser, LineParser) else None

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. Raises as the format's parser."""
        self.starts = ()
        self._text += text
        while self._feed_parser(final):
            pass
        return self.salvage()

    def salvage(self) -> list[object]:
        """Records that are complete and not taken yet, also after a fault."""
        records, self._done = self._done, []
        return records + (self._parser.salvage() if self._parser else [])

    def _feed_parser(self, final: bool) -> bool:
        """Pass the text to the format's parser. Returns whether text is left that can be read now."""
        if self._parser is None:
            self._parser = self._recognise(final)
            if self._parser is None:
                return False
        parser = self._parser
        # A file of many short lists: each would get all the text, and return nearly all of it.
        text = self._text if self._is_bulky or isinstance(parser, ValueParser) else self._text[:SMALL_PIECE_BYTES]
        left, self._text = self._text[len(text) :], b""
        self._done += parser.feed(text, final=final and not left)
        if isinstance(parser, LineParser):
            self.starts = parser.starts
        if parser.rest is None:
            self._text = left
            return bool(left)
        self._text = parser.rest + left
        self._before += parser.count
        self._offset = parser.offset
        self._is_first = False
        self._parser = self._parser_after(parser)
        return True

    def _parser_after(self, ended: Parser) -> Parser | None:
        """The parser that follows one that has ended; None if the text has to be recognised."""
        if isinstance(ended, LineParser):
            # A value goes on over several lines, or shares its line: no byte is known from here on.
            return ValueParser(self._offset, skip=self._skip_left)
        # An attempt in bulk costs more than a short list.
        self._is_bulky = ended.count > SMALL_LIST
        return None

    @property
    def _skip_left(self) -> int:
        return max(0, self._skip - self._before)

    def _recognise(self, final: bool) -> Parser | None:
        """The parser for the format that comes next; None if more text is needed.

        Raises:
            BrokenFile: it is no format that can be read. The message names the format and how to convert it.
        """
        text = self._text.lstrip(BETWEEN)
        at = self._offset + len(self._text) - len(text)
        if not text:
            return self._records() if final else None
        is_json = text[0] in _OPENING
        # In a list of ids the first line may be a bare string or number.
        is_id = self._ids and text[0] in _FIRST_BYTES
        if self._is_first:
            if len(self._text) < (SMALL_HEAD_BYTES if is_json or is_id else HEAD_BYTES) and not final:
                return None
            if fault := foreign_format(self._text[:HEAD_BYTES]) or (None if is_json or is_id else self._look_of(text)):
                raise BrokenFile(self._name, fault, (at,))
        if is_json:
            return self._recognise_json(text, at, final)
        if is_id:
            return self._records()
        if not self._is_first:
            raise BrokenFile(self._name, "something that is no JSON follows the users", (at,), self.count)
        raise BrokenFile(self._name, "not JSON: begins with neither [ nor {", (at,))

    def _look_of(self, text: bytes) -> str | None:
        """The format of a text that begins with no bracket. A list of ids is no audience, and needs another command."""
        look = look_of(text)
        is_list = self._ids and (look is None or look.startswith(TABLE))
        return BARE_IDS if is_list else look

    def _recognise_json(self, text: bytes, at: int, final: bool) -> Parser | None:
        # With a backend of ijson the array is not tried in bulk.
        backend = None if self._is_bulky else plain_backend()
        if text[0] == _LIST:
            self._begin_at(text, at)
            return ArrayParser(self._name, at, skip=self._skip_left, backend=backend, plain=self._plain)
        holds_users = self._holds_users(text, at, final)
        if holds_users is None:
            return None
        if not holds_users:
            return self._records()
        self._begin_at(text, at)
        return _UsersParser(self._name, at, self._skip_left, backend, plain=self._plain)

    def _holds_users(self, text: bytes, at: int, final: bool) -> bool | None:
        """Whether this object has `users`, and is not the first of many records. None if more text is needed."""
        line, newline, _ = text.partition(b"\n")
        first = _decoded(line) if newline or final else None
        if first is None and newline and _LEADS_TO_USERS.match(text):
            return True
        if first is None:
            # Not an object in one line: find its end, unless it is larger than one record may be.
            scan = self._scan = self._scan or ValueScan(0)
            ends = scan.follow(text)
            if ends is None and not final and not scan.is_too_long(text):
                return None
            first = _decoded(text[: scan.at]) if ends else None
        self._scan = None
        if first is None:
            return self._large_object_holds_users(text, at, has_lines=bool(newline))
        if fault := shape_fault(first):
            raise BrokenFile(self._name, fault, (at,))
        # A user may have an attribute `users`.
        return isinstance(first.get(USERS), list) and not {"user_id", "token"} & {name.lower() for name in first}

    def _large_object_holds_users(self, text: bytes, at: int, *, has_lines: bool) -> bool:
        """The same for an object of which only the beginning is here: its first member shows what it is."""
        member = _KEYED.match(text)
        start = member.end() - 1 if member else len(text)
        scan = ValueScan(start)
        first = {"": _decoded(text[start : scan.at])} if member and scan.follow(text) else {}
        if fault := shape_fault(first):
            raise BrokenFile(self._name, fault, (at,))
        return _LEADS_TO_USERS.match(text) is not None or (not has_lines and _HAS_USERS.search(text) is not None)

    def _begin_at(self, text: bytes, at: int) -> None:
        self._text, self._offset = text, at

    def _records(self) -> Parser:
        """The parser for records: in lines at the file's beginning, else one after the other."""
        if not self._is_first:
            return ValueParser(self._offset, skip=self._skip_left)
        # The byte-order mark is not a part of the first line, and the line's byte is behind it.
        mark = len(codecs.BOM_UTF8) if self._text.startswith(codecs.BOM_UTF8) else 0
        self._text = self._text[mark:]
        return LineParser(mark, skip=self._skip, plain=self._plain)


def _decoded(text: bytes) -> dict[str, object] | None:
    """The object that the text is, if it is one."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError, ArithmeticError):
        return None
    return value if isinstance(value, dict) else None
