"""What people do with schedules: pause, resume, say that files are complete, decide, approve, send one now."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from notifier.model.campaign_reading import read_campaign
from notifier.model.caps import NO_DEFAULTS, CapDefaults, loosened, louder
from notifier.model.mailbox import is_same_person
from notifier.model.validation import Fault
from schedules.definition import MAX_BYTES, BrokenSchedule, Limits, key_of
from schedules.documents import CopyChanged, Document, Documents, deleted_reason
from schedules.firing import clock_from, removed
from schedules.occurrence_steps import Surroundings
from schedules.store import NOT_LOOKED_AT, ScheduleItem, ScheduleState, ScheduleStore

_TRIES = 3
_DECIDES = ("decide", "approve", "keep", "now")
"""What is refused while the stack is held. Pausing, and saying that files are complete, starts nothing."""


class Refused(ValueError):
    """It cannot be done; the message says why, and what can."""


class Control:
    """Carries out what a person asks for. Each is one conditional write; asked twice it changes nothing more.

    Args:
        now: seconds since the epoch.
        held: why the stack is held, or "".
        two_above: with more users than this a schedule's definition needs two people's approval.
        defaults: the stack's caps and quiet hours: what lifts them needs an approval in any stack.
    """

    def __init__(
        self,
        store: ScheduleStore,
        documents: Documents,
        around: Surroundings,
        now: Callable[[], float],
        held: Callable[[], str] = lambda: "",
        two_above: int | None = None,
        defaults: CapDefaults = NO_DEFAULTS,
    ) -> None:
        self._store = store
        self._documents = documents
        self._around = around
        self._now = now
        self._held = held
        self._two_above = two_above
        self._defaults = defaults

    def carry_out(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do what an event asks for: `{"action", "schedule", "by", …}`. Raises Refused."""
        actions: dict[str, Callable[[ScheduleItem, Mapping[str, Any]], dict[str, Any]]] = {
            "pause": self._pause, "resume": self._resume, "ready": self._ready, "decide": self._decide,
            "approve": self._approve, "keep": self._keep, "now": self._send_now,
        }  # fmt: skip
        action, name = str(event.get("action", "")), str(event.get("schedule", ""))
        if action not in actions and action != "save":
            raise Refused(f"unknown action {action!r}: known are {', '.join(actions)}, save")
        if not event.get("by"):
            raise Refused("nobody is named who asks for it: give `by`")
        if action in _DECIDES and (held := self._held()):
            raise Refused(f"{held}. Nothing is decided before it is released (notifier release)")
        if action == "save":
            return {"schedule": name, "action": action, **self._save(name, event)}
        item = self._store.read(name)
        if item is None:
            raise Refused(f"there is no schedule {name!r}: a new file is looked at within a minute")
        return {"schedule": name, "action": action, **actions[action](item, event)}

    def _pause(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        reason = f"paused by {event['by']}" + (f": {event['reason']}" if event.get("reason") else "")
        # A file that comes back while it is paused is a new one, too.
        after = removed(item) if item.state is ScheduleState.REMOVED else item
        after = replace(after, state=ScheduleState.PAUSED, reason=reason, by=str(event["by"]), at_ms=self._now_ms())
        return self._written(item, after)

    def _resume(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        if item.state is not ScheduleState.PAUSED:
            raise Refused(f"{item.name} is not paused: it is {item.state.value}")
        # Looked at by the next tick: while it was paused its file may have been edited.
        by = {"by": str(event["by"]), "at_ms": self._now_ms(), "looked_at": ""}
        if self._documents.text(item.name) is None:
            return self._written(item, replace(removed(replace(item, state=ScheduleState.BROKEN)), **by))
        if not item.hash:
            return self._written(item, replace(item, state=ScheduleState.BROKEN, reason=NOT_LOOKED_AT, **by))
        following = self._following(item)
        state = ScheduleState.ACTIVE if following["next"] else ScheduleState.ENDED
        return self._written(item, replace(item, state=state, reason="", **by, **following))

    def _keep(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        """The definition in force goes on until the edit is approved. Without this nothing fires meanwhile."""
        # Of what the file says now, which is what a person has before them. A tick may not have seen it yet.
        document = self._documents.read(item.name)
        if not item.hash or not self._waits(document):
            raise Refused(f"{item.name} has no edit that waits for approval: it is {item.state.value}")
        self._require_that_it_can_go_on(item)
        after = self._said(item.name, document, keep=True)
        if after is None or not self._keeps(after, document):
            raise Refused(f"{item.name} has changed meanwhile: look at it again")
        return {"state": after.state.value, "next": after.next, "hash": document.hash}

    def _require_that_it_can_go_on(self, item: ScheduleItem) -> None:
        if not self._store.can_go_on(item):
            raise Refused(
                f"nobody has approved what is in force of {item.name}, and it fires no more: it cannot go on until the "
                "edit is approved"
            )

    def _waits(self, document: Document) -> bool:
        """Whether nobody, or too few, have approved a definition, and it must not fire before."""
        name, digest = document.schedule.name, document.hash
        return self._documents.needs_approval and not self._store.approved_by(name, digest)

    def _keeps(self, item: ScheduleItem, document: Document) -> bool:
        """Whether what is in force goes on until this edit is approved."""
        return item.kept_for == document.hash and self._waits(document) and self._store.can_go_on(item)

    def _following(self, item: ScheduleItem) -> dict[str, Any]:
        """The next time by the definition in force. What was due until now is not made up for."""
        schedule = self._documents.adopted(item.name, item.hash).schedule
        return clock_from(schedule, max(self._now_ms(), item.last_at_ms))

    def _written(self, before: ScheduleItem, after: ScheduleItem) -> dict[str, Any]:
        if not self._store.adopt(before, after):
            raise Refused(f"{before.name} has changed meanwhile: look at it again")
        return {"state": after.state.value, "next": after.next}

    def _ready(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        day = day_in(event).isoformat()
        self._around.declare_ready(item.name, day, str(event["by"]))
        return {"day": day}

    def _decide(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        stamp, decision = str(event.get("occurrence", "")), str(event.get("decision", ""))
        if decision not in ("approve", "reject"):
            raise Refused("a decision is approve or reject")
        if not self._store.decide(item.name, stamp, decision, str(event["by"])):
            found = self._store.read_occurrence(item.name, stamp)
            what = f"it is {found.state.value}" if found is not None else "there is none"
            raise Refused(f"{item.name} {stamp} cannot be decided on any more: {what}")
        return {"occurrence": stamp, "decision": decision}

    def _approve(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        """Approve what the file says now, if that is what was looked at; `unseen` names texts that were not."""
        document, by = self._documents.read(item.name), str(event["by"])
        digest = document.hash
        if event.get("hash") != digest:
            raise Refused(f"schedules/{item.name}.json has changed since you looked at it: its hash is {digest} now")
        author = self._store.edited_by(item.name, document.file_sha256, digest)
        needed = approvals_needed(document.schedule.rhythm.limits, self._two_above, author)
        if is_same_person(author, by):
            raise Refused("you wrote it: another person approves it")
        if needed > 1 or author:
            people = "two people approve it" if needed > 1 else f"{author} wrote it, and another person approves it"
            _require_address(by, people)
        approved = self._store.approve(item.name, digest, by, needed, str(event.get("unseen") or ""))
        return {"hash": digest, "approved_by": ", ".join(approved), "missing": max(0, needed - len(approved))}

    def _save(self, name: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Write a schedule's file, if it has no fault, and if the file is still the one that its author has seen.

        `before` is the SHA-256 of that one, in hexadecimal; without it there must be none. `keep` says what fires until
        the edit is approved: True what is in force, False nothing; without it nothing.
        """
        needs_approval, keep, by = self._documents.needs_approval, event.get("keep"), str(event["by"])
        if keep is not None and not needs_approval:
            raise Refused(
                "this stack needs no approval: an edit is in force within a minute. Where it is to wait, pause the "
                f"schedule first (notifier schedules pause {name}, then without --keep and --pause)"
            )
        if needs_approval:
            _require_address(by, "another person approves it")
        text, before = str(event.get("text", "")).encode(), self._documents.text(name)
        if len(text) > MAX_BYTES:
            raise Refused(f"it is larger than {MAX_BYTES:,} bytes")
        document = self._documents.document(name, text)
        lifted = self._lifted(document) if not needs_approval else ""
        if lifted:
            # An author who is known by no address could be the one who approves it, and nobody would see it.
            _require_address(by, f"another person approves it, in this stack, too ({lifted})")
        _require_the_one_seen(name, before, str(event.get("before", "")))
        if self._waits(document) and (item := self._store.read(name)) is not None and item.hash:
            if before is None:
                # No tick has seen yet that the one before was deleted. This is no edit of it.
                if not self._store.adopt(item, removed(item)):
                    raise Refused(f"schedules/{name}.json has changed in this moment: look at it again")
            elif keep:
                self._require_that_it_can_go_on(item)
        # Before the file: once it can be approved, it must be known who must not do it.
        author = self._store.edited_by(name, document.file_sha256, document.hash) or by
        self._store.edited(name, document.file_sha256, author)
        if not self._documents.replace(name, text, before):
            raise Refused(f"schedules/{name}.json has changed in this moment: look at it again")
        item = self._said(name, document, keep=keep)
        return {
            "hash": document.hash,
            "needs_approval": needs_approval,
            "is_approved": bool(self._store.approved_by(name, document.hash)),
            "lifts": lifted,
            "is_paused": item is not None and item.state is ScheduleState.PAUSED,
            "in_force": item.hash if item is not None else "",
            "keeps_old": item is not None and self._keeps(item, document),
        }

    def _said(self, name: str, document: Document, *, keep: bool | None) -> ScheduleItem | None:
        """Note what is to fire until an edit is approved, where something can go on. Returns the schedule."""
        for _ in range(_TRIES):
            item = self._store.read(name)
            if keep is None or item is None or (keep and not (self._waits(document) and self._store.can_go_on(item))):
                return item
            after = replace(item, keeps_old=keep, kept_for=document.hash if keep else "")
            # A paused one keeps who paused it and why. What was said holds from the moment at which it is resumed.
            if item.state is not ScheduleState.PAUSED:
                # The next tick looks also where the file is the one that it has looked at. It finds the edit
                # unapproved, and this said already, and asks approvers: the reason is still that of the edit before.
                after = replace(after, looked_at="")
                if keep and not item.fires:
                    # An edit waited already, and the clock stood: what was due until now is not made up for. A copy
                    # that was changed in the bucket fires nothing, which the tick says.
                    with suppress(CopyChanged, BrokenSchedule):
                        after = replace(after, **self._following(item))
            if self._store.adopt(item, after):
                return after
        # A tick, or a person, was faster each time. The file is written: the answer says that this is not noted.
        return self._store.read(name)

    def _lifted(self, document: Document) -> str:
        """What of the stack's caps and quiet hours a definition lifts, in words; "" for nothing."""
        campaign = read_campaign({**document.schedule.campaign, "id": document.schedule.name})
        return "; ".join((*loosened(campaign, self._defaults), *louder(campaign, self._defaults)))

    def _send_now(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        """An occurrence of its own, for a day, at this minute. The limits and the approval hold for it too."""
        if not item.hash or item.state in (ScheduleState.BROKEN, ScheduleState.PAUSED, ScheduleState.REMOVED):
            raise Refused(f"{item.name} is {item.state.value}: {item.reason or 'it has no definition in force'}")
        if self._documents.text(item.name) is None:
            raise Refused(f"{deleted_reason(item.name)}: nothing is in force any more")
        if self._documents.needs_approval and not self._store.can_go_on(item):
            raise Refused(f"nobody has approved what is in force of {item.name}: it fires no more")
        zone = self._documents.adopted(item.name, item.hash).schedule.timetable.zone
        local = datetime.fromtimestamp(self._now(), UTC).astimezone(zone)
        stamp = f"{day_in(event)}T{local:%H%M}"
        self._store.put_occurrence(replace(item, next=stamp, next_at_ms=self._now_ms()))
        return {"occurrence": stamp}

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _require_the_one_seen(name: str, found: bytes | None, sha256_seen: str) -> None:
    """Refuse to write over a file that its author has not seen."""
    if found is not None and not sha256_seen:
        taken = Fault("name", "is another schedule's already", "choose another, or edit that one")
        raise BrokenSchedule(key_of(name), (taken,))
    if (sha256(found).hexdigest() if found is not None else "") != sha256_seen:
        raise Refused(f"schedules/{name}.json is another one by now: look at it again")


def _require_address(by: str, why: str) -> None:
    """Refuse a name that is no mail address. The pages know people by theirs: one person would be two."""
    if "@" not in by:
        raise Refused(f"{why}: {by} is no mail address, which says who a person is (give `by`, or --by)")


def approvals_needed(limits: Limits, two_above: int | None, author: str = "") -> int:
    """How many people must approve a definition: what it may send to at most decides, as for any other push.

    Args:
        author: who wrote its file, "" where that is not known.
    """
    if author and "@" not in author:
        # Written while the stack needed no approval, under a name by which nobody is known again: of two people one is
        # not the author.
        return 2
    if two_above is None:
        return 1
    return 2 if limits.max_users is None or limits.max_users > two_above else 1


def day_in(event: Mapping[str, Any]) -> date:
    """The date that an event names. Raises Refused."""
    try:
        return date.fromisoformat(str(event.get("day", "")))
    except ValueError:
        raise Refused("a day is a date, for example 2026-12-01") from None
