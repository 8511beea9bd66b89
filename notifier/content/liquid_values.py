"""Comparisons and numbers of Liquid, strict where Liquid would guess: the record is broken, with a reason.

Exports have numbers as text: BigQuery writes INT64 so. Liquid's comparisons take them for false and its filters for 0,
which would send a wrong push. `make_strict` replaces the classes of a parsed template's comparisons by those here.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

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

_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)


def is_number(text: str) -> bool:
    """Whether a text is a number, as exports write them."""
    return _NUMBER.fullmatch(text) is not None


def is_amount(value: object) -> bool:
    """Whether a value is a number. Python counts true and false among the integers."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _check_equal(left: Expression, a: object, right: Expression, b: object) -> None:
    """Raise UnfitValue if one side is a number and the other is text with a number: they would never be equal."""
    for expression, value, other in ((left, a, b), (right, b, a)):
        if isinstance(value, str) and is_amount(other) and is_number(value):
            raise _not_a_number(expression, value)


def _check_order(left: Expression, a: object, right: Expression, b: object) -> None:
    """Raise UnfitValue for values without an order, and for texts with numbers, whose order is another: "9" > "10"."""
    if a is None or b is None:
        return
    # Two texts that are not both numbers are compared as texts: names, dates in ISO 8601.
    if isinstance(a, str) and isinstance(b, str) and not (is_number(a) and is_number(b)):
        return
    for expression, value in ((left, a), (right, b)):
        if not is_amount(value):
            raise _not_a_number(expression, value)


def _not_a_number(expression: Expression, value: object) -> UnfitValue:
    if isinstance(expression, StringLiteral):
        mend = f"write {expression.value} without quotes" if is_number(expression.value) else "compare it with =="
        return UnfitValue("a number is compared with text in quotes", None, mend)
    name = _name_of(expression)
    kind = kind_of(value)
    if not isinstance(value, str):
        return UnfitValue(f"{{}} is {kind} and cannot be compared", None, "", name)
    # The mend shows a variable that the text may copy: the attribute's last name, in characters that Liquid allows.
    variable = re.sub(r"\W+", "_", name.rpartition(".")[2]).strip("_") or "n"
    mend = f"write {{% assign {variable} = {name or variable} | plus: 0 %}} first, and compare {variable}"
    return UnfitValue("{} is text where a number is compared", value, mend, name)


def kind_of(value: object) -> str:
    """The kind of a value, for messages."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list | tuple | range):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return "text" if isinstance(value, str) else "no number"


def _name_of(expression: Expression) -> str:
    """The attribute's name as the text writes it; "" for any other expression."""
    return str(expression) if isinstance(expression, Path) else ""


def _none_if_missing(value: object) -> object:
    """The value; None for a missing attribute, which is neither below nor above anything."""
    return None if isinstance(value, Undefined) else value


class _Eq(EqExpression):
    """`name == blank` is true if `name` is missing, as in Shopify's own Liquid."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, Undefined | Blank) and isinstance(right, Undefined | Blank):
            return True
        _check_equal(self.left, left, self.right, right)
        return super().evaluate(context)


class _Ne(NeExpression):
    """`name != blank` is false if `name` is missing."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, Undefined | Blank) and isinstance(right, Undefined | Blank):
            return False
        _check_equal(self.left, left, self.right, right)
        return super().evaluate(context)


class _Any(case_tag._AnyExpression):
    """The comparison of a `when`. python-liquid gives its class no public name."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        value = self.left.evaluate(context)
        for choice in self.expressions:
            _check_equal(self.left, value, choice, choice.evaluate(context))
        return list(super().evaluate(context))


def _ordered(self: Any, context: RenderContext) -> object:
    """`evaluate` of the four comparisons below, each with its own `compare`."""
    left, right = _none_if_missing(self.left.evaluate(context)), _none_if_missing(self.right.evaluate(context))
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
    """A value through filters. An error of a filter gets the attribute's name here, which the filter does not know."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        """The value."""
        try:
            return super().evaluate(context)
        except UnfitValue as error:
            name = _name_of(self.left)
            # An error that has a name got it from an expression within this one.
            raise (error if error.name or not name else error.of(name)) from None


_STRICT_CLASSES: dict[type, type] = {
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
    """Make a parsed comparison check the values that it compares.

    Its class is replaced, because python-liquid's parser has no setting for the classes that it creates. The subclasses
    have the same slots.
    """
    strict = _STRICT_CLASSES.get(type(expression))
    if strict is not None:
        expression.__class__ = strict


def compared_operands(expression: Expression) -> Iterator[Expression]:
    """What an attribute is compared with: the right side of `==`, `!=` and `contains`, and every `when`."""
    if isinstance(expression, EqExpression | NeExpression | ContainsExpression) and isinstance(expression.left, Path):
        yield expression.right
    elif isinstance(expression, case_tag._AnyExpression):
        yield from expression.expressions


def number_in(value: Any) -> Any:
    """A value in a type that Liquid's filters for numbers understand. Raises UnfitValue if they would take it for 0."""
    if isinstance(value, Undefined):
        raise UndefinedError(value.hint, token=value.token)
    # Liquid's arithmetic mixes no Decimal with float; JSON numbers with a point come as Decimal.
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str) and not is_number(value):
        raise UnfitValue("{} is text that is no number", value, "")
    if not isinstance(value, str) and not is_amount(value):
        raise UnfitValue(f"{{}} is {kind_of(value)} where a number is needed", None, "")
    return value
