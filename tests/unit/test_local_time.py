"""The users' own time and quiet hours: values, faults, instants and spells, against computations by the minute."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.caps import CapDefaults, quiet_in_force
from notifier.model.local_time import (
    PREPARATION_S,
    QUIET,
    TOO_LATE,
    LocalTime,
    UserTimes,
    date_of,
    first_cut_s,
    instant_in,
)
from notifier.model.quiet_hours import Quiet, QuietHours, read_hours
from notifier.model.time_zones import zone_named, zone_names

FILE = Path(__file__).parent / "local_time_vectors.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
DAY = dt.date(2026, 12, 1)
NINE = LocalTime("09:00", "Europe/London")
NIGHT = Quiet("21:00", "08:00")
ZONES = sorted(zone_names())


def seconds(text: str) -> float:
    """An instant as seconds since the epoch."""
    return dt.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: f"{one['zone']} {one['date']} {one['at']}")
def test_published_vectors(vector: dict[str, Any]) -> None:
    """Zone, date and time of day give the instant that is published."""
    found = instant_in(vector["zone"], dt.date.fromisoformat(vector["date"]), vector["at"])
    assert found == (None if vector["instant"] is None else seconds(vector["instant"]))


def test_the_zones_are_those_of_the_pinned_package() -> None:
    """Every name of the tz database is a zone; the machine's own files are not looked at."""
    assert len(ZONES) > 400
    assert all(zone_named(name) is not None for name in ZONES)
    assert zone_named("../../etc/passwd") is None
    assert zone_named("") is None


def campaign(**members: Any) -> Campaign:
    """A campaign with these members."""
    return read_campaign({"id": "c", "message": {"title": "t"}, **members})


LOCAL = {"at": "09:00", "fallback_timezone": "Europe/London"}
HOURS = {"from": "21:00", "to": "08:00"}


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"local_time": LOCAL | {"at": "9:00"}}, r"campaign\.local_time\.at: not a time of day \(hours and minutes"),
        ({"local_time": LOCAL | {"at": "24:00"}}, r"campaign\.local_time\.at: not a time of day"),
        ({"local_time": {"at": "09:00"}}, r"campaign\.local_time\.fallback_timezone: missing"),
        (
            {"local_time": LOCAL | {"fallback_timezone": "London"}},
            r'fallback_timezone: the text "London" is not a time z',
        ),
        ({"local_time": LOCAL | {"within_s": 60}}, r"campaign\.local_time\.within_s: the number 60 is less than 900"),
        ({"local_time": LOCAL | {"within_s": 86_400}}, r"within_s: the number 86400 is more than 82800"),
        ({"local_time": LOCAL | {"if_past": "later"}}, r"if_past: .*one of skip, now, tomorrow"),
        ({"local_time": LOCAL | {"date": "tomorrow"}}, r"local_time\.date: .*is not a date \(as \"2026-12-01\"\)"),
        ({"local_time": LOCAL, "not_before": "2026-12-01T00:00:00Z"}, r"not_before: beside local_time \(leave it out"),
        ({"quiet": {"from": "21:00"}}, r"campaign\.quiet\.to: missing"),
        ({"quiet": HOURS | {"from": "8pm"}}, r"campaign\.quiet\.from: not a time of day"),
        ({"quiet": HOURS | {"from": "08:00"}}, r"campaign\.quiet\.to: the same as from"),
        ({"quiet": HOURS | {"from": "08:30"}}, r"campaign\.quiet: leaves 30 minutes of the day"),
        ({"quiet": HOURS | {"then": "skip"}}, r"campaign\.quiet\.then: .*one of wait, drop|one of drop, wait"),
        (
            {"quiet": HOURS | {"timezone": "UTC+5"}},
            r"campaign\.quiet\.timezone: the text \"UTC\+5\" is not a time zone",
        ),
        ({"quiet": HOURS | {"til": "x"}}, r"campaign\.quiet\.til: unknown field"),
    ],
)
def test_faults(members: dict[str, Any], fault: str) -> None:
    """Each fault names its field and what to write; no regular expression reaches a person."""
    with pytest.raises(BrokenCampaign, match=fault) as broken:
        campaign(**members)
    assert "[0-9]" not in str(broken.value)


