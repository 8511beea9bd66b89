"""JSON values and what is wrong with them, in words for a file's author. msgspec's messages are for programmers."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from notifier.model.characters import CONTROL_CHARACTER

AS_A_DATE = 'as "2026-12-01"'
AS_A_TIME = 'write it as in "2026-11-21T20:00:00+01:00", or with Z for UTC'
SHOWN_CHARS = 40
"""Of a value, in a message."""
_KINDS = {
    "str": ("a text", "write a text"),
    "int": ("a whole number", "write a whole number"),
    "float": ("a number", "write a number"),
    "decimal": ("a number", "write a number, such as 45 or 12.5"),
    "bool": ("true or false", "write true or false, without quotes"),
    "array": ("a list", "write a list: […]"),
    "object": ("an object", "write an object: {…}"),
    "datetime": ("a time", AS_A_TIME),
}
"""By msgspec's name of a type: our name, and what to write."""
_PATTERNS = {
    "'^[a-z0-9_-]": ("not a name that an arm can have", "1 to 32 of a-z, 0-9, - and _, for example: question-2"),
    "'^([01][0-9]": ("not a time of day", "hours and minutes, as 09:00 or 21:30"),
    "'^[^": ("has a line break, a tab or another control character", "write it in one line"),
    r"'^\\d{4}-": ("not a date and a time of day", 'local ones without an offset, as "2026-12-01T09:00"'),
    r"'^\\d\\d:": ("not a time of day", "hours and minutes, as 09:00 or 21:30"),
    "": ("has characters that are not allowed here", ""),
}
"""By the beginning of a regular expression in msgspec's message: what is wrong, and what to write."""


def described(value: object) -> str:
    """A JSON value and its kind: `the number 86400`, `the text "7"`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return f"the number {digits(value)}"
        case str():
            return f"the text {quoted(value)}" if value else "an empty text"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"


def digits(number: float | Decimal) -> str:
    """A number, shortened."""
    if isinstance(number, int) and abs(number) >= 10**SHOWN_CHARS:  # Python refuses to print one of 5,000 digits
        return "of over 40 digits"
    return f"{number!s:.{SHOWN_CHARS}}"


def quoted(value: object) -> str:
    """A text as JSON writes it, shortened."""
    text = CONTROL_CHARACTER.sub("\ufffd", str(value)[: SHOWN_CHARS + 1]).encode("utf-8", "replace").decode()
    short = text[:SHOWN_CHARS] + ("…" if len(text) > SHOWN_CHARS else "")
    return msgspec.json.encode(short).decode()


def wrong(value: object, kind: Any, message: str) -> tuple[str, str]:
    """The problem of a value that is not of a type, and what to write instead.

    Args:
        kind: the type, as msgspec has it.
        message: msgspec's. Its few forms are recognised by their wording.
    """
    text = message.partition(" - at ")[0]
    if "matching regex" in text:  # a person never sees the expression itself
        return next(problem for beginning, problem in _PATTERNS.items() if beginning in text or not beginning)
    if "enum value" in text:
        return f"{described(value)} is not known here", f"one of {', '.join(_choices_of(kind))}"
    if "timezone component" in text:
        return f"{described(value)} has no offset from UTC", AS_A_TIME
    if "RFC3339" in text:
        is_date = "datetime" not in text
        return f"{described(value)} is not a {'date' if is_date else 'time'}", AS_A_DATE if is_date else AS_A_TIME
    if "decimal" in text and "got" not in text:
        return f"{described(value)} is not a number", _KINDS["decimal"][1]
    if limit := re.search(r"of length (>=|<=) (\d+)", text):
        return _wrong_length(value, limit[1] == ">=", limit[2])
    if limit := re.search(r"(>=|<=) (-?\d+)", text):
        most = limit[1] == "<="
        return f"{described(value)} is {'more' if most else 'less'} than {limit[2]}", f"{limit[2]} at {_end(most=most)}"
    if kinds := re.match(r"Expected `([^`]+)`", text):
        return _wrong_kind(value, kinds[1].split(" | ")[0])
    if name := re.match(r"Object missing required field `([^`]+)`", text):
        return f"{name[1]} is missing", ""
    return "not readable", ""


def _end(*, most: bool) -> str:
    return "most" if most else "least"


def _wrong_length(value: object, is_short: bool, limit: str) -> tuple[str, str]:
    count = len(value) if isinstance(value, str | list | tuple | dict) else 0
    one, many = ("character", "characters") if isinstance(value, str) else ("entry", "entries")
    if not count:
        return "is empty", ""
    return f"has {count:,} {one if count == 1 else many}", f"{int(limit):,} at {_end(most=not is_short)}"


def _wrong_kind(value: object, wanted: str) -> tuple[str, str]:
    name, mend = _KINDS.get(wanted, ("what belongs here", ""))
    is_scalar = isinstance(value, bool | int | float | Decimal)
    # What the author most likely meant, ready to be copied into the file.
    if wanted == "str" and is_scalar:
        mend = f"write {quoted(str(value).lower() if isinstance(value, bool) else digits(value))}"  # type: ignore[arg-type]
    elif wanted == "bool" and str(value).lower() in ("true", "false", "0", "1"):
        mend = f"write {'true' if str(value).lower() in ('true', '1') else 'false'}"
    elif wanted == "int" and isinstance(value, str) and re.fullmatch(r"\d{1,12}", value):
        mend = f"write {value}"
    elif wanted == "array" and isinstance(value, dict | str):
        mend = "put it into a list: […]"
    return f"{described(value)} is not {name}", mend


def _choices_of(kind: Any) -> tuple[str, ...]:
    """The texts that a type allows."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    inner = get_args(kind)[:1] if get_origin(kind) is Annotated else get_args(kind)
    return tuple(choice for part in inner for choice in _choices_of(part))
