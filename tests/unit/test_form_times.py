"""Each user's own time and quiet hours in the form: what the campaign says, and how many users it means."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from msgspec import UNSET

from approval.form import read_form
from approval.form_campaign import read_campaign_of
from approval.user_times import late_faults, times_forecast
from notifier.model.campaign import Campaign
from notifier.model.caps import NO_DEFAULTS, CapDefaults, in_red
from notifier.model.local_time import LocalTime
from notifier.model.quiet_hours import Quiet
from tests.approval_site import counts_of

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
LOCAL = {"local": "yes", "start": "2026-12-01T09:00", "timezone": "Europe/London"}
OWN_QUIET = {"quiet": "own", "quiet_from": "21:00", "quiet_to": "08:00", "timezone": "Europe/London"}
ZONES = {"Europe/London": 400, "Asia/Tokyo": 50, "(others)": 7}


def read(**fields: str) -> tuple[Campaign | None, dict[str, str]]:
    """The campaign of a form, and its faults."""
    return read_campaign_of(read_form({k: [v] for k, v in {"name": "c", "title": "Hi", **fields}.items()}), NOW)


def campaign_of(**fields: str) -> Campaign:
    campaign, faults = read(**fields)
    assert campaign is not None, faults
    return campaign


def test_the_start_by_each_users_clock() -> None:
    """Ticked, date and time are those on the users' walls, and the form's zone is of users without one."""
    campaign = campaign_of(**LOCAL, within_h="5", if_past="tomorrow")
    assert campaign.local_time == LocalTime("09:00", "Europe/London", 18_000, "tomorrow", date(2026, 12, 1))
    assert campaign.not_before is None
    assert campaign_of(**LOCAL).local_time == LocalTime("09:00", "Europe/London", date=date(2026, 12, 1))


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"start": ""}, "start"),
        ({"start": "soon"}, "start"),
        ({"within_h": "0"}, "within_h"),
        ({"within_h": "24"}, "within_h"),
        ({"within_h": "three"}, "within_h"),
        ({"if_past": "never"}, "if_past"),
        ({"timezone": "Mars/Phobos"}, "timezone"),
        ({"test_percent": "20", "decide_after_h": "4", "goal": "orders", "goal_window_h": "24"}, "test_percent"),
        ({"quiet": "own", "quiet_from": "21:00"}, "quiet_to"),
        ({"quiet": "own", "quiet_from": "21:00", "quiet_to": "21:00"}, "quiet_to"),
        ({"quiet": "own", "quiet_from": "9", "quiet_to": "21:00"}, "quiet_from"),
        ({"quiet": "own", "quiet_from": "21:00", "quiet_to": "20:30"}, "quiet_to"),
        ({"quiet": "own", "quiet_from": "21:00", "quiet_to": "08:00", "quiet_then": "ring"}, "quiet_then"),
    ],
)
def test_a_fault_of_the_times_is_beside_its_field(fields: dict[str, str], faulty: str) -> None:
    """In plain words, without an internal name."""
    campaign, faults = read(**{**LOCAL, **fields})
    assert campaign is None
    assert faulty in faults
    assert not any(word in faults[faulty] for word in ("local_time", "within_s", "regex", "matching")), faults


def test_quiet_hours_of_ones_own_of_the_stack_and_none() -> None:
    """Nothing chosen leaves the stack's; `none` is written out as null, and approvers see it in red."""
    assert campaign_of().quiet is UNSET
    assert campaign_of(**OWN_QUIET, quiet_then="drop").quiet == Quiet("21:00", "08:00", "drop", "Europe/London")
    lifted = campaign_of(quiet="none")
    assert lifted.quiet is None
    assert in_red(lifted, NO_DEFAULTS) == ("It lifts the quiet hours: phones may ring at any time of the night.",)
    assert in_red(campaign_of(), NO_DEFAULTS) == ()


def figures(campaign: Campaign, defaults: CapDefaults = NO_DEFAULTS, **counts: Any) -> Any:
    found = times_forecast(campaign, counts_of(timezones=ZONES, **counts), defaults, NOW)
    assert found is not None
    return found


def test_users_by_their_moments() -> None:
    """Tokyo's nine o'clock is nine hours before London's; users without a known zone count as London's."""
    found = figures(campaign_of(**LOCAL))
    nine = int(datetime(2026, 12, 1, 9, tzinfo=UTC).timestamp() * 1000)
    assert [(one.at_ms, one.users) for one in found.moments] == [(nine - 9 * 3_600_000, 50), (nine, 450)]
    assert found.moments[1].zones[0] == "Europe/London"
    assert (found.assumed, found.fallback, found.late, found.at_night) == (50, "Europe/London", 0, 0)


