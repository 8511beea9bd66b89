"""Schedules and their occurrences in the ledger's table. Public: a key or an attribute is never renamed.

| pk | sk | holds |
|---|---|---|
| `schedule#NAME` | `schedule` | the definition that is in force, its next occurrence, and why it does not fire |
| `schedule#NAME` | `approved#HASH` | who approved that definition: it may fire |
| `schedule#NAME` | `approval#HASH#MAILBOX` | one person's approval; of a large one two are needed |
| `schedule#NAME` | `author#SHA256` | who wrote the file with these bytes, on the pages or by `schedules put` |
| `schedule#NAME` | `edit#HASH` | the same, by the definition: entered before there was `author`, still read |
| `schedule#NAME` | `occurrence#2026-12-01T0900` | what became of that time: one line of the schedule's history |

A schedule that has a next occurrence is in the index `due`, in the partition `schedule`; an occurrence of which
something becomes yet, in the partition `occurrence`. Neither ever expires. Releases that know no schedules read the
lanes' partition only.

The two writes of a firing, in their order, and a tick that dies between them:

    put occurrence (if absent, itself due) ── move the clock (only if `next` is still this one)
    put occurrence ── X      next tick: put again, refused: there it is ── move the clock
"""

import enum
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, ConditionBase, Key

from notifier.dynamodb import Item, Items, Update, Value, item_of, number_of, text_of
from notifier.model.mailbox import mailbox_of
from schedules.rules import OccurrenceState
from schedules.timetable import Occurrence

VERSION = 1
"""Of the items' form."""
SCHEDULE, OCCURRENCE = "schedule", "occurrence"
"""Values of `due`, and beginnings of sort keys."""
DUE_INDEX = "due"
STAMP = "%Y-%m-%dT%H%M"
MAX_REASON = 2_000


class ScheduleState(enum.StrEnum):
    """Whether a schedule fires."""

    ACTIVE = "active"
    PAUSED = "paused"
    """By a person, who resumes it."""
    BROKEN = "broken"
    """Its file has faults; it goes on when they are corrected."""
    UNAPPROVED = "unapproved"
    """Its file was changed, and nobody has approved what it says now."""
    ENDED = "ended"
    """It has no further occurrence."""
    REMOVED = "removed"
    """Its file was deleted."""


NOT_LOOKED_AT = "not looked at yet"
"""The reason of one whose file no tick has looked at: until then nobody knows whether it is broken."""


class ScheduleItem(msgspec.Struct, frozen=True):
    """A schedule as the table has it.

    Attributes:
        hash: of the definition in force, "" before the first one.
        looked_at: version of the file, and of all queries, that was looked at last.
        next: the stamp of the next occurrence, "" for none.
        next_at_ms: when it fires.
        last: the stamp of the occurrence that was fired last.
        last_at_ms: when that was to fire.
        by: who paused it.
        keeps_old: after an edit the definition in force goes on until the new one is approved.
        kept_for: hash of the edit for which that was said: it outlives a pause. "" where a release before wrote it.
    """

    name: str
    state: ScheduleState
    hash: str = ""
    looked_at: str = ""
    next: str = ""
    next_at_ms: int = 0
    last: str = ""
    last_at_ms: int = 0
    reason: str = ""
    by: str = ""
    at_ms: int = 0
    keeps_old: bool = False
    kept_for: str = ""

    @property
    def fires(self) -> bool:
        """Whether its next occurrence is to be fired."""
        return bool(self.next) and (
            self.state is ScheduleState.ACTIVE or (self.state is ScheduleState.UNAPPROVED and self.keeps_old)
        )


class OccurrenceItem(msgspec.Struct, frozen=True):
    """An occurrence as the table has it.

    Attributes:
        hash: of the definition by which it was fired: whatever was edited since, it goes by that one.
        fires_at_ms: when it was to fire.
        due_at_ms: when it is looked at next; 0 once nothing more becomes of it.
        attempt: of its preparation.
        users: of its audience, once that is prepared; -1 before.
        decision: an approver's: approve or reject.
    """

    name: str
    stamp: str
    state: OccurrenceState
    hash: str
    fires_at_ms: int
    due_at_ms: int = 0
    attempt: int = 0
    users: int = -1
    manifest: str = ""
    run_id: str = ""
    reason: str = ""
    decision: str = ""
    by: str = ""
    review_until_ms: int = 0
    state_at_ms: int = 0

    @property
    def occurrence(self) -> Occurrence:
        """Its local minute and its instant."""
        local = datetime.strptime(self.stamp, STAMP)  # noqa: DTZ007 - a local minute is naive
        return Occurrence(local, datetime.fromtimestamp(self.fires_at_ms / 1000, UTC))


