"""What a schedule is played on: a moved clock, the table in memory, definitions, audiences and drops in a folder."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from notifier.model.mailbox import mailbox_of
from schedules.drops import Drops, NotReady
from schedules.occurrence_steps import Prepared
from schedules.rules import OccurrenceState
from schedules.store import OccurrenceItem, ScheduleItem, ScheduleStore, moved_on
from schedules.timetable import Occurrence


class Clock:
    """Seconds since the epoch, moved by who plays."""

    def __init__(self, start: datetime) -> None:
        self.s = start.timestamp()

    def __call__(self) -> float:
        return self.s


class PlayedStore(ScheduleStore):
    """The store in memory: the same writes, each on the same conditions. A contract test runs both through the same."""

    def __init__(self, now: Clock) -> None:
        super().__init__(None, "", now)
        self._schedules: dict[str, ScheduleItem] = {}
        self._occurrences: dict[str, dict[str, OccurrenceItem]] = {}
        self._approved: dict[tuple[str, str], str] = {}
        self._approvals: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        self._edited: dict[tuple[str, str], str] = {}
        self._open: dict[tuple[str, str], OccurrenceItem] = {}

    def read(self, name: str) -> ScheduleItem | None:
        """A schedule."""
        return self._schedules.get(name)

    def enter(self, item: ScheduleItem) -> bool:
        """Enter a schedule."""
        return self._schedules.setdefault(item.name, item) is item

    def adopt(self, before: ScheduleItem, after: ScheduleItem) -> bool:
        """Change what is in force."""
        found = self._schedules.get(before.name)
        if found is None or _compared(found) != _compared(before):
            return False
        self._schedules[before.name] = after
        return True

    def due_schedules(self, now_ms: int) -> Iterator[ScheduleItem]:
        """Schedules to be fired."""
        yield from [item for item in self._schedules.values() if item.fires and item.next_at_ms <= now_ms]

    def move_on(self, item: ScheduleItem, following: Occurrence | None) -> bool:
        """Put the clock on the following occurrence."""
        return self.adopt(item, moved_on(item, following))

    def put_occurrence(self, schedule: ScheduleItem) -> None:
        """The next occurrence is there, and due."""
        mine = self._occurrences.setdefault(schedule.name, {})
        if schedule.next not in mine:
            mine[schedule.next] = self._open[schedule.name, schedule.next] = OccurrenceItem(
                schedule.name, schedule.next, OccurrenceState.DUE, schedule.hash, schedule.next_at_ms,
                due_at_ms=schedule.next_at_ms, state_at_ms=self._now_ms(),
            )  # fmt: skip

    def put_missed(self, schedule: ScheduleItem, reason: str) -> bool:
        """The next occurrence is there, and over."""
        mine = self._occurrences.setdefault(schedule.name, {})
        one = OccurrenceItem(
            schedule.name, schedule.next, OccurrenceState.MISSED, schedule.hash, schedule.next_at_ms, reason=reason,
            state_at_ms=self._now_ms(),
        )  # fmt: skip
        return mine.setdefault(schedule.next, one) is one

    def due_occurrences(self, now_ms: int) -> Iterator[OccurrenceItem]:
        """Occurrences to be looked at."""
        yield from sorted(
            (item for item in self._open.values() if item.due_at_ms <= now_ms), key=lambda item: item.due_at_ms
        )

    def read_occurrence(self, name: str, stamp: str) -> OccurrenceItem | None:
        """An occurrence."""
        return self._occurrences.get(name, {}).get(stamp)

    def latest(self, name: str, before: str = "", page: int = 50) -> Iterator[OccurrenceItem]:
        """Occurrences, the latest first."""
        mine = self._occurrences.get(name, {})
        # They were put in the order of their stamps.
        for stamp in reversed(mine):
            if not before or stamp < before:
                yield mine[stamp]

    def change(self, before: OccurrenceItem, after: OccurrenceItem) -> bool:
        """Write what has become of an occurrence."""
        found = self._occurrences[before.name][before.stamp]
        if (found.state, found.due_at_ms) != (before.state, before.due_at_ms) or found.state.is_over:
            return False
        changed_at_ms = before.state_at_ms if before.state is after.state else self._now_ms()
        after = replace(after, state_at_ms=changed_at_ms, due_at_ms=0 if after.state.is_over else after.due_at_ms)
        self._occurrences[before.name][before.stamp] = after
        self._open.pop((before.name, before.stamp), None)
        if not after.state.is_over:
            self._open[before.name, before.stamp] = after
        return True

    def decide(self, name: str, stamp: str, decision: str, by: str) -> bool:
        """Enter a decision."""
        found = self._occurrences.get(name, {}).get(stamp)
        if found is None or found.state is not OccurrenceState.NEEDS_REVIEW or found.decision:
            return False
        if found.review_until_ms <= self._now_ms():
            return False
        decided = replace(found, decision=decision, by=by, due_at_ms=self._now_ms())
        self._occurrences[name][stamp] = self._open[name, stamp] = decided
        return True

    def approved_by(self, name: str, digest: str) -> str:
        """Who approved a definition."""
        return self._approved.get((name, digest), "")

    def approve(self, name: str, digest: str, by: str, needed: int = 1, unseen: str = "") -> tuple[str, ...]:
        """Enter one person's approval."""
        self._approvals.setdefault((name, digest), {}).setdefault(mailbox_of(by), (by, unseen))
        approvers = self.approvals(name, digest)
        if len(approvers) >= needed:
            self._approved.setdefault((name, digest), ", ".join(approvers))
        return approvers

    def unseen_by(self, name: str, digest: str) -> dict[str, str]:
        """Who has approved a definition so far, each with what they have not looked at."""
        return dict(one for _, one in sorted(self._approvals.get((name, digest), {}).items()))

    def edited(self, name: str, file_sha256: str, by: str) -> None:
        """Enter who wrote a file."""
        self._edited.setdefault((name, file_sha256), by)

    def edited_by(self, name: str, file_sha256: str, digest: str = "") -> str:
        """Who wrote a definition's file. Nobody has entered one here by its definition."""
        return self._edited.get((name, file_sha256), "")

    def next_due_ms(self) -> int | None:
        """When something is to be done next; None for never."""
        times = [item.next_at_ms for item in self._schedules.values() if item.fires]
        times += [item.due_at_ms for item in self._open.values()]
        return min(times, default=None)


