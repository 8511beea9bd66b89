"""What the approval pages show of schedules: the list, the times of the next days, one schedule, a preview.

The pages have no right to the schedules' items and files of their own: they ask this function, as for what people do.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec

from notifier.model.audience_request import filled_in
from schedules import batch
from schedules.control import Refused, approvals_needed, day_in
from schedules.definition import BrokenSchedule, DatedDrops, Schedule, key_of
from schedules.documents import CopyChanged, Document, Documents, copy_prefix
from schedules.occurrence_steps import Surroundings
from schedules.occurs_words import occurs_words
from schedules.store import NOT_LOOKED_AT, OccurrenceItem, ScheduleItem, ScheduleState, ScheduleStore
from schedules.timetable import Occurrence

CALENDAR_DAYS = 30
MAX_TIMES = 800
"""Of one schedule in the calendar: an hourly one has 720."""
NEXT_TIMES = 5
SHOWN_HISTORY = 30
PREVIEWED_USERS = 3


class Overview:
    """Answers what is asked about schedules. It changes none; for a preview, and for an audience, texts are copied.

    Args:
        now: seconds since the epoch.
        two_above: as of `Control`; None where nothing needs an approval.
        due_runs: the ids of runs of which a lane is due.
        held: why the stack is held, or "": nothing is prepared then, not even for a preview.
    """

    def __init__(
        self,
        store: ScheduleStore,
        documents: Documents,
        around: Surroundings,
        now: Callable[[], float],
        two_above: int | None = None,
        due_runs: Callable[[], Iterable[str]] = tuple,
        held: Callable[[], str] = lambda: "",
    ) -> None:
        self._store = store
        self._documents = documents
        self._around = around
        self._now = now
        self._two_above = two_above
        self._due_runs = due_runs
        self._held = held

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to `{"action": "list"}`, `names` or `starting`; of a `schedule` `show`, `preview` or `audience`.

        A preview is of the next time, or with a `day` of that date's. None where anything else is asked for.

        Raises:
            Refused: there is no such schedule, or nothing to preview.
        """
        name = str(event.get("schedule", ""))
        match event.get("action"):
            case "list":
                return self._list()
            case "names":
                return {"names": sorted(self._documents.files())}
            case "audience":
                return self._audience(name)
            case "starting":
                return {"starting": list(self._starting())}
            case "show":
                return self._show(name)
            case "preview":
                return self._preview(name, str(event.get("day") or ""))
            case _:
                return None

    # -- all of them --------------------------------------------------------------------------------------------------

    def _list(self) -> dict[str, Any]:
        names = sorted(self._documents.files())
        items = [self._store.read(name) or _new(name) for name in names]
        until = datetime.fromtimestamp(self._now(), UTC) + timedelta(days=CALENDAR_DAYS)
        calendar = [
            {"schedule": item.name, "local": f"{one.local:%Y-%m-%dT%H:%M}", "utc_ms": int(one.utc.timestamp() * 1000)}
            for item in items
            for one in self._times(item, until)
        ]
        calendar.sort(key=lambda one: (one["local"], one["schedule"]))
        return {"schedules": [self._line(item) for item in items], "calendar": calendar}

    def _line(self, item: ScheduleItem) -> dict[str, Any]:
        last = next(iter(self._store.history(item.name, limit=1)), None)
        # For people it is broken only once a fault was found.
        is_new = item.state is ScheduleState.BROKEN and item.reason.startswith(NOT_LOOKED_AT)
        return {
            "name": item.name,
            "state": "new" if is_new else item.state.value,
            "reason": item.reason,
            "by": item.by,
            "keeps_old": item.keeps_old,
            "next": item.next if item.fires else "",
            "next_ms": item.next_at_ms if item.fires else None,
            "last": _plain(last) if last is not None else None,
        }

    def _times(self, item: ScheduleItem, until: datetime) -> Iterator[Occurrence]:
        """The times at which a schedule fires until then, by the definition in force."""
        schedule = self._in_force(item)
        if schedule is None or not item.fires:
            return
        # From the one that its clock is on: what was fired already is in its history.
        for count, one in enumerate(schedule.timetable.after(datetime.fromtimestamp(item.next_at_ms / 1000 - 1, UTC))):
            if one.utc > until or count == MAX_TIMES:
                return
            yield one

    def _in_force(self, item: ScheduleItem) -> Schedule | None:
        # A copy that was changed in the bucket fires nothing, which the tick says: here it has no times.
        with suppress(CopyChanged, BrokenSchedule):
            return self._documents.adopted(item.name, item.hash).schedule if item.hash else None
        return None

    def _starting(self) -> Iterator[str]:
        """What the next sweep and the next tick take up: asked before a hold is released."""
        for run_id in self._due_runs():
            yield f"run {run_id}"
        now_ms = int(self._now() * 1000)
        for schedule in self._store.due_schedules(now_ms):
            yield f"{schedule.name} {schedule.next}"
        for occurrence in self._store.due_occurrences(now_ms):
            yield f"{occurrence.name} {occurrence.stamp}"

    # -- one of them --------------------------------------------------------------------------------------------------

    def _show(self, name: str) -> dict[str, Any]:
        item, text = self._store.read(name), self._documents.text(name)
        if item is None and text is None:
            raise Refused(f"there is no schedule {name!r}")
        item = item or _new(name)
        history = [_plain(one) for one in self._store.history(name, limit=SHOWN_HISTORY)]
        until = datetime.fromtimestamp(self._now(), UTC) + timedelta(days=400)
        times = list(islice(self._times(item, until), NEXT_TIMES))
        shown: dict[str, Any] = {
            "line": self._line(item), "history": history, "times": [one.stamp for one in times],
            "times_ms": [int(one.utc.timestamp() * 1000) for one in times], "in_force": item.hash,
            "text": (text or b"").decode("utf-8", "replace"), "faults": [], "queries": {},
            "sha256": sha256(text).hexdigest() if text is not None else "",
            "needs_approval": self._documents.needs_approval,
        }  # fmt: skip
        try:
            return shown | self._of_document(name, self._documents.read(name), item)
        except BrokenSchedule as error:
            return shown | {"faults": [str(fault) for fault in error.faults]}

    def _of_document(self, name: str, document: Document, item: ScheduleItem) -> dict[str, Any]:
        """Of what its file and its queries say now."""
        queries = {key: text.decode("utf-8", "replace") for key, text in document.texts.items() if key != key_of(name)}
        before = self._before(item, document)
        now = datetime.fromtimestamp(self._now(), UTC)
        author = self._store.edited_by(name, document.file_sha256, document.hash)
        unseen = self._store.unseen_by(name, document.hash)
        planned = islice(document.schedule.timetable.after(now), NEXT_TIMES)
        return {
            "hash": document.hash,
            "rhythm": msgspec.to_builtins(document.schedule.rhythm),
            "occurs": occurs_words(document.schedule.timetable, document.schedule.rhythm.when.timezone),
            "planned_ms": [int(one.utc.timestamp() * 1000) for one in planned],
            "queries": queries,
            "changed": sorted(key for key in document.texts if before.get(key) != document.texts[key]),
            "old_text": before.get(key_of(name), b"").decode("utf-8", "replace"),
            "edited_by": author,
            "approved_by": list(unseen),
            "unseen": {by: texts for by, texts in unseen.items() if texts},
            "needed": approvals_needed(document.schedule.rhythm.limits, self._two_above, author),
            "max_users": document.schedule.rhythm.limits.max_users,
            "ends": document.schedule.rhythm.ends.isoformat() if document.schedule.rhythm.ends else "",
        }

    def _before(self, item: ScheduleItem, document: Document) -> Mapping[str, bytes]:
        """The texts in force, to say what an edit has changed."""
        if not item.hash or item.hash == document.hash:
            return document.texts if item.hash else {}
        with suppress(CopyChanged, BrokenSchedule):
            return self._documents.adopted(item.name, item.hash).texts
        return {}

    def _audience(self, name: str) -> dict[str, Any]:
        """Whom a schedule reaches, for a campaign of its own: by what is in force, else by what its file says now.

        Whether it is paused, or has ended, is no matter: its audience is asked for, and not its times.

        Raises:
            Refused: there is no such schedule.
            BrokenSchedule: its file has faults, and nothing is in force.
        """
        item = self._store.read(name)
        if item is None and self._documents.text(name) is None:
            raise Refused(f"there is no schedule {name!r}")
        in_force = item is not None and item.hash
        document = self._documents.adopted(name, item.hash) if item and in_force else self._documents.read(name)
        schedule = document.schedule
        exclude = schedule.campaign.get("exclude") or {}
        return {
            "schedule": name,
            "version": document.hash,
            "timezone": schedule.rhythm.when.timezone,
            **_first_of_a_day(schedule),
            "audience": self._audience_of(document),
            "exclude": exclude.get("parts", []),
        }

    def _audience_of(self, document: Document) -> Any:
        """The request, with the queries of exactly this version: those that are edited later are other ones."""
        schedule = document.schedule
        if schedule.drops is not None:
            return _folder_of(schedule.drops)
        if schedule.queries:
            # Of one that is not in force there may be no copy yet.
            self._documents.copy(document)
        return batch.from_copy(schedule.audience, copy_prefix(schedule.name, document.hash))

    # -- a preview ----------------------------------------------------------------------------------------------------

    def _preview(self, name: str, day: str) -> dict[str, Any]:
        """How many users a time would reach as of now, and some of them. Asked again until it is made.

        It is a preparation of its own: the occurrence has its audience made when it is due.
        """
        if held := self._held():
            raise Refused(f"{held}. Nothing is made before it is released")
        document = self._documents.read(name)
        schedule = document.schedule
        occurrence = self._occurrence(schedule, day)
        if schedule.drops is not None:
            raise Refused("its files are listed when they are complete: there is nothing to count before")
        self._documents.copy(document)
        values = batch.values_of(schedule, occurrence, None)
        request = batch.from_copy(filled_in(schedule.audience, values), copy_prefix(name, document.hash))
        # By the quarter of an hour: asked for again in the same one it is found, and not made twice.
        preparation = f"occurrence:{name}:preview-{document.hash[:12]}-{occurrence.stamp}-{int(self._now() // 900)}"
        self._around.ask(preparation, request)
        found = self._around.prepared(preparation)
        campaign = batch.campaign_of(schedule, occurrence)
        about = {"occurrence": occurrence.stamp, "hash": document.hash, "values": values, "campaign": campaign}
        if found is None:
            return {**about, "state": "preparing"}
        if found.fault:
            return {**about, "state": "failed", "reason": found.fault}
        users = [_without_tokens(line) for line in self._around.first_users(found, PREVIEWED_USERS)]
        return {**about, "state": "prepared", "users": found.users, "examples": users, "manifest": found.manifest}

    def _occurrence(self, schedule: Schedule, day: str) -> Occurrence:
        """The next time; or the first one of a date, or what `now` would fire for that date. Raises Refused."""
        now = datetime.fromtimestamp(self._now(), UTC)
        if not day:
            following = next(iter(schedule.timetable.after(now)), None)
            if following is None:
                raise Refused(f"{schedule.name} has no time that is still to come")
            return following
        date, zone = day_in({"day": day}), schedule.timetable.zone
        begin = datetime.combine(date, time(), zone).astimezone(UTC)
        # In the users' time that is the day before.
        around = schedule.timetable.between(begin - timedelta(days=2), begin + timedelta(days=2))
        minute = now.astimezone(zone).time().replace(second=0, microsecond=0)
        return next(
            (one for one in around if one.local.date() == date), Occurrence(datetime.combine(date, minute), now)
        )


