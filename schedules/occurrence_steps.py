"""One occurrence, a step at a time: what becomes of it next. When there is one is computed by `timetable`."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from notifier.model.audience_request import filled_in
from notifier.model.batch_file import EVENT_LASTS_S
from notifier.model.plurals import counted
from notifier.model.quiet_hours import QuietHours
from notifier.model.time_zones import instant_of
from schedules import batch
from schedules.definition import Schedule
from schedules.documents import copy_prefix
from schedules.drops import Drops, NotReady
from schedules.review import after_hold_s, decide_until_s, hours_in_force
from schedules.rules import HISTORY, OccurrenceState, judged
from schedules.store import OccurrenceItem, ScheduleItem, ScheduleState, ScheduleStore

LATE_S = 300
"""A tick comes every minute. What is older than this when it is first looked at was due in an outage."""
AGAIN_MS = 60_000
MADE_WITHIN_S = 2 * 3_600
"""An audience is made within this, or a longer catch_up_s; a later occurrence's takes its place after this. A query may
take an hour of it; then its rows are read, cut and written."""
LOOKED_BACK = 1_000
"""Occurrences that are looked through for those that were prepared: an hourly schedule's of 41 days."""


class Prepared(msgspec.Struct, frozen=True):
    """How a preparation stands.

    Attributes:
        audience: of the batch file, once it is prepared.
        fault: why it cannot be.
    """

    users: int = 0
    rows: int = 0
    manifest: str = ""
    audience: Mapping[str, Any] | None = None
    fault: str = ""


