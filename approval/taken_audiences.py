"""A schedule's audience in a draft: taken once, with the version of the definition that it is of, and kept.

In the approval app's table, because a page is drawn with each key that is pressed, and the schedules' function is asked
only when a person takes an audience. Nothing of it ever changes: it is what that version of that schedule says.

| pk | sk | holds |
|---|---|---|
| `taken#NAME` | the version | whom the schedule reaches, with `$day`, `$now` and `$previous` not filled in |
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec

from approval.table import Table
from notifier.dynamodb import item_of
from notifier.model.audience_request import filled_in
from notifier.model.campaign import Part
from notifier.model.time_zones import zone_named

SHOWN_VERSION_CHARS = 12
MAX_KEPT = 100
"""Taken audiences that a process keeps."""


class TakenAudience(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a schedule reaches, by one version of its definition.

    Args:
        version: the hash over the definition and the queries that it names.
        timezone: of its days.
        time: when it first occurs on a day, by the clock of that zone.
        audience: as in a batch file; or the `prefix` of the files of a day.
        exclude: lists of user ids that its campaign leaves out.
    """

    schedule: str
    version: str
    timezone: str
    time: str
    audience: dict[str, Any]
    exclude: tuple[Part, ...] = ()

    def request(self, now: datetime) -> dict[str, Any]:
        """The request for the audience function, with today for `$day`: by the calendar of the schedule's zone.

        `$now` is when it would first occur today, and `$previous` a day before that, as before its first time.
        """
        zone = zone_named(self.timezone) or UTC
        day = now.astimezone(zone).date()
        if "prefix" in self.audience:
            return {"files": [self.audience["prefix"].replace("$day", day.isoformat())]}
        at = datetime.combine(day, time.fromisoformat(self.time), zone)
        # By the clock: on the day on which it changes, a day is 23 or 25 hours.
        before = datetime.combine(day - timedelta(days=1), time.fromisoformat(self.time), zone)
        values = {
            "$day": day.isoformat(),
            "$now": at.isoformat(timespec="seconds"),
            "$previous": before.isoformat(timespec="seconds"),
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

    def of(self, schedule: str, version: str) -> TakenAudience | None:
        """The audience of a schedule by one version of it; None where nobody has taken that."""
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
