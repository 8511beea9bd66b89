"""Conversions: which users did what the campaign was to bring about, each counted once, inside their own window.

`conversions/NAME.json` says where a goal's conversions are. They are joined with a run's rows, by arm: the window of a
user begins with their own push, and for the control group with the moment at which they were held.

The tables, in the order in which they are made: `assigned` (a run's users, with arm and begin), `source` (the files as
they are), `raw` (what in them is of this goal, times in UTC), `converted` (each user's first one inside the window).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

import duckdb
import msgspec
from msgspec import Meta

from audiences.database import Limits, connect, name, text
from audiences.engines.statement import Refused
from audiences.engines.tables import create_views
from audiences.faults import AudienceFault
from audiences.fetch import fetch
from audiences.sources import pinned_files
from notifier.model.campaign import Goal
from notifier.model.conversion_counts import ArmCounts, ConversionCounts, Point
from notifier.model.remainder import OtherPart
from notifier.model.validation import shape_faults

DATE = "{date}"
"""In a file's name: each day of the window, as 2026-11-21."""
_READERS = 8
_MAX_DAYS = 200
_OFFSET = r".*\d(Z|[+-]\d{2}(:?\d{2})?)$"
_MILLISECONDS = 10**11
"""A larger number is milliseconds since the epoch, a smaller one seconds."""


_IS_TESTED = "(concat('0x', substr(sha256(concat(?, ':test:', user_id)), 1, 15))::BIGINT % 10000 < ?)"
"""Whether a user is in the test part: the public hash of `notifier.model.remainder`."""


class NamedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A query of `queries/`, on any engine. Its values `$from`, `$to` are days: of the first push, of the end."""

    name: Annotated[str, Meta(min_length=1)]
    parameters: dict[str, Any] = {}


class Complete(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How it is known up to when conversions are complete: a time, with an offset. One of the two."""

    marker: Annotated[
        Annotated[str, Meta(min_length=1)] | None, Meta(description="The key of an object whose text it is.")
    ] = None
    query: Annotated[NamedQuery | None, Meta(description="It is the first column of the first row.")] = None


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where conversions are, and up to when they are known."""

    complete: Annotated[Complete, Meta(description="How it is known up to when they are complete.")]
    files: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(description="Keys, prefixes that end in `/`, and globs; `{date}` is each day of the window."),
    ] = ()
    query: Annotated[NamedQuery | None, Meta(description="Instead of files: whose rows are the conversions.")] = None
    user_id: Annotated[str, Meta(description="The column with the user's id.")] = "user_id"
    at: Annotated[str, Meta(description="The column with the time.")] = "at"
    event: Annotated[
        str | None, Meta(description="The column that names the goal. Null: every row is a conversion.")
    ] = "event"
    timezone: Annotated[str | None, Meta(description="Of times without an offset: `Europe/Berlin`.")] = None
    lateness_h: Annotated[float, Meta(ge=0, le=720, description="How many hours late a conversion may arrive.")] = 0.0


def read_declaration(body: bytes, place: str) -> Declaration:
    """The declaration in its JSON form. Raises AudienceFault."""
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise AudienceFault(f"{place}: not JSON: {error}") from None
    if faults := tuple(shape_faults(decoded, Declaration, "conversions")):
        raise AudienceFault(f"{place}: {'; '.join(map(str, faults))}")
    declared = msgspec.convert(decoded, Declaration)
    if bool(declared.files) is (declared.query is not None):
        raise AudienceFault(f"{place}: files and query: one of the two", "say where the conversions are")
    if (declared.complete.marker is None) is (declared.complete.query is None):
        raise AudienceFault(f"{place}: complete.marker and complete.query: one of the two", "say how it is known")
    if declared.timezone is not None and declared.timezone not in available_timezones():
        raise AudienceFault(f"{place}: timezone: {declared.timezone} is no time zone", "name one, as Europe/Berlin")
    return declared


Ask = Callable[[Sequence[Mapping[str, Any]]], Sequence[Sequence[Path]]]
"""Runs stored queries, all of them at once: each one's rows, as files. Raises AudienceFault; in a function, and while a
warehouse is at work, StillQuerying."""


def no_queries(_requests: Sequence[Mapping[str, Any]]) -> Sequence[Sequence[Path]]:
    """Where no query can be run."""
    raise AudienceFault("conversions: a stored query is run by the stack's audience function", "name files instead")


def join(
    client: Any,
    bucket: str,
    run_id: str,
    goal: Goal,
    declared: Declaration,
    now: datetime,
    limits: Limits,
    ask: Ask = no_queries,
    after: timedelta | None = None,
    other_part: OtherPart | None = None,
) -> ConversionCounts:
    """The conversions of a run up to now.

    Args:
        ask: runs the queries that the declaration names.
        after: only what happened before this time after the last user's push is counted.
        other_part: of a test or its remainder: whoever is in the other run is no unknown user.

    Raises:
        AudienceFault: they cannot be counted.
    """
    folder = limits.work / "conversions"
    rows = _fetch_rows(client, bucket, run_id, folder / "rows")
    with connect(limits) as database:
        first, last = _assign(database, rows)
        ends = last + timedelta(hours=goal.window_h)
        until = last + after if after is not None else None
        source = Source(client, bucket, declared, ask, first, min(ends, now))
        view_of(database, "source", source.files(folder / "files"), [declared.user_id, declared.at, declared.event])
        unreadable = convert(database, declared, goal, until)
        if other_part is not None:
            # As `OtherPart.__contains__`: who is in the other run is in no row of this one, and no unknown user.
            database.execute(f"DELETE FROM raw WHERE {_IS_TESTED} <> ?", [
                other_part.salt, other_part.hundredths, other_part.is_remainder,
            ])  # fmt: skip
        through = source.through(database)
        # Each user's window is over, late conversions have arrived, and the source says that it is complete.
        over = ends + timedelta(hours=declared.lateness_h)
        is_final = now > over and through is not None and through >= ends
        found = _counted(database, goal, first, last, through, unreadable, is_final=is_final)
    return msgspec.structs.replace(found, until=until.isoformat() if until else None)


def view_of(
    database: duckdb.DuckDBPyConnection, table: str, files: Sequence[Path], columns: Sequence[str | None]
) -> None:
    """A table of files; of none, one without rows: a query has found nothing."""
    if not files:
        named = ", ".join(f"''::VARCHAR AS {name(column)}" for column in columns if column)
        database.execute(f"CREATE VIEW {name(table)} AS SELECT {named} WHERE false")
        return
    try:
        create_views(database, {table: files})
    except Refused as error:
        raise AudienceFault(f"conversions: {error}") from None


class Source:
    """Where a declaration's conversions are, for a run's windows."""

    def __init__(
        self, client: Any, bucket: str, declared: Declaration, ask: Ask, first: datetime, until: datetime
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._declared = declared
        self._first = first
        self._until = until
        queries = [one for one in (declared.query, declared.complete.query) if one is not None]
        # At once: a warehouse works at both while nobody waits.
        self._asked = list(ask([self._request(one) for one in queries])) if queries else []

    def _request(self, query: NamedQuery) -> dict[str, Any]:
        # A day more on each side: the days of a table's partitions may be of another time zone.
        first, last = self._first.date() - timedelta(days=1), self._until.date() + timedelta(days=1)
        times = {"$from": first.isoformat(), "$to": last.isoformat()}
        given = {
            name: times.get(value, value) if isinstance(value, str) else value
            for name, value in query.parameters.items()
        }
        return {"query": {"name": query.name, "parameters": given}}

    def files(self, folder: Path) -> Sequence[Path]:
        """Their files, on this machine."""
        if self._declared.query is not None:
            return self._asked[0]
        named = _names(self._declared.files, self._first, self._until)
        present = pinned_files(self._client, _present(self._client, named, self._bucket), self._bucket)
        return [file.path for file in fetch(self._client, present, folder)]

    def through(self, database: duckdb.DuckDBPyConnection) -> datetime | None:
        """Up to when they are complete; None while nothing says so."""
        if self._declared.complete.query is None:
            return _through(self._client, self._bucket, self._declared.complete.marker or "")
        view_of(database, "complete", self._asked[-1], ["through"])
        found = database.execute("SELECT COLUMNS(*)::VARCHAR FROM complete LIMIT 1").fetchone()
        if not found or found[0] is None:
            return None
        return _moment_of(str(found[0]), f"complete.query ({self._declared.complete.query.name})")


def _fetch_rows(client: Any, bucket: str, run_id: str, folder: Path) -> list[str]:
    found = fetch_results(client, bucket, f"rows/run_id={run_id}/batch=", folder)
    if not found:
        raise AudienceFault(f"run {run_id} has no rows: it has sent nothing yet, or they have expired (ResultDays)")
    return found


def fetch_results(client: Any, bucket: str, prefix: str, folder: Path) -> list[str]:
    """The objects of a run's results, on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]

    def one(numbered: tuple[int, str]) -> str:
        path = folder / f"{numbered[0]:06d}.json.gz"
        path.write_bytes(client.get_object(Bucket=bucket, Key=numbered[1])["Body"].read())
        return str(path)

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(one, enumerate(keys)))


