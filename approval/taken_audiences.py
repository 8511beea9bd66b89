"""A schedule's audience in a draft: taken once, with the version of the definition that it is of, and kept.

In the approval app's table, because a page is drawn with each key that is pressed, and the schedules' function is asked
only when a person takes an audience. Nothing of it ever changes: it is what that version of that schedule says.

| pk | sk | holds |
|---|---|---|
| `taken#NAME` | the version | whom the schedule reaches, with `$day`, `$now` and `$previous` not filled in |
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec

from approval.table import Table
from notifier.dynamodb import item_of
from notifier.model.audience_request import filled_in
from notifier.model.campaign import Part
from notifier.model.time_zones import a_day_before, instant_of, zone_named

SCHEDULE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VERSION = re.compile(r"[0-9a-f]{64}")
SHOWN_VERSION_CHARS = 12
MAX_KEPT = 100
"""Taken audiences that a process keeps."""


class TakenAudience(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a schedule reaches, by one version of its definition.

    Args:
        version: the hash over the definition and the queries that it names.
        timezone: of its days.
        time: when it first occurs on a day, by the clock of that zone.
        audience: as in a batch file, with the queries of that version; or the `prefix` of the files of a day.
        exclude: lists of user ids that its campaign leaves out.
        clock: the zone by whose clock `time` is; "" for `timezone`.
        day_offset: days from a date to the date of its time by that clock: in the users' own time a day begins before.
    """

    schedule: str
    version: str
    timezone: str
    time: str
    audience: dict[str, Any]
    exclude: tuple[Part, ...] = ()
    clock: str = ""
    day_offset: int = 0

    def request(self, now: datetime) -> dict[str, Any]:
        """The request for the audience function, with today for `$day`: by the calendar of the schedule's zone.

        `$now` is when it would first occur today, and `$previous` a day before that, as before its first time.
        """
        zone = zone_named(self.timezone) or UTC
        day = now.astimezone(zone).date()
        if "prefix" in self.audience:
            return {"files": [self.audience["prefix"].replace("$day", day.isoformat())]}
        local = datetime.combine(day + timedelta(days=self.day_offset), time.fromisoformat(self.time))
        at = instant_of(local, zone_named(self.clock) or zone).astimezone(zone)
        values = {
            "$day": day.isoformat(),
            "$now": at.isoformat(timespec="seconds"),
            "$previous": a_day_before(at).isoformat(timespec="seconds"),
        }
        filled: dict[str, Any] = filled_in(self.audience, values)
        return filled


Taken = Mapping[tuple[str, str], TakenAudience]
"""Taken audiences by schedule and version."""


class TakenAudiences(Table):
    """Keeps them."""

    def __init__(self, client: Any, table: str) -> None:
        super().__init__(client, table)
        self._known: dict[tuple[str, str], TakenAudience] = {}

    def keep(self, taken: TakenAudience) -> None:
        """Keep one, for good: a template may be begun from after years. The same one again is the same item."""
        data = msgspec.json.encode(taken).decode()
        item = item_of({"pk": _pk(taken.schedule), "sk": taken.version, "data": data})
        self._client.put_item(TableName=self._table, Item=item)
        # One that a release before has kept may say less.
        self._known.pop((taken.schedule, taken.version), None)

    def of(self, schedule: str, version: str) -> TakenAudience | None:
        """The audience of a schedule by one version of it; None where nobody has taken that."""
        # They come from a form. A text that is no key of the table would be refused there, each time the draft is read.
        if not SCHEDULE_NAME.fullmatch(schedule) or not _VERSION.fullmatch(version):
            return None
        key = schedule, version
        if key not in self._known:
            item = self._get(_pk(schedule), version)
            if item is None:
                return None
            if len(self._known) >= MAX_KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = msgspec.json.decode(item["data"]["S"], type=TakenAudience)
        return self._known[key]


def _pk(schedule: str) -> str:
    return f"taken#{schedule}"
