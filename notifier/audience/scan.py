"""Where a JSON object or list ends, found by its brackets while the text comes in pieces."""

import re

from notifier.audience.limits import MAX_VALUE_BYTES

BETWEEN = b" \t\r\n,\x1e\xef\xbb\xbf"
"""Bytes that may stand between two values: white space, the comma of a list that lost its brackets, the separator of
RFC 7464, and byte-order marks, which come where files of Windows' tools were put together."""

_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"(?:[^"\\\n]++|\\[^\n])*+"[^"{}\[\]]*+)*+')
"""Everything up to the next bracket outside of strings, or up to a string that has no end."""
_QUOTE, _NEW_LINE = ord('"'), ord("\n")
_OPENING = (ord("{"), ord("["))
_LIST = ord("[")
_LOOK_BACK_BYTES = 256


class ValueScan:
    """Follows one object or list. It does not judge what stands between the brackets: whoever decodes it does.

    Args:
        start: where in the text its opening bracket stands.
    """

    def __init__(self, start: int) -> None:
        self.at = start
        """How far it has looked: behind the value once that has ended, else at what cannot belong to it."""
        self._limit = start + MAX_VALUE_BYTES
        self._open = bytearray()

    def is_too_long(self, text: bytes) -> bool:
        """Whether the text goes on beyond what one value may have."""
        return len(text) > self._limit

    def follow(self, text: bytes) -> bool | None:
        """Look on. True: the value ends at `at`. False: it can have no end. None: not so far.

        What is found does not depend on the pieces in which the text came: records are counted by it. None is also the
        answer where one value may have no more text (`is_too_long`).

        Args:
            text: all there is, from the beginning that `start` counts from.
        """
        end = min(len(text), self._limit)
        while True:
            found = _TO_BRACKET.match(text, self.at, end)
            self.at = found.end() if found else self.at
            if self.at >= end:
                return None
            mark = text[self.at]
            if mark == _QUOTE:
                # JSON strings hold no line ends: a string that meets one is broken, any other may still be coming.
                return False if text.find(b"\n", self.at, end) >= 0 else None
            if mark in _OPENING:
                if self._open and not self._may_open(text):
                    return False
                self._open.append(mark)
            # A closing bracket is the second character after its opening one, both round and square.
            elif mark - self._open.pop() != 2:
                return False
            self.at += 1
            if not self._open:
                return True

    def moved(self, count: int) -> None:
        """So many bytes were taken off the text's beginning."""
        self.at -= count
        self._limit -= count

    def _may_open(self, text: bytes) -> bool:
        """Whether a bracket at a line's beginning can belong to this value, and is not the next record.

        So a line that was cut off does not swallow those behind it.
        """
        before = text[max(0, self.at - _LOOK_BACK_BYTES) : self.at].removesuffix(b"\xef\xbb\xbf")
        if not before.endswith(b"\n"):
            return True
        last = before.rstrip(b" \t\r\n")[-1:]
        return last in (b"", b":", b"[") or (last == b"," and self._open[-1] == _LIST)
