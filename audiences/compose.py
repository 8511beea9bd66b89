"""Audiences of audiences: and, or, without, and filters on columns, over user ids, before rows are made into users.

A user who is in several sources has one record: that of the first source, in the order of the request, by which it is
in the audience. So rows of the other sources are left out, and with them their devices.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import duckdb
import msgspec

from audiences.database import text
from audiences.engines.port import KNOWN
from audiences.faults import AudienceFault
from audiences.rows import ROW_BITS
from notifier.model.plain_words import described

SOURCES = ("parts", "files", "query", "sql")
"""One of them is in every request that is no composition."""
_OF_QUERY = ("engine", "tables", "parameters")
"""Keys that only `sql` may have beside it."""
MAX_DEPTH = 8
MAX_SOURCES = 20
MAX_VALUES = 1_000
FILTERED = ("locale", "timezone")
"""Known columns that a filter may name; beside them, attributes."""
_NEVER_SHOWN = frozenset(KNOWN) - frozenset(FILTERED)

Listed = Callable[[Mapping[str, Any]], Collection[str] | None]
"""Of a source's request: the columns that may be filtered by, and shown; None for any."""
Ranked = Callable[[str, str], str]
"""Rows with their `rank` among those that have the same value of an expression: see `audiences.joined_users`."""


class Filter(msgspec.Struct, frozen=True):
    """Only users who have one of these values in a column. A number or a truth value is compared as JSON writes it."""

    column: str
    values: tuple[str, ...]


class Source(msgspec.Struct, frozen=True):
    """One source. Sources are numbered in the order of the request.

    Args:
        request: without its filters.
    """

    number: int
    request: Mapping[str, Any]
    filters: tuple[Filter, ...] = ()


class Composed(msgspec.Struct, frozen=True):
    """Users who are in all, or in any, of the members, and in none of `without`."""

    kind: Literal["all", "any"]
    members: "tuple[Source | Composed, ...]"
    without: "tuple[Source | Composed, ...]" = ()
    filters: tuple[Filter, ...] = ()


Node = Source | Composed


def read_composition(request: object, listed: Listed = lambda _request: None) -> Node:
    """The tree of a request. Raises AudienceFault, which names the field and what to write."""
    return _Reader(listed).node(request, "audience", 0)