def _first_of_a_day(schedule: Schedule) -> dict[str, Any]:
    """When it first occurs on its days: a time, by which clock, and how many days from the date to it.

    The same whenever it is asked for. `$now` of each day is made of it, as `batch.values_of` makes it of an occurrence.
    """
    timetable = schedule.timetable
    first = next(iter(timetable.after(datetime(2000, 1, 1, tzinfo=UTC))), None)
    if first is None:
        return {"time": "00:00"}
    # All of its date: what was found is the first one after an instant, which may be in the middle of a day. In the
    # users' time that begins on the day before.
    begin = datetime.combine(first.local.date(), time(), timetable.zone) - timedelta(days=2)
    one = next(one for one in timetable.after(begin) if one.local.date() == first.local.date())
    if timetable.users_time is None:
        return {"time": f"{one.local:%H:%M}"}
    # The date begins at one instant for all: where the schedule's zone has summer time, its clock says another hour.
    return {"time": f"{one.utc:%H:%M}", "clock": "UTC", "day_offset": (one.utc.date() - one.local.date()).days}


def _folder_of(drops: DatedDrops) -> dict[str, Any]:
    """The folder of a day's files, with `$day` in it.

    Raises:
        Refused: the marker among them would be read as users. What preparation leaves out of a folder is known by name.
    """
    if drops.ready and not drops.ready.startswith(("_SUCCESS", "_manifest.json")):
        mend = "name the others below Folders and patterns"
        raise Refused(f"among its files is {drops.ready}, which has no users: {mend}")
    return {"prefix": drops.prefix}


def _new(name: str) -> ScheduleItem:
    return ScheduleItem(name, ScheduleState.BROKEN, reason=f"{NOT_LOOKED_AT}: within a minute")


def _without_tokens(line: bytes) -> dict[str, Any]:
    """A user's record for a person to look at: of the devices the platforms only."""
    record: dict[str, Any] = json.loads(line)
    devices = [{"platform": device.get("platform")} for device in record.pop("devices", ())]
    return {**record, "devices": devices}


def _plain(one: OccurrenceItem) -> dict[str, Any]:
    """An occurrence as the pages show it."""
    return {
        "occurrence": one.stamp,
        "fires_at_ms": one.fires_at_ms,
        "state": one.state.value,
        "users": one.users if one.users >= 0 else None,
        "run_id": one.run_id,
        "reason": one.reason,
        "decision": one.decision,
        "by": one.by,
        "review_until_ms": one.review_until_ms or None,
    }
