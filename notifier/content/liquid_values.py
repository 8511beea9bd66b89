"""What a text may do with an attribute's value. Where Liquid would guess, the record is broken with a reason.

Exports hold numbers as text (BigQuery writes INT64 so), times in milliseconds, and dates of which nobody knows whether
the day or the month comes first. Liquid takes them for false, for 0, for the year 57,000 or for May: a wrong push.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

from dateutil import parser as dates
from liquid import RenderContext, Undefined
from liquid.builtin.expressions import FilteredExpression, Path, StringLiteral
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import Blank
from liquid.builtin.tags import case_tag
from liquid.exceptions import LiquidTypeError, UndefinedError
from liquid.expression import Expression

from notifier.content.template import UnfitValue

AS_ISO = "write it as 2026-01-05, or as 2026-01-05T10:11:12Z"
_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
_DAY_OR_MONTH_FIRST = re.compile(
    r"(?<![\d/.:\-])\d{1,2}\s*[/.\- ]\s*\d{1,2}\s*[/.\- ]\s*(\d{4}|\d{2})\b(?![:.]\d)", re.ASCII
)
_YEAR_FIRST = re.compile(r"\s*\d{4}[/.\-](?P<month>\d{1,2})[/.\-]\d{1,2}\b", re.ASCII)
_DIGITS = re.compile(r"\s*\d{8}\s*", re.ASCII)
_TIMES_A_SECOND = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
"""From which size on a number of time counts nano-, micro- and milliseconds since 1970. Seconds of 10^11 are the year
5138."""
_MAX_DATE_CHARS = 100
_EARLIEST_S = 10**8
"""March 1973: a smaller number is a year, a day of a month, anything but a time."""
_DEFAULTS = (datetime(2000, 1, 1), datetime(2004, 2, 1))  # noqa: DTZ001 - the text may have no time zone either
"""A date read with both must come out the same, or it lacks its year or its month."""


def is_number(text: str) -> bool:
    """Whether a text is a number, as exports write them."""
    return _NUMBER.fullmatch(text) is not None


# ------------------------------------------------------------------------------------------------ comparisons


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _check_equal(left: Expression, a: object, right: Expression, b: object) -> None:
    """Refuse a number that is text beside one that is a number: they would never be equal."""
    for expression, value, other in ((left, a, b), (right, b, a)):
        if isinstance(value, str) and _is_amount(other) and is_number(value):
            raise _not_a_number(expression, value)


def _check_order(left: Expression, a: object, right: Expression, b: object) -> None:
    """Refuse what has no order, or one that nobody means: "9" is above "10", being texts."""
    if a is None or b is None:
        return
    texts = isinstance(a, str), isinstance(b, str)
    if all(texts) and not (is_number(str(a)) and is_number(str(b))):
        return
    for expression, value in ((left, a), (right, b)):
        if not _is_amount(value):
            raise _not_a_number(expression, value)


def _not_a_number(expression: Expression, value: object) -> UnfitValue:
    if isinstance(expression, StringLiteral):
        mend = f"write {expression.value} without quotes" if is_number(expression.value) else "compare it with =="
        return UnfitValue("a number is compared with text in quotes", None, mend)
    name = _name_of(expression)
    kind = _kind_of(value)
    if not isinstance(value, str):
        return UnfitValue(f"{{}} is {kind} and cannot be compared", None, "", name)
    variable = re.sub(r"\W+", "_", name.rpartition(".")[2]).strip("_") or "n"
    mend = f"write {{% assign {variable} = {name or variable} | plus: 0 %}} first, and compare {variable}"
    return UnfitValue("{} is text where a number is compared", value, mend, name)


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list | tuple | range):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return "text" if isinstance(value, str) else "no number"


def _name_of(expression: Expression) -> str:
    """An attribute as the text writes it; empty for anything else."""
    return str(expression) if isinstance(expression, Path) else ""


def _known(value: object) -> object:
    """A missing attribute as None, which is below and above nothing."""
    return None if isinstance(value, Undefined) else value


class _Eq(EqExpression):
    """`name == blank` is true of a missing name, as Shopify's own Liquid has it."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, Undefined | Blank) and isinstance(right, Undefined | Blank):
            return True
        _check_equal(self.left, left, self.right, right)
        return super().evaluate(context)


class _Ne(NeExpression):
    """`name != blank` is false of a missing name."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, Undefined | Blank) and isinstance(right, Undefined | Blank):
            return False
        _check_equal(self.left, left, self.right, right)
        return super().evaluate(context)


class _Any(case_tag._AnyExpression):
    """What a `when` compares. Liquid gives it no public name."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        value = self.left.evaluate(context)
        for choice in self.expressions:
            _check_equal(self.left, value, choice, choice.evaluate(context))
        return list(super().evaluate(context))


