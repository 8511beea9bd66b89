"""The shape that most lines of a file have, as one regular expression: a line that matches it needs no other check.

A line that matches is one JSON object in one line, every member is there once, and every known one has a value that
`read_recipient` takes as it is. That is the proof by which SQL may pass a row; any other line is read by the worker's
own reader. So the expression may be too narrow, which costs time, and must never be too wide.

The order of the members is taken from the file's first lines.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter

import msgspec

KNOWN = ("user_id", "devices", "platform", "token", "gateway", "environment", "locale", "timezone", "attributes")
UPDATED_AT = "updated_at"
DEVICE = ("platform", "token", "gateway", "environment")
MAX_LINE_CHARS = 4000
"""Longer lines are left to the worker's reader: so no token is too long, no number and no nesting is beyond a limit."""
_MAX_ORDERS = 8
_MAX_COLUMNS = 200

_HEX = "[0-9a-fA-F]"
_ESCAPE = (
    rf"\\(?:[\"\\/bfnrt]|u(?:000[1-9a-fA-F]|00[1-9a-fA-F]{_HEX}|0[1-9a-fA-F]{_HEX}{{2}}|[1-9a-cA-CefEF]{_HEX}{{3}}"
    rf"|[dD][0-7]{_HEX}{{2}}|[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}))"
)
"""All but U+0000, and surrogates in pairs only."""
_CHARACTER = rf'(?:[^"\\\x00-\x1f]|{_ESCAPE})'
_STRING = f'"{_CHARACTER}*"'
_INTEGER = "-?(?:0|[1-9][0-9]*)"
_NUMBER = rf"{_INTEGER}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


def _scalar(number: str) -> str:
    return f"(?:{_STRING}|{number}|true|false|null)"


def _object(number: str) -> str:
    return rf"\{{(?:{_STRING}: ?{_scalar(number)}(?:, ?{_STRING}: ?{_scalar(number)})*)?\}}"


_TOKEN = r'"[!#-;=-\[\]-z|}~][!#-\[\]-~]{15,}"'
"""At least 16 printable characters without quotes and backslashes; the first is neither < nor {."""
_VALUES = {
    # An integer of at most 18 digits; 0 has no sign.
    "user_id": f'(?:"{_CHARACTER}+"|0|-?[1-9][0-9]{{0,17}})',
    "token": _TOKEN,
    "locale": f"(?:{_STRING}|null)",
    "timezone": f"(?:{_STRING}|null)",
    UPDATED_AT: f"(?:{_STRING}|{_NUMBER}|null)",
}
WORDS = {
    "platform": ("ios", "android", "web"),
    "gateway": ("fcm", "apns"),
    "environment": ("production", "sandbox"),
}
RAW_OBJECT = f"({_object(_NUMBER)})"
RAW_NUMBER = f"({_NUMBER})"


class Shape(msgspec.Struct, frozen=True):
    """What lines look like, and how their members are called.

    Args:
        pattern: matches whole lines (RE2).
        structure: of `json_transform`, for lines that match.
        columns: the file's own name of each known column that is there.
        attributes: the other columns.
    """

    pattern: str
    structure: str
    columns: Mapping[str, str]
    attributes: tuple[str, ...]
    has_capitals: bool = False
    """Words such as `iOS` may be there: they have to be written in lower case."""
    has_fractions: bool = False
    """Attributes may be numbers with a fraction or an exponent, which JSON functions would write differently."""
    has_gateways: bool = False
    """Devices may name their gateway: whether it can reach them has to be checked."""


def shape_of(records: Sequence[Mapping[str, object]]) -> Shape | None:
    """The shape of these records, the first of a file; None if none of them has a user id."""
    columns, attributes = _names(records)
    if "user_id" not in columns:
        return None
    # By the file's own names from here on: patterns and structure meet its text.
    known = {name: column for column, name in columns.items()}
    usable = known.keys() | set(attributes)
    devices = _devices(records, columns)
    capitals = _has_capitals(records, devices, columns)
    fractions = _has_fractions(records, columns, attributes)
    number = _NUMBER if fractions else _INTEGER
    patterns = {
        name: _device_list(devices, any_case=capitals) if column == "devices" else _value_of(column, capitals, number)
        for name, column in known.items()
    } | dict.fromkeys(attributes, _scalar(number))
    orders = orders_of([[name for name in record if name in usable] for record in records], columns["user_id"])
    wholes = [_ordered(order, columns["user_id"], always, patterns) for order, always in orders]
    return Shape(
        pattern="|".join(f"(?:{whole})" for whole in wholes),
        structure=_structure(known, attributes),
        columns=columns,
        attributes=attributes,
        has_capitals=capitals,
        has_fractions=fractions,
        has_gateways="gateway" in columns or any("gateway" in device for device in devices),
    )


