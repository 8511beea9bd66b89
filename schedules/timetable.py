"""When a schedule occurs: a cron expression in a time zone, as local minutes and the instants at which they fire.

An occurrence is a *local* minute (`2026-03-29T01:30` in Europe/London), because that is what people write down and what
its campaign's id is made of. Daylight saving decides only at which instant it fires:

- A local minute that does not exist, because clocks were put forward over it, fires at the first minute after the gap.
  EventBridge Scheduler skips it; a day-2 nudge that is skipped is lost.
- A local minute that comes twice fires the first time.

So every local day has the same occurrences as any other that the cron expression matches: 24 of an hourly one, also
where the day has 23 or 25 hours.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import msgspec
from cronsim import CronSim, CronSimError

from notifier.model.local_time import PREPARATION_S
from notifier.model.plurals import counted
from notifier.model.time_zones import FIRST_ZONE, instant_of

_LONGEST_GAP = timedelta(hours=24)
"""Samoa left out 30 December 2011, the whole day: the longest gap there was."""
_MINUTE = timedelta(minutes=1)


class BadCron(ValueError):
    """The text is no cron expression of five fields; the message says which field is wrong."""


class Occurrence(msgspec.Struct, frozen=True):
    """One time of a schedule.

    Attributes:
        local: the scheduled minute in the schedule's zone, naive. With local time: the date, and the users' time.
        utc: when it fires.
    """

    local: datetime
    utc: datetime

    @property
    def stamp(self) -> str:
        """The end of its campaign's id: `2026-12-01T0900`, always with the minute."""
        return f"{self.local:%Y-%m-%dT%H%M}"


class Timetable(msgspec.Struct, frozen=True):
    """When a schedule occurs.

    Attributes:
        zone: of cron, of the dates and of `at`.
        cron: five fields, as on Unix; "" where `at` is given.
        at: the local minute of a schedule that occurs once.
        starts: the first date on which it occurs.
        ends: the last date.
        users_time: with `campaign.local_time`, the time of day in each user's zone; cron then gives dates only.
    """

    zone: tzinfo
    cron: str = ""
    at: datetime | None = None
    starts: date | None = None
    ends: date | None = None
    users_time: time | None = None

    def after(self, instant: datetime) -> Iterator[Occurrence]:
        """The occurrences that fire later than an instant, in the order of their firing; without end if it has none.

        Args:
            instant: aware of its zone.
        """
        for local in self._local_minutes(instant):
            day = local.date()
            if self.starts is not None and day < self.starts:
                continue
            if self.ends is not None and day > self.ends:
                return
            found = self._occurrence(local)
            if found.utc > instant:
                yield found

    def between(self, first: datetime, end: datetime) -> Iterator[Occurrence]:
        """The occurrences that fire from one instant on and before another."""
        for found in self.after(first - timedelta(microseconds=1)):
            if found.utc >= end:
                return
            yield found

    def _occurrence(self, local: datetime) -> Occurrence:
        if self.users_time is None:
            return Occurrence(local, instant_of(local, self.zone))
        # The date in the zone where it begins first, so that nobody's hour is past before the audience is there.
        first = datetime.combine(local.date(), self.users_time, FIRST_ZONE)
        return Occurrence(first.replace(tzinfo=None), first.astimezone(UTC) - timedelta(seconds=PREPARATION_S))

    def _local_minutes(self, instant: datetime) -> Iterator[datetime]:
        """Local minutes, ascending, from before any that can fire after the instant."""
        if self.at is not None:
            yield self.at
            return
        begin = instant.astimezone(self.zone).replace(tzinfo=None) - _MINUTE
        day_before = (instant - _LONGEST_GAP).astimezone(self.zone)
        # A minute in a gap fires after it, so look back behind the gap, if there was one. In the users' time an
        # occurrence is cut at another hour than the one that cron gives: look back behind that one's date.
        if self.users_time is not None or day_before.utcoffset() != instant.astimezone(self.zone).utcoffset():
            begin -= _LONGEST_GAP
        if self.starts is not None:
            begin = max(begin, datetime.combine(self.starts, time()) - _MINUTE)
        yield from CronSim(self.cron, begin)  # naive: cronsim's own rules for daylight saving are not ours


def check_cron(cron: str, *, once_a_day: bool = False) -> None:
    """Raise BadCron for a text that is no cron expression of five fields, or one that never matches a date.

    Args:
        once_a_day: it has to match one minute of a day at most.
    """
    count = len(cron.split())
    if count != 5:
        raise BadCron(
            f"has {counted(count, 'field')}, and not 5: minute, hour, day of the month, month, day of the week"
        )
    try:
        parsed = CronSim(cron, datetime(2024, 1, 1))  # noqa: DTZ001 - local minutes are naive
        next(parsed)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ").replace("-", " ")
        raise BadCron(f"has a field for the {field} that cannot be read") from None
    except StopIteration:
        raise BadCron("matches no date in 50 years") from None
    if once_a_day and len(parsed.minutes) * len(parsed.hours) > 1:
        raise BadCron("matches more than one minute of a day, and with local_time it gives dates only")