def moved_on(item: ScheduleItem, following: Occurrence | None) -> ScheduleItem:
    """A schedule whose clock was put on the following occurrence."""
    return msgspec.structs.replace(
        item,
        last=item.next,
        last_at_ms=item.next_at_ms,
        next=following.stamp if following else "",
        next_at_ms=_ms(following.utc) if following else 0,
        # An edit that waits for its approval has times of its own.
        state=item.state if following or item.state is ScheduleState.UNAPPROVED else ScheduleState.ENDED,
    )


def schedule_key(name: str) -> Item:
    """The key of a schedule's item."""
    return item_of({"pk": f"schedule#{name}", "sk": SCHEDULE})


def occurrence_key(name: str, stamp: str) -> Item:
    """The key of an occurrence's item."""
    return item_of({"pk": f"schedule#{name}", "sk": f"{OCCURRENCE}#{stamp}"})


class ScheduleStore:
    """The schedules of a stack, in its ledger's table.

    Args:
        client: a boto3 DynamoDB client.
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, table: str, now: Callable[[], float]) -> None:
        self._items = Items(client, table)
        self._now = now

    # -- schedules ----------------------------------------------------------------------------------------------------

    def read(self, name: str) -> ScheduleItem | None:
        """A schedule, or None."""
        item = self._items.get(schedule_key(name))
        return _schedule_of(item) if item is not None else None

    def enter(self, item: ScheduleItem) -> bool:
        """Enter a schedule that has no item yet. False where it has one."""
        return self._enter(_attributes_of(item))

    def adopt(self, before: ScheduleItem, after: ScheduleItem) -> bool:
        """Change what is in force: definition, state, next occurrence. False where something has changed meanwhile."""
        update = _schedule_update(after).only_if(
            Attr("hash").eq(before.hash),  # no other tick has adopted a definition since
            Attr("next").eq(before.next),  # nor fired
            Attr("state").eq(before.state.value),  # nor has a person paused or resumed it
            *_kept_as(before),
        )
        return self._items.update(schedule_key(before.name), update) is not None

    def due_schedules(self, now_ms: int) -> Iterator[ScheduleItem]:
        """Schedules whose next occurrence is to be fired."""
        yield from self._in_index(SCHEDULE, now_ms, _schedule_of)

    def move_on(self, item: ScheduleItem, following: Occurrence | None) -> bool:
        """The second write of a firing: the clock is put on the following occurrence, from `item.next`."""
        after = moved_on(item, following)
        update = _schedule_update(after).only_if(
            Attr("next").eq(item.next),  # another tick has not moved it on already
            Attr("hash").eq(item.hash),  # nor was another definition adopted, which has a clock of its own
            Attr("state").eq(item.state.value),  # nor was it paused
            *_kept_as(item),
        )
        return self._items.update(schedule_key(item.name), update) is not None

    # -- occurrences --------------------------------------------------------------------------------------------------

    def put_occurrence(self, schedule: ScheduleItem) -> None:
        """The first write of a firing: the schedule's next occurrence is there, and due. It changes no existing one."""
        due: dict[str, Value] = {"due": OCCURRENCE, "due_at": schedule.next_at_ms}
        self._enter({**self._next_of(schedule), "state": OccurrenceState.DUE.value, **due})

    def put_missed(self, schedule: ScheduleItem, reason: str) -> bool:
        """Write down that the schedule's next occurrence is never sent. It changes no existing one: False."""
        return self._enter(
            {**self._next_of(schedule), "state": OccurrenceState.MISSED.value, "reason": reason[:MAX_REASON]}
        )

    def _next_of(self, schedule: ScheduleItem) -> dict[str, Value]:
        return {
            "pk": f"schedule#{schedule.name}",
            "sk": f"{OCCURRENCE}#{schedule.next}",
            "hash": schedule.hash,
            "fires_at_ms": schedule.next_at_ms,
            "state_at_ms": self._now_ms(),
        }

    def due_occurrences(self, now_ms: int) -> Iterator[OccurrenceItem]:
        """Occurrences that are to be looked at."""
        yield from self._in_index(OCCURRENCE, now_ms, _occurrence_of)

    def read_occurrence(self, name: str, stamp: str) -> OccurrenceItem | None:
        """An occurrence, or None."""
        item = self._items.get(occurrence_key(name, stamp))
        return _occurrence_of(item) if item is not None else None

    def history(self, name: str, *, before: str = "", limit: int = 50) -> list[OccurrenceItem]:
        """A schedule's occurrences, the latest first.

        Args:
            before: only those before this stamp.
        """
        return list(islice(self.latest(name, before, limit), limit))

    def latest(self, name: str, before: str = "", page: int = 50) -> Iterator[OccurrenceItem]:
        """All of them, the latest first, read by pages of so many as they are asked for."""
        end = f"{OCCURRENCE}#{before}" if before else f"{OCCURRENCE}#~"
        key = Key("pk").eq(f"schedule#{name}") & Key("sk").between(f"{OCCURRENCE}#", end)
        # `between` includes its end: one more.
        for item in self._items.query(key, ScanIndexForward=False, ConsistentRead=True, Limit=min(page + 1, 1000)):
            one = _occurrence_of(item)
            if one.stamp != before:
                yield one

    def change(self, before: OccurrenceItem, after: OccurrenceItem) -> bool:
        """Write what has become of an occurrence. False where another tick, or an approver, was faster."""
        state_at_ms = before.state_at_ms if before.state is after.state else self._now_ms()
        update = (
            Update()
            .set(state=after.state.value, attempt=after.attempt, users=after.users, manifest=after.manifest)
            .set(run_id=after.run_id, reason=after.reason[:MAX_REASON], review_until_ms=after.review_until_ms)
            .set(state_at_ms=state_at_ms)
        )
        if after.state.is_over:
            update = update.remove("due", "due_at")
        else:
            update = update.set(due=OCCURRENCE, due_at=after.due_at_ms)
        update = update.only_if(
            Attr("state").eq(before.state.value),
            Attr("due_at").eq(before.due_at_ms),  # another tick has looked at it since it was read
        )
        return self._items.update(occurrence_key(before.name, before.stamp), update) is not None

    def decide(self, name: str, stamp: str, decision: str, by: str) -> bool:
        """Enter an approver's decision on an occurrence to be reviewed. False where it is none any more."""
        update = (
            Update()
            .set(decision=decision, by=by, due_at=self._now_ms())
            .only_if(
                Attr("state").eq(OccurrenceState.NEEDS_REVIEW.value),
                Attr("decision").not_exists(),  # the first one counts
                Attr("review_until_ms").gt(self._now_ms()),
            )
        )
        return self._items.update(occurrence_key(name, stamp), update) is not None

    def approved_by(self, name: str, digest: str) -> str:
        """Who approved a definition; "" for nobody."""
        item = self._items.get(item_of({"pk": f"schedule#{name}", "sk": f"approved#{digest}"}))
        return text_of(item, "by") if item is not None else ""

    def can_go_on(self, item: ScheduleItem) -> bool:
        """Whether what is in force may fire while an edit of it waits for an approval: it has one itself."""
        return bool(item.hash and self.approved_by(item.name, item.hash))

    def approve(self, name: str, digest: str, by: str, needed: int = 1, unseen: str = "") -> tuple[str, ...]:
        """Enter one person's approval of a definition; with the last one that it needs, the definition is approved.

        Returns who has approved it so far, each person once. Repeatable: a person's first approval stays.

        Args:
            unseen: the texts that they approved without looking at them, by name.
        """
        self._note(name, f"approval#{digest}#{mailbox_of(by)}", by, **({"unseen": unseen} if unseen else {}))
        approvers = self.approvals(name, digest)
        if len(approvers) >= needed:
            self._note(name, f"approved#{digest}", ", ".join(approvers))
        return approvers

    def approvals(self, name: str, digest: str) -> tuple[str, ...]:
        """Who has approved a definition so far."""
        return tuple(self.unseen_by(name, digest))

    def unseen_by(self, name: str, digest: str) -> dict[str, str]:
        """Who has approved a definition so far, each with the texts that they have not looked at."""
        key = Key("pk").eq(f"schedule#{name}") & Key("sk").begins_with(f"approval#{digest}#")
        found = self._items.query(key, ConsistentRead=True)
        return {text_of(item, "by"): text_of(item, "unseen") for item in found}

    def edited(self, name: str, file_sha256: str, by: str) -> None:
        """Enter who wrote a schedule's file. The first one stays: written again as it was it is not another's."""
        self._note(name, f"author#{file_sha256}", by)

    def edited_by(self, name: str, file_sha256: str, digest: str = "") -> str:
        """Who wrote a schedule's file on the pages or by `schedules put`; "" where it came by another way.

        By the file, and not by the whole definition: its author stays its author while others edit a query that it
        names.

        Args:
            digest: of the definition as it is now: by it, authors were entered at first.
        """
        for sort_key in (f"author#{file_sha256}", f"edit#{digest}"):
            if (item := self._items.get(item_of({"pk": f"schedule#{name}", "sk": sort_key}))) is not None:
                return text_of(item, "by")
        return ""

    def _note(self, name: str, sort_key: str, by: str, **more: str) -> None:
        self._enter({"pk": f"schedule#{name}", "sk": sort_key, "by": by, "state_at_ms": self._now_ms(), **more})

    # -- the table ----------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _enter(self, values: dict[str, Value]) -> bool:
        return self._items.put_new({**values, "version": VERSION})

    def _in_index(self, partition: str, until_ms: int, read: Callable[[Item], Any]) -> Iterator[Any]:
        key = Key("due").eq(partition) & Key("due_at").lte(until_ms)
        for item in self._items.query(key, IndexName=DUE_INDEX):
            if int(item["version"]["N"]) <= VERSION:
                yield read(item)


