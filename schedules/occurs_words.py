"""When a schedule occurs, in words for people: `every Monday at 09:00, by the clock of Europe/London`. Pure."""

import re
from datetime import datetime

from cronsim import CronSim

from schedules.timetable import Timetable

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONDAY_TO_FRIDAY = frozenset(range(1, 6))
_WEEK = frozenset(range(7))
_DAYS, _MONTHS = 31, 12
_MOST_TIMES = 4
"""Of a day, each said by itself. Of more the rule says what they have in common."""
_AT = re.compile(r"At \d\d:\d\d ")


def occurs_words(timetable: Timetable, timezone: str) -> str:
    """When it occurs.

    Args:
        timezone: the zone's name.
    """
    clock = f", by the clock of {timezone}"
    if timetable.at is not None and timetable.users_time is not None:
        # Only the date counts.
        once = f"once, on {timetable.at.day} {timetable.at:%B %Y}"
        return f"{once} at {timetable.users_time:%H:%M}, by each user's own clock"
    if timetable.at is not None:
        return f"once, on {timetable.at.day} {timetable.at:%B %Y} at {timetable.at:%H:%M}{clock}"
    rule = CronSim(timetable.cron, datetime(2024, 1, 1))  # noqa: DTZ001 - local minutes are naive
    days = _days(rule)
    if timetable.users_time is not None:
        # Of such a rule only the dates count.
        dates = days or _AT.sub("", rule.explain())
        return f"{dates} at {timetable.users_time:%H:%M}, by each user's own clock"
    times = [f"{hour:02d}:{minute:02d}" for hour in sorted(rule.hours) for minute in sorted(rule.minutes)]
    if days and len(times) <= _MOST_TIMES:
        return f"{days} at {_listed(times)}{clock}"
    said = rule.explain()
    return f"{said[:1].lower()}{said[1:]}{clock}"


def _days(rule: CronSim) -> str:
    """`every day`, `every Monday`, `Monday to Friday`; "" for days that depend on the date."""
    if len(rule.days) < _DAYS or len(rule.months) < _MONTHS:
        return ""
    # One of a month, as the first Monday, is no number.
    numbers = {day % 7 for day in rule.weekdays if isinstance(day, int)}
    if any(not isinstance(day, int) for day in rule.weekdays):
        return ""
    if numbers == _WEEK:
        return "every day"
    if numbers == _MONDAY_TO_FRIDAY:
        return "Monday to Friday"
    # The week begins on Monday, as in the calendar.
    return f"every {_listed([_WEEKDAYS[day] for day in sorted(numbers, key=lambda day: (day - 1) % 7)])}"


def _listed(words: list[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
