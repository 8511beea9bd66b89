"""Why bytes are not JSON: another encoding, or the notation of another language."""

import codecs
import re

NOT_JSON = "not JSON"
NOT_UTF8 = "not UTF-8: save it as UTF-8"
UTF16 = "not UTF-8 but UTF-16: save it as UTF-8"
UTF32 = "not UTF-8 but UTF-32: save it as UTF-8"

_WITHIN_CHARACTERS = bytes(range(0x80, 0xC0))
_FOREIGN_WORD = re.compile(rb"NaN|nan|-?Infinity|-?inf|None|True|False|undefined|'|//|/\*")
_MENDS = {
    "'": "single quotes are not JSON: write the file by json.dump, not by str",
    "//": "a comment is not JSON: leave it out",
    "/*": "a comment is not JSON: leave it out",
    **dict.fromkeys(("None", "True", "False"), "is not JSON: write the file by json.dump, not by str"),
}
_NULL = "is not JSON: write null (pandas: DataFrame.to_json does; json.dumps(…, allow_nan=False) finds the place)"


def encoding_fault(head: bytes) -> str | None:
    """The fault of a file that begins so if it is UTF-16 or UTF-32, with or without a mark; else None.

    JSON and tables begin with ASCII, of which every character has zeros beside it there.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return UTF32
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return UTF16
    zeros = bytes(byte == 0 for byte in head[:4])
    if zeros in (b"\0\1\1\1", b"\1\1\1\0"):
        return UTF32
    if zeros[:2] in (b"\0\1", b"\1\0"):
        return UTF16
    return None


def why_not_json(text: bytes, at: int | None = None) -> str:
    """The fault of a piece of text that is not JSON. It may begin and end within a character.

    Args:
        at: where in it the parser stopped, if that is known.
    """
    try:
        codecs.utf_8_decode(text.lstrip(_WITHIN_CHARACTERS), "strict", False)
    except UnicodeDecodeError:
        return NOT_UTF8
    return foreign_word(text, at) or NOT_JSON if at is not None else NOT_JSON


def foreign_word(text: bytes, at: int) -> str | None:
    """What stands at this place that other notations have and JSON has not; None where it is none of those known."""
    found = _FOREIGN_WORD.match(text, at)
    if found is not None:
        word = found[0].decode()
        mend = _MENDS.get(word, _NULL)
        return f"{word} {mend}" if mend.startswith("is ") else mend
    if text[at : at + 1] in (b"}", b"]") and text[:at].rstrip().endswith(b","):
        return "a comma before a closing bracket is not JSON: leave it out"
    return None