def _assign(database: duckdb.DuckDBPyConnection, rows: Sequence[str]) -> tuple[datetime, datetime]:
    """The table of users: arm, and when their window begins. Every outcome counts: arms are compared as assigned."""
    columns = "{'user_id': 'VARCHAR', 'arm': 'VARCHAR', 'at': 'TIMESTAMP'}"
    listed = f"[{', '.join(map(text, rows))}]"
    database.execute(
        'CREATE TABLE assigned AS SELECT user_id, arm, min("at") AS since '
        f"FROM read_json({listed}, format = 'newline_delimited', compression = 'gzip', columns = {columns}) "
        "GROUP BY user_id, arm"
    )
    found = database.execute("SELECT min(since), max(since) FROM assigned").fetchone()
    if found is None or found[0] is None:
        raise AudienceFault("the run has no rows yet")
    return found[0].replace(tzinfo=UTC), found[1].replace(tzinfo=UTC)


def _names(files: Sequence[str], first: datetime, until: datetime) -> list[str]:
    days = min((until.date() - first.date()).days, _MAX_DAYS)
    # A day more on each side: the days of the files may be of another time zone.
    dates = [(first.date() + timedelta(days=n)).isoformat() for n in range(-1, max(days, 0) + 2)]
    return [one.replace(DATE, date) for one in files for date in (dates if DATE in one else dates[:1])]


def _present(client: Any, names: Sequence[str], bucket: str) -> list[str]:
    """The names that mean an object. A day without conversions has none; nothing at all is a mistake."""
    found: list[str] = []
    for one in names:
        try:
            pinned_files(client, [one], bucket)
        except AudienceFault:
            continue
        found.append(one)
    if not found:
        raise AudienceFault(f"conversions: no object has such a key: {', '.join(names[:3])}", "check files")
    return found


def convert(
    database: duckdb.DuckDBPyConnection, declared: Declaration, goal: Goal, until: datetime | None = None
) -> int:
    """The table of conversions, with times in UTC. Returns how many rows were left out: their time cannot be read."""
    kinds = {column: kind for column, kind, *_ in database.execute("DESCRIBE source").fetchall()}
    wanted = [declared.user_id, declared.at, *([declared.event] if declared.event else [])]
    for column in wanted:
        if column not in kinds:
            raise AudienceFault(f"conversions: no column {column}; there are {', '.join(kinds)}", "name the columns")
    where = f"CAST({name(declared.event)} AS VARCHAR) = {text(goal.name)}" if declared.event else "true"
    database.execute(
        f"CREATE TABLE raw AS SELECT CAST({name(declared.user_id)} AS VARCHAR) AS user_id, "
        f"{_moment(database, declared, kinds[declared.at])} AS moment FROM source WHERE {where}"
    )
    [(unreadable,)] = database.execute("SELECT count(*) FROM raw WHERE moment IS NULL").fetchall()
    # Counted, and then gone: a comparison with NULL is never true, so that no limit of time would take them out.
    database.execute("DELETE FROM raw WHERE moment IS NULL")
    if until is not None:
        # A decision is by what happened up to its hour, whenever it is made: it can be computed again.
        database.execute("DELETE FROM raw WHERE moment >= ?", [until.astimezone(UTC).replace(tzinfo=None)])
    return int(unreadable)


