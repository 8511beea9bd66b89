"""Stored queries as people use them: `queries/NAME.json`, its parameters, and whether a value is one of them.

The audience function runs the queries, and the approval pages ask for the values: both judge a value here.
"""

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notifier.model.plain_words import described
from notifier.model.validation import Fault

EngineName = Literal["duckdb", "athena", "bigquery"]
ParameterKind = Literal["text", "integer", "number", "date", "boolean", "texts"]
Scalar = str | int | Decimal | bool | dt.date
Value = Scalar | tuple[str, ...]
"""Of a parameter. A list is one of texts."""
PREFIX = "queries/"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Of a query, which is a part of a key."""
_AS_A_DATE = 'write it as in "2026-11-21"'
_EXACT = 2**63
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")

Given = Annotated[
    str | bool | int | float | tuple[str, ...], Meta(description="A value of the parameter's type. A date is a text.")
]


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value that is filled in for `$name`."""

    type: Annotated[
        ParameterKind,
        Meta(description="`texts` is a list of texts: `brand = ANY($brands)` (Athena: `contains($brands, brand)`)."),
    ]
    choices: Annotated[
        Annotated[tuple[Given, ...], Meta(min_length=1)] | UnsetType,
        Meta(description="The only values that may be given."),
    ] = UNSET
    default: Annotated[Given | UnsetType, Meta(description="Without it a value has to be given.")] = UNSET
    description: Annotated[str, Meta(description="For the person who fills it in.")] = ""


class StoredQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What belongs to `queries/NAME.sql`: the engine, the tables, the parameters, and what people may see."""

    engine: Annotated[EngineName, Meta(description="What runs it.")] = "duckdb"
    tables: Annotated[
        dict[str, Annotated[tuple[str, ...], Meta(min_length=1)]],
        Meta(
            description="For duckdb: the files of each table, by its name: keys under `standing/`, prefixes that end in"
            " `/`, globs, or `s3://bucket/key`. Parquet, CSV or JSON."
        ),
    ] = {}
    parameters: Annotated[dict[str, Parameter], Meta(description="By name, without the `$`.")] = {}
    owner: Annotated[str, Meta(description="Whom to ask about it: an address or a team.")] = ""
    description: Annotated[str, Meta(description="Whom it selects, for people who do not read SQL.")] = ""
    show: Annotated[
        tuple[str, ...],
        Meta(description="Columns whose values people may see, and filter by. No others are ever shown."),
    ] = ()


def from_text(kind: ParameterKind, text: str) -> object:
    """What was typed for a parameter, as JSON would have it. What it is not is left a text, for `chosen`."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "integer" and _WHOLE.fullmatch(text):
        return int(text)
    if kind == "number":
        try:
            return Decimal(text)
        except InvalidOperation:
            return text
    return text


def chosen(parameter: Parameter, value: object, path: str) -> Value | Fault:
    """A value of a parameter, or what is wrong with it."""
    found = typed(value, parameter.type, path)
    if isinstance(found, Fault) or parameter.choices is UNSET:
        return found
    kind: ParameterKind = "text" if parameter.type == "texts" else parameter.type
    allowed = {typed(choice, kind, path) for choice in parameter.choices}
    for one in found if isinstance(found, tuple) else (found,):
        if one not in allowed:
            listed = ", ".join(str(choice) for choice in parameter.choices[:20])
            return Fault(path, f"{described(one)} is not one of the choices", f"one of {listed}")
    return found


ARTICLES: dict[ParameterKind, str] = {
    "text": "a text", "integer": "a whole number", "number": "a number", "date": "a date such as 2026-11-21",
    "boolean": "true or false", "texts": "a list of texts",
}  # fmt: skip


def typed(value: object, kind: ParameterKind, path: str) -> Value | Fault:
    """A JSON value as a parameter's type has it, or what is wrong with it."""
    match kind, value:
        case "text", str():
            return _clean(value, path)
        case "boolean", bool():
            return value
        case "integer", int() if not isinstance(value, bool):
            return value if abs(value) < _EXACT else Fault(path, "has more than 18 digits", "give it as a text")
        case "number", int() | float() | Decimal() if not isinstance(value, bool):
            return _number(value, path)
        case "date", str():
            return _date(value, path)
        case "texts", list() | tuple():
            texts = [typed(one, "text", f"{path}[{n}]") for n, one in enumerate(value)]
            fault = next((one for one in texts if isinstance(one, Fault)), None)
            return fault or tuple(str(one) for one in texts)
        case _:
            return Fault(path, f"{described(value)} is not {ARTICLES[kind]}", f"write {ARTICLES[kind]}")


def _number(value: int | float | Decimal, path: str) -> Value | Fault:
    number = Decimal(str(value))
    return number if number.is_finite() else Fault(path, "is not a number", "write a number")


def _date(value: str, path: str) -> Value | Fault:
    # Ten characters: Python takes 20261121 and 2026-W47-6 too, which no engine does.
    try:
        return dt.date.fromisoformat(value) if len(value) == 10 and value[4] == "-" else _no_date(value, path)
    except ValueError:
        return _no_date(value, path)


def _no_date(value: str, path: str) -> Fault:
    return Fault(path, f"{described(value)} is not a date", _AS_A_DATE)


def _clean(value: str, path: str) -> Value | Fault:
    # A line break is a text's own; U+0000 and lone surrogates no engine takes.
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        return Fault(path, "has a character that is no text", "remove it")
    return value