def _names(records: Sequence[Mapping[str, object]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The known columns by the names that they have here, and the names of the others."""
    columns, attributes = dict[str, str](), dict[str, str]()
    for name in dict.fromkeys(name for record in records for name in record):
        lower = name.lower()
        if lower in KNOWN or lower == UPDATED_AT:
            # In two cases: lines with the second are left to the reader, which knows what that means.
            columns.setdefault(lower, name)
        # DuckDB's structs have names without regard to case.
        elif _is_plain(name) and lower not in attributes and len(attributes) < _MAX_COLUMNS:
            attributes[lower] = name
    return columns, tuple(attributes.values())


def _is_plain(name: str) -> bool:
    return bool(name) and name.isprintable() and '"' not in name and "\\" not in name


def _devices(records: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> list[Mapping[str, object]]:
    """The devices in lists."""
    found: list[Mapping[str, object]] = []
    for record in records:
        listed = record.get(columns.get("devices", ""))
        if isinstance(listed, list):
            found += [device for device in listed if isinstance(device, dict)]
    return found


def _has_capitals(
    records: Sequence[Mapping[str, object]], devices: Sequence[Mapping[str, object]], columns: Mapping[str, str]
) -> bool:
    """Whether a word of a device is written in another case."""
    words = [record.get(columns.get(column, "")) for record in records for column in WORDS]
    words += [device.get(column) for device in devices for column in WORDS]
    return any(isinstance(word, str) and word != word.lower() for word in words)


def _has_fractions(
    records: Sequence[Mapping[str, object]], columns: Mapping[str, str], attributes: Sequence[str]
) -> bool:
    """Whether an attribute is a number that is no integer."""
    for record in records:
        given = record.get(columns.get("attributes", ""))
        values = [*given.values()] if isinstance(given, dict) else []
        values += [record.get(name) for name in attributes]
        if any(isinstance(value, float | Decimal) for value in values):
            return True
    return False


def _value_of(column: str, any_case: bool = False, number: str = _INTEGER) -> str:
    if column == "attributes":
        return f"(?:{_object(number)}|null)"
    if column in WORDS:
        letters = "[{0}{1}]" if any_case else "{0}"
        words = "|".join("".join(letters.format(x, x.upper()) for x in word) for word in WORDS[column])
        return f'(?:"(?:{words})"' + (")" if column == "platform" else "|null)")
    return _VALUES[column]


def _device_list(devices: Sequence[Mapping[str, object]], *, any_case: bool) -> str:
    """A list of devices in one of the orders of their members that the first records have."""
    orders = orders_of([[member for member in device if member in DEVICE] for device in devices], "token")
    patterns = {member: _value_of(member, any_case) for member in DEVICE}
    # A device without a platform is broken, which the reader says.
    usable = [(order, always) for order, always in orders if "platform" in order]
    one = "|".join(_ordered(order, "token", always | {"platform"}, patterns) for order, always in usable)
    return rf"(?:\[(?:{one})(?:, ?(?:{one}))*\]|null)" if one else "null"


def orders_of(sequences: Iterable[Sequence[str]], pivot: str) -> list[tuple[tuple[str, ...], set[str]]]:
    """As few orders as possible that all sequences follow, and the members that are in all sequences of an order."""
    groups: list[list[tuple[str, ...]]] = []
    # Rare orders cost length of the expression and match little: their lines are left to the reader.
    common = Counter(tuple(sequence) for sequence in sequences if pivot in sequence)
    for sequence, _ in common.most_common(_MAX_ORDERS * _MAX_ORDERS):
        for group in groups:
            if _merged([*group, sequence]) is not None:
                group.append(sequence)
                break
        else:
            if len(groups) < _MAX_ORDERS:
                groups.append([sequence])
    return [(_merged(group) or group[0], set.intersection(*map(set, group))) for group in groups]


def _merged(sequences: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """One order that all sequences follow; None if two of them contradict each other."""
    graph: dict[str, set[str]] = {}
    for sequence in sequences:
        for n, name in enumerate(sequence):
            # Each name after the one before it. A cycle among them means that no common order exists.
            graph.setdefault(name, set()).update(sequence[max(0, n - 1) : n])
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError:
        return None


def _ordered(order: Sequence[str], pivot: str, always: set[str], patterns: Mapping[str, str]) -> str:
    """An object with members in this order. Commas stand on the side of the pivot, which is always there."""
    at = order.index(pivot)
    text = r"\{"
    for n, name in enumerate(order):
        member = f"{name_pattern(name)}: ?{patterns[name]}"
        member = member if n == at else f"{member}, ?" if n < at else f", ?{member}"
        text += member if name in always else f"(?:{member})?"
    return text + r"\}"


def name_pattern(name: str) -> str:
    """Matches a member's name, with characters beyond ASCII as they are or escaped."""
    # Python's json escapes what is not ASCII; most other writers do not.
    forms = dict.fromkeys((json.dumps(name, ensure_ascii=False), json.dumps(name)))
    return "(?:" + "|".join(map(quoted, forms)) + ")"


def quoted(literal: str) -> str:
    """A text as RE2 matches it."""
    return re.sub(r"[^\w ]", lambda found: f"\\x{{{ord(found[0]):x}}}", literal)


def _structure(known: Mapping[str, str], attributes: Sequence[str]) -> str:
    texts: dict[str, object] = dict.fromkeys(known, "VARCHAR")
    for name, column in known.items():
        if column == "devices":
            texts[name] = [dict.fromkeys(DEVICE, "VARCHAR")]
        if column == "attributes":
            texts[name] = "JSON"
    return json.dumps(texts | dict.fromkeys(attributes, "JSON"), ensure_ascii=False)
