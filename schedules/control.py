"""What people do with schedules: pause, resume, say that files are complete, decide, approve, send one now."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from msgspec.structs import replace

from schedules.documents import Documents
from schedules.firing import ms_of, next_of
from schedules.occurrences import Surroundings
from schedules.store import ScheduleItem, ScheduleState, ScheduleStore

_DECIDES = ("decide", "approve", "keep", "now")
"""What is refused while the stack is held. Pausing, and saying that files are complete, starts nothing."""


class Refused(ValueError):
    """It cannot be done; the message says why, and what can."""


class Control:
    """Carries out what a person asks for. Each is one conditional write; asked twice it changes nothing more.

    Args:
        now: seconds since the epoch.
        held: why the stack is held, or "".
    """

    def __init__(
        self,
        store: ScheduleStore,
        documents: Documents,
        around: Surroundings,
        now: Callable[[], float],
        held: Callable[[], str] = lambda: "",
    ) -> None:
        self._store = store
        self._documents = documents
        self._around = around
        self._now = now
        self._held = held

    def carry_out(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Do what an event asks for: `{"action", "schedule", "by", …}`. Raises Refused."""
        actions: dict[str, Callable[[ScheduleItem, Mapping[str, Any]], dict[str, Any]]] = {
            "pause": self._pause, "resume": self._resume, "ready": self._ready, "decide": self._decide,
            "approve": self._approve, "keep": self._keep, "now": self._send_now,
        }  # fmt: skip
        action, name = str(event.get("action", "")), str(event.get("schedule", ""))
        if action not in actions:
            raise Refused(f"unknown action {action!r}: known are {', '.join(actions)}")
        if not event.get("by"):
            raise Refused("nobody is named who asks for it: give `by`")
        if action in _DECIDES and (held := self._held()):
            raise Refused(f"{held}. Nothing is decided before it is released (notifier release)")
        item = self._store.read(name)
        if item is None:
            raise Refused(f"there is no schedule {name!r}: a new file is looked at within a minute")
        return {"schedule": name, "action": action, **actions[action](item, event)}

    def _pause(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        reason = f"paused by {event['by']}" + (f": {event['reason']}" if event.get("reason") else "")
        after = replace(item, state=ScheduleState.PAUSED, reason=reason, by=str(event["by"]), at_ms=self._now_ms())
        return self._written(item, after)

    def _resume(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        if item.state is not ScheduleState.PAUSED:
            raise Refused(f"{item.name} is not paused: it is {item.state.value}")
        # Looked at by the next tick: while it was paused its file may have been edited.
        by = {"by": str(event["by"]), "at_ms": self._now_ms(), "looked_at": ""}
        if not item.hash:
            return self._written(item, replace(item, state=ScheduleState.BROKEN, reason="not looked at yet", **by))
        following = self._following(item)
        state = ScheduleState.ACTIVE if following["next"] else ScheduleState.ENDED
        return self._written(item, replace(item, state=state, reason="", **by, **following))

    def _keep(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        """The definition in force goes on until the edit is approved. Without this nothing fires meanwhile."""
        if item.state is not ScheduleState.UNAPPROVED or not item.hash:
            raise Refused(f"{item.name} has no edit that waits for approval: it is {item.state.value}")
        by = {"by": str(event["by"]), "at_ms": self._now_ms()}
        return self._written(item, replace(item, keeps_old=True, **by, **self._following(item)))

    def _following(self, item: ScheduleItem) -> dict[str, Any]:
        """The next time by the definition in force. What was due until now is not made up for."""
        schedule = self._documents.adopted(item.name, item.hash).schedule
        following = next_of(schedule, max(self._now_ms(), item.last_at_ms))
        if following is None:
            return {"next": "", "next_at_ms": 0}
        return {"next": following.stamp, "next_at_ms": ms_of(following)}

    def _written(self, before: ScheduleItem, after: ScheduleItem) -> dict[str, Any]:
        if not self._store.adopt(before, after):
            raise Refused(f"{before.name} has changed meanwhile: look at it again")
        return {"state": after.state.value, "next": after.next}

    def _ready(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        day = _day(event)
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
        """Approve what the file says now, if that is what was looked at."""
        digest = self._documents.read(item.name).hash
        if event.get("hash") != digest:
            raise Refused(f"schedules/{item.name}.json has changed since you looked at it: its hash is {digest} now")
        self._store.approve(item.name, digest, str(event["by"]))
        return {"hash": digest}

    def _send_now(self, item: ScheduleItem, event: Mapping[str, Any]) -> dict[str, Any]:
        """An occurrence of its own, for a day, at this minute. The limits and the approval hold for it too."""
        if not item.hash or item.state in (ScheduleState.BROKEN, ScheduleState.PAUSED):
            raise Refused(f"{item.name} is {item.state.value}: {item.reason or 'it has no definition in force'}")
        zone = self._documents.adopted(item.name, item.hash).schedule.timetable.zone
        local = datetime.fromtimestamp(self._now(), UTC).astimezone(zone)
        stamp = f"{_day(event)}T{local:%H%M}"
        self._store.put_occurrence(replace(item, next=stamp, next_at_ms=self._now_ms()))
        return {"occurrence": stamp}

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _day(event: Mapping[str, Any]) -> str:
    try:
        return date.fromisoformat(str(event.get("day", ""))).isoformat()
    except ValueError:
        raise Refused("a day is a date, for example 2026-12-01") from None
