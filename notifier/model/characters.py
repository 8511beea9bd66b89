"""Characters that are not text: controls, which no payload may hold, and those that nobody sees."""

import re
from typing import Any

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""C0 and C1 without tab and line feed. The gateways take them; phones show boxes, or cut the text off."""
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
"""Controls, the blank of Braille, and Unicode's Default_Ignorable_Code_Point
(https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt).
"""


def cleaned(text: str) -> str:
    """The text without control characters; line breaks of Windows and old Macs become line feeds."""
    # isprintable is false of every control (and of a line feed); it costs 50 ns, the expression below ten times that
    if text.isprintable() or CONTROL.search(text) is None:
        return text
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: no characters, white space, or such as have no width."""
    seen = text.strip()
    return not seen or (not (seen.isascii() and seen.isprintable()) and not _INVISIBLE.sub("", seen).strip())


def shown_control(text: str) -> str:
    """The text's first control character by its number, such as U+0007; empty if there is none."""
    found = CONTROL.search(text.replace("\r", "\n"))
    return f"U+{ord(found[0]):04X}" if found else ""


def with_line_feeds(value: Any) -> Any:
    """Decoded JSON in which every line break is a line feed, as a file written on Windows may not have it."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
    if isinstance(value, dict):
        return {key: with_line_feeds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_line_feeds(inner) for inner in value]
    return value
