"""Where in a text an id may be, of which only a keyed hash is known.

**The rule.** An id is found wherever neither a letter nor a digit is right beside it: in a cell, in quotes, as the name
or the value of a member, in an address, at the end of a sentence, however it is escaped. Scripts that are written
without blanks are no letters beside an id of another script.

Every stretch of a text would have to be hashed for that. So beside its hash an erasure keeps the *shape* of an id: each
run of letters and digits as one `x`, and the other characters as they are (`x|x` for `auth0|5f7c`, `x.x@x.x` for most
addresses). Only stretches of a kept shape are hashed.

A whole number may be anything, and has a shape of its own (`0`): `privacy.suspicion` says where it counts. So has an id
without a letter or a digit (`marks`), such as one of emoji: what it consists of would be the id itself.
"""

import html
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from notifier.model.record_reading import MAX_USER_ID_BYTES

SEPARATORS = ",;\t|"
"""What cells of a table are apart by."""
ENTRY = "id-shape:"
"""What an entry of a list begins with that is a shape. To who reads the list as ids it is the id of nobody."""
WORD, NUMBER, MARKS, UNKNOWN = "x", "0", "marks", "unknown"
"""No id has a shape that reads as one of the last two: of letters a shape has `x` alone."""
_MAX_ENTRY_BYTES = 512
"""A longer entry fits in no list of ids: an id with so much punctuation has no shape that is kept."""
_COMMON = (
    *(NUMBER, WORD, "x-x", "x_x", "x.x", "x:x", "x|x", "x/x", "x@x", "x x", "x, x", "+x", "@x", "x=", "x==", "x-x-x"),
    *("x_x_x", "x.x.x", "x:x:x", "x-x-x-x", "x-x-x-x-x", "{x-x-x-x-x}", "x@x.x", "x.x@x.x", "x_x@x.x", "x-x@x.x"),
    *("x+x@x.x", "x'x@x.x", "x@x.x.x", "x.x@x.x.x", "x@x-x.x", "x.x@x-x.x", "x.x.x@x.x"),
)
"""Looked for where a list has hashes without shapes, as the first of them were written."""
# ASCII's and Latin's punctuation, the Arabic and Indic signs that end a sentence, then punctuation, arrows, symbols,
# East Asian and full-width punctuation, marks that choose a picture, the byte-order mark and emoji.
_APART = (
    *((0x00, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0xA9), (0xAB, 0xB4), (0xB6, 0xB9), (0xBB, 0xBF)),
    *((0x60C, 0x60C), (0x61B, 0x61B), (0x61F, 0x61F), (0x6D4, 0x6D4), (0x964, 0x965), (0x2000, 0x206F)),
    *((0x2190, 0x2BFF), (0x3000, 0x303F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFF00, 0xFF0F), (0xFF1A, 0xFF20)),
    *((0xFF3B, 0xFF40), (0xFF5B, 0xFF65), (0x1F000, 0x1FAFF)),
)
# Thai, Lao, Myanmar, Khmer, Kana, Han, Hangul.
_WITHOUT_BLANKS = (
    *((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF)),
    *((0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
)
_IS_APART = frozenset(chr(code) for first, last in _APART for code in range(first, last + 1))


def _class(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)


_ASCII = re.compile(f"([{_class(_APART[:4])}])")
_OTHER, _DENSE = _class(_APART), _class(_WITHOUT_BLANKS)
_ANY = re.compile(f"([{_OTHER}])|(?<=[{_DENSE}])(?=[^{_DENSE}{_OTHER}])|(?<=[^{_DENSE}{_OTHER}])(?=[{_DENSE}])")
_RUN_OF_MARKS = re.compile(f"[{_OTHER}]+")
_LINE_ENDS = re.compile(r"[\r\n]+")
_IN_QUOTES = re.compile(r""""((?:[^"]|"")+)"|'((?:[^']|'')+)'""")
_WHOLE = re.compile(r"[0-9]{1,15}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_END = ""


def is_number(user_id: str) -> bool:
    """Whether an id is a whole number."""
    return _WHOLE.fullmatch(user_id) is not None


def is_too_long(user_id: str) -> bool:
    """Whether no audience can have this id."""
    return len(user_id.encode(errors="surrogatepass")) > MAX_USER_ID_BYTES


def shape_of(user_id: str) -> str:
    """The shape of an id; UNKNOWN where it has more punctuation than is kept."""
    if is_number(user_id):
        return NUMBER
    kinds = _kinds(_parts(user_id))
    if WORD not in kinds:
        return MARKS
    shape = "".join(kinds)
    return shape if len((ENTRY + shape).encode()) <= _MAX_ENTRY_BYTES else UNKNOWN


class Shapes:
    """The shapes of the erased.

    Args:
        shapes: of those whose shape was kept.
        are_all: whether each of them has one.
    """

    def __init__(self, shapes: Iterable[str], *, are_all: bool) -> None:
        found = {*shapes, *(() if are_all else _COMMON)}
        self.numbers = NUMBER in found
        """Whether an id may be a whole number."""
        self.are_known = UNKNOWN not in found
        """Whether what a text has can be known: not where an id is of an unknown shape."""
        self._has_marks = MARKS in found
        self._looks_at_wholes = not are_all
        self._next: dict[str, Any] = {}
        for shape in found - {NUMBER, MARKS, UNKNOWN}:
            node = self._next
            for kind in shape:
                node = node.setdefault(kind, {})
            node[_END] = True

    def stretches(self, letters: str) -> set[str]:
        """Every stretch of a text that has one of the shapes, in any form in which the text may be escaped.

        Where some shapes were not kept, each whole value, cell and line is one, too: such an id may have any shape.
        """
        return {one for form in forms(letters) for one in self._stretches(form) if not is_number(one)}

    def _stretches(self, letters: str) -> Iterator[str]:
        if self._has_marks:
            yield from _marks_in(letters)
        if self._looks_at_wholes:
            yield from _wholes(letters)
        parts = _parts(letters)
        kinds = _kinds(parts)
        for first, kind in enumerate(kinds):
            node, end = self._next.get(kind), first + 1
            while node is not None:
                if _END in node:
                    yield "".join(parts[first:end])
                if end == len(kinds):
                    break
                node, end = node.get(kinds[end]), end + 1


def _parts(letters: str) -> list[str]:
    """Runs of letters and digits, and every other character alone, in their order."""
    return [part for part in (_ASCII if letters.isascii() else _ANY).split(letters) if part]


def _kinds(parts: list[str]) -> list[str]:
    return [part if part in _IS_APART else WORD for part in parts]


def _marks_in(letters: str) -> Iterator[str]:
    """Every part of each run without letters and digits, as long as an id may be."""
    # Such runs repeat themselves, and long ones do within: each is taken apart once.
    runs = set(_RUN_OF_MARKS.findall(letters))
    for some in {run[first : first + MAX_USER_ID_BYTES] for run in runs for first in range(len(run))}:
        yield from (some[:end] for end in range(1, len(some) + 1))


def _wholes(letters: str) -> Iterator[str]:
    """A text, each of its lines, and each cell of those by any separator, with and without its quotes."""
    for line in {letters, *_LINE_ENDS.split(letters)}:
        cells = (cell for separator in SEPARATORS if separator in line for cell in line.split(separator))
        quoted = (one.replace('""', '"') or another.replace("''", "'") for one, another in _IN_QUOTES.findall(line))
        for one in (line, *cells, *quoted):
            bare = one.strip()
            if 0 < len(bare) <= MAX_USER_ID_BYTES:
                yield bare
                yield bare.strip(" \t\"'")


def forms(letters: str) -> Iterator[str]:
    """A text as it is, and as what it may stand for: doubled quotes, JSON's escapes, addresses, HTML."""
    plain = [letters, *(letters.replace(quote * 2, quote) for quote in ('"', "'") if quote * 2 in letters)]
    yield from plain
    if "\\" in letters:
        yield from map(_unescaped, plain)
    if "%" in letters:
        yield unquote(letters)
    if "&" in letters:
        yield html.unescape(letters)


def _unescaped(letters: str) -> str:
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2]), letters)
    # A character beyond the first plane is two escapes. What is left alone of a pair is in no id.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
