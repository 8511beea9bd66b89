"""Characters that are not text: control characters, which no payload may have, and invisible ones."""

import re
from typing import Any

CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""C0 and C1 without tab and line feed. The gateways accept them; phones show boxes, or cut the text off."""
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
"""Control characters, the blank of Braille, and Unicode's Default_Ignorable_Code_Point
(https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt).
"""


def cleaned(text: str) -> str:
    """The text without control characters; line breaks of Windows and old Macs become line feeds."""
    # isprintable is false for every control character (and a line feed). It takes 50 ns, the search ten times as long.
    if text.isprintable() or CONTROL_CHARACTER.search(text) is None:
        return text
    return CONTROL_CHARACTER.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: the text is empty, or only white space and characters without width."""
    bare = text.strip()
    # Printable ASCII is visible: the expression is only for other texts.
    return not bare or (not (bare.isascii() and bare.isprintable()) and not _INVISIBLE.sub("", bare).strip())


def control_character_in(text: str) -> str:
    """The text's first control character by its number, such as U+0007; "" if it has none."""
    # A carriage return is no fault: `with_line_feeds` replaces it.
    found = CONTROL_CHARACTER.search(text.replace("\r", "\n"))
    return f"U+{ord(found[0]):04X}" if found else ""


def with_line_feeds(value: Any) -> Any:
    """Decoded JSON with a line feed for every line break. A file written on Windows has others."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
    if isinstance(value, dict):
        return {key: with_line_feeds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_line_feeds(inner) for inner in value]
    return value
