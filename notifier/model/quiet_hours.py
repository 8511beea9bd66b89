"""Quiet hours: a part of each day, by the clock on a user's wall, in which no push starts and none is to ring.

Half-open: from 21:00 to 08:00 a push may start at 08:00:00, and not at 21:00:00. Where clocks change, the clock on the
wall decides: an hour that comes twice is quiet twice.
"""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from notifier.model.time_zones import changes_at, zone_named

TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9](?![\s\S])"
TimeOfDay = Annotated[str, Meta(pattern=TIME_OF_DAY, description="Hours and minutes: `09:00`.")]
LEAST_AWAKE_M = 60
"""Minutes of a day that must not be quiet: a run has to find a time to send in."""
_DAY_M = 1440
_WRITTEN = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")


class Quiet(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"begins": "from", "ends": "to"}
):
    """Hours in which the campaign reaches nobody, by each user's own clock."""

    begins: TimeOfDay
    ends: Annotated[
        TimeOfDay, Meta(description="Exclusive: at this minute pushes start again. May be on the next day.")
    ]
    then: Annotated[
        Literal["wait", "drop"],
        Meta(description="What becomes of a push that would start in them: it waits for their end, or is not sent."),
    ] = "wait"
    timezone: Annotated[
        str | None, Meta(description="Of users without one. Default: that of `local_time`, else the stack's.")
    ] = None
    ttl: Annotated[
        Literal["cut", "keep"],
        Meta(
            description="Whether the time to live ends where the user's next quiet hours begin, so that no phone that "
            "was off rings in them. Approvers see `keep`."
        ),
    ] = "cut"


def awake_minutes(begins: str, ends: str) -> int:
    """How many minutes of a day are not quiet; 0 where both times are the same."""
    return (_minutes(begins) - _minutes(ends)) % _DAY_M


def read_hours(text: str) -> tuple[str, str]:
    """The stack's quiet hours as they are set: `21:00-08:00`. Raises ValueError."""
    found = _WRITTEN.fullmatch(text)
    if found is None or not all(re.match(TIME_OF_DAY, one) for one in found.groups()):
        raise ValueError
    if awake_minutes(*found.groups()) < LEAST_AWAKE_M:
        raise ValueError
    return found[1], found[2]


class Spell(msgspec.Struct, frozen=True, gc=False):
    """Some time of a zone that is quiet all through, or not quiet at all: seconds since the epoch, `end` exclusive."""

    begin: float
    end: float
    is_quiet: bool


class QuietHours:
    """A run's quiet hours.

    Args:
        timezone: of users without one, or with one that nobody knows.
    """

    def __init__(self, quiet: Quiet, timezone: str) -> None:
        self.drops = quiet.then == "drop"
        self.cuts_ttl = quiet.ttl == "cut"
        self._begins, self._ends = _minutes(quiet.begins), _minutes(quiet.ends)
        self._fallback = zone_named(timezone) or UTC
        self._spells: dict[str | None, Spell] = {}
        """By the users' zones as they are written: the spell that was looked at last."""

    def at(self, timezone: str | None, now_s: float) -> Spell:
        """The spell of a user's zone that an instant is in. Computed once for each zone and spell."""
        found = self._spells.get(timezone)
        if found is None or not found.begin <= now_s < found.end:
            zone = (zone_named(timezone) if timezone else None) or self._fallback
            found = self.spell(zone, now_s)
            self._spells[timezone] = found
        return found

    def spell(self, zone: tzinfo, now_s: float) -> Spell:
        """The rest of the spell that an instant is in."""
        begin = datetime.fromtimestamp(now_s, UTC)
        is_quiet = self._is_quiet(begin.astimezone(zone))
        end = begin
        while self._is_quiet(end.astimezone(zone)) is is_quiet:
            end = self._next_look(end, zone, is_quiet=is_quiet)
        return Spell(now_s, end.timestamp(), is_quiet)

    def _next_look(self, instant: datetime, zone: tzinfo, *, is_quiet: bool) -> datetime:
        """The next instant at which it can change: the clock on the wall says so, or is put forward or back."""
        local = instant.astimezone(zone)
        at = self._ends if is_quiet else self._begins
        left = timedelta(minutes=(at - local.hour * 60 - local.minute) % _DAY_M or _DAY_M)
        by_clock = instant + left - timedelta(seconds=local.second, microseconds=local.microsecond)
        if by_clock.astimezone(zone).utcoffset() == local.utcoffset():
            return by_clock
        return changes_at(instant, by_clock, zone)

    def _is_quiet(self, local: datetime) -> bool:
        return (local.hour * 60 + local.minute - self._begins) % _DAY_M < (self._ends - self._begins) % _DAY_M


def _minutes(text: str) -> int:
    found = time.fromisoformat(text)
    return found.hour * 60 + found.minute