def test_too_late_for_some_is_a_fault_until_it_is_said_what_becomes_of_them() -> None:
    """At 14:00 UTC nine o'clock of this day is past in Tokyo and London, and 16:00 only in Tokyo."""
    today = {**LOCAL, "start": "2026-11-21T16:00", "within_h": "1"}
    counts = counts_of(timezones=ZONES)
    assert figures(campaign_of(**today)).late == 50
    faults = late_faults(campaign_of(**today), counts, NO_DEFAULTS, NOW)
    assert faults["if_past"].startswith("For 50 of 500 users this hour is past")
    assert figures(campaign_of(**today)).late_words == "more than 1 %: the run would be refused"
    said = campaign_of(**today, if_past="tomorrow")
    assert late_faults(said, counts, NO_DEFAULTS, NOW) == {}
    found = figures(said)
    assert (found.late, found.late_words) == (50, "they get it at this time of the next day")
    assert sum(one.users for one in found.moments) == 500
    assert late_faults(campaign_of(**LOCAL), counts, NO_DEFAULTS, NOW) == {}


@pytest.mark.parametrize(("then", "waiting", "dropped"), [("wait", 50, 0), ("drop", 0, 50)])
def test_who_waits_and_who_is_left_out_now(then: str, waiting: int, dropped: int) -> None:
    """At 14:00 UTC it is 23:00 in Tokyo: quiet. In London pushes start at once."""
    found = figures(campaign_of(**OWN_QUIET, quiet_then=then))
    assert (found.waiting, found.dropped) == (waiting, dropped)
    assert sum(one.users for one in found.moments) == 500 - dropped
    assert found.at_night == 0


def test_the_stacks_quiet_hours_hold_where_the_form_says_nothing() -> None:
    """And a form that lifts them has nobody wait; without either all are reached at once."""
    stack = CapDefaults(timezone="Europe/London", quiet=Quiet("21:00", "08:00"))
    counts = counts_of(timezones=ZONES)
    assert figures(campaign_of(), stack).waiting == 50
    assert times_forecast(campaign_of(quiet="none"), counts, stack, NOW) is None
    assert times_forecast(campaign_of(), counts, NO_DEFAULTS, NOW) is None


def test_quiet_hours_are_those_at_the_start() -> None:
    """A start in the evening of London is what is judged, and not the moment of typing."""
    found = figures(campaign_of(**OWN_QUIET, start="2026-12-01T22:30"))
    assert found.waiting == 500  # in Tokyo it is half past seven in the morning: quiet until eight
    assert found.moments[0].at_ms == int(datetime(2026, 12, 1, 23, tzinfo=UTC).timestamp() * 1000)


def test_clocks_are_of_the_moment_when_each_is_reached() -> None:
    """Who waits for the end of quiet hours reads it then, and not at the start; who is reached at night is said so."""
    found = times_forecast(campaign_of(**OWN_QUIET), counts_of(timezones=ZONES), NO_DEFAULTS, NOW)
    assert found is not None
    assert [(clock.at, clock.day, clock.users) for clock in found.clocks] == [
        ("14:00", "Sat 21 Nov", 400),
        ("08:00", "Sun 22 Nov", 50),
    ]
    assert found.at_night == sum(clock.users for clock in found.clocks if clock.is_night) == 0


@pytest.mark.parametrize(
    ("if_past", "words", "is_refused"),
    [
        ("skip", "they get nothing", False),
        ("now", "they get it as soon as it begins", False),
        ("", "more than 1 %: the run would be refused", True),
    ],
)
def test_who_is_too_late_is_said_in_a_sentence(if_past: str, words: str, is_refused: bool) -> None:
    """How many, and what becomes of them; and whether the final cut would refuse the run for it."""
    campaign = campaign_of(**LOCAL, if_past=if_past)
    found = times_forecast(campaign, counts_of(timezones=ZONES), NO_DEFAULTS, datetime(2026, 12, 1, 5, tzinfo=UTC))
    assert found is not None
    # Users in zones that are no zones have the form's: in London it is five in the morning.
    assert found.late_sentence == f"For 50 users the hour is past when it begins: {words}."
    assert found.is_refused is is_refused