@pytest.mark.parametrize(
    "members", [{}, {"quiet": None}, {"quiet": HOURS}, {"local_time": LOCAL | {"date": "2026-12-01"}}]
)
def test_stored_and_read_again(members: dict[str, Any]) -> None:
    """A campaign keeps its times in the run's state, and whether quiet hours were lifted or not mentioned."""
    found = campaign(**members)
    stored = msgspec.json.encode(found)
    assert msgspec.json.decode(stored, type=Campaign) == found
    assert (b"quiet" in stored, b"local_time" in stored) == ("quiet" in members, "local_time" in members)
    assert found.is_timed is (members.get("quiet") is not None or "local_time" in members)


def test_the_date_of_a_file_without_one() -> None:
    """The first date whose hour is past nowhere on earth; a stated one is taken as it is."""
    # 09:00 at UTC+14 on 1 December is 19:00 UTC the day before; the audience is cut an hour before that.
    assert first_cut_s(NINE, DAY) == seconds("2026-11-30T18:00:00Z")
    assert date_of(NINE, seconds("2026-11-30T18:00:00Z")) == DAY
    assert date_of(NINE, seconds("2026-11-30T18:00:01Z")) == dt.date(2026, 12, 2)
    assert date_of(NINE, seconds("2026-11-30T09:00:00Z")) == DAY
    assert date_of(LocalTime("09:00", "UTC", date=DAY), seconds("2026-12-24T00:00:00Z")) == DAY


def test_nobody_is_late_in_any_zone() -> None:
    """Cut at its time, over every zone of the tz database, on ordinary days and where clocks change."""
    for day in (DAY, dt.date(2027, 3, 28), dt.date(2027, 10, 31), dt.date(2027, 4, 4)):
        times = UserTimes(NINE, day, None, first_cut_s(NINE, day))
        for name in ZONES:
            start = times.of(name)
            assert start.reason is None
            assert start.not_before is not None
            assert start.not_before >= first_cut_s(NINE, day) + PREPARATION_S
            at = dt.datetime.fromtimestamp(start.not_before, zone_named(name))
            assert (
                dt.timedelta(0)
                <= at.replace(tzinfo=None) - dt.datetime.combine(day, dt.time(9))
                < dt.timedelta(hours=1)
            )
        assert len(times.windows()) <= 105, "a window is a lane, and a run has 112 at most"


@pytest.mark.parametrize(
    ("if_past", "expected"),
    [
        (None, (None, None, TOO_LATE)),
        ("skip", (None, None, TOO_LATE)),
        ("now", ("2026-12-01T13:00:00Z", "2026-12-01T16:00:00Z", None)),
        ("tomorrow", ("2026-12-02T09:00:00Z", "2026-12-02T12:00:00Z", None)),
    ],
)
def test_whose_hour_is_past(if_past: Any, expected: tuple[str | None, ...]) -> None:
    """In a window that is still open users are in time; after it the campaign says what becomes of them."""
    local_time = LocalTime("09:00", "UTC", if_past=if_past) if if_past else NINE
    times = UserTimes(local_time, DAY, None, seconds("2026-12-01T13:00:00Z"))
    late = times.of("Europe/London")
    instants = tuple(one and seconds(one) for one in expected[:2])
    assert ((late.not_before, late.not_after), late.reason, late.is_late) == (instants, expected[2], True)
    open_one = times.of("America/Sao_Paulo")
    assert (open_one.not_before, open_one.is_late) == (seconds("2026-12-01T12:00:00Z"), False)


def test_a_zone_that_is_missing_or_unknown() -> None:
    """The campaign's own is taken, and that is known: both are counted."""
    times = UserTimes(NINE, DAY, None, 0)
    for name in (None, "", "Mars/X", "London"):
        assert times.of(name) == msgspec.structs.replace(times.of("Europe/London"), is_assumed=True)
    assert not times.of("Europe/London").is_assumed


