"""Which form a file of users has, told by its content, and one parser for all of them."""

import codecs
import re
from typing import Any, Protocol

import msgspec

from notifier.audience.array import ArrayParser
from notifier.audience.document import BATCH_FILE_KEYS, PART_KEYS, USERS, DocumentParser
from notifier.audience.encoding import UTF16, begins_as_utf16
from notifier.audience.faults import BrokenFile
from notifier.audience.limits import MAX_VALUE_BYTES
from notifier.audience.lines import LineParser

_SPACE = b" \t\r\n"
_LEADS_TO_USERS = re.compile(rb'\{\s*(?:\Z|"users"\s*:)')
_HAS_USERS = re.compile(rb'"users"\s*:\s*\[')
_FIRST_BYTES = frozenset(b'"-0123456789')


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
        """Records that were complete when a fault was found."""


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
    """A part that is an object."""

    def __init__(self, name: str, offset: int, skip: int) -> None:
        super().__init__(name, PART_KEYS, offset, skip=skip)

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        records = super().feed(text, final=final)
        if final and not self.has_users:
            raise self._broken("no `users`")
        return records


class PartParser:
    """A part: a list, an object with `users`, or newline-delimited JSON.

    Args:
        line: the text begins at this byte of a newline-delimited file; None to tell the form by the content.
        skip: so many records need not be decoded, where that is cheaper.
        ids: a newline-delimited file may hold bare ids.
    """

    def __init__(self, name: str, *, line: int | None = None, skip: int = 0, ids: bool = False) -> None:
        self._name = name
        self._ids = ids
        self._skip = skip
        self._text = b""
        self.form: Parser | None = LineParser(line) if line is not None else None

    @property
    def count(self) -> int:
        """Records so far."""
        return self.form.count if self.form else 0

    @property
    def lines(self) -> LineParser | None:
        """The parser of a newline-delimited file, once it is known to be one."""
        return self.form if isinstance(self.form, LineParser) else None

    def feed(self, text: bytes, *, final: bool = False) -> list[object]:
        """The records that these bytes complete. Errors as of the form's parser."""
        if self.form is None:
            self._text += text
            self.form = self._tell(final)
            if self.form is None:
                return []
            text, self._text = self._text, b""
            text = text.removeprefix(codecs.BOM_UTF8)
        return self.form.feed(text, final=final)

    def salvage(self) -> list[object]:
        """Records that were complete when a fault was found."""
        return self.form.salvage() if self.form else []

    def _tell(self, final: bool) -> Parser | None:
        mark = len(codecs.BOM_UTF8) if self._text.startswith(codecs.BOM_UTF8) else 0
        if not mark and not final and codecs.BOM_UTF8.startswith(self._text):
            return None
        text = self._text[mark:].lstrip(_SPACE)
        if not text:
            return LineParser(mark, skip=self._skip) if final else None
        if begins_as_utf16(text):
            raise BrokenFile(self._name, UTF16, (mark,))
        if text[0] == ord("["):
            return ArrayParser(self._name, mark, skip=self._skip)
        if text[0] == ord("{"):
            is_object = _is_object(text, final)
            if is_object is None:
                return None
            return _UsersParser(self._name, mark, self._skip) if is_object else LineParser(mark, skip=self._skip)
        if self._ids and text[0] in _FIRST_BYTES:
            return LineParser(mark, skip=self._skip)
        raise BrokenFile(self._name, "not JSON: begins with neither [ nor {", (len(self._text) - len(text),))


def _is_object(text: bytes, final: bool) -> bool | None:
    """Whether the text is one object with `users`, not a line of many. None while that cannot be said."""
    line, newline, _ = text.partition(b"\n")
    if not newline and not final and len(text) <= MAX_VALUE_BYTES:
        return None
    try:
        record: Any = msgspec.json.decode(line)
    except (ValueError, RecursionError, ArithmeticError):
        head = line.rstrip(_SPACE)
        if _LEADS_TO_USERS.match(head):
            return True
        return not newline and _HAS_USERS.search(head) is not None
    return isinstance(record.get(USERS), list) and not {"user_id", "token"} & record.keys()
