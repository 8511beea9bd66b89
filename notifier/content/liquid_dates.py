"""Liquid's filter `date`, strict where Liquid would guess.

Exports have times in milliseconds, which Liquid takes for the year 57,000, and dates that may have the day or the month
first. Such a value breaks the record, with a reason.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

from dateutil import parser as dates

from notifier.content.liquid_values import is_amount, is_number, kind_of
from notifier.content.template import UnfitValue

AS_ISO = "write it as 2026-01-05, or as 2026-01-05T10:11:12Z"
_DAY_OR_MONTH_FIRST = re.compile(
    r"(?<![\d/.:\-])\d{1,2}\s*[/.\- ]\s*\d{1,2}\s*[/.\- ]\s*(\d{4}|\d{2})\b(?![:.]\d)", re.ASCII
)
_YEAR_FIRST = re.compile(r"\s*\d{4}[/.\-](?P<month>\d{1,2})[/.\-]\d{1,2}\b", re.ASCII)
_DIGITS = re.compile(r"\s*\d{8}\s*", re.ASCII)
_TIMES_A_SECOND = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
"""From each size on a number counts nano-, micro- or milliseconds since 1970; the second number is how many make a
second. 10^11 seconds would be the year 5138."""
_MAX_DATE_CHARS = 100
_EARLIEST_S = 10**8
"""March 1973. A smaller number may be a year or a day of a month, and is not taken for a time."""
_DEFAULTS = (datetime(2000, 1, 1), datetime(2004, 2, 1))  # noqa: DTZ001 - the text may have no time zone either
"""dateutil takes missing parts from a default: a date that lacks its year or month differs between these two."""


def formatted(value: Any, fmt: Any) -> str:
    """A time in a format such as `%d %B`.

    A text must be ISO 8601 or name the month; a number counts seconds, or smaller units, since 1970. A text without a
    digit is returned as it is, as in Liquid.

    Raises:
        UnfitValue: the value is no time, or an ambiguous one.
    """
    moment = _moment_of(value)
    return str(value) if moment is None else moment.strftime(str(fmt))


def _moment_of(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        return _moment_in(value)
    if is_amount(value):
        return _since_1970(value)
    raise UnfitValue(f"{{}} is {kind_of(value)} and no time", None, AS_ISO)


def _moment_in(text: str) -> datetime | None:
    if text in ("now", "today"):
        return datetime.now(UTC)
    if not re.search(r"\d", text):
        return None
    if len(text) > _MAX_DATE_CHARS:  # dateutil's time grows with the length
        raise UnfitValue("{} is no date", text, AS_ISO)
    # 20260105 is a date, and not a number of seconds.
    if _DIGITS.fullmatch(text):
        return _parsed(text)
    if is_number(text):
        return _since_1970(Decimal(text))
    if _DAY_OR_MONTH_FIRST.search(text):
        raise UnfitValue("{} is a date that may have the day or the month first", text, AS_ISO)
    return _parsed(text)


def _since_1970(number: Any) -> datetime:
    parts = next((parts for size, parts in _TIMES_A_SECOND if abs(number) >= size), 1)
    if abs(number) < _EARLIEST_S:
        raise UnfitValue("{} is a number and no time", number, AS_ISO)
    try:
        return datetime.fromtimestamp(float(number) / parts, UTC)
    except (OverflowError, OSError, ValueError):
        raise UnfitValue("{} is a number and no time", number, AS_ISO) from None


def _parsed(text: str) -> datetime:
    year_first = _YEAR_FIRST.match(text)
    # dateutil would take 2026-13-01 for the 13th of January.
    if year_first and not 1 <= int(year_first["month"]) <= 12:
        raise UnfitValue("{} is no date", text, AS_ISO)
    try:
        first, second = (_read(text, default) for default in _DEFAULTS)
    except (ValueError, OverflowError, TypeError):  # dateutil raises not only its own ParserError
        raise UnfitValue("{} is no date", text, AS_ISO) from None
    if (first.year, first.month) != (second.year, second.month):
        raise UnfitValue("{} is a date without its year or month", text, AS_ISO)
    return first


def _read(text: str, default: datetime) -> datetime:
    moment: datetime = dates.parse(text, default=default, tzinfos=_zone)
    return moment


def _zone(name: str, offset_s: int | None) -> tzinfo:
    """The zone that a text names. A name without an offset is ambiguous (CST), so the time is kept as it is written."""
    return timezone(timedelta(seconds=offset_s or 0), name or "UTC")
