"""Marks characters that nobody sees, so that approvers decide on what is there."""

import re
import unicodedata

from markupsafe import Markup, escape

_ALWAYS = "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u3164\uffa0"
"""Of direction (overrides, embeddings, isolates, marks) and of no width; the tag characters are in the pattern."""
_JOINERS = "\u200c\u200d"
_HIDDEN = re.compile(f"[{_ALWAYS}{_JOINERS}\U000e0000-\U000e007f]")


def marked(text: str) -> Markup:
    """The text as HTML, with each hidden character replaced by a visible mark."""
    parts, at = [], 0
    for match in _HIDDEN.finditer(text):
        if _is_needed(text, match.start()):
            continue
        parts += [escape(text[at : match.start()]), Markup('<mark title="{}">{}</mark>').format(*_words(match[0]))]
        at = match.end()
    return Markup().join([*parts, escape(text[at:])])


def marked_text(text: str) -> str:
    """The text with each hidden character as its number: `[U+202E]`."""
    return _HIDDEN.sub(lambda m: m[0] if _is_needed(text, m.start()) else f"[{_words(m[0])[1]}]", text)


def _words(character: str) -> tuple[str, str]:
    return unicodedata.name(character, "hidden character").lower(), f"U+{ord(character):04X}"


def _is_needed(text: str, at: int) -> bool:
    """Whether a joiner stands where writing needs it: inside an emoji, or in a word of Persian or Hindi."""
    if text[at] not in _JOINERS or not 0 < at < len(text) - 1:
        return False
    return all(not one.isascii() and "LATIN" not in unicodedata.name(one, "LATIN") for one in text[at - 1 : at + 2 : 2])
