"""What an audience holds, counted by SQL over its users and over what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import msgspec

from audiences.joined_users import CARRIER, Preparation, all_devices
from audiences.reader import DUPLICATE
from audiences.rows import ROW_BITS
from audiences.samples import LOOKED_AT, samples_of
from audiences.suspicions import OF_OTHER_GATEWAY, invisible_ends, null_words
from notifier.model.audience_counts import MAX_NAME_CHARS, MAX_NAMES, OTHER, AttributeCounts, Counts, InvalidPlace

PLACES = 3
"""First places of each reason."""
EXAMPLES = 5
_EXAMPLE_CHARS = 100
_FIRST_USERS = 10_000
_FEW = 0.5
"""Share of different attributes among the first users up to which all are grouped."""


def counts_of(
    con: duckdb.DuckDBPyConnection,
    prepared: Preparation,
    show: Sequence[str] | None = (),
    looked_at: int = LOOKED_AT,
) -> Counts:
    """The counts: of the users in the view `users`, and of those in the table `counted`.

    Args:
        show: attributes whose values may be shown; None for all.
        looked_at: in so many of the first users samples and examples are looked for, which the view has to have.
    """
    both = "(SELECT count(*) AS users FROM users UNION ALL SELECT users FROM counted)"
    users = int(con.execute(f"SELECT sum(users) FROM {both}").fetchall()[0][0])
    invalid = dict(con.execute("SELECT reason, count(*) FROM invalid GROUP BY reason ORDER BY 2 DESC, 1").fetchall())
    locales, timezones = _values(con)
    devices, marks = _devices(con)
    with _attributes_of_users(con):
        attributes, longest = _attributes(con, users, show, looked_at // 2)
        words = null_words(con, {"locale": locales, "timezone": timezones})
    return Counts(
        rows=sum(prepared.rows),
        users=users,
        devices=devices,
        locales=_named(locales),
        timezones=_named(timezones),
        attributes=attributes,
        repeated_tokens=invalid.pop(DUPLICATE, 0),
        joined_rows=prepared.joined_rows,
        invalid=invalid,
        invalid_first=_first_places(con, prepared),
        null_words=words,
        other_gateway=marks,
        longest=longest,
        samples=samples_of(con, show, looked_at),
        invisible_ends=invisible_ends(con),
    )


def _devices(con: duckdb.DuckDBPyConnection) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Devices by platform and gateway; and those whose token looks like one of the other gateway."""
    counts: dict[str, dict[str, int]] = {}
    marks: dict[str, int] = {}
    which = f"d.platform AS platform, {CARRIER} AS carrier, count(*) AS devices, count_if({OF_OTHER_GATEWAY}) AS marked"
    query = f"SELECT {which} FROM {all_devices('users')} GROUP BY 1, 2"
    # Those that are counted only have one device, whose token looks like its own gateway's.
    counted = f"SELECT d.platform, {CARRIER}, users, 0 FROM counted AS d"
    both = f"SELECT platform, carrier, sum(devices), sum(marked) FROM ({query} UNION ALL {counted}) GROUP BY 1, 2"
    for platform, gateway, count, marked in con.execute(f"{both} ORDER BY 1, 2").fetchall():
        counts.setdefault(platform, {})[gateway] = int(count)
        if marked:
            marks[f"{platform} {gateway}"] = int(marked)
    return counts, marks


