"""The tick: once a minute it looks at the files, fires what is due, and takes each open occurrence a step further.

files      edited? ── faults, approval ── copy ── in force: clock on its next occurrence
clock      due? ── occurrence put ── clock moved on
occurrence due ── (late: missed) ── (run before it: wait or skip) ── files complete ── audience asked for
           prepared ── judged by the limits ── approval recorded ── batch file ── run

Every step is one conditional write, and each may be the last thing that a tick does: the next tick, or a second one at
the same time, finds the same and does the rest. The clock only ever moves forward: where the machine's is set back,
nothing is due.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from schedules.definition import BrokenSchedule, Schedule
from schedules.documents import CopyChanged, Document, Documents, deleted_reason, unapproved_reason
from schedules.occurrence_steps import Occurrences
from schedules.rules import OccurrenceState
from schedules.store import MAX_REASON, NOT_LOOKED_AT, OccurrenceItem, ScheduleItem, ScheduleState, ScheduleStore
from schedules.timetable import Occurrence

MOST_FIRED = 500
"""Occurrences that one tick fires of one schedule: an outage of three weeks of an hourly one."""

NEVER_APPROVED = "nobody has approved what is in force, and this stack has RequireApproval now"

EDITED_AWAY = "the schedule was edited before it was fired, and the edit has no such time"

Log = Callable[..., object]
"""Is given what happened, and about what: `log("fired", schedule=…, occurrence=…)`."""


class Tick:
    """What a tick works with.

    Args:
        now: seconds since the epoch.
        held: why nothing may fire, or "". Asked before each step: a tick may last longer than a hold may take to count.
        needs_approval: RequireApproval.
        on_error: is given what has failed, after it was logged.
        ask: is given what approvers are to decide on, before that is written: where it fails the next tick does both,
            and who mails it knows what was mailed.
    """

    def __init__(
        self,
        store: ScheduleStore,
        documents: Documents,
        occurrences: Occurrences,
        now: Callable[[], float],
        log: Log,
        *,
        held: Callable[[], str] = lambda: "",
        needs_approval: bool = False,
        on_error: Callable[[Exception], object] = lambda _error: None,
        ask: Callable[[dict[str, Any]], object] = lambda _question: None,
    ) -> None:
        self._store = store
        self._documents = documents
        self._occurrences = occurrences
        self._now = now
        self._log = log
        self._held = held
        self._needs_approval = needs_approval
        self._on_error = on_error
        self._ask = ask
        self._adopted: dict[tuple[str, str], Document] = {}

    def run(self) -> dict[str, int]:
        """One tick. Each schedule is looked at by itself: one that fails keeps no other waiting."""
        counts = {"adopted": 0, "fired": 0, "steps": 0, "failed": 0}
        if self._held():
            return counts
        files = self._documents.files()
        for name, version in files.items():
            if self._held():
                return counts
            with self._each(counts, schedule=name):
                counts["adopted"] += self._look_at(name, version)
        for item in list(self._store.due_schedules(self._now_ms())):
            if self._held():
                return counts
            with self._each(counts, schedule=item.name):
                counts["fired"] += self._fire(item.name) if item.name in files else self._remove(item)
        for occurrence in list(self._store.due_occurrences(self._now_ms())):
            if self._held():
                return counts
            with self._each(counts, schedule=occurrence.name, occurrence=occurrence.stamp):
                counts["steps"] += self._step(occurrence)
        return counts

    @contextmanager
    def _each(self, counts: dict[str, int], **about: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is: the next schedule is due all the same
            counts["failed"] += 1
            self._on_error(error)
            self._log("trouble", alarms=True, reason=f"the next tick looks at it again: {error}", **about)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    # -- files --------------------------------------------------------------------------------------------------------

    def _look_at(self, name: str, version: str) -> bool:
        """Bring what is in force up to the file. Whether anything was changed."""
        before = self._store.read(name)
        if before is None:
            before = ScheduleItem(name, ScheduleState.BROKEN, reason=NOT_LOOKED_AT)
            self._store.enter(before)
        # The file of a paused one is looked at once it is resumed; of the others an unapproved one is looked at in
        # each tick, because the approval may have come, a removed one, because the file has, and a broken one, because
        # what was missing may have been there again before the next list, which is then the same.
        again = (ScheduleState.UNAPPROVED, ScheduleState.REMOVED, ScheduleState.BROKEN)
        if before.state is ScheduleState.PAUSED or (before.looked_at == version and before.state not in again):
            return False
        if before.state is ScheduleState.REMOVED and before.hash:
            # Removed by a release before. A file that comes back is a new one, and no edit of what is in force.
            found, before = before, removed(before)
            if not self._store.adopt(found, before):
                return False
        try:
            document = self._documents.read(name)
        except BrokenSchedule as error:
            if self._documents.text(name) is None:
                # Deleted since it was listed.
                return self._adopt(before, removed(before))
            # As the table has it: unchanged, it is no news for the log.
            reason = str(error)[:MAX_REASON]
            after = replace(before, state=ScheduleState.BROKEN, reason=reason, looked_at=version)
            return before != after and self._adopt(before, after)
        # One that is in force may have no approval: adopted before RequireApproval was set it fires no more.
        is_approved = not self._needs_approval or bool(self._store.approved_by(name, document.hash))
        if not is_approved and (before.hash != document.hash or before.state is not ScheduleState.ENDED):
            return self._unapproved(before, document, version)
        if self._documents.files().get(name) != version:
            # Edited since it was listed: put back as it was listed, it would never be looked at.
            version = ""
        if before.hash == document.hash and before.state in (ScheduleState.ACTIVE, ScheduleState.ENDED):
            # Written again as it was, or another query was edited. No edit waits: nothing is kept, for no reason.
            self._store.adopt(before, replace(before, looked_at=version, reason="", keeps_old=False, kept_for=""))
            return False
        self._documents.copy(document)
        return self._adopt(before, self._in_force(self._taken_over(before, document), document, version))

    def _unapproved(self, before: ScheduleItem, document: Document, version: str) -> bool:
        """An edit that nobody has approved: nothing fires, unless a person said that the one in force goes on."""
        reason = unapproved_reason(document)
        # That was said of this edit. The next one is asked about again. A release before noted it by the reason alone.
        noted = before.kept_for or (document.hash if before.keeps_old and before.reason == reason else "")
        # Adopted before RequireApproval was set it does not go on, whatever was said: its runs would be refused.
        keeps_old = noted == document.hash and self._store.can_go_on(before)
        after = replace(
            before, state=ScheduleState.UNAPPROVED, reason=reason, looked_at=version, keeps_old=keeps_old,
            kept_for=document.hash if keeps_old else "",
        )  # fmt: skip
        if keeps_old and not before.fires:
            # It stood for a fault of its file, until the edit came back that had been kept.
            after = replace(after, **self._following(before))
        if before.reason != reason or before.state is not ScheduleState.UNAPPROVED:
            self._ask({"schedule": document.schedule.name, "hash": document.hash, "keeps_old": keeps_old})
        if replace(before, kept_for=after.kept_for, looked_at=version) == after:
            # Nothing that an operator looks at.
            return before != after and self._store.adopt(before, after)
        return self._adopt(before, after)

    def _adopt(self, before: ScheduleItem, after: ScheduleItem) -> bool:
        done = self._store.adopt(before, after)
        if done:
            troubled = after.state in (ScheduleState.BROKEN, ScheduleState.UNAPPROVED, ScheduleState.REMOVED)
            self._log(
                "schedule", alarms=troubled, schedule=after.name, state=after.state.value, next=after.next,
                reason=after.reason,
            )  # fmt: skip
        return done

    def _taken_over(self, before: ScheduleItem, document: Document) -> ScheduleItem:
        """Account for the times that are due, and not fired yet, when an edit of what is in force takes effect.

        In the minute before a time, in an outage, or in a hold: a time that the edit has, too, goes by the edit, which
        is what "hold, correct, release" is for. One that it has not is written down as missed. None is lost.
        """
        now_ms, fired = self._now_ms(), before
        if not before.fires or before.next_at_ms > now_ms:
            return before
        for stamp, at_ms in self._due_times(before):
            one = replace(before, next=stamp, next_at_ms=at_ms)
            if has_time(document.schedule, stamp, at_ms):
                self._store.put_occurrence(replace(one, hash=document.hash))
                self._log("fired", schedule=one.name, occurrence=stamp)
                fired = replace(fired, last=stamp, last_at_ms=at_ms)
            # With another zone the same local minute may be still to come. Its line is that one's.
            elif not comes_later(document.schedule, stamp, now_ms) and self._store.put_missed(one, EDITED_AWAY):
                self._log(
                    "occurrence", alarms=True, schedule=one.name, occurrence=stamp,
                    state=OccurrenceState.MISSED.value, reason=EDITED_AWAY,
                )  # fmt: skip
        return fired

    def _due_times(self, item: ScheduleItem) -> Iterator[tuple[str, int]]:
        """Stamps and instants that are due by the definition in force; of very many the latest."""
        times = deque([(item.next, item.next_at_ms)], maxlen=MOST_FIRED)
        # Of a copy that was changed in the bucket only the next one is known.
        with suppress(CopyChanged, BrokenSchedule):
            schedule = self._definition(item.name, item.hash).schedule
            while (found := next_of(schedule, times[-1][1], times[-1][0])) and ms_of(found) <= self._now_ms():
                times.append((found.stamp, ms_of(found)))
        if times[0][0] != item.next:
            reason = f"from {item.next} on, before {times[0][0]}: they were due before the schedule was edited"
            self._log("missed", alarms=True, schedule=item.name, reason=reason)
        yield from times

    def _in_force(self, before: ScheduleItem, document: Document, version: str) -> ScheduleItem:
        """A definition takes effect after the later of now and the last firing."""
        clock = clock_from(document.schedule, max(self._now_ms(), before.last_at_ms))
        return replace(
            before,
            state=ScheduleState.ACTIVE if clock["next"] else ScheduleState.ENDED,
            hash=document.hash,
            looked_at=version,
            reason="",
            keeps_old=False,
            kept_for="",
            **clock,
        )

    def _following(self, item: ScheduleItem) -> dict[str, Any]:
        """The next time by the definition in force: what was due until now is not made up for."""
        try:
            schedule = self._definition(item.name, item.hash).schedule
        except (CopyChanged, BrokenSchedule):
            # It says so when it is to fire.
            return {}
        return clock_from(schedule, max(self._now_ms(), item.last_at_ms))

    def _remove(self, item: ScheduleItem) -> int:
        """A schedule whose file was deleted ends before its next time. Found when that is due: it fires nothing."""
        self._adopt(item, removed(item))
        return 0

    # -- the clock ----------------------------------------------------------------------------------------------------

    def _fire(self, name: str) -> int:
        """Put every occurrence that is due, and move the clock behind the last of them."""
        fired = 0
        # Read again: the index by which it was found may be behind what this tick, or a person, has just written.
        item = self._store.read(name)
        while item is not None and item.fires and item.next_at_ms <= self._now_ms() and fired < MOST_FIRED:
            # Adopted before RequireApproval was set: its runs would be refused, one after the other.
            if self._needs_approval and not self._store.approved_by(item.name, item.hash):
                unapproved = replace(
                    item, state=ScheduleState.UNAPPROVED, reason=NEVER_APPROVED, keeps_old=False, kept_for=""
                )  # fmt: skip
                self._adopt(item, unapproved)
                return fired
            schedule = self._definition(item.name, item.hash).schedule
            self._store.put_occurrence(item)
            following = next_of(schedule, item.next_at_ms, item.next)
            if not self._store.move_on(item, following):
                return fired
            self._log("fired", schedule=item.name, occurrence=item.next)
            fired += 1
            item = self._store.read(name)
        return fired

    def _definition(self, name: str, digest: str) -> Document:
        key = (name, digest)
        if key not in self._adopted:
            self._adopted[key] = self._documents.adopted(name, digest)
        return self._adopted[key]

    # -- occurrences --------------------------------------------------------------------------------------------------

    def _step(self, found: OccurrenceItem) -> int:
        # Read again, as a schedule is: of one that is over by now nothing must be sent.
        occurrence = self._store.read_occurrence(found.name, found.stamp)
        if occurrence is None or occurrence.state.is_over or occurrence.due_at_ms > self._now_ms():
            return 0
        schedule_item = self._store.read(occurrence.name)
        if schedule_item is None:
            return 0
        after = self._next_step(occurrence, schedule_item)
        if after.state is OccurrenceState.NEEDS_REVIEW and after.state is not occurrence.state:
            self._ask(
                {
                    "schedule": after.name, "occurrence": after.stamp, "users": after.users, "reason": after.reason,
                    "until_ms": after.review_until_ms,
                }
            )  # fmt: skip
        if not self._store.change(occurrence, after):
            return 0
        if after.state is not occurrence.state:
            self._log(
                "occurrence", alarms=self._alarms(after), schedule=after.name, occurrence=after.stamp,
                state=after.state.value, users=after.users, run_id=after.run_id, reason=after.reason,
            )  # fmt: skip
        return 1

    def _next_step(self, occurrence: OccurrenceItem, schedule_item: ScheduleItem) -> OccurrenceItem:
        if self._needs_approval and not self._store.approved_by(occurrence.name, occurrence.hash):
            # Fired before RequireApproval was set: its run would be refused.
            return self._occurrences.failed(occurrence, NEVER_APPROVED)
        try:
            schedule = self._definition(occurrence.name, occurrence.hash).schedule
        except CopyChanged as error:
            return self._occurrences.failed(occurrence, str(error))
        return self._occurrences.step(occurrence, schedule, schedule_item)

    def _alarms(self, after: OccurrenceItem) -> bool:
        """All but a run, and the first of several occurrences with an empty audience, is for an operator to look at."""
        if after.state is OccurrenceState.EMPTY:
            before = self._store.history(after.name, before=after.stamp, limit=1)
            return bool(before) and before[0].state is OccurrenceState.EMPTY
        return after.state not in (
            OccurrenceState.DUE, OccurrenceState.WAITING, OccurrenceState.PREPARING, OccurrenceState.RUN,
        )  # fmt: skip


def removed(item: ScheduleItem) -> ScheduleItem:
    """A schedule whose file was deleted: nothing is in force, and nothing said of an edit holds. A pause does."""
    nothing = replace(item, hash="", looked_at="", next="", next_at_ms=0, keeps_old=False, kept_for="")
    if item.state is ScheduleState.PAUSED:
        return nothing
    return replace(nothing, state=ScheduleState.REMOVED, reason=deleted_reason(item.name))


def next_of(schedule: Schedule, after_ms: int, after_stamp: str = "") -> Occurrence | None:
    """The first occurrence behind an instant.

    Args:
        after_stamp: behind this one, where several fire at the same instant: those of a gap in the clock's time.
    """
    at = datetime.fromtimestamp(after_ms / 1000, UTC)
    if after_stamp:
        same = schedule.timetable.between(at, datetime.fromtimestamp(after_ms / 1000 + 0.001, UTC))
        for found in same:
            if found.stamp > after_stamp:
                return found
    return next(schedule.timetable.after(at), None)


def has_time(schedule: Schedule, stamp: str, at_ms: int) -> bool:
    """Whether a schedule has a time that fires at exactly this instant."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    same = schedule.timetable.between(at, datetime.fromtimestamp(at_ms / 1000 + 0.001, UTC))
    return any(found.stamp == stamp for found in same)


def comes_later(schedule: Schedule, stamp: str, after_ms: int) -> bool:
    """Whether a local minute fires behind an instant."""
    after = datetime.fromtimestamp(after_ms / 1000, UTC)
    # Two clocks are at most 26 hours apart; what a schedule has behind that is another day's.
    times = schedule.timetable.between(after + timedelta(microseconds=1), after + timedelta(days=3))
    return next((found.stamp == stamp for found in times if found.stamp >= stamp), False)


def clock_from(schedule: Schedule, after_ms: int) -> dict[str, Any]:
    """The fields of a schedule's item for its first occurrence behind an instant."""
    following = next_of(schedule, after_ms)
    if following is None:
        return {"next": "", "next_at_ms": 0}
    return {"next": following.stamp, "next_at_ms": ms_of(following)}


def ms_of(occurrence: Occurrence) -> int:
    """When an occurrence fires, in milliseconds since the epoch."""
    return int(occurrence.utc.timestamp() * 1000)