def _compared(item: ScheduleItem) -> tuple[object, ...]:
    """What has to be as it was read, where a schedule is written."""
    return item.hash, item.next, item.state, item.keeps_old, item.kept_for


class FolderTexts:
    """The objects of a folder: a schedule with its queries as they are on a laptop. Copies are kept in memory."""

    def __init__(self, root: Path, objects: Mapping[str, bytes]) -> None:
        self._root = root
        self._objects = dict(objects)

    def versions(self, prefix: str) -> Mapping[str, str]:
        """The keys directly under a prefix, with a hash of their bytes."""
        found = {key: body for key, body in self._objects.items() if key.startswith(prefix)}
        return {key: sha256(body).hexdigest() for key, body in found.items() if "/" not in key.removeprefix(prefix)}

    def keys(self, prefix: str) -> Iterable[str]:
        """Every key under a prefix."""
        return [key for key in self._objects if key.startswith(prefix)]

    def get(self, key: str) -> bytes | None:
        """An object's bytes."""
        if key in self._objects:
            return self._objects[key]
        path = self._root / key
        return path.read_bytes() if path.is_file() else None

    def put(self, key: str, body: bytes) -> None:
        """Keep an object."""
        self._objects[key] = body

    def replace(self, key: str, body: bytes, before: bytes | None) -> bool:
        """Keep an object in place of the one with these bytes."""
        if self.get(key) != before:
            return False
        self.put(key, body)
        return True

    def delete(self, key: str) -> None:
        """Keep it no more."""
        del self._objects[key]


class NoAudience(Exception):
    """The audience is not here: only the times can be listed. The message says what is missing."""