class _Reader:
    """Reads one request, and numbers its sources."""

    def __init__(self, listed: Listed) -> None:
        self._listed = listed
        self._sources = 0

    def node(self, request: object, path: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise AudienceFault(f"{path}: nested more than {MAX_DEPTH} deep", "prepare the inner audience, and name it")
        if not isinstance(request, Mapping):
            raise AudienceFault(f"{path}: {described(request)} is not an audience", 'write {"files": […]} or the like')
        kinds = [name for name in (*SOURCES, "all", "any") if name in request]
        # Not "the first one wins": a request with two sources was meant to have both, or one of them by mistake.
        if len(kinds) != 1:
            found = f"has {' and '.join(kinds)}" if kinds else "has none of them"
            raise AudienceFault(f"{path}: {found}", f"exactly one of {', '.join((*SOURCES, 'all', 'any'))}")
        kind = kinds[0]
        allowed = {kind, "where"} | ({"without"} if kind == "all" else set(_OF_QUERY) if kind == "sql" else set())
        if unknown := [name for name in request if name not in allowed]:
            mend = 'write {"all": [{"any": […]}], "without": […]}' if unknown[0] == "without" else "remove it"
            raise AudienceFault(f"{path}.{unknown[0]}: does not belong beside {kind}", mend)
        if kind in ("all", "any"):
            return self._composed(request, kind, path, depth)
        return self._source(request, path)

    def _source(self, request: Mapping[str, Any], path: str) -> Source:
        # Each source is a subquery of one SQL statement, and every filter over it repeats it.
        if self._sources == MAX_SOURCES:
            raise AudienceFault(f"{path}: more than {MAX_SOURCES} sources", "prepare some of them, and name the result")
        number, self._sources = self._sources, self._sources + 1
        own = {name: value for name, value in request.items() if name != "where"}
        return Source(number, own, self._filters(request, path, self._listed(own)))

    def _composed(self, request: Mapping[str, Any], kind: str, path: str, depth: int) -> Composed:
        members, without = (
            tuple(self._members(request, name, f"{path}.{name}", depth)) if name in request else ()
            for name in (kind, "without")
        )
        # A filter on a combination looks into every member's records: all of them must allow the column.
        columns = _common(self._listed(source.request) for member in members for source in _sources(member))
        filters = self._filters(request, path, columns)
        return Composed("all" if kind == "all" else "any", members, without, filters)

    def _members(self, request: Mapping[str, Any], name: str, path: str, depth: int) -> Iterator[Node]:
        members = request[name]
        if not isinstance(members, list | tuple) or not members:
            raise AudienceFault(
                f"{path}: {described(members)} is not a list of audiences", "write […], with one or more"
            )
        for n, member in enumerate(members):
            yield self.node(member, f"{path}[{n}]", depth + 1)

    def _filters(self, request: Mapping[str, Any], path: str, listed: Collection[str] | None) -> tuple[Filter, ...]:
        given = request.get("where", [])
        if not isinstance(given, list | tuple):
            raise AudienceFault(f"{path}.where: {described(given)} is not a list", 'write [{"column": …, "is": […]}]')
        return tuple(_filter(one, f"{path}.where[{n}]", listed) for n, one in enumerate(given))


def _filter(given: object, path: str, listed: Collection[str] | None) -> Filter:
    if not isinstance(given, Mapping) or set(given) != {"column", "is"}:
        raise AudienceFault(f"{path}: is not a filter", 'write {"column": "country", "is": ["DE", "AT"]}')
    column, values = given["column"], given["is"]
    if not isinstance(column, str) or not column:
        raise AudienceFault(f"{path}.column: {described(column)} is not the name of a column", "write a text")
    if column.lower() in _NEVER_SHOWN:
        raise AudienceFault(f"{path}.column: {column} cannot be filtered by", "name an attribute, locale or timezone")
    if listed is not None and column not in listed:
        may = f"one of {', '.join(sorted(listed))}" if listed else "none may be: its query lists none under show"
        raise AudienceFault(f"{path}.column: {column} may not be filtered by", may)
    if not isinstance(values, list | tuple) or not values:
        raise AudienceFault(f"{path}.is: {described(values)} is not a list of values", 'write ["DE", "AT"]')
    if len(values) > MAX_VALUES:
        raise AudienceFault(f"{path}.is: has {len(values):,} values", f"{MAX_VALUES:,} at most: use a query for more")
    return Filter(column, tuple(_as_text(value, f"{path}.is[{n}]") for n, value in enumerate(values)))


def _as_text(value: object, path: str) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            # As in the table, where attributes are JSON text: true, not Python's True.
            return json.dumps(value)
        case _:
            raise AudienceFault(f"{path}: {described(value)} is not a value of a column", "write a text or a number")


def _common(columns: Iterator[Collection[str] | None]) -> frozenset[str] | None:
    """The columns that are in every list; None is a list of all."""
    found: frozenset[str] | None = None
    for some in columns:
        if some is not None:
            found = frozenset(some) if found is None else found & frozenset(some)
    return found


def _sources(node: Node) -> Iterator[Source]:
    """The sources that records may come from, in the order of the request: what is only taken away has none."""
    if isinstance(node, Source):
        yield node
    else:
        for member in node.members:
            yield from _sources(member)


def columns_to_show(node: Node, listed: Listed) -> frozenset[str] | None:
    """Columns whose values may be shown: those that each source of records lists; None for all."""
    return _common(listed(source.request) for source in _sources(node))


def every_source(node: Node) -> Iterator[Source]:
    """All sources, by number: also those that only take users away."""
    if isinstance(node, Source):
        yield node
    else:
        for member in (*node.members, *node.without):
            yield from every_source(member)


def keep(con: duckdb.DuckDBPyConnection, node: Node, owners: Sequence[int], ranked: Ranked) -> None:
    """Delete from the table `rows` what does not belong to the composition.

    Args:
        owners: of each input the number of its source.
        ranked: rows as `audiences.joined_users` ranks them: a filter looks at what a user's record will have.
    """
    owner = f"[{', '.join(map(str, owners))}][(place >> {ROW_BITS}) + 1]"
    con.execute(f"CREATE TEMP VIEW owned AS SELECT *, {owner} AS source FROM rows")
    con.execute(f"CREATE TEMP TABLE chosen AS {_users(node, ranked)}")
    con.execute("DROP VIEW owned")
    con.execute(
        f"DELETE FROM rows WHERE NOT EXISTS (SELECT 1 FROM chosen WHERE chosen.user_id = rows.user_id "
        f"AND chosen.source = {owner})"
    )
    con.execute("DROP TABLE chosen")


def _users(node: Node, ranked: Ranked) -> str:
    """SQL for the users of a node, each once, with the source that their record comes from."""
    if isinstance(node, Source):
        users = f"SELECT DISTINCT user_id, source FROM owned WHERE source = {node.number}"
    elif node.kind == "any":
        numbered = (f"SELECT *, {n} AS nth FROM ({_users(member, ranked)})" for n, member in enumerate(node.members))
        # arg_min: of several members that have the user the first in the request gives the record.
        users = f"SELECT user_id, arg_min(source, nth) AS source FROM ({' UNION ALL '.join(numbered)}) GROUP BY user_id"
    else:
        first, *others = (_users(member, ranked) for member in node.members)
        conditions = [f"user_id IN (SELECT user_id FROM ({other}))" for other in others]
        # NOT IN is safe here: user_id is never NULL in this table, which would make every comparison unknown.
        conditions += [f"user_id NOT IN (SELECT user_id FROM ({_users(less, ranked)}))" for less in node.without]
        users = f"SELECT user_id, source FROM ({first})" + (f" WHERE {' AND '.join(conditions)}" if conditions else "")
    for one in node.filters:
        users = _filtered(users, one, ranked)
    return users


def _filtered(users: str, by: Filter, ranked: Ranked) -> str:
    """Those users whose record will have one of the values: the latest row's that has any."""
    value = _column(by.column)
    rows = ranked(f"(SELECT * FROM owned WHERE {value} IS NOT NULL)", "user_id, source")
    values = ", ".join(map(text, by.values))
    having = f"SELECT user_id, source FROM {rows} WHERE rank = 1 AND {value} IN ({values})"
    return f"SELECT user_id, source FROM ({users}) SEMI JOIN ({having}) USING (user_id, source)"


def _column(name: str) -> str:
    """SQL for a column's value, as text."""
    if name.lower() in FILTERED:
        return name.lower()
    # A JSON pointer: of the characters in a name only these two mean something in it.
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return f"json_extract_string(attributes, {text(pointer)})"


def values_of(
    con: duckdb.DuckDBPyConnection, column: str, show: Collection[str], most: int = 100
) -> tuple[tuple[str, int], ...]:
    """The values of a column over the table `users`, the most frequent first, with their counts: to choose from.

    Raises:
        AudienceFault: the column is not among those that may be shown.
    """
    if column not in show or column.lower() in _NEVER_SHOWN:
        raise AudienceFault(
            f"{column}: may not be shown", f"one of {', '.join(show)}" if show else "list it under show"
        )
    found = con.execute(
        f"SELECT v, count(*) FROM (SELECT {_column(column)} AS v FROM users) WHERE v IS NOT NULL "
        f"GROUP BY v ORDER BY count(*) DESC, v LIMIT {int(most)}"
    )
    return tuple((str(value), int(count)) for value, count in found.fetchall())
