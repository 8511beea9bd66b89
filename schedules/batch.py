"""The batch file of an occurrence: the schedule's campaign and audience, with what belongs to this one time filled in.

Its bytes depend on the schedule, the occurrence and what was prepared for it, and on nothing else: two attempts at the
same occurrence write the same file.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from notifier.model.time_zones import a_day_before
from schedules.definition import Schedule
from schedules.timetable import Occurrence

PREFIX = "batches/schedules/"


def campaign_id(schedule: Schedule, occurrence: Occurrence) -> str:
    """The id of an occurrence's campaign: `day-2-engagement-2026-12-01T0900`. One id is one run."""
    return f"{schedule.name}-{occurrence.stamp}"


def key_of(schedule: Schedule, occurrence: Occurrence) -> str:
    """Where the batch file is written, once."""
    return f"{PREFIX}{schedule.name}/{campaign_id(schedule, occurrence)}.json"


def values_of(schedule: Schedule, occurrence: Occurrence, previous: datetime | None) -> dict[str, str]:
    """What `$day`, `$now` and `$previous` are for an occurrence, in the schedule's zone.

    Args:
        previous: when the last occurrence that completed was scheduled; None before the first: `$previous` is then
            one day before `$now`.
    """
    zone = schedule.timetable.zone
    now = occurrence.utc.astimezone(zone)
    before = previous.astimezone(zone) if previous else a_day_before(now)
    return {
        "$day": occurrence.local.date().isoformat(),
        "$now": now.isoformat(timespec="seconds"),
        "$previous": before.isoformat(timespec="seconds"),
    }


def from_copy(request: Any, prefix: str) -> Any:
    """A request whose stored queries are read from a definition's copy, in any depth.

    Otherwise a query that is edited after the approval would decide whom the next occurrence reaches.
    """
    if not isinstance(request, Mapping):
        return request
    copied = dict(request)
    if "query" in copied:
        copied["query"] = {**copied["query"], "copy": prefix}
    for kind in ("all", "any", "without"):
        if kind in copied:
            copied[kind] = [from_copy(one, prefix) for one in copied[kind]]
    return copied


def campaign_of(schedule: Schedule, occurrence: Occurrence) -> dict[str, Any]:
    """The campaign of an occurrence, as its batch file has it."""
    campaign = {
        "id": campaign_id(schedule, occurrence),
        # Everybody keeps their arm from day to day.
        "experiment": schedule.name,
        **schedule.campaign,
    }
    if schedule.timetable.users_time is not None:
        # The scheduled date, whenever the file is written and cut.
        campaign["local_time"] = {**schedule.campaign["local_time"], "date": occurrence.local.date().isoformat()}
    return campaign


def batch_file(schedule: Schedule, occurrence: Occurrence, audience: Mapping[str, Any]) -> bytes:
    """The bytes of an occurrence's batch file.

    Args:
        audience: the prepared one.
    """
    campaign = campaign_of(schedule, occurrence)
    return json.dumps({"campaign": campaign, "audience": audience}, indent=2, ensure_ascii=False).encode() + b"\n"
