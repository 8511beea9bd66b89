"""Which form a file of users has, told by its content, and one parser for all of them."""

import codecs
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol

import msgspec

from notifier.audience.array import ArrayParser, plain_backend
from notifier.audience.document import BATCH_FILE_KEYS, PART_KEYS, USERS, DocumentParser
from notifier.audience.foreign_formats import HEAD_BYTES, SMALL_HEAD_BYTES, foreign_format, look_of, shape_fault
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
"""A list behind one of no more records is taken for short, too: it is not parsed in bulk."""
SMALL_PIECE_BYTES = 2048


class Parser(Protocol):
    """What every form's parser does."""

    @property
    def count(self) -> int:
        """Records so far."""

    @property
    def offset(self) -> int:
        """Where in the text the bytes begin that are not parsed yet."""

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete."""

    def salvage(self) -> list[object]:
        """Records that are complete and not taken yet."""

    @property
    def rest(self) -> bytes | None:
        """What follows where this form has ended; None as long as it has not."""


class BatchFileParser(DocumentParser):
    """A batch file: campaign, and users or a reference to them."""

    def __init__(self, name: str, *, skip: int = 0) -> None:
        super().__init__(name, BATCH_FILE_KEYS, skip=skip)

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """As of a document; at the end the campaign and the users must have been there."""
        records = super().feed(text, final=final)
        if final:
            self._done = records
            if "campaign" not in self.values:
                raise self._broken("no `campaign`")
            if not self.has_users and "audience" not in self.values:
                raise self._broken("neither `users` nor `audience`")
            records = self.salvage()
        return records


class _UsersParser(DocumentParser):
    """A part that is an object. At its end `rest` is set: the text behind it."""

    def __init__(self, name: str, offset: int, skip: int, backend: ModuleType | None) -> None:
        super().__init__(name, PART_KEYS, offset, skip=skip)
        self._backend = backend
        self.rest: bytes | None = None

    def _close(self) -> bool:
        super()._close()
        if not self.has_users:
            raise self._broken("no `users`")
        self.rest, self._text = self._text, b""
        return True


class PartParser:
    """A part: lists, objects with `users`, or records, one behind the other. Most are one list or one record a line.

    Args:
        line: the text begins at this byte of a newline-delimited file; None to tell the form by the content.
        skip: so many records need not be decoded, where that is cheaper.
        ids: the file may hold bare ids.
    """

    def __init__(self, name: str, *, line: int | None = None, skip: int = 0, ids: bool = False) -> None:
        self.starts: Sequence[int | None] = ()
        """Where in the file each record of the last feed begins, as far as reading can begin there."""
        self._name = name
        self._ids = ids
        self._skip = skip
        self._text = b""
        self._offset = 0
        self._before = 0
        self._is_first = True
        self._done: list[object] = []
        self._scan: ValueScan | None = None
        self._is_bulky = True
        self.form: Parser | None = LineParser(line) if line is not None else None

    @property
    def count(self) -> int:
        """Records so far."""
        return self._before + (self.form.count if self.form else 0)

    @property
    def byte(self) -> int | None:
        """Where the next record begins in the file, if reading can begin there: in newline-delimited JSON."""
        return self.form.byte if isinstance(self.form, LineParser) else None

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. Errors as of the form's parser."""
        self.starts = ()
        self._text += text
        while self._feed_form(final):
            pass
        return self.salvage()

    def salvage(self) -> list[object]:
        """Records that are complete and not taken yet, also when a fault was found."""
        records, self._done = self._done, []
        return records + (self.form.salvage() if self.form else [])

    def _feed_form(self, final: bool) -> bool:
        """Whether something of another form follows."""
        if self.form is None:
            self.form = self._tell(final)
            if self.form is None:
                return False
        form = self.form
        # Of a short list little is looked at, so that what follows is not looked at again for each.
        text = self._text if self._is_bulky or isinstance(form, ValueParser) else self._text[:SMALL_PIECE_BYTES]
        left, self._text = self._text[len(text) :], b""
        self._done += form.feed(text, final=final and not left)
        if isinstance(form, LineParser):
            self.starts = form.starts
        if form.rest is None:
            self._text = left
            return bool(left)
        self._text = form.rest + left
        self._before += form.count
        self._offset = form.offset
        self._is_first = False
        self.form = self._next_form(form)
        return True

    def _next_form(self, form: Parser) -> Parser | None:
        """What follows a form that has ended; None where its text has to tell."""
        if isinstance(form, LineParser):
            return ValueParser(self._offset, skip=self._skip_left)
        # Lists without end would each be tried in bulk, which pays for large ones only.
        self._is_bulky = form.count > SMALL_LIST
        return None

    @property
    def _skip_left(self) -> int:
        return max(0, self._skip - self._before)

    def _tell(self, final: bool) -> Parser | None:
        """The form of what comes next; None while that cannot be said."""
        text = self._text.lstrip(BETWEEN)
        at = self._offset + len(self._text) - len(text)
        if not text:
            return self._records() if final else None
        is_json = text[0] in _OPENING
        is_id = self._ids and text[0] in _FIRST_BYTES
        if self._is_first:
            if len(self._text) < (SMALL_HEAD_BYTES if is_json or is_id else HEAD_BYTES) and not final:
                return None
            if fault := foreign_format(self._text[:HEAD_BYTES]) or (None if is_json or is_id else look_of(text)):
                raise BrokenFile(self._name, fault, (at,))
        if is_json:
            return self._tell_json(text, at, final)
        if is_id:
            return self._records()
        if not self._is_first:
            raise BrokenFile(self._name, "something that is no JSON follows the users", (at,), self.count)
        raise BrokenFile(self._name, "not JSON: begins with neither [ nor {", (at,))

    def _tell_json(self, text: bytes, at: int, final: bool) -> Parser | None:
        backend = None if self._is_bulky else plain_backend()
        if text[0] == _LIST:
            self._begin_at(text, at)
            return ArrayParser(self._name, at, skip=self._skip_left, backend=backend)
        holds_users = self._holds_users(text, at, final)
        if holds_users is None:
            return None
        if not holds_users:
            return self._records()
        self._begin_at(text, at)
        return _UsersParser(self._name, at, self._skip_left, backend)

    def _holds_users(self, text: bytes, at: int, final: bool) -> bool | None:
        """Whether this object has `users`, and is not the first of many records. None while that cannot be said."""
        line, newline, _ = text.partition(b"\n")
        first = _decoded(line) if newline or final else None
        if first is None and newline and _LEADS_TO_USERS.match(text):
            return True
        if first is None:
            scan = self._scan = self._scan or ValueScan(0)
            ends = scan.follow(text)
            if ends is None and not final and not scan.is_too_long(text):
                return None
            first = _decoded(text[: scan.at]) if ends else None
        self._scan = None
        if first is None:
            # Of a large object the first member says what it is.
            member = _KEYED.match(text)
            start = member.end() - 1 if member else len(text)
            scan = ValueScan(start)
            first = {"": _decoded(text[start : scan.at])} if member and scan.follow(text) else {}
            if fault := shape_fault(first):
                raise BrokenFile(self._name, fault, (at,))
            return _LEADS_TO_USERS.match(text) is not None or (not newline and _HAS_USERS.search(text) is not None)
        if fault := shape_fault(first):
            raise BrokenFile(self._name, fault, (at,))
        return isinstance(first.get(USERS), list) and not {"user_id", "token"} & {name.lower() for name in first}

    def _begin_at(self, text: bytes, at: int) -> None:
        self._text, self._offset = text, at

    def _records(self) -> Parser:
        """Records in lines; behind something else, where lines may begin anywhere, one behind the other."""
        if not self._is_first:
            return ValueParser(self._offset, skip=self._skip_left)
        mark = len(codecs.BOM_UTF8) if self._text.startswith(codecs.BOM_UTF8) else 0
        self._text = self._text[mark:]
        return LineParser(mark, skip=self._skip)


def _decoded(text: bytes) -> dict[str, object] | None:
    """The object that the text is, if it is one."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError, ArithmeticError):
        return None
    return value if isinstance(value, dict) else None
