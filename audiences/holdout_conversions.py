"""Conversions of the holdout against everybody else's, over the campaigns of a time: the lift of all pushes together.

Compared are people whom these campaigns were for. Whoever has a row in one of their runs, control groups included, or
was left out by the holdout, or for a reason that only those can meet who get campaigns (caps, a late hour, another part
of an experiment), is one person, in the group that the public hash says. All have the same time in which they may
convert, because those who were held out were never sent anything from which a window could begin.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from audiences.conversions import Ask, Declaration, Source, convert, fetch_results, no_queries, view_of
from audiences.database import Limits, connect, text
from audiences.faults import AudienceFault
from notifier.model.account import EXCLUDE, SUPPRESSED
from notifier.model.campaign import CONTROL, Goal
from notifier.model.conversion_counts import ArmCounts
from notifier.model.holdout import Holdout

ALL_PUSHES = "all_pushes"
"""The group of those who get campaigns."""
_IS_HELD = "(concat('0x', substr(sha256(concat(?, user_id)), 1, 15))::BIGINT % 10000 < ?)"
"""The public hash of `notifier.model.holdout`."""


class HoldoutCounts(msgspec.Struct, frozen=True):
    """People and their conversions, the holdout as control. `unknown` of `seen` converting users are none of them."""

    groups: tuple[ArmCounts, ...]
    complete_through: str | None
    is_final: bool
    seen: int
    unknown: int
    unreadable: int

    @property
    def unknown_share(self) -> float:
        """0 to 1."""
        return self.unknown / self.seen if self.seen else 0.0


def join_holdout(
    client: Any,
    bucket: str,
    run_ids: Sequence[str],
    holdout: Holdout,
    goal: Goal,
    declared: Declaration,
    since: datetime,
    until: datetime,
    now: datetime,
    limits: Limits,
    ask: Ask = no_queries,
) -> HoldoutCounts:
    """Count people and their conversions of a time.

    Args:
        run_ids: of campaigns that left this holdout out.
        goal: by its name alone: nobody has a window of their own.

    Raises:
        AudienceFault: they cannot be counted.
    """
    folder = limits.work / "holdout"
    rows = _fetched(client, bucket, "rows", "batch=", run_ids, folder)
    listed = _fetched(client, bucket, "excluded", "", run_ids, folder)
    if not rows:
        raise AudienceFault("these runs have no rows: they have expired (ResultDays)")
    with connect(limits) as database:
        _name_people(database, rows, listed, holdout)
        source = Source(client, bucket, declared, ask, since, min(until, now))
        view_of(database, "source", source.files(folder / "files"), [declared.user_id, declared.at, declared.event])
        unreadable = convert(database, declared, goal, until)
        # Nobody has a window of their own that would leave out what was before the time.
        database.execute("DELETE FROM raw WHERE moment < ?", [since.astimezone(UTC).replace(tzinfo=None)])
        through = source.through(database)
        groups, (seen, unknown) = _groups(database), _seen(database)
    # The time is over, late conversions have arrived, and the source says that it is complete.
    over = until + timedelta(hours=declared.lateness_h)
    is_final = now > over and through is not None and through >= until
    return HoldoutCounts(
        groups, through.isoformat() if through else None, is_final, seen=seen, unknown=unknown, unreadable=unreadable
    )


def _fetched(client: Any, bucket: str, name: str, beginning: str, run_ids: Sequence[str], folder: Path) -> list[str]:
    """One kind of results of all runs, on this machine. `beginning`: of the objects' names."""
    return [
        path
        for n, run_id in enumerate(run_ids)
        for path in fetch_results(client, bucket, f"{name}/run_id={run_id}/{beginning}", folder / name / str(n))
    ]


def _name_people(
    database: duckdb.DuckDBPyConnection, rows: Sequence[str], listed: Sequence[str], holdout: Holdout
) -> None:
    """The table of people whom the campaigns were for, and whether the hash holds them out.

    Args:
        listed: the lists of those who were left out.
    """
    database.execute("CREATE TABLE people (user_id VARCHAR, is_held BOOLEAN)")
    # These two reasons befall people whether or not they get campaigns: such a person is in neither group.
    left_out = f"WHERE reason NOT IN ({text(EXCLUDE)}, {text(SUPPRESSED)})"
    reads = [_read(rows, "{'user_id': 'VARCHAR'}", "")]
    reads += [_read(listed, "{'user_id': 'VARCHAR', 'reason': 'VARCHAR'}", left_out)] if listed else []
    # What an erasure leaves in place of an id is nobody.
    everybody = f"SELECT DISTINCT user_id FROM ({' UNION ALL '.join(reads)}) WHERE NOT starts_with(user_id, 'erased:')"
    salt = f"holdout:{holdout.version}:"
    database.execute(f"INSERT INTO people SELECT user_id, {_IS_HELD} FROM ({everybody})", [salt, holdout.hundredths])


def _read(files: Sequence[str], columns: str, where: str) -> str:
    listed = f"[{', '.join(map(text, files))}]"
    return (
        f"SELECT user_id FROM read_json({listed}, format = 'newline_delimited', compression = 'gzip', "
        f"columns = {columns}) {where}"
    )


def _groups(database: duckdb.DuckDBPyConnection) -> tuple[ArmCounts, ...]:
    """People and converting people of both groups, the holdout last. One without people has zeros."""
    counts = database.execute(
        "SELECT is_held, count(*), count(*) FILTER (user_id IN (SELECT user_id FROM raw)) FROM people GROUP BY 1"
    ).fetchall()
    found = {bool(is_held): (users, conversions) for is_held, users, conversions in counts}
    groups = ((ALL_PUSHES, False), (CONTROL, True))
    return tuple(ArmCounts(name, *found.get(is_held, (0, 0))) for name, is_held in groups)


def _seen(database: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many users have converted, and how many of them are none of the people."""
    [(seen, unknown)] = database.execute(
        "SELECT count(DISTINCT r.user_id), count(DISTINCT r.user_id) FILTER (p.user_id IS NULL) "
        "FROM raw r LEFT JOIN people p USING (user_id)"
    ).fetchall()
    return seen, unknown
