"""What one value of a file may cost. Real files stay far below; a broken one must not take the worker's memory.

The checks look at raw bytes and are a little strict, because they run over every byte of every file.
"""

import re

from notifier.model.recipient import BrokenRecord

MAX_VALUE_BYTES = 1024 * 1024
"""One record, one string, one campaign."""
MAX_DEPTH = 64
"""Nesting of a campaign."""
MAX_BRACKETS = 2048
"""Objects and lists within one record; ijson keeps a path for every level, so depth costs its square."""
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
_LONGEST_PAIR = len(rb"\ud83d\ude00")


def brackets(text: bytes) -> int:
    """Opening brackets, those within strings included."""
    return text.count(b"[") + text.count(b"{")


def has_endless_number(text: bytes) -> bool:
    """Whether a number of 2,000 digits is in it; such a run has 999 aligned ones, which are quick to look for."""
    step = MAX_DIGITS // 2 - 1
    for start in range(0, len(text) - step + 1, step):
        if text[start : start + step].isdigit():
            return _DIGITS.search(text) is not None
    return False


class DigitRun:
    """Digits at the border of two pieces: a number may come in many small ones."""

    def __init__(self) -> None:
        self._length = 0

    def is_endless_with(self, text: bytes) -> bool:
        """Whether a number of 2,000 digits is complete with this piece. Digits right behind a quote are no number."""
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
            self._length = -MAX_VALUE_BYTES
        return False


def escapes_held_back(text: bytes) -> int:
    """Where the last escapes begin that the next piece may belong to: nothing from there on should be parsed yet."""
    cut = text.find(b"\\", max(0, len(text) - _LONGEST_PAIR + 1))
    if cut < 0:
        return len(text)
    if _HIGH_ESCAPE.fullmatch(text[max(0, cut - 6) : cut]):
        cut -= 6
    return len(text[:cut].rstrip(b"\\"))


def without_lone_surrogates(text: bytes) -> bytes:
    """The same text, of the same length, in which a lone surrogate escape became a mark that `judged` finds.

    ijson's C backend turns a lone high one into a question mark and dies of a lone low one.
    """
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    if len(_HIGH.findall(text)) == len(_PAIR.findall(text)) == len(_LOW.findall(text)):
        return text
    return _ESCAPES.sub(lambda match: rb"\uffff" if match["lone"] else match[0], text)


def judged(record: object) -> object:
    """The record, or what is broken about it where a lone surrogate was marked."""
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
    """Whether lists and objects are nested deeper than a campaign may be."""
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
