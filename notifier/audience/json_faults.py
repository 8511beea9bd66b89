"""Why bytes are not JSON: another encoding, or the notation of another language. Every message says what to write."""

import codecs
import re

NOT_JSON = "not JSON"
NOT_UTF8 = "not UTF-8: save it as UTF-8"
UTF16 = "not UTF-8 but UTF-16: save it as UTF-8"
UTF32 = "not UTF-8 but UTF-32: save it as UTF-8"

_WITHIN_CHARACTERS = bytes(range(0x80, 0xC0))
_FOREIGN_WORD = re.compile(rb"NaN|nan|-?Infinity|-?inf|None|True|False|undefined|'|//|/\*|\xe2\x80[\x98-\x9f]|\0")
_FAULT_BY_LITERAL = {
    "'": "single quotes are not JSON: write the file by json.dump, not by str",
    "//": "a comment is not JSON: leave it out",
    "/*": "a comment is not JSON: leave it out",
    "\0": "zero bytes are not JSON: the file was not written whole: write it again",
    **dict.fromkeys("‘’‚‛“”„‟", "curly quotes are not JSON: write straight ones"),
    **dict.fromkeys(("None", "True", "False"), "is not JSON: write the file by json.dump, not by str"),
}
_NULL = "is not JSON: write null (pandas: DataFrame.to_json does; json.dumps(…, allow_nan=False) finds the place)"


def encoding_fault(head: bytes) -> str | None:
    """The fault of a file that begins with `head` if it is UTF-16 or UTF-32, with or without a byte-order mark.

    JSON and tables begin with ASCII characters, and these encodings put zeros beside each of them.
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
    """The fault of a piece of text that is not JSON. The piece may begin and end within a character.

    Args:
        at: the offset where the parser stopped, if it is known.
    """
    try:
        # Not final: a character that the end of the piece cuts is no fault. Neither is one that its beginning cuts.
        codecs.utf_8_decode(text.lstrip(_WITHIN_CHARACTERS), "strict", False)
    except UnicodeDecodeError:
        return NOT_UTF8
    return foreign_word(text, at) or NOT_JSON if at is not None else NOT_JSON


def foreign_word(text: bytes, at: int) -> str | None:
    """The fault if at this offset is something that other notations have and JSON does not; None for anything else."""
    found = _FOREIGN_WORD.match(text, at)
    if found is not None:
        literal = found[0].decode()
        fault = _FAULT_BY_LITERAL.get(literal, _NULL)
        return f"{literal} {fault}" if fault.startswith("is ") else fault
    if text[at : at + 1] in (b"}", b"]") and text[:at].rstrip().endswith(b","):
        return "a comma before a closing bracket is not JSON: leave it out"
    return None