def test_quiet_hours_move_a_start() -> None:
    """To their end, at a quarter of an hour; the window moves with it. Dropped ones are excluded."""
    late = LocalTime("22:00", "Europe/London")
    cut_at = first_cut_s(late, DAY)
    waits = UserTimes(late, DAY, QuietHours(NIGHT, "UTC"), cut_at).of("Europe/Berlin")
    assert waits.not_before == seconds("2026-12-02T07:00:00Z")
    assert waits.not_after == seconds("2026-12-02T10:00:00Z")
    drops = UserTimes(late, DAY, QuietHours(Quiet("21:00", "08:00", "drop"), "UTC"), cut_at).of("Europe/Berlin")
    assert drops.reason == QUIET
    odd = UserTimes(late, DAY, QuietHours(Quiet("21:00", "07:50"), "UTC"), cut_at).of("Europe/Berlin")
    assert odd.not_before == seconds("2026-12-02T07:00:00Z")
    awake = UserTimes(NINE, DAY, QuietHours(NIGHT, "UTC"), 0).of("Europe/Berlin")
    assert awake.not_before == seconds("2026-12-01T08:00:00Z")


def test_quiet_hours_without_a_time_of_day() -> None:
    """Who is awake as the run begins is asked at once, the others at the end of their own quiet hours."""
    times = UserTimes(None, None, QuietHours(NIGHT, "Asia/Tokyo"), seconds("2026-12-01T12:30:00Z"))
    assert times.of("Europe/London") == times.of("America/Sao_Paulo")
    assert times.of("Europe/London").not_before is None
    assert times.of("Asia/Tokyo").not_before == seconds("2026-12-01T23:00:00Z")
    assert times.of(None).not_before == seconds("2026-12-01T23:00:00Z"), "the zone of quiet hours"
    assert times.of("Asia/Tokyo").not_after is None


def is_quiet(zone: Any, at_s: int, begins: int, ends: int) -> bool:
    """By the clock on the wall, independently: whether a minute is in [from, to)."""
    local = dt.datetime.fromtimestamp(at_s, zone)
    minute = local.hour * 60 + local.minute
    return begins <= minute < ends if begins < ends else minute >= begins or minute < ends


DAYS = [
    dt.datetime(2027, month, day, tzinfo=dt.UTC)
    for month, day in ((3, 14), (3, 28), (4, 4), (10, 3), (10, 31), (11, 7))
]
"""Days on which clocks change somewhere, and the hours around them."""


@given(
    name=st.sampled_from(ZONES),
    day=st.sampled_from(DAYS) | st.integers(0, 730).map(lambda n: DAYS[0] + dt.timedelta(days=n - 365)),
    minute=st.integers(-1440, 1440),
    begins=st.integers(0, 1439),
    length=st.integers(1, 1380),
)
def test_spells_by_the_minute(name: str, day: dt.datetime, minute: int, begins: int, length: int) -> None:
    """A spell has the same answer for every minute of it, and another one for the minute after it."""
    zone, ends = zone_named(name), (begins + length) % 1440
    at_s = int(day.replace(tzinfo=dt.UTC).timestamp()) // 60 * 60 + minute * 60
    first, last = (f"{one // 60:02d}:{one % 60:02d}" for one in (begins, ends))
    spell = QuietHours(Quiet(first, last), "UTC").at(name, at_s)
    assert spell.begin <= at_s < spell.end
    assert spell.end % 60 == 0
    looked_at = range(at_s, int(spell.end), 60)
    assert {is_quiet(zone, one, begins, ends) for one in looked_at} == {spell.is_quiet}
    assert is_quiet(zone, int(spell.end), begins, ends) is not spell.is_quiet


@pytest.mark.parametrize("members", [{}, {"essential": True}, {"legal": True}, {"test": True}, {"quiet": None}])
def test_who_lifts_the_stacks_quiet_hours(members: dict[str, Any]) -> None:
    """`quiet: null` does, and a test push, for which a person waits; not one that is essential."""
    campaign = read_campaign({"id": "c", "message": {"title": "t"}, **members})
    found = quiet_in_force(campaign, CapDefaults((), "Asia/Kathmandu", NIGHT))
    lifts = bool({"test", "quiet"} & members.keys())
    assert found == (None if lifts else msgspec.structs.replace(NIGHT, timezone="Asia/Kathmandu"))


def test_the_stacks_quiet_hours() -> None:
    """As they are set in a parameter."""
    assert read_hours("21:00-08:00") == ("21:00", "08:00")
    for wrong in ("21:00", "21-8", "24:00-08:00", "08:00-08:00", "08:30-08:00", "21:00-08:00 "):
        with pytest.raises(ValueError):  # noqa: PT011 - settings say what is expected
            read_hours(wrong)
