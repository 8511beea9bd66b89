"""One time of day by each user's own clock: when the window of a zone is open, and whose hour is past.

A public contract with vectors (`tests/unit/local_time_vectors.json`, docs/local-time.md): zone, date and time of day
give an instant, rounded up to a quarter of an hour. Of it the window `[instant, instant + within_s)`.
"""

import datetime as dt
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from notifier.model.quiet_hours import QuietHours, TimeOfDay
from notifier.model.time_zones import FIRST_ZONE, fixed_zone_names, instant_of, next_quarter, zone_named, zone_names

PREPARATION_S = 3600
"""So long before the first zone's time a run in local time is cut: the lists of that moment decide who gets it."""
MAX_WITHIN_S = 82_800
"""23 hours: the window of a day is over before that of the next one begins."""
MAX_LATE_SHARE = 0.01
"""With more users than this too late, and no `if_past`, the file is at fault."""
TOO_LATE = "too_late"
"""Why a user is excluded, whose hour is past at the final cut; and why a device has failed, whose window was missed."""
QUIET = "quiet"
"""Why a user is excluded, or a device has failed: its time is in quiet hours, and `quiet.then` is `drop`."""


class LocalTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The time of day, by each user's own clock, at which the campaign reaches them."""

    at: TimeOfDay
    fallback_timezone: Annotated[
        str, Meta(description="Of users without one: `Europe/London`, or `UTC+05:30`. They are counted.")
    ]
    within_s: Annotated[
        Annotated[int, Meta(ge=900, le=MAX_WITHIN_S)],
        Meta(description="First requests are made for so many seconds from then on; what is later has failed."),
    ] = 10_800
    if_past: Annotated[
        Literal["skip", "now", "tomorrow"] | UnsetType,
        Meta(
            description="What becomes of users whose hour is past when the run begins: left out, reached at once, or a "
            "day later. Default: `skip`; but with more than 1 % of them the file is refused unless this is written."
        ),
    ] = UNSET
    date: Annotated[
        dt.date | None,
        Meta(description="The users' date. Default: the first one on which nobody's hour is past. Not in a schedule."),
    ] = None


class Start(msgspec.Struct, frozen=True):
    """When a user may first be asked: seconds since the epoch, `not_after` exclusive; or why never.

    `is_assumed`: the user has no time zone, or one that nobody knows, so the campaign's own was taken.
    """

    not_before: int | None = None
    not_after: int | None = None
    reason: str | None = None
    is_late: bool = False
    is_assumed: bool = False


def first_cut_s(local_time: LocalTime, day: dt.date) -> int:
    """When a run of this date is cut: before the hour has come anywhere."""
    first = dt.datetime.combine(day, dt.time.fromisoformat(local_time.at), FIRST_ZONE)
    return int(first.timestamp()) - PREPARATION_S


def date_of(local_time: LocalTime, now_s: float) -> dt.date:
    """The users' date of a run that begins now, where the file has none: the first whose hour is past nowhere."""
    if local_time.date is not None:
        return local_time.date
    day = dt.datetime.fromtimestamp(now_s, FIRST_ZONE).date()
    return day if first_cut_s(local_time, day) >= now_s else day + dt.timedelta(days=1)


def instant_in(zone_name: str, day: dt.date, at: str) -> int | None:
    """The beginning of a zone's window, in seconds since the epoch; None for a zone that nobody knows."""
    zone = zone_named(zone_name)
    if zone is None:
        return None
    return next_quarter(instant_of(dt.datetime.combine(day, dt.time.fromisoformat(at)), zone).timestamp())


class UserTimes:
    """When each user of a run may first be asked, by the time zone in the user's record.

    Args:
        day: the users' date; needed with `local_time`.
        quiet: the run's quiet hours; None for none.
        cut_at_s: when the final cut is made, in seconds since the epoch: what is past by then is past.
    """

    def __init__(
        self, local_time: LocalTime | None, day: dt.date | None, quiet: QuietHours | None, cut_at_s: float
    ) -> None:
        self._local_time = local_time
        self._day = day
        self._quiet = quiet
        self._cut_at_s = int(cut_at_s)
        self._starts: dict[str | None, Start] = {}

    def of(self, timezone: str | None) -> Start:
        """The start of users with this time zone."""
        found = self._starts.get(timezone)
        if found is None:
            # All texts that are no zone share an entry: audiences may hold any number of them.
            known = timezone if timezone and zone_named(timezone) else None
            found = self._starts.get(known) or self._computed(known)
            self._starts[known] = found
        return found

    def windows(self) -> list[tuple[int | None, int | None]]:
        """Every window that users can be in, over all zones there are, the earliest first."""
        names = (None, *zone_names(), *fixed_zone_names())
        found = {(one.not_before, one.not_after) for one in map(self.of, names) if one.reason is None}
        return sorted(found, key=lambda one: (one[0] or 0, one[1] or 0))

    def _computed(self, timezone: str | None) -> Start:
        """The hour first, then quiet hours: these are looked at in the time zone that quiet hours have for the user."""
        is_assumed = timezone is None
        if self._local_time is None:
            found = Start(is_assumed=is_assumed)
        else:
            found = self._by_hour(self._local_time, timezone or self._local_time.fallback_timezone)
            found = msgspec.structs.replace(found, is_assumed=is_assumed)
        if found.reason is not None or self._quiet is None:
            return found
        return self._without_quiet(found, self._quiet, timezone)

    def _by_hour(self, local_time: LocalTime, zone_name: str) -> Start:
        assert self._day is not None
        instant = instant_in(zone_name, self._day, local_time.at)
        assert instant is not None  # the campaign's own zone was checked
        within_s = local_time.within_s
        if instant + within_s > self._cut_at_s:
            return Start(instant, instant + within_s)
        match local_time.if_past:
            case "now":
                return Start(self._cut_at_s, self._cut_at_s + within_s, is_late=True)
            case "tomorrow":
                # By the clock of that day: where clocks change that is 23 or 25 hours later.
                instant = instant_in(zone_name, self._day + dt.timedelta(days=1), local_time.at)
                assert instant is not None
                return Start(instant, instant + within_s, is_late=True)
            case _:
                return Start(reason=TOO_LATE, is_late=True)

    def _without_quiet(self, start: Start, quiet: QuietHours, timezone: str | None) -> Start:
        began = start.not_before if start.not_before is not None else self._cut_at_s
        at = began = max(began, self._cut_at_s)
        while (spell := quiet.at(timezone, at)).is_quiet:
            if quiet.drops:
                return msgspec.structs.replace(start, reason=QUIET)
            at = next_quarter(spell.end)
        if at == began:
            return start
        # The window moves with its beginning.
        within_s = self._local_time.within_s if self._local_time else None
        return msgspec.structs.replace(start, not_before=at, not_after=None if within_s is None else at + within_s)