def _attributes_of(item: ScheduleItem) -> dict[str, Value]:
    values: dict[str, Value] = {
        "pk": f"schedule#{item.name}", "sk": SCHEDULE, "state": item.state.value, "hash": item.hash,
        "looked_at": item.looked_at, "next": item.next, "next_at_ms": item.next_at_ms, "last": item.last,
        "last_at_ms": item.last_at_ms, "reason": item.reason[:MAX_REASON], "paused_by": item.by,
        "state_at_ms": item.at_ms, "keeps_old": int(item.keeps_old), "kept_for": item.kept_for,
    }  # fmt: skip
    return values | ({"due": SCHEDULE, "due_at": item.next_at_ms} if item.fires else {})


def _schedule_update(item: ScheduleItem) -> Update:
    values = _attributes_of(item)
    update = Update().set(**{name: value for name, value in values.items() if name not in ("pk", "sk")})
    return update if item.fires else update.remove("due", "due_at")


def _kept_as(before: ScheduleItem) -> tuple[ConditionBase, ...]:
    """Nor has a person said since what fires until an edit is approved: the answer to them would not hold."""
    # Of a release before an item may have neither.
    keeps_old, kept_for = Attr("keeps_old").eq(int(before.keeps_old)), Attr("kept_for").eq(before.kept_for)
    return (
        keeps_old if before.keeps_old else Attr("keeps_old").not_exists() | keeps_old,
        kept_for if before.kept_for else Attr("kept_for").not_exists() | kept_for,
    )


