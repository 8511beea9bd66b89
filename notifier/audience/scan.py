"""Finds the end of a JSON object or list by its brackets, while the text arrives in pieces."""

import re

from notifier.audience.limits import MAX_VALUE_BYTES

BETWEEN = b" \t\r\n,\x1e\xef\xbb\xbf"
"""Bytes that may come between two values: white space, the comma of a list that lost its brackets, the separator of
RFC 7464, and byte-order marks, which are inside a file where files of Windows tools were joined."""

# Possessive are single characters only: Python before 3.11.5 matches possessive groups wrongly (cpython#106052).
_TO_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*"[^"{}\[\]]*+)*')
"""Everything up to the next bracket outside of strings, or up to a string that has no end. Linear: what is given up on
the way back is one escaped character at a time, and no quote can follow it."""
_QUOTE, _NEW_LINE = ord('"'), ord("\n")
_OPENING = (ord("{"), ord("["))
_LIST = ord("[")
_LOOK_BACK_BYTES = 256
_CLOSING_MINUS_OPENING = 2
"""In ASCII a closing bracket is the second character after its opening one, both `{}` and `[]`."""


class ValueScan:
    """Follows the brackets of one object or list. What is between them is not checked: the decoder does that.

    Args:
        start: the offset of the opening bracket in the text.
    """

    def __init__(self, start: int) -> None:
        self.at = start
        """The offset up to which the text was scanned: after the value once it has ended."""
        self._limit = start + MAX_VALUE_BYTES
        self._open = bytearray()

    def is_too_long(self, text: bytes) -> bool:
        """Whether the text is longer than one value may be."""
        return len(text) > self._limit

    def follow(self, text: bytes) -> bool | None:
        """Scan on. True: the value ends at `at`. False: it cannot end. None: more text is needed.

        The result does not depend on the pieces in which the text arrives, because records are numbered by it. It is
        None too when the value has reached its longest length (`is_too_long`).

        Args:
            text: everything so far, from the beginning that `start` counts from.
        """
        end = min(len(text), self._limit)
        while True:
            found = _TO_BRACKET.match(text, self.at, end)
            self.at = found.end() if found else self.at
            if self.at >= end:
                return None
            mark = text[self.at]
            if mark == _QUOTE:
                # A JSON string has no line end: one that meets a line end is broken, any other may still be arriving.
                return False if text.find(b"\n", self.at, end) >= 0 else None
            if mark in _OPENING:
                if self._open and not self._may_open(text):
                    return False
                self._open.append(mark)
            elif mark - self._open.pop() != _CLOSING_MINUS_OPENING:
                return False
            self.at += 1
            if not self._open:
                return True

    def moved(self, count: int) -> None:
        """Adjust to a text that lost its first `count` bytes."""
        self.at -= count
        self._limit -= count

    def _may_open(self, text: bytes) -> bool:
        """Whether the bracket at `at` belongs to this value. At a line's beginning it may be the next record's.

        Without this check a record that was cut off would take the records after it for its own members.
        """
        before = text[max(0, self.at - _LOOK_BACK_BYTES) : self.at].removesuffix(b"\xef\xbb\xbf")
        if not before.endswith(b"\n"):
            return True
        last = before.rstrip(b" \t\r\n")[-1:]
        # Within a value a bracket follows a colon, an opening bracket, or in a list a comma. Empty: the text before is
        # all white space, as far as we look.
        return last in (b"", b":", b"[") or (last == b"," and self._open[-1] == _LIST)