@contextmanager
def _attributes_of_users(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The relation `attributes_of_users`: attributes, and how many users have just these.

    Few differ, as a rule (names, cities): all that is counted of them is counted once. Where they do differ, as with a
    link for each user, grouping would be another pass for nothing.
    """
    first = f"(SELECT attributes FROM users LIMIT {_FIRST_USERS})"
    [(some, different)] = con.execute(f"SELECT count(*), count(DISTINCT attributes) FROM {first}").fetchall()
    kind, grouped = ("TABLE", "GROUP BY 1") if different <= some * _FEW else ("VIEW", "")
    users = "count(*)" if grouped else "1"
    con.execute(
        f"CREATE {kind} attributes_of_users AS SELECT attributes, {users} AS users FROM users {grouped} "
        "UNION ALL SELECT attributes, users FROM counted"
    )
    yield
    # The parts are made from now on: they need the memory.
    con.execute(f"DROP {kind} attributes_of_users")


def _values(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The locales and the time zones, and how many users have each: few pairs, so the users are read once."""
    shortened = ", ".join(f"left({column}, {MAX_NAME_CHARS})" for column in ("locale", "timezone"))
    pairs = "SELECT locale, timezone, count(*) AS users FROM users GROUP BY 1, 2"
    pairs += " UNION ALL SELECT locale, timezone, users FROM counted"
    found = con.execute(f"SELECT {shortened}, sum(users) FROM ({pairs}) GROUP BY 1, 2").fetchall()
    locales, timezones = Counter[str](), Counter[str]()
    for locale, timezone, users in found:
        locales[locale] += int(users)
        timezones[timezone] += int(users)
    return [one for one in locales.items() if one[0]], [one for one in timezones.items() if one[0]]


def _named(values: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The most frequent first."""
    found = sorted(values, key=lambda one: (-one[1], one[0]))
    counts = dict(found[:MAX_NAMES])
    if others := sum(count for _, count in found[MAX_NAMES:]):
        counts[OTHER] = others
    return counts


def _attributes(
    con: duckdb.DuckDBPyConnection, users: int, show: Sequence[str] | None, looked_at: int
) -> tuple[dict[str, AttributeCounts], dict[str, int]]:
    """How many users lack each attribute (those without it, and those whose value is null), and how long they get."""
    having = dict[str, int]()
    # Few sets of names, as a rule: they are counted as sets, and then name by name.
    for names, count in con.execute(
        "SELECT json_keys(attributes), sum(users) FROM attributes_of_users GROUP BY 1"
    ).fetchall():
        for name in dict.fromkeys(names or ()):
            having[name] = having.get(name, 0) + int(count)
    for nulls, count in _nulls(con):
        for name in nulls:
            having[name] -= count
    common = sorted(having, key=lambda name: (-having[name], name))[:MAX_NAMES]
    counted = {
        name[:MAX_NAME_CHARS]: AttributeCounts(
            users - having[name], _examples(con, name, looked_at) if show is None or name in show else ()
        )
        for name in sorted(common)
    }
    return counted, _longest(con, sorted(common))


def _longest(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, int]:
    """The bytes of the longest value of each attribute: one text is too large for a push because of one user."""
    if not names:
        return {}
    # All paths in one call: each user's attributes are parsed once.
    each = ", ".join(f"max(strlen(found[{n}]))" for n in range(1, len(names) + 1))
    query = f"SELECT {each} FROM (SELECT json_extract_string(attributes, ?) AS found FROM attributes_of_users)"
    row = con.execute(query, [[_path(name) for name in names]]).fetchone() or ()
    return {name[:MAX_NAME_CHARS]: longest for name, longest in zip(names, row, strict=True) if longest}


def _path(name: str) -> str:
    return '$."' + name.replace('"', '\\"') + '"'


def _nulls(con: duckdb.DuckDBPyConnection) -> list[tuple[list[str], int]]:
    """Sets of names whose value is null, and how many users have each."""
    found: dict[tuple[str, ...], int] = {}
    # Only users with the word in their attributes are decoded.
    query = "SELECT attributes, sum(users) FROM attributes_of_users WHERE contains(attributes, 'null') GROUP BY 1"
    rows = con.execute(query)
    while some := rows.fetchmany(5_000):
        for attributes, count in some:
            values: dict[str, Any] = msgspec.json.decode(attributes, type=dict[str, msgspec.Raw])
            names = tuple(name for name, value in values.items() if bytes(value) == b"null")
            found[names] = found.get(names, 0) + int(count)
    return [(list(names), count) for names, count in found.items()]


def _examples(con: duckdb.DuckDBPyConnection, name: str, looked_at: int) -> tuple[str, ...]:
    query = f"""
        SELECT value FROM (SELECT json_extract_string(attributes, ?) AS value FROM users LIMIT {looked_at})
        WHERE value IS NOT NULL AND value <> 'null' GROUP BY value ORDER BY count(*) DESC, value LIMIT {EXAMPLES}"""
    return tuple(str(value)[:_EXAMPLE_CHARS] for (value,) in con.execute(query, [_path(name)]).fetchall())


def _first_places(con: duckdb.DuckDBPyConnection, prepared: Preparation) -> tuple[InvalidPlace, ...]:
    query = f"""
        SELECT place >> {ROW_BITS}, place & {(1 << ROW_BITS) - 1}, reason, device FROM (
            SELECT *, row_number() OVER (PARTITION BY reason ORDER BY place, device) AS n FROM invalid)
        WHERE n <= {PLACES} ORDER BY place, device"""
    return tuple(
        InvalidPlace(prepared.inputs[number].name, row, reason, device)
        for number, row, reason, device in con.execute(query).fetchall()
    )