def _schedule_of(item: Item) -> ScheduleItem:
    return ScheduleItem(
        name=item["pk"]["S"].partition("#")[2],
        state=ScheduleState(text_of(item, "state")),
        hash=text_of(item, "hash"),
        looked_at=text_of(item, "looked_at"),
        next=text_of(item, "next"),
        next_at_ms=number_of(item, "next_at_ms"),
        last=text_of(item, "last"),
        last_at_ms=number_of(item, "last_at_ms"),
        reason=text_of(item, "reason"),
        by=text_of(item, "paused_by"),
        at_ms=number_of(item, "state_at_ms"),
        keeps_old=bool(number_of(item, "keeps_old")),
        kept_for=text_of(item, "kept_for"),
    )


def _occurrence_of(item: Item) -> OccurrenceItem:
    return OccurrenceItem(
        name=item["pk"]["S"].partition("#")[2],
        stamp=item["sk"]["S"].partition("#")[2],
        state=OccurrenceState(text_of(item, "state")),
        hash=text_of(item, "hash"),
        fires_at_ms=number_of(item, "fires_at_ms"),
        due_at_ms=number_of(item, "due_at"),
        attempt=number_of(item, "attempt"),
        users=number_of(item, "users") if "users" in item else -1,
        manifest=text_of(item, "manifest"),
        run_id=text_of(item, "run_id"),
        reason=text_of(item, "reason"),
        decision=text_of(item, "decision"),
        by=text_of(item, "by"),
        review_until_ms=number_of(item, "review_until_ms"),
        state_at_ms=number_of(item, "state_at_ms"),
    )


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
