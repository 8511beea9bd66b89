"""When schedules occur: against an independent computation that looks at every minute of the clock."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.model.time_zones import instant_of
from schedules.timetable import BadCron, Timetable, check_cron

ZONES = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
RHYTHMS = {
    "hourly": ("0 * * * *", lambda local: local.minute == 0),
    "daily": ("30 2 * * *", lambda local: (local.hour, local.minute) == (2, 30)),
    "weekly": ("15 1 * * 0", lambda local: (local.weekday(), local.hour, local.minute) == (6, 1, 15)),
    "monthly": ("0 9 31 * *", lambda local: (local.day, local.hour, local.minute) == (31, 9, 0)),
}
YEAR = datetime(2026, 1, 1), datetime(2027, 1, 1)  # noqa: DTZ001 - local minutes are naive


@cache
def first_instants(zone: ZoneInfo) -> dict[datetime, datetime]:
    """Of every local minute of the year the instant at which a clock on the wall shows it first.

    By walking through the instants and looking at the clock: minutes that do not exist are not among them.
    """
    shown: dict[datetime, datetime] = {}
    instant = YEAR[0].replace(tzinfo=UTC) - timedelta(days=1)
    while instant < YEAR[1].replace(tzinfo=UTC) + timedelta(days=1):
        shown.setdefault(instant.astimezone(zone).replace(tzinfo=None), instant)
        instant += timedelta(minutes=15)
    return shown


def expected(zone: ZoneInfo, matches: object) -> list[tuple[str, datetime]]:
    """The year's occurrences, by looking at every quarter of an hour: id and instant."""
    shown, found = first_instants(zone), []
    local = YEAR[0]
    while local < YEAR[1]:
        if matches(local):  # type: ignore[operator]
            # One that no clock showed: the next that one did show is the first after the gap.
            later = local
            while later not in shown:
                later += timedelta(minutes=15)
            found.append((f"{local:%Y-%m-%dT%H%M}", shown[later]))
        local += timedelta(minutes=15)
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_year(zone: str, rhythm: str) -> None:
    """A year of each rhythm in each zone is what looking at a clock on the wall gives, daylight saving included."""
    cron, matches = RHYTHMS[rhythm]
    timetable = Timetable(ZoneInfo(zone), cron=cron)
    begin, end = (instant_of(moment, ZoneInfo(zone)) for moment in YEAR)
    found = [(one.stamp, one.utc) for one in timetable.between(begin, end)]
    assert found == expected(ZoneInfo(zone), matches)


class TestDaylightSaving:
    """Minutes that do not exist, and minutes that come twice."""

    @pytest.mark.parametrize(
        ("zone", "local", "utc"),
        [
            ("Europe/London", "2026-03-29T01:30", "2026-03-29T01:00"),  # put forward at 01:00 to 02:00
            ("Europe/London", "2026-10-25T01:30", "2026-10-25T00:30"),  # comes twice: the first
            ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:00"),
            ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30"),  # half an hour
            ("Pacific/Apia", "2011-12-30T09:00", "2011-12-30T10:00"),  # a whole day was left out
            ("Asia/Kathmandu", "2026-12-01T09:00", "2026-12-01T03:15"),
        ],
    )
    def test_instant(self, zone: str, local: str, utc: str) -> None:
        """A minute that does not exist is the first one after the gap; of two the first one is meant."""
        found = instant_of(datetime.fromisoformat(local), ZoneInfo(zone))
        assert found == datetime.fromisoformat(utc).replace(tzinfo=UTC)

    @given(
        zone=st.sampled_from((*ZONES, "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "Asia/Tehran")),
        minute=st.integers(0, 60 * 365 * 24 * 60),
    )
    @settings(max_examples=200, deadline=None)
    def test_no_later_minute_fires_earlier(self, zone: str, minute: int) -> None:
        """Instants ascend with local minutes, so that a clock that only moves forward passes every occurrence."""
        where, local = ZoneInfo(zone), YEAR[0].replace(year=1975) + timedelta(minutes=minute)
        assert instant_of(local, where) <= instant_of(local + timedelta(minutes=1), where)


class TestDates:
    """The first date, the last one, and dates of users' time."""

    def test_starts_and_ends(self) -> None:
        """Both dates belong to it."""
        timetable = Timetable(ZoneInfo("UTC"), "0 9 * * *", starts=date(2026, 3, 2), ends=date(2026, 3, 4))
        found = [one.stamp for one in timetable.after(datetime(2026, 1, 1, tzinfo=UTC))]
        assert found == ["2026-03-02T0900", "2026-03-03T0900", "2026-03-04T0900"]

    def test_once(self) -> None:
        """`at` occurs once, and not again."""
        timetable = Timetable(ZoneInfo("Europe/London"), at=datetime.fromisoformat("2026-07-01T09:00"))
        assert [one.utc.hour for one in timetable.after(datetime(2026, 1, 1, tzinfo=UTC))] == [8]
        assert not list(timetable.after(datetime(2026, 7, 1, 8, tzinfo=UTC)))

    def test_users_time(self) -> None:
        """With local time an occurrence is cut an hour before its time in the zone where the date begins first."""
        timetable = Timetable(ZoneInfo("America/Los_Angeles"), "0 12 * * *", users_time=time(9))
        found = next(timetable.after(datetime(2026, 3, 1, tzinfo=UTC)))
        assert found.stamp == "2026-03-02T0900"
        assert found.utc == datetime(2026, 3, 1, 18, tzinfo=UTC)  # 08:00 of 2 March in UTC+14


class TestCron:
    """What people may write."""

    @pytest.mark.parametrize("cron", ["0 9 * * *", "*/10 * * * *", "0 9 31 * *", "0 9 * * MON-FRI", "0 9 L * *"])
    def test_taken(self, cron: str) -> None:
        """Five fields, as on Unix."""
        check_cron(cron)

    @pytest.mark.parametrize(
        ("cron", "problem"),
        [
            ("0 9 * *", "4 fields"),
            ("0 0 9 * * *", "6 fields"),
            ("@daily", "1 field,"),
            ("61 9 * * *", "minute"),
            ("0 9 30 2 *", "day of month"),
            ("0 9 * * XYZ", "day of week"),
        ],
    )
    def test_refused(self, cron: str, problem: str) -> None:
        """The message names the field."""
        with pytest.raises(BadCron, match=problem):
            check_cron(cron)

    def test_more_than_once_a_day(self) -> None:
        """Where cron gives dates only, two minutes of a day would be two pushes."""
        check_cron("0 9 * * *", once_a_day=True)
        with pytest.raises(BadCron, match="more than one minute"):
            check_cron("0 9,18 * * *", once_a_day=True)
