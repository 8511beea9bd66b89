"""JSON that a person writes, such as a stored query or a schedule: decoded strictly, with the place of a fault.

The standard library's decoder: it says where a fault is, and sees members that are there twice.
"""

import json
import re
from typing import Any

from notifier.model.validation import Fault, printable_name


class BadJson(ValueError):
    """The text cannot be decoded. `fault` says where and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def decode_authored(data: bytes, root: str) -> object:
    """The value in a file.

    Args:
        root: how paths of the file's members begin.

    Raises:
        BadJson: it is not UTF-8, not JSON, nested too deeply, or has a member twice.
    """

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in members]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise BadJson(Fault(f"{root}.{printable_name(twice)}", "given twice", "leave one of them"))
        return dict(members)

    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise BadJson(Fault(f"byte {error.start}", "is not UTF-8", "save it as UTF-8")) from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise BadJson(Fault(at, *_in_words(error))) from None
    except RecursionError:
        raise BadJson(Fault(root, "nested too deeply", "flatten it")) from None


def _in_words(error: json.JSONDecodeError) -> tuple[str, str]:
    """What is not JSON here, and what to do. The decoder's own words are for programmers."""
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :]
    if not error.doc.strip():
        return "is not JSON: the file is empty", "write the file again"
    if not after.strip():
        return "is not JSON: the file ends before its end", "write what is missing, or save it again"
    if after.startswith(("//", "/*", "#")):
        return "is not JSON: a comment", "leave it out"
    if after[0] in "'‘’“”„":
        return "is not JSON: another kind of quotes", 'write straight double quotes: "'
    # The decoder stops at the comma, or at the bracket behind it.
    if (before.endswith(",") and after[0] in "}]") or (after[0] == "," and after[1:].lstrip()[:1] in ("}", "]")):
        return "is not JSON: a comma before a closing bracket", "leave the comma out"
    if not before and re.match(r"---|[\w-]+:\s", after):
        return "is not JSON: it looks like YAML", "yq -o json FILE > FILE.json"
    for beginning, words in _WORDS.items():
        if error.msg.startswith(beginning):
            return f"is not JSON: {words[0]}", words[1]
    return "is not JSON", "correct it"


_WORDS = {
    "Expecting ','": ("a comma is missing before this", "write it"),
    "Expecting ':'": ("a colon is missing before this", "write it"),
    "Expecting property name": ("a name is missing here, in double quotes", 'write it, as "name": 1'),
    "Expecting value": ("a value is missing here", "write a text in double quotes, a number, true, false or null"),
    "Extra data": ("more follows behind the end", "leave it out"),
    "Unterminated string": ("the text that begins here has no end", "close its double quote"),
    "Invalid control character": ("a line break or a tab within a text", "write \\n or \\t"),
    "Invalid \\": ("a backslash before a character that needs none", "write it twice, or leave it out"),
}
"""By the beginning of the decoder's message: what is wrong, and what to do."""
