"""The shortest form of a line, as SQL: a line that its own values give again needs no regular expression.

In a line without a backslash every quote begins or ends a text. So where the values that were parsed, written in the
file's order without white space, give the same line, they are in it as they are, each member once, and nothing else.
The regular expression of `shape` proves that of JSON in any form, and takes more than twice as long.

This too may be too narrow, and must never be too wide: what the text leaves open of a value is asked as well.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from audiences.database import text
from audiences.shape import DEVICE, MAX_LINE_CHARS, UPDATED_AT, WORDS, Shape, orders_of

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NO_TEXT = f"{_NUMBER}|true|false|null"
_NOT_IN_ATTRIBUTES = (":{", ":[", ":N", ":I", ":i", "\\")
"""No attribute is an object, a list, or what DuckDB takes for numbers: NaN and Infinity in any case, also `inf`. And no
quote is escaped."""
_LOOKED_AT = ((":n", ":n[aA]"), (":-", ":-[^0-9]"))
"""The same: null and negative numbers begin as they do. Few attributes have these: only they are searched."""
_MAX_INTEGER_CHARS = 18
_MIN_TOKEN_CHARS = 16

Objects = Sequence[Mapping[str, object]]


class Exact(msgspec.Struct, frozen=True):
    """How a file's lines are parsed and proven.

    Args:
        parsed: `e`, what is parsed of `line`.
        members: `t`, the members as a struct, of `e`.
        condition: whether the line is exact, of `line` and `t`.
        single: in `t`, `devices` is the only device, not a list.
    """

    parsed: str
    members: str
    condition: str
    single: bool = False

    def over(self, relation: str) -> str:
        """The relation with the columns `t` and `exact`. Raises InvalidInputException where a line is no JSON."""
        # In steps: what is in one is computed once, however often the next names it.
        parsed = f"SELECT *, {self.parsed} AS e FROM {relation}"
        members = f"SELECT *, {self.members} AS t FROM ({parsed})"
        return f"(SELECT *, coalesce({self.condition}, false) AS exact FROM ({members}))"


class _Value(msgspec.Struct, frozen=True):
    """A member's value in SQL.

    Args:
        pieces: what stands between the quotes; several where it is put together.
        quote: empty for what is no text.
        proofs: what the text leaves open.
    """

    pieces: tuple[str, ...]
    quote: str = '"'
    proofs: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The value as one text."""
        pieces = list(self.pieces[:1])
        for piece in self.pieces[1:]:
            # Two texts as they are become one: each piece is one more loop over all rows.
            if piece.startswith("'") and pieces[-1].startswith("'"):
                pieces[-1] = pieces[-1][:-1] + piece[1:]
            else:
                pieces.append(piece)
        return f"concat({', '.join(pieces)})" if len(pieces) > 1 else pieces[0]


def exact_line(shape: Shape, records: Objects) -> Exact | None:
    """How exact lines are found in a file; None if no line can be.

    Args:
        records: the first of the file, of which the shape was made.
    """
    columns = shape.columns
    # Which of the two a row has, and which of them wins, the reader knows.
    if {"devices", "token"} <= columns.keys() or ("attributes" in columns and shape.attributes):
        return None
    # Types of attributes are known from their JSON text only, which the way by paths does not keep.
    single = not shape.attributes and "devices" in columns and _have_one_each(_seen(records, columns["devices"]))
    values = {name: _value(column, _extracted(name, column), _seen(records, name)) for column, name in columns.items()}
    values |= {name: _value(None, f"CAST({_extracted(name)} AS VARCHAR)", []) for name in shape.attributes}
    if "devices" in columns:
        listed = _device_list(_extracted(columns["devices"]), _seen(records, columns["devices"]), single=single)
        if listed is None:
            return None
        values[columns["devices"]] = listed
    # By the known names where the file has none of its own: no order has those, and no line is exact.
    needed = {columns.get(one, one) for one in (("devices",) if "devices" in columns else ("platform", "token"))}
    whole = _object(records, columns["user_id"], values, needed)
    if whole is None:
        return None
    proofs = [f"strlen(line) <= {MAX_LINE_CHARS}", f"line = {whole.sql}", *whole.proofs]
    if shape.attributes or not (single or "devices" not in columns):
        # Of devices there may be any number.
        condition = " AND ".join((r"NOT contains(line, '\')", *proofs))
        return Exact(f"json_transform(line, {text(shape.structure)})", "e", condition)
    devices = [device for one in _seen(records, columns.get("devices", "")) for device in _devices_in(one)]
    return _by_paths(columns, {name for one in devices for name in one}, " AND ".join(proofs), single=single)


def _by_paths(columns: Mapping[str, str], of_device: set[str], condition: str, *, single: bool) -> Exact:
    """Members one by one, which takes two thirds of the time of `json_transform`.

    They are texts without their quotes and escapes. A line with an escape in one of them is not exact all the same:
    what is written again is shorter than the line, whose first backslash is where the value has another character, or
    a single backslash for two.
    """
    paths: list[str] = []
    members: list[str] = []
    for column, name in columns.items():
        # Known names are letters and underscores in any case: a path needs no quotes.
        if column == "devices":
            # What the first records have not is in no exact line, and looking for it costs as much as what is there.
            device = [
                f"{one} := {_nth(paths, f'$.{name}[0].{one}') if one in of_device else 'CAST(NULL AS VARCHAR)'}"
                for one in DEVICE
            ]
            members.append(f"{name} := struct_pack({', '.join(device)})")
        else:
            members.append(f"{name} := {_nth(paths, f'$.{name}')}")
    parsed = f"json_extract_string(line, [{', '.join(map(text, paths))}])"
    return Exact(parsed, f"struct_pack({', '.join(members)})", condition, single)


