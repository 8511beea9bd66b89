"""A schedule's rule in words that say the same as the rule does."""

from datetime import UTC, datetime, time

import pytest

from approval.moments import day_words, occurrence_words, starting_words
from approval.pages import _BECAME
from schedules.occurs_words import occurs_words
from schedules.rules import OccurrenceState
from schedules.timetable import Timetable


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 9 * * MON", "every Monday at 09:00"),
        ("0 9 * * *", "every day at 09:00"),
        ("0 9 * * 0-7", "every day at 09:00"),
        ("30 8,18 * * *", "every day at 08:30 and 18:30"),
        ("0 9,13,17 * * 1-5", "Monday to Friday at 09:00, 13:00 and 17:00"),
        ("0 9 * * 0,7,3", "every Wednesday and Sunday at 09:00"),
        ("0 9 * * TUE,THU,SAT", "every Tuesday, Thursday and Saturday at 09:00"),
        ("0 9 1,15 * *", "at 09:00 on the first and the 15th day of month"),
        ("0 9 L * *", "at 09:00 on the last day of every month"),
        ("0 9 * * MON#1", "at 09:00 on the first Monday of the month"),
        ("0 9 13 * FRI", "at 09:00 on the 13th day of month and on Friday"),
        ("0 9 * JAN *", "at 09:00 every day in January"),
        ("*/15 * * * *", "every 15th minute of every hour"),
        ("0 9-17 * * 1", "at minute 0 past every hour from 9 through 17 on Monday"),
    ],
)
def test_a_rule(cron: str, words: str) -> None:
    """Each day and each time that it has, and no other; by whose clock."""
    assert occurs_words(Timetable(UTC, cron), "Europe/London") == f"{words}, by the clock of Europe/London"


@pytest.mark.parametrize(
    ("cron", "words"),
    [("0 0 * * MON", "every Monday at 18:00"), ("5 3 L * *", "on the last day of every month at 18:00")],
)
def test_in_the_users_own_time(cron: str, words: str) -> None:
    """The rule's own hour does not count: it gives dates."""
    found = occurs_words(Timetable(UTC, cron, users_time=time(18)), "Europe/London")
    assert found == f"{words}, by each user's own clock"


def test_once_in_the_users_own_time() -> None:
    """Of its date and hour the date counts."""
    nine = datetime(2026, 12, 1, 9)  # noqa: DTZ001 - a local minute
    found = occurs_words(Timetable(UTC, at=nine, users_time=time(18)), "Europe/London")
    assert found == "once, on 1 December 2026 at 18:00, by each user's own clock"


def test_once() -> None:
    """A date and a time."""
    found = occurs_words(Timetable(UTC, at=datetime(2026, 12, 1, 9, 5)), "UTC")  # noqa: DTZ001 - a local minute
    assert found == "once, on 1 December 2026 at 09:05, by the clock of UTC"


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ("2026-12-01T0900", "Tue 1 Dec 2026, 09:00"),
        ("2026-12-31T0005", "Thu 31 Dec 2026, 00:05"),
        ("", ""),
        ("odd", "odd"),
    ],
)
def test_a_time_of_a_schedule(stamp: str, words: str) -> None:
    """Its name as date and time; what is no such name stays as it is."""
    assert occurrence_words(stamp) == words


def test_what_starts_at_a_release() -> None:
    """A schedule's time as date and time; a run by its name."""
    assert starting_words("day-2 2026-12-01T0900") == "day-2, Tue 1 Dec 2026, 09:00"
    assert starting_words("run r1") == "run r1"


def test_every_state_of_a_time_has_words() -> None:
    """None of the code's own names is on a page, whatever becomes of a schedule's time."""
    for state in OccurrenceState:
        assert state.value in _BECAME, state
        assert "_" not in _BECAME[state.value]


def test_a_day() -> None:
    """As the times of the other pages."""
    assert [day_words(one) for one in ("2026-12-01", "", "odd")] == ["1 Dec 2026", "", "odd"]
