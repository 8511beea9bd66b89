"""Days, and times of schedules, as every page and mail writes them. No I/O."""

from datetime import date, datetime

STAMP = "%Y-%m-%dT%H%M"
"""How a schedule's time is named: its local minute."""


def occurrence_words(stamp: str) -> str:
    """A schedule's time, named `2026-12-01T0900`, for people: `Tue 1 Dec 2026, 09:00`. Anything else as it is."""
    try:
        local = datetime.strptime(stamp, STAMP)  # noqa: DTZ007 - by the schedule's own clock
    except ValueError:
        return stamp
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M}"


def day_words(day: str) -> str:
    """A day, written as `2026-12-01`, for people: `1 Dec 2026`. Anything else as it is."""
    try:
        found = date.fromisoformat(day)
    except ValueError:
        return day
    return f"{found.day} {found:%b %Y}"


def starting_words(name: str) -> str:
    """What starts at a release: a schedule's time as date and time, anything else as it is named."""
    schedule, _, stamp = name.rpartition(" ")
    words = occurrence_words(stamp)
    return name if words == stamp else f"{schedule}, {words}"
