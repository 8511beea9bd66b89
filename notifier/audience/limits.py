"""Limits on one value of a file. Real files stay far below; a broken file must not use up the worker's memory.

The checks look at raw bytes, because they run over every byte of every file. So they count a little too much: brackets
within strings, for example.
"""

import re

from notifier.model.spelling import BrokenRecord

MAX_VALUE_BYTES = 1024 * 1024
"""Of one record, one string, one campaign."""
MAX_DEPTH = 64
"""Levels of nesting in a campaign."""
MAX_BRACKETS = 2048
"""Objects and lists within one record. ijson keeps a path for every level, so its cost is the square of the depth."""
MAX_DIGITS = 2000
"""Digits of one number. ijson's C backend crashes the process on an integer that Python refuses (4,300 digits)."""

UNENCODABLE = "has a lone surrogate: not encodable as UTF-8"

_ALL_DIGITS = b"0123456789"
_DIGITS = re.compile(rb"[:,\[\s-][0-9]{%d}" % MAX_DIGITS)
_HIGH = re.compile(rb"\\u[dD][89abAB]")
_HIGH_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_LOW = re.compile(rb"\\u[dD][c-fC-F]")
_PAIR = re.compile(rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]")
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_MARK = "\uffff"
_ESCAPE_BYTES = len(rb"\ud83d")
_LONGEST_PAIR = 2 * _ESCAPE_BYTES


def brackets(text: bytes) -> int:
    """Opening brackets, those within strings included."""
    return text.count(b"[") + text.count(b"{")


def has_endless_number(text: bytes) -> bool:
    """Whether the text has a number of 2,000 digits or more."""
    # Such a run covers a whole aligned block of 999 bytes, so it is enough to look at one block after the other.
    step = MAX_DIGITS // 2 - 1
    for start in range(0, len(text) - step + 1, step):
        if text[start : start + step].isdigit():
            return _DIGITS.search(text) is not None
    return False


class DigitRun:
    """Counts the digits at the border of two pieces, because a number may arrive in many small ones."""

    def __init__(self) -> None:
        self._length = 0

    def is_endless_with(self, text: bytes) -> bool:
        """Whether a number has 2,000 digits with this piece. Digits right after a quote are a string, not a number."""
        if not text:
            return False
        leading = len(text) - len(text.lstrip(_ALL_DIGITS))
        if leading and self._length + leading > MAX_DIGITS:
            return True
        if leading == len(text):
            self._length += leading
            return False
        self._length = len(text) - len(text.rstrip(_ALL_DIGITS))
        if text[-self._length - 1] == ord('"'):
            # A string may have as many digits as a value may have bytes.
            self._length = -MAX_VALUE_BYTES
        return False


def escapes_held_back(text: bytes) -> int:
    """The offset of the escapes at the end that the next piece may continue: nothing from there on is parsed yet."""
    cut = text.find(b"\\", max(0, len(text) - _LONGEST_PAIR + 1))
    if cut < 0:
        return len(text)
    # A high surrogate right before belongs to this escape.
    if _HIGH_ESCAPE.fullmatch(text[max(0, cut - _ESCAPE_BYTES) : cut]):
        cut -= _ESCAPE_BYTES
    # Of several backslashes each may escape the next.
    return len(text[:cut].rstrip(b"\\"))


def without_lone_surrogates(text: bytes) -> bytes:
    """The same text, of the same length, with a mark for each lone surrogate escape: `broken_if_marked` finds it.

    ijson's C backend turns a lone high surrogate into a question mark, and a lone low one crashes the process.
    """
    # One character is found ten times faster than three, and most texts have no escape at all.
    if b"\\" not in text or (b"\\ud" not in text and b"\\uD" not in text):
        return text
    # If every half has its other half, nothing has to be replaced. Counting is faster than the replacement below.
    if len(_HIGH.findall(text)) == len(_PAIR.findall(text)) == len(_LOW.findall(text)):
        return text
    return _ESCAPES.sub(lambda match: rb"\uffff" if match["lone"] else match[0], text)


def broken_if_marked(record: object) -> object:
    """The record, or a BrokenRecord if a lone surrogate was marked in it."""
    return BrokenRecord(UNENCODABLE) if _is_marked(record) else record


def _is_marked(value: object) -> bool:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and _MARK in value:
            return True
    return False


def is_too_deep(value: object) -> bool:
    """Whether lists and objects are nested more than `MAX_DEPTH` levels deep."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