def _nth(paths: list[str], path: str) -> str:
    """The value of one more path."""
    paths.append(path)
    return f"e[{len(paths)}]"


def _have_one_each(lists: Sequence[object]) -> bool:
    return all(len(one) == 1 for one in lists if isinstance(one, list))


def _devices_in(listed: object) -> list[dict[str, object]]:
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _extracted(name: str, column: str | None = None) -> str:
    value = f"struct_extract(t, {text(name)})"
    return f"CAST({value} AS VARCHAR)" if column == "attributes" else value


def _seen(objects: Objects, name: str) -> list[object]:
    return [one[name] for one in objects if one.get(name) is not None]


def _value(column: str | None, sql: str, seen: Sequence[object]) -> _Value:
    """The value of a known column, or of an attribute's."""
    if column is None:
        # A text has no end but its own, since no quote is in it.
        proof = f"""(starts_with({sql}, '"') OR regexp_full_match({sql}, {text(_NO_TEXT)}))"""
        return _Value((sql,), "", (_or_null(sql, proof),))
    if column == "attributes":
        found = [f"contains({sql}, {text(one)})" for one in _NOT_IN_ATTRIBUTES]
        found += [
            f"CASE WHEN contains({sql}, {text(one)}) THEN regexp_matches({sql}, {text(pattern)}) ELSE false END"
            for one, pattern in _LOOKED_AT
        ]
        others = " AND ".join(f"NOT {one}" for one in found)
        return _Value((sql,), "", (_or_null(sql, f"(starts_with({sql}, '{{') AND {others})"),))
    if column in ("user_id", UPDATED_AT) and seen and all(type(value) is int for value in seen):
        # As written, and no other value whose text would be the same: true, or a list.
        proof = f"strlen({sql}) <= {_MAX_INTEGER_CHARS} AND CAST(try_cast({sql} AS BIGINT) AS VARCHAR) = {sql}"
        return _Value((sql,), "", (proof if column == "user_id" else _or_null(sql, f"({proof})"),))
    if column in WORDS:
        words = {*WORDS[column], *(word for word in seen if isinstance(word, str) and word.lower() in WORDS[column])}
        proof = f"{sql} IN ({', '.join(map(text, sorted(words)))})"
        return _Value((sql,), proofs=(proof if column == "platform" else _or_null(sql, proof),))
    proofs = {"user_id": (f"{sql} <> ''",), "token": tuple(_token_proofs(sql))}
    return _Value((sql,), proofs=proofs.get(column, ()))


def _or_null(sql: str, proof: str) -> str:
    return f"({sql} IS NULL OR {proof})"


def _token_proofs(sql: str) -> Iterator[str]:
    """Printable ASCII without a blank; nothing in brackets. Characters below the blank are not in JSON's texts."""
    yield f"strlen({sql}) >= {_MIN_TOKEN_CHARS} AND length({sql}) = strlen({sql})"
    yield f"NOT contains({sql}, ' ') AND NOT contains({sql}, chr(127))"
    yield f"NOT starts_with({sql}, '<') AND NOT starts_with({sql}, '{{')"


def _device_list(listed: str, seen: Sequence[object], *, single: bool) -> _Value | None:
    """The list of devices. Where the first users have one each, so must all that are exact: a lambda costs more."""
    devices = [device for one in seen for device in _devices_in(one)]
    one, each = (
        _object(
            devices,
            "token",
            {name: _value(name, f"{at}.{name}", _seen(devices, name)) for name in DEVICE},
            {"platform"},
        )
        for at in (listed if single else f"{listed}[1]", "d")
    )
    if one is None or each is None:
        return None
    only = _Value(("'['", *one.pieces, "']'"), "", one.proofs)
    if single:
        # What is written again has one device, so the line has no other.
        return only
    several = f"concat('[', array_to_string(list_transform({listed}, lambda d: {each.sql}), ','), ']')"
    proven = f"len(list_filter({listed}, lambda d: coalesce({' AND '.join(each.proofs)}, false)))"
    choice = f"CASE WHEN len({listed}) = 1 THEN {only.sql} ELSE {several} END"
    return _Value((choice,), "", (f"len({listed}) > 0", f"{proven} = len({listed})"))


def _object(objects: Objects, pivot: str, values: Mapping[str, _Value], needed: set[str]) -> _Value | None:
    """An object with its members in the order of most of these; None where that is not possible.

    Args:
        needed: members without which the reader refuses it. What is not in the order is not asked about.
    """
    orders = orders_of([tuple(one) for one in objects], pivot)
    if not orders or not needed <= set(orders[0][0]) <= values.keys():
        return None
    order, always = orders[0]
    # Commas stand before members: without the first there would be one too many.
    if order[0] not in always:
        return None
    # Texts between two values are one piece.
    pieces, waiting = list[str](), "{"
    for n, name in enumerate(order):
        value = values[name]
        before = ("," if n else "") + f'"{name}":'
        is_null = any(name in one and one[name] is None for one in objects)
        if name in always and not is_null:
            pieces += [text(waiting + before + value.quote), *value.pieces]
            waiting = value.quote
            continue
        # Of a value that is NULL this is NULL, of which `concat` makes nothing.
        member = f"({text(before + value.quote)} || {value.sql} || {text(value.quote)})"
        pieces += [
            *([text(waiting)] if waiting else []),
            f"coalesce({member}, {text(before + 'null')})" if is_null else member,
        ]
        waiting = ""
    pieces.append(text(waiting + "}"))
    proofs = tuple(proof for name in order for proof in values[name].proofs)
    return _Value(tuple(pieces), "", proofs)
