"""Why bytes are not JSON: often they are not UTF-8. Windows' tools write UTF-16, old exports Latin-1."""

import codecs

NOT_UTF8 = "not UTF-8: save it as UTF-8"
UTF16 = "not UTF-8 but UTF-16: save it as UTF-8"

_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WITHIN_CHARACTERS = bytes(range(0x80, 0xC0))


def begins_as_utf16(text: bytes) -> bool:
    """Whether a file that begins so is UTF-16, with or without a mark: JSON begins with ASCII, which has zeros there.

    UTF-32 begins in the same ways.
    """
    return any(mark.startswith(text[:2]) for mark in _MARKS if text) or has_zeros(text)


def has_zeros(text: bytes) -> bool:
    """Whether it goes on as UTF-16 does: every ASCII character has a zero before or after it."""
    return b"\0" in text[:4]


def why_not_json(text: bytes) -> str:
    """The fault of a piece of text that is not JSON. It may begin and end within a character."""
    try:
        codecs.utf_8_decode(text.lstrip(_WITHIN_CHARACTERS), "strict", False)
    except UnicodeDecodeError:
        return NOT_UTF8
    return "not JSON"