class Surroundings(Protocol):
    """What an occurrence needs of the rest of the stack: the audience function, the ledger's runs, the bucket."""

    def ask(self, preparation: str, request: Mapping[str, Any]) -> None:
        """Have an audience prepared. Repeatable."""
        ...

    def prepared(self, preparation: str) -> Prepared | None:
        """How a preparation ended; None while it is under way."""
        ...

    def first_users(self, prepared: Prepared, count: int) -> Sequence[bytes]:
        """The records of a prepared audience's first users, as JSON."""
        ...

    def first_requests_over(self, run_id: str) -> bool:
        """Whether a run makes no first requests any more."""
        ...

    def has_begun(self, run_id: str) -> bool:
        """Whether a batch file was looked at, and what was found is still in the ledger."""
        ...

    def completed(self, run_id: str) -> bool:
        """Whether a run has completed."""
        ...

    def write_batch_file(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """Record that these bytes are approved, then write them, once. Returns the run's id. Repeatable."""
        ...

    def declared_ready(self, name: str, day: str) -> bool:
        """Whether an operator has said that a day's files are complete."""
        ...

    def declare_ready(self, name: str, day: str, by: str) -> None:
        """Enter that a day's files are complete."""
        ...


class Occurrences:
    """Takes occurrences further.

    Args:
        now: seconds since the epoch.
        was_held: whether the stack was on hold at a time (milliseconds since the epoch).
        quiet_hours: the parameter DefaultQuietHours, as `21:00-08:00`; "" for none.
    """

    def __init__(
        self,
        store: ScheduleStore,
        around: Surroundings,
        drops: Drops,
        now: Callable[[], float],
        was_held: Callable[[int], bool] = lambda _at_ms: False,
        quiet_hours: str = "",
    ) -> None:
        self._store = store
        self._around = around
        self._drops = drops
        self._now = now
        self._was_held = was_held
        self._quiet_hours = quiet_hours

    def step(self, one: OccurrenceItem, schedule: Schedule, clock: ScheduleItem) -> OccurrenceItem:
        """What becomes of an occurrence now: as it is to be written.

        Args:
            schedule: the definition by which it was fired.
            clock: its schedule as it is now.
        """
        if clock.state in (ScheduleState.PAUSED, ScheduleState.REMOVED) and one.state is not OccurrenceState.RUN:
            return self._over(one, OccurrenceState.SKIPPED, f"the schedule is {clock.state.value}")
        if (over := self._too_late(one, schedule, clock)) is not None:
            return over
        match one.state:
            case OccurrenceState.DUE | OccurrenceState.WAITING:
                return self._waiting(one, schedule, clock)
            case OccurrenceState.PREPARING:
                return self._preparing(one, schedule, clock)
            case OccurrenceState.NEEDS_REVIEW:
                return self._in_review(one, schedule)
            case _:
                return one

    def failed(self, one: OccurrenceItem, reason: str) -> OccurrenceItem:
        """An occurrence that cannot be sent."""
        return self._over(one, OccurrenceState.FAILED, reason)

    # -- its age ------------------------------------------------------------------------------------------------------

    def _too_late(self, one: OccurrenceItem, schedule: Schedule, clock: ScheduleItem) -> OccurrenceItem | None:
        """One that nothing has looked at for a while, however far it is: in an outage, in a hold, or because it failed.

        After that only the latest one is sent, and only while it is not too old. One that waits for a decision goes on
        waiting; decided on, it is judged by the time since.
        """
        unseen_s = self._now() - one.due_at_ms / 1000
        if unseen_s <= LATE_S:
            return None
        state = OccurrenceState.ON_HOLD if self._was_on_hold(one) else OccurrenceState.MISSED
        if one.state is OccurrenceState.NEEDS_REVIEW:
            if one.decision != "approve" or one.users == 0 or unseen_s <= schedule.rhythm.catch_up_s:
                return None
            most = schedule.rhythm.catch_up_s
            reason = f"{one.by} approved it {_span(unseen_s)} ago, and schedule.catch_up_s is {most:,}"
            return self._over(one, state, reason)
        if _has_later(one, clock):
            return self._over(one, state, f"it was due {self._age(one)} ago, and a later one is due, too")
        if self._now() > self._until(one, schedule):
            return self._over(one, state, self._too_old(one, schedule))
        return None

    def _was_on_hold(self, one: OccurrenceItem) -> bool:
        """Whether the stack was on hold when an occurrence was to be looked at, within a minute."""
        return self._was_held(one.due_at_ms) or self._was_held(one.due_at_ms + AGAIN_MS)

    def _until(self, one: OccurrenceItem, schedule: Schedule) -> float:
        """Until when an occurrence may be begun; seconds since the epoch."""
        return max(one.fires_at_ms / 1000 + schedule.rhythm.catch_up_s, self._ready_by(one, schedule))

    def _too_old(self, one: OccurrenceItem, schedule: Schedule) -> str:
        drops, most = schedule.drops, schedule.rhythm.catch_up_s
        is_by_files = drops is not None and self._until(one, schedule) > one.fires_at_ms / 1000 + most
        limit = (
            f"audience.ready_by is {drops.ready_by}" if drops and is_by_files else f"schedule.catch_up_s is {most:,}"
        )
        return f"it was due {self._age(one)} ago, and {limit}"

    def _age(self, one: OccurrenceItem) -> str:
        return _span(self._now() - one.fires_at_ms / 1000)

    # -- before its audience ------------------------------------------------------------------------------------------

    def _waiting(self, one: OccurrenceItem, schedule: Schedule, clock: ScheduleItem) -> OccurrenceItem:
        """Wait for the run before it and for its files; then have its audience made."""
        before = self._last_run(one)
        # In local time the days of two occurrences overlap by design: to each user they are a day apart.
        if schedule.timetable.users_time is not None:
            before = None
        if before is not None and self._is_sending(before):
            running = f"the run of {before.stamp} is still making its first requests"
            if schedule.rhythm.overlap == "skip":
                return self._over(one, OccurrenceState.SKIPPED, running)
            # Two that wait would be sent one right after the other.
            if _has_later(one, clock):
                return self._over(one, OccurrenceState.SKIPPED, f"{running}, and a later one is due")
            # So would one be that begins right before the next.
            if self._now() > max(self._until(one, schedule), one.fires_at_ms / 1000 + LATE_S):
                return self._over(one, OccurrenceState.SKIPPED, f"{running}: {self._too_old(one, schedule)}")
            return self._again(one, OccurrenceState.WAITING, running)
        try:
            request = self._request(one, schedule)
        except NotReady as error:
            if self._now() > self._ready_by(one, schedule):
                return self._over(one, OccurrenceState.FAILED, f"not ready in time: {error}")
            return self._again(one, OccurrenceState.WAITING, str(error))
        attempt = one.attempt + 1
        self._around.ask(preparation_of(one, attempt), request)
        return self._again(replace(one, attempt=attempt), OccurrenceState.PREPARING, "")

    def _is_sending(self, before: OccurrenceItem) -> bool:
        """Whether the run of an occurrence makes first requests, or may still begin to."""
        if self._around.first_requests_over(before.run_id):
            return False
        if self._now() - before.state_at_ms / 1000 <= EVENT_LASTS_S:
            return True
        # It never began, or it was so long ago that its lanes have expired.
        return self._around.has_begun(before.run_id)

    def _request(self, one: OccurrenceItem, schedule: Schedule) -> Mapping[str, Any]:
        values = batch.values_of(schedule, one.occurrence, self._previous(one))
        if schedule.drops is None:
            copied = batch.from_copy(schedule.audience or {}, copy_prefix(one.name, one.hash))
            filled: Mapping[str, Any] = filled_in(copied, values)
            return filled
        day = values["$day"]
        return self._drops.request(schedule.drops, day, declared_ready=self._around.declared_ready(one.name, day))

    def _ready_by(self, one: OccurrenceItem, schedule: Schedule) -> float:
        """Until when files are waited for; seconds since the epoch."""
        fires_s = one.fires_at_ms / 1000
        if schedule.drops is None or not schedule.drops.ready_by:
            return fires_s + schedule.rhythm.catch_up_s
        hour, minute = map(int, schedule.drops.ready_by.split(":"))
        zone = schedule.timetable.zone
        local = datetime.fromtimestamp(fires_s, UTC).astimezone(zone).replace(tzinfo=None, hour=hour, minute=minute)
        until = instant_of(local, zone)
        # 01:00 for an occurrence at 23:00 is in the next night.
        return (until if until.timestamp() >= fires_s else until + timedelta(days=1)).timestamp()

    def _last_run(self, one: OccurrenceItem) -> OccurrenceItem | None:
        return next((before for before in self._before(one) if before.state is OccurrenceState.RUN), None)

    def _previous(self, one: OccurrenceItem) -> datetime | None:
        """When the last occurrence was scheduled whose run has completed."""
        for before in self._before(one):
            if before.state is OccurrenceState.RUN and self._around.completed(before.run_id):
                return before.occurrence.utc
        return None

    # -- with its audience --------------------------------------------------------------------------------------------

    def _preparing(self, one: OccurrenceItem, schedule: Schedule, clock: ScheduleItem) -> OccurrenceItem:
        found = self._around.prepared(preparation_of(one, one.attempt))
        if found is None:
            return self._still_preparing(one, schedule, clock)
        fault = found.fault or self._missing_rows(one, schedule, found)
        if fault:
            # Tables that are loaded late, an engine that is away: it is asked again until it is too old.
            if self._now() < self._until(one, schedule) and not _has_later(one, clock):
                return self._again(one, OccurrenceState.WAITING, fault)
            return self._over(one, OccurrenceState.FAILED, fault)
        one = replace(one, users=found.users, manifest=found.manifest)
        verdict = judged(found.users, self._counts_before(one), schedule.rhythm.limits)
        if verdict.state is OccurrenceState.NEEDS_REVIEW:
            within_s, hours = schedule.rhythm.limits.decide_within_s, self._approvers_night(schedule)
            until_s = decide_until_s(self._now(), within_s, hours, schedule.timetable.zone)
            one = replace(one, review_until_ms=int(until_s * 1000))
            return self._again(one, OccurrenceState.NEEDS_REVIEW, verdict.reason)
        if verdict.state is OccurrenceState.RUN:
            return self._sent(one, schedule)
        return self._over(one, verdict.state, verdict.reason)

    def _still_preparing(self, one: OccurrenceItem, schedule: Schedule, clock: ScheduleItem) -> OccurrenceItem:
        asked_s, catch_up_s = one.state_at_ms / 1000, schedule.rhythm.catch_up_s
        if _has_later(one, clock) and self._now() > asked_s + MADE_WITHIN_S:
            return self._over(one, OccurrenceState.SKIPPED, "its audience is still being made, and a later one is due")
        if self._now() > max(asked_s + max(catch_up_s, MADE_WITHIN_S), self._until(one, schedule)):
            waited = _span(self._now() - asked_s)
            return self._over(one, OccurrenceState.FAILED, f"its audience was asked for {waited} ago, and is not made")
        return self._again(one, OccurrenceState.PREPARING, "")

    def _approvers_night(self, schedule: Schedule) -> QuietHours | None:
        return hours_in_force(schedule.campaign, self._quiet_hours)

    def _missing_rows(self, one: OccurrenceItem, schedule: Schedule, found: Prepared) -> str:
        """What is wrong with the number of rows of dated drops, by their manifest; "" for nothing."""
        if schedule.drops is None:
            return ""
        day = one.occurrence.local.date().isoformat()
        expected = self._drops.expected_rows(schedule.drops, day)
        if expected is None or expected == found.rows:
            return ""
        read, named = counted(found.rows, "row"), counted(expected, "row")
        return f"{read} were read, and {schedule.drops.ready} of {day} says {named}"

    def _counts_before(self, one: OccurrenceItem) -> list[int]:
        """Users of the last ones prepared before it, the latest last. Zeros count only where they were accepted."""
        prepared = (before for before in self._before(one) if before.users > 0 or before.decision == "approve")
        return [before.users for before in islice(prepared, HISTORY)][::-1]

    def _before(self, one: OccurrenceItem) -> Iterator[OccurrenceItem]:
        """Those before it, the latest first. Behind an outage, whose times were missed, is what is looked for."""
        return islice(self._store.latest(one.name, one.stamp), LOOKED_BACK)

    def _in_review(self, one: OccurrenceItem, schedule: Schedule) -> OccurrenceItem:
        if one.decision == "approve":
            if one.users == 0:
                return self._over(one, OccurrenceState.EMPTY, f"accepted by {one.by}")
            return self._sent(one, schedule)
        if one.decision:
            return self._over(one, OccurrenceState.REJECTED, f"rejected by {one.by}")
        now_ms = int(self._now() * 1000)
        was_left = one.due_at_ms < one.review_until_ms
        if was_left and now_ms - one.due_at_ms > AGAIN_MS and self._was_on_hold(one):
            # In a hold nothing can be decided: what was left when it began is left at its end.
            hours, times = (
                self._approvers_night(schedule),
                (one.due_at_ms / 1000, self._now(), one.review_until_ms / 1000),
            )
            one = replace(one, review_until_ms=int(after_hold_s(*times, hours, schedule.timetable.zone) * 1000))
        if now_ms >= one.review_until_ms:
            return self._over(one, OccurrenceState.EXPIRED, f"nobody decided in time: {one.reason}")
        return self._again(one, OccurrenceState.NEEDS_REVIEW, one.reason)

    def _sent(self, one: OccurrenceItem, schedule: Schedule) -> OccurrenceItem:
        found = self._around.prepared(preparation_of(one, one.attempt))
        if found is None or found.audience is None:
            gone = found.fault if found is not None else ""
            return self._over(one, OccurrenceState.FAILED, gone or "its prepared audience is not there any more")
        body = batch.batch_file(schedule, one.occurrence, found.audience)
        key = batch.key_of(schedule, one.occurrence)
        approved_by = self._store.approved_by(one.name, one.hash)
        # Only for what people have approved whole: a decision on the number of its users alone is not one on a campaign
        # that lifts caps or quiet hours. Without RequireApproval the worker takes all others without any.
        if approved_by and one.by:
            approved_by = one.by
        run_id = self._around.write_batch_file(key, body, sha256(body).hexdigest(), approved_by)
        return self._over(replace(one, run_id=run_id), OccurrenceState.RUN, "")

    # -- as it is written ---------------------------------------------------------------------------------------------

    def _again(self, one: OccurrenceItem, state: OccurrenceState, reason: str) -> OccurrenceItem:
        return replace(one, state=state, reason=reason, due_at_ms=int(self._now() * 1000) + AGAIN_MS)

    def _over(self, one: OccurrenceItem, state: OccurrenceState, reason: str) -> OccurrenceItem:
        return replace(one, state=state, reason=reason, due_at_ms=0)


def preparation_of(one: OccurrenceItem, attempt: int) -> str:
    """The name of an occurrence's preparation: one for each attempt, because one that failed stays failed."""
    return f"occurrence:{one.name}:{one.stamp}:{attempt}"


def _has_later(one: OccurrenceItem, clock: ScheduleItem) -> bool:
    """Whether a later one has become due. By the instants: one that is sent out of turn may be of a day before."""
    return (clock.last_at_ms, clock.last) > (one.fires_at_ms, one.stamp)


def _span(age_s: float) -> str:
    minutes = round(age_s / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def as_json(request: Mapping[str, Any]) -> str:
    """A request as the ledger keeps it."""
    return json.dumps(request, ensure_ascii=False)