def _moment(database: duckdb.DuckDBPyConnection, declared: Declaration, kind: str) -> str:
    """The SQL of a row's time, in UTC and without an offset, as the rows' times are."""
    column = name(declared.at)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"timezone('UTC', {column})"
    if re.fullmatch(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*", kind):
        seconds = f"CASE WHEN {column} > {_MILLISECONDS} THEN {column} / 1000 ELSE {column} END"
        return f"timezone('UTC', to_timestamp({seconds}))"
    has_offset = f"regexp_full_match(trim(CAST({column} AS VARCHAR)), {text(_OFFSET)}) AND {text(kind)} = 'VARCHAR'"
    if declared.timezone is None:
        found = database.execute(f"SELECT {column} FROM source WHERE NOT ({has_offset}) LIMIT 1").fetchone()
        if found is not None:
            raise AudienceFault(
                f"conversions: timezone is missing: {declared.at} has times without one ({found[0]})",
                "declare it, as Europe/Berlin",
            )
    local = f"timezone({text(declared.timezone or 'UTC')}, TRY_CAST({column} AS TIMESTAMP))"
    aware = f"TRY_CAST({column} AS TIMESTAMPTZ)"
    return f"timezone('UTC', CASE WHEN {has_offset} THEN {aware} ELSE {local} END)"


def _through(client: Any, bucket: str, marker: str) -> datetime | None:
    """What a marker says; None while it is not there."""
    try:
        body = client.get_object(Bucket=bucket, Key=marker)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
    return _moment_of(body.decode(errors="replace"), f"s3://{bucket}/{marker}")


def _moment_of(text: str, place: str) -> datetime:
    written = text.strip().strip('"')
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise AudienceFault(f"{place}: not a time with an offset: {written[:40]}", "write it as 2026-11-28T09:00:00Z")
    return found.astimezone(UTC)


def _counted(
    database: duckdb.DuckDBPyConnection,
    goal: Goal,
    first: datetime,
    last: datetime,
    through: datetime | None,
    unreadable: int,
    *,
    is_final: bool,
) -> ConversionCounts:
    database.execute(
        "CREATE TABLE converted AS SELECT a.user_id, a.arm, a.since, min(r.moment) AS moment "
        "FROM assigned a JOIN raw r "
        f"ON r.user_id = a.user_id AND r.moment >= a.since AND r.moment < a.since + INTERVAL {goal.window_h} HOUR "
        "GROUP BY a.user_id, a.arm, a.since"
    )
    arms = database.execute(
        "SELECT a.arm, count(*), count(c.user_id) FROM assigned a LEFT JOIN converted c USING (user_id, arm) "
        "GROUP BY a.arm ORDER BY a.arm = 'control', a.arm"
    ).fetchall()
    step = max(goal.window_h / 48, 1 / 60)
    # Each conversion counts from the next point on. The 1e-9 moves one that is exactly on a point behind it, and so one
    # at once, at 0 h: no point is at 0.
    curve = database.execute(
        f"SELECT arm, ceil(date_diff('second', since, moment) / 3600.0 / {step} + 1e-9) * {step} AS hours, "
        "count(*) "
        "FROM converted GROUP BY ALL ORDER BY arm, hours"
    ).fetchall()
    [(seen, unknown)] = database.execute(
        "SELECT count(DISTINCT r.user_id), count(DISTINCT r.user_id) FILTER (WHERE a.user_id IS NULL) "
        "FROM raw r LEFT JOIN assigned a USING (user_id) WHERE r.moment >= ? AND r.moment < ?",
        [first.replace(tzinfo=None), (last + timedelta(hours=goal.window_h)).replace(tzinfo=None)],
    ).fetchall()
    return ConversionCounts(
        arms=tuple(ArmCounts(*one) for one in arms),
        curve=_summed(curve),
        first_at=first.isoformat(),
        last_at=last.isoformat(),
        complete_through=through.isoformat() if through else None,
        is_final=is_final,
        seen=seen,
        unknown=unknown,
        unreadable=unreadable,
    )


def _summed(curve: Sequence[tuple[str, float, int]]) -> tuple[Point, ...]:
    """The points of each arm, each with all conversions so far."""
    total: dict[str, int] = {}
    points = []
    for arm, hours, count in curve:
        total[arm] = total.get(arm, 0) + count
        points.append(Point(arm, float(hours), total[arm]))
    return tuple(points)