def _ordered(self: Any, context: RenderContext) -> object:
    """One of the four comparisons, of what can be compared."""
    left, right = _known(self.left.evaluate(context)), _known(self.right.evaluate(context))
    _check_order(self.left, left, self.right, right)
    return False if left is None or right is None else self.compare(left, right)


class _Lt(LtExpression):
    __slots__ = ()
    compare = staticmethod(lambda left, right: left < right)
    evaluate = _ordered


class _Gt(GtExpression):
    __slots__ = ()
    compare = staticmethod(lambda left, right: left > right)
    evaluate = _ordered


class _Le(LeExpression):
    __slots__ = ()
    compare = staticmethod(lambda left, right: left <= right)
    evaluate = _ordered


class _Ge(GeExpression):
    __slots__ = ()
    compare = staticmethod(lambda left, right: left >= right)
    evaluate = _ordered


class _Contains(ContainsExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        try:
            return super().evaluate(context)
        except LiquidTypeError:
            raise UnfitValue("{} is no text and no list, and contains nothing", None, "", _name_of(self.left)) from None


class Filtered(FilteredExpression):
    """A value through filters: what a filter cannot take is told with the attribute's name."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """The value."""
        try:
            return super().evaluate(context)
        except UnfitValue as error:
            name = _name_of(self.left)
            raise (error if error.name or not name else error.of(name)) from None


_OURS: dict[type, type] = {
    EqExpression: _Eq,
    NeExpression: _Ne,
    LtExpression: _Lt,
    GtExpression: _Gt,
    LeExpression: _Le,
    GeExpression: _Ge,
    ContainsExpression: _Contains,
    FilteredExpression: Filtered,
    case_tag._AnyExpression: _Any,
}


def make_strict(expression: Expression) -> None:
    """Have a parsed expression judge the values that it meets."""
    ours = _OURS.get(type(expression))
    if ours is not None:
        expression.__class__ = ours


def compared_words(expression: Expression) -> Iterator[Expression]:
    """What an attribute is compared with: the right side of `==`, `!=` and `contains`, and every `when`."""
    if isinstance(expression, EqExpression | NeExpression | ContainsExpression) and isinstance(expression.left, Path):
        yield expression.right
    elif isinstance(expression, case_tag._AnyExpression):
        yield from expression.expressions


# ------------------------------------------------------------------------------------------------ filters


def number_in(value: Any) -> Any:
    """A value as Liquid's filters for numbers understand it. Raises UnfitValue where they would take it for 0."""
    if isinstance(value, Undefined):
        raise UndefinedError(value.hint, token=value.token)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str) and not is_number(value):
        raise UnfitValue("{} is text that is no number", value, "")
    if not isinstance(value, str) and not _is_amount(value):
        raise UnfitValue(f"{{}} is {_kind_of(value)} where a number is needed", None, "")
    return value


def formatted(value: Any, fmt: Any) -> str:
    """Liquid's `date`: a time by a format such as `%d %B`.

    Texts must be ISO 8601 or name the month; numbers count since 1970, in seconds or smaller parts of them. Text
    without a digit comes out as it is, as in Liquid.
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
    if _is_amount(value):
        return _since_1970(value)
    raise UnfitValue(f"{{}} is {_kind_of(value)} and no time", None, AS_ISO)


def _moment_in(text: str) -> datetime | None:
    if text in ("now", "today"):
        return datetime.now(UTC)
    if not re.search(r"\d", text):
        return None
    if len(text) > _MAX_DATE_CHARS:  # reading a long one takes long
        raise UnfitValue("{} is no date", text, AS_ISO)
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
    if year_first and not 1 <= int(year_first["month"]) <= 12:  # dateutil would take the day for the month
        raise UnfitValue("{} is no date", text, AS_ISO)
    try:
        first, second = (_read(text, default) for default in _DEFAULTS)
    except (ValueError, OverflowError, TypeError):  # dateutil lets a few slip that are no ParserError
        raise UnfitValue("{} is no date", text, AS_ISO) from None
    if (first.year, first.month) != (second.year, second.month):
        raise UnfitValue("{} is a date without its year or month", text, AS_ISO)
    return first


def _read(text: str, default: datetime) -> datetime:
    moment: datetime = dates.parse(text, default=default, tzinfos=_zone)
    return moment


def _zone(name: str, offset_s: int | None) -> tzinfo:
    """The zone that a text names. A name alone says no offset to anybody: the clock is taken as it is written."""
    return timezone(timedelta(seconds=offset_s or 0), name or "UTC")
