"""`python -m sandbox schedule`: a schedule's occurrences, played by the deployed code with a clock that is moved.

The tick is the deployed one, and so are its decisions. What it works on is here: the table in memory, definitions in
a folder, audiences prepared by DuckDB from the files of that folder. Nothing is sent.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec

from notifier.model.goal_source import MissingText, read_texts
from sandbox.schedule_twins import (
    Clock,
    FolderAudiences,
    FolderDrops,
    FolderTexts,
    NoAudience,
    PlayedStack,
    PlayedStore,
)
from schedules.definition import PREFIX, Schedule, key_of, read_schedule
from schedules.documents import Documents
from schedules.firing import Tick
from schedules.occurrence_steps import Occurrences
from schedules.rules import OccurrenceState

TICK_S = 60


class Outage(msgspec.Struct, frozen=True):
    """Time without a tick."""

    start_s: float
    end_s: float


class Line(msgspec.Struct, frozen=True):
    """One occurrence, as it is printed."""

    id: str
    local: str
    utc: str
    state: str
    users: int | None = None
    reason: str = ""


class Player:
    """Plays a schedule.

    Args:
        path: the schedule's file. The folder that has `queries/` and `standing/` is its own or the one above.
    """

    def __init__(self, path: Path, first: date, days: int, outages: Iterable[Outage] = ()) -> None:
        self._data = path.read_bytes()
        self.schedule: Schedule = read_schedule(path.name.removesuffix(".json"), self._data)
        self._first, self._end = first, first + timedelta(days=days)
        self._outages = tuple(outages)
        self._root = path.parent.parent if path.parent.name == PREFIX.rstrip("/") else path.parent
        self.without_audience = ""
        """Why only the times are listed, if so."""

    def lines(self) -> list[Line]:
        """The occurrences whose local date is among the days that are played, in their order."""
        # In local time the first date is cut a day before it begins here; elsewhere nothing of these days is played.
        start = datetime.combine(self._first, time(), self.schedule.timetable.zone).astimezone(UTC) - timedelta(days=2)
        end = datetime.combine(self._end, time(), self.schedule.timetable.zone).astimezone(UTC)
        try:
            return [line for line in self._played(start, end) if self._is_asked_for(line)]
        except NoAudience as missing:
            self.without_audience = str(missing)
        times = self.schedule.timetable.between(start, end)
        listed = (line_of(self.schedule, one.local, one.utc, OccurrenceState.DUE.value, None, "") for one in times)
        return [line for line in listed if self._is_asked_for(line)]

    def _is_asked_for(self, line: Line) -> bool:
        return self._first <= date.fromisoformat(line.local[:10]) < self._end

    def _played(self, start: datetime, end: datetime) -> Iterator[Line]:
        clock = Clock(start)
        store = PlayedStore(clock)
        texts = FolderTexts(self._root, {key_of(self.schedule.name): self._data})
        for query in self.schedule.queries:
            if texts.get(f"queries/{query}.sql") is None:
                raise NoAudience(f"queries/{query}.sql is not in {self._root}")
        if (goal := self.schedule.campaign.get("goal")) is not None:
            try:
                read_texts(goal["name"], texts.get)
            except MissingText as missing:
                raise NoAudience(f"{missing.key} is not in {self._root}") from None
        stack = PlayedStack(FolderAudiences(self._root, texts), clock)
        problems: list[Exception] = []
        occurrences = Occurrences(store, stack, FolderDrops(self._root, clock), clock)
        tick = Tick(store, Documents(texts), occurrences, clock, lambda *_args, **_about: None,
                    on_error=problems.append)  # fmt: skip
        while clock.s < end.timestamp() + self.schedule.rhythm.catch_up_s + 86_400:
            tick.run()
            for problem in problems:
                raise problem
            due_ms = store.next_due_ms()
            if due_ms is None:
                break
            clock.s = self._awake(max(clock.s + TICK_S, -(-due_ms // 60_000) * 60.0))
        for one in reversed(store.history(self.schedule.name, limit=10**9)):
            found = one.occurrence
            users = one.users if one.users >= 0 else None
            yield line_of(self.schedule, found.local, found.utc, one.state.value, users, one.reason)

    def _awake(self, s: float) -> float:
        """The time itself, or the end of the outage that it is in."""
        return next((outage.end_s for outage in self._outages if outage.start_s <= s < outage.end_s), s)


def line_of(schedule: Schedule, local: datetime, utc: datetime, state: str, users: int | None, reason: str) -> Line:
    """An occurrence as it is printed."""
    return Line(
        f"{schedule.name}-{local:%Y-%m-%dT%H%M}", f"{local:%Y-%m-%dT%H:%M}", f"{utc:%Y-%m-%dT%H:%M:%SZ}", state, users,
        reason,
    )  # fmt: skip


def outage_of(text: str) -> Outage:
    """An outage as it is written: `2026-03-01T10:00Z/3h`, from when and for how many hours. Raises ValueError."""
    start, _, hours = text.partition("/")
    begins = datetime.fromisoformat(start)
    if begins.tzinfo is None or not hours.endswith("h"):
        raise ValueError(text)
    return Outage(begins.timestamp(), begins.timestamp() + float(hours[:-1]) * 3600)