class FolderAudiences:
    """How many users a request has, by DuckDB over the files of a folder.

    A query runs in this process, over tables that are read once: what takes a process of its own in the audience
    function takes milliseconds here, and a year of days is counted in seconds.
    """

    def __init__(self, root: Path, texts: FolderTexts) -> None:
        self._root = root
        self._texts = texts
        self._counted: dict[str, int] = {}
        self._databases: dict[str, Any] = {}

    def users(self, request: Mapping[str, Any]) -> int:
        """The users of a request. Raises NoAudience, AudienceFault."""
        text = json.dumps(request, sort_keys=True)
        if text not in self._counted:
            self._counted[text] = self._of_query(request["query"]) if "query" in request else self._of_files(request)
        return self._counted[text]

    def _of_query(self, named: Mapping[str, Any]) -> int:
        from audiences.queries import about_key, read_query, sql_key, with_values  # noqa: PLC0415 - DuckDB is slow to load

        name, copy = named["name"], named.get("copy", "")
        sql, about = self._texts.get(copy + sql_key(name)), self._texts.get(copy + about_key(name))
        if sql is None or about is None:
            raise NoAudience(f"{sql_key(name)} is not in {self._root}")
        stored = read_query(name, sql, about)
        if stored.about.engine != "duckdb":
            raise NoAudience(f"{sql_key(name)} runs on {stored.about.engine}, which has its own tables")
        query = with_values(stored, named.get("parameters", {}))
        database = self._database(stored.about.tables)
        row = database.execute(
            f"SELECT count(DISTINCT user_id) FROM ({query.text.rstrip().rstrip(';')}\n) AS found",  # noqa: S608
            dict(query.parameters) or None,
        ).fetchone()
        return int(row[0])

    def _database(self, tables: Mapping[str, tuple[str, ...]]) -> Any:
        import duckdb  # noqa: PLC0415

        from audiences.engines.tables import create_views  # noqa: PLC0415

        key = json.dumps(tables, sort_keys=True)
        if key not in self._databases:
            files = {name: self._files(names) for name, names in tables.items()}
            self._databases[key] = duckdb.connect(":memory:")
            create_views(self._databases[key], files)
        return self._databases[key]

    def _of_files(self, request: Mapping[str, Any]) -> int:
        from audiences.build import Order, count  # noqa: PLC0415
        from audiences.database import Limits  # noqa: PLC0415
        from audiences.sources import local_files  # noqa: PLC0415

        names = request.get("files") or tuple(part["key"] for part in request.get("parts", ()))
        if not names:
            raise NoAudience("a combination of audiences is made by the stack only")
        files = [str(path) for path in self._files(names)]
        with tempfile.TemporaryDirectory() as work:
            return count(Order(request, local_files(files)), Limits(Path(work), 400, 1, 1000)).users

    def _files(self, names: Iterable[str]) -> list[Path]:
        found: list[Path] = []
        for name in names:
            key = name.partition("://")[2].partition("/")[2] if "://" in name else name
            matched = sorted(self._root.glob(f"{key}**/*" if key.endswith("/") else key))
            if not any(path.is_file() for path in matched):
                raise NoAudience(f"{name} is not in {self._root}")
            found += [path for path in matched if path.is_file()]
        return found


class PlayedStack:
    """The stack around a played schedule: audiences are prepared at once, and every run completes at once."""

    def __init__(self, audiences: FolderAudiences, now: Clock) -> None:
        self._audiences = audiences
        self._now = now
        self._asked: dict[str, Prepared] = {}
        self.files: dict[str, bytes] = {}
        """The batch files that were written, by key."""

    def ask(self, preparation: str, request: Mapping[str, Any]) -> None:
        """Prepare an audience."""
        from audiences.faults import AudienceFault  # noqa: PLC0415

        try:
            self._asked[preparation] = Prepared(self._audiences.users(request), audience=request)
        except AudienceFault as fault:
            self._asked[preparation] = Prepared(fault=str(fault))

    def prepared(self, preparation: str) -> Prepared | None:
        """How it ended."""
        return self._asked.get(preparation)

    def first_users(self, prepared: Prepared, count: int) -> list[bytes]:
        """Users are counted here, not kept."""
        return []

    def first_requests_over(self, run_id: str) -> bool:
        """It is, at once."""
        return run_id in self.files

    def has_begun(self, run_id: str) -> bool:
        """It has, at once."""
        return run_id in self.files

    def completed(self, run_id: str) -> bool:
        """It has, at once."""
        return run_id in self.files

    def write_batch_file(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """Keep the batch file. Its key serves as the run's id."""
        self.files.setdefault(key, body)
        return key

    def declared_ready(self, name: str, day: str) -> bool:
        """Nobody says so here: the files are there, or not."""
        return False

    def declare_ready(self, name: str, day: str, by: str) -> None:
        """It changes nothing."""


class FolderDrops(Drops):
    """Dated drops that are folders here; their files were complete when they were written."""

    def __init__(self, root: Path, now: Clock) -> None:
        super().__init__(None, "")  # type: ignore[arg-type]
        self._root = root

    def expected_rows(self, drops: Any, day: str) -> int | None:
        """Rows are not counted here."""
        return None

    def request(self, drops: Any, day: str, *, declared_ready: bool) -> dict[str, Any]:
        """The files of a day."""
        prefix = drops.prefix.replace("$day", day)
        folder = self._root / prefix
        if not self._root.joinpath(drops.prefix.partition("$day")[0]).is_dir():
            raise NoAudience(f"{prefix} is not in {self._root}")
        if not folder.is_dir() or (drops.ready and not (folder / drops.ready).is_file()):
            raise NotReady(f"{prefix}{drops.ready or ''} is not there")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(("_", "."))]
        return {"parts": [{"key": str(path.relative_to(self._root))} for path in files]}
