"""Until when an approver decides on a time of a schedule: computed again by a clock on the wall, minute by minute."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.quiet_hours import Quiet, QuietHours
from schedules.review import after_hold_s, decide_until_s, hours_in_force

NIGHT = Quiet("21:00", "08:00")


def until(begins: str, hours: float, quiet: Quiet | None = NIGHT, zone: str = "Europe/London") -> str:
    """The end of a time to decide of so many hours, by the zone's clock."""
    begin = datetime.fromisoformat(begins).replace(tzinfo=ZoneInfo(zone))
    within = QuietHours(quiet, "UTC") if quiet else None
    found = decide_until_s(begin.timestamp(), int(hours * 3600), within, ZoneInfo(zone))
    return f"{datetime.fromtimestamp(found, ZoneInfo(zone)):%Y-%m-%dT%H:%M}"


@pytest.mark.parametrize(
    ("begins", "hours", "end"),
    [
        ("2026-12-01T09:00", 2, "2026-12-01T11:00"),
        ("2026-12-01T18:59", 2, "2026-12-01T20:59"),
        ("2026-12-01T19:00", 2, "2026-12-02T08:00"),  # all of it was by day
        ("2026-12-01T20:30", 2, "2026-12-02T09:30"),
        ("2026-12-01T23:00", 2, "2026-12-02T10:00"),
        ("2026-12-02T03:00", 0.5, "2026-12-02T08:30"),
        ("2026-12-01T22:05", 10, "2026-12-02T18:00"),  # begun at night: by its end ten hours of the day are over
        ("2026-12-01T21:00", 11.02, "2026-12-02T19:01"),
        ("2026-12-02T07:59", 1, "2026-12-02T09:00"),
        ("2026-12-01T23:00", 14, "2026-12-03T09:00"),  # over the next night, too
        ("2027-03-28T00:30", 9, "2027-03-28T17:00"),  # in the night that an hour is taken from
        ("2026-12-01T20:30", 26, "2026-12-03T09:30"),  # of the second night: the first one is within its time
        ("2026-12-01T20:30", 24, "2026-12-02T20:30"),
        ("2027-03-27T20:00", 3, "2027-03-28T10:00"),  # over a night of ten hours
        ("2026-10-24T20:00", 3, "2026-10-25T10:00"),  # and one of twelve
    ],
)
def test_the_night_does_not_count(begins: str, hours: float, end: str) -> None:
    """An end in quiet hours moves behind them, with what is left of the time; another end stays."""
    assert until(begins, hours) == end


def test_without_quiet_hours() -> None:
    """The time is over when it is over."""
    assert until("2026-12-01T20:30", 2, None) == "2026-12-01T22:30"


@given(
    begin_m=st.integers(0, 366 * 1440),
    within_m=st.integers(0, 4 * 1440),
    quiet=st.tuples(st.integers(0, 1439), st.integers(1, 1380)),
    zone=st.sampled_from(("Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York")),
)
def test_never_in_quiet_hours(begin_m: int, within_m: int, quiet: tuple[int, int], zone: str) -> None:
    """Whatever hours, zone and change of its clock: the end is in none, and not before its time."""
    at = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in (quiet[0], sum(quiet) % 1440)]
    begin_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + begin_m * 60
    end_s = decide_until_s(begin_s, within_m * 60, QuietHours(Quiet(at[0], at[1]), "UTC"), ZoneInfo(zone))
    wall = f"{datetime.fromtimestamp(end_s, ZoneInfo(zone)):%H:%M}"
    assert not (at[0] <= wall < at[1] if at[0] < at[1] else wall >= at[0] or wall < at[1])
    assert end_s >= begin_s + within_m * 60


@given(
    held_m=st.integers(0, 366 * 1440),
    hold_m=st.integers(1, 4 * 1440),
    left_m=st.integers(1, 4 * 1440),
    quiet=st.tuples(st.integers(0, 1439), st.integers(1, 1380)),
    zone=st.sampled_from(("Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York")),
)
def test_a_hold_takes_nothing(held_m: int, hold_m: int, left_m: int, quiet: tuple[int, int], zone: str) -> None:
    """As many minutes by day as were left when it began, counted one by one; and no end in quiet hours."""
    at = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in (quiet[0], sum(quiet) % 1440)]
    begin_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

    def is_day(minute: int) -> bool:
        wall = f"{datetime.fromtimestamp(begin_s + minute * 60, ZoneInfo(zone)):%H:%M}"
        return not (at[0] <= wall < at[1] if at[0] < at[1] else wall >= at[0] or wall < at[1])

    def by_day(first: int, last: int) -> int:
        return sum(map(is_day, range(first, last)))

    held_s, now_s, until_s = (begin_s + minute * 60 for minute in (held_m, held_m + hold_m, held_m + left_m))
    hours = QuietHours(Quiet(at[0], at[1]), "UTC")
    end_m = (after_hold_s(held_s, now_s, until_s, hours, ZoneInfo(zone)) - begin_s) / 60
    assert end_m == int(end_m)
    assert by_day(held_m + hold_m, int(end_m)) == by_day(held_m, held_m + left_m)
    assert is_day(int(end_m))


def test_a_hold_without_quiet_hours() -> None:
    """It moves the end by its length."""
    assert after_hold_s(1000.0, 1600.0, 2000.0, None, UTC) == 2600.0


@pytest.mark.parametrize(
    ("campaign", "default", "is_quiet"),
    [
        ({"quiet": {"from": "21:00", "to": "08:00"}}, "", True),
        ({"quiet": {"from": "01:00", "to": "02:00"}}, "21:00-08:00", False),
        ({}, "21:00-08:00", True),
        ({"quiet": None}, "21:00-08:00", True),
        ({}, "", None),
        ({}, "08:00-08:00", None),
    ],
)
def test_whose_hours(campaign: dict[str, object], default: str, is_quiet: bool | None) -> None:
    """The campaign's own, else the stack's, also where it lifts them for its users: approvers sleep all the same."""
    hours = hours_in_force(campaign, default)
    midnight = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert (hours.spell(UTC, midnight).is_quiet if hours else None) is is_quiet
