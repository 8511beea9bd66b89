"""Compiles texts by python-liquid, restricted to what a push needs and to what cannot keep a worker busy for long.

Only `compile.compiled` imports this module, and only for a text with a placeholder: the library takes 0.3 s to import.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache, lru_cache, wraps
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext, Undefined
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path, StringLiteral
from liquid.builtin.expressions.filtered import Filter, TernaryFilteredExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError, ResourceLimitError, UndefinedError
from liquid.expression import Expression

from notifier.content.dialects import changed_part, in_liquid, misread, tidied
from notifier.content.liquid_dates import formatted
from notifier.content.liquid_errors import TAGS, bad_template
from notifier.content.liquid_limits import (
    MAX_TEXT_CHARS,
    MAX_TURNS,
    Context,
    LimitedForTag,
    Missing,
    TooMuch,
    check_turns,
    length_of,
    range_length,
    weigh,
)
from notifier.content.liquid_limits import Template as BoundTemplateWithLimits
from notifier.content.liquid_values import compared_operands, make_strict, number_in
from notifier.content.template import AS_IN, BadTemplate, PlainTemplate, Slot, UnfitValue, as_text, missing
from notifier.model.characters import is_blank
from notifier.model.spelling import BrokenRecord

_PARSER_TAGS = frozenset({"content", "output", "illegal"})
"""Names under which the parser keeps its own nodes: not tags that a text can write."""
_MULTIPLYING = frozenset({"replace", "join"})
"""Filters whose result can be as long as the product of their arguments."""
_MAX_PRODUCT_CHARS = 16 * MAX_TEXT_CHARS
"""For these: far above any real text, and small enough to be made once before its length is checked."""
_MATHS = frozenset(
    {"abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times"}
)
_TAKES_ANYTHING = frozenset({"default", "date"})
"""Filters that get a Decimal as it is."""
CANNOT_BE_MADE = "text cannot be made from its attributes"


class _OutputNode(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        assert isinstance(context, Context)
        text = as_text(self.expression.evaluate(context))
        context.charge(0, len(text))
        return buffer.write(text)


class _Output(Output):
    node_class = _OutputNode


class _Environment(Environment):
    """Standard Liquid without the tags that load other texts. The work of each rendering is counted."""

    template_class = BoundTemplateWithLimits
    output_stream_limit = MAX_TEXT_CHARS

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAGS | _PARSER_TAGS}
        self.add_tag(_Output)
        self.add_tag(LimitedForTag)
        filters = {**self.filters, "date": formatted}
        self.filters = {name: _guarded(name, function) for name, function in filters.items()}


class LiquidTemplate:
    """A text with conditions, loops or filters. Its members are those of a `PlainTemplate`.

    Which attributes it needs, and which it prints, is known only by rendering it.
    """

    required: frozenset[str] = frozenset()
    names: frozenset[str] | None = None

    def __init__(self, template: BoundTemplate) -> None:
        self._template = template
        self.roots = frozenset(name for name in map(str, template.global_variables()) if not name.startswith("["))
        self.unquoted = frozenset(_unquoted(template)) & self.roots
        # Text between the tags of the outermost level is always printed.
        self.always_visible = any(type(node) is ContentNode and not is_blank(node.text) for node in template.nodes)

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one recipient. Raises BrokenRecord; its reason has no value of the record."""
        try:
            text = str(self._template.render(values))
            text.encode()  # an attribute may have a lone surrogate
        except UndefinedError as error:
            raise missing(str(error.message)) from None
        except UnicodeEncodeError:
            raise BrokenRecord("attributes: not encodable as UTF-8") from None
        except BrokenRecord:
            raise
        except ResourceLimitError:
            raise TooMuch(f"text is too much work: it is longer than {MAX_TEXT_CHARS:,} bytes") from None
        except (LiquidError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError, MemoryError):
            raise BrokenRecord(CANNOT_BE_MADE) from None
        return text


@cache
def _environment() -> Environment:
    return _Environment(undefined=Missing)


@lru_cache(maxsize=1_000)
def compiled(source: str) -> PlainTemplate | LiquidTemplate:
    """The template of a text with placeholders: a PlainTemplate if that prints the same.

    Raises:
        BadTemplate: with line and column, and with the text in Liquid if it is in another tool's notation.
    """
    source = tidied(source)
    try:
        template = _parsed(source)
    except BadTemplate as error:
        raise _as_dialect(source, error) from None
    if misread(source):
        raise _as_dialect(source, BadTemplate("not what it looks like"))
    # Most texts only print attributes. A join fills those in, nine times as fast as Liquid.
    pieces = [_piece_of(node) for node in template.nodes]
    if any(piece is None for piece in pieces):
        return LiquidTemplate(template)
    return PlainTemplate(tuple(piece for piece in pieces if piece is not None))


def _parsed(source: str) -> BoundTemplate:
    try:
        template = _environment().from_string(source)
        _check(template)
    except LiquidError as error:
        raise bad_template(source, error, _environment().filters, _message_of) from None
    except RecursionError:
        raise BadTemplate("nested too deeply", "put fewer tags into each other") from None
    return template


def _message_of(source: str) -> str:
    """The parser's message on a text that is not Liquid."""
    try:
        _environment().from_string(source)
    except LiquidError as error:
        return str(error.message)
    except RecursionError:
        pass
    return ""


def _as_dialect(source: str, error: BadTemplate) -> BadTemplate:
    """The error of a text in another tool's notation, with the text in Liquid; `error` itself if it is in none."""
    rewritten, problem, at = in_liquid(source)
    if not problem:
        return error
    try:
        _parsed(rewritten)
    except BadTemplate:
        # The rewriting is not enough, so only the problem is worth a hint.
        return BadTemplate(f"{error}; {problem}", error.mend)
    line, column = source.count("\n", 0, at) + 1, at - (source.rfind("\n", 0, at) + 1) + 1
    excerpt = changed_part(source, rewritten)
    return BadTemplate(f"line {line}, column {column}: {problem}", f"write {excerpt}" if excerpt else AS_IN)


def _piece_of(node: Node) -> str | Slot | None:
    """A text, or a printed attribute with at most a default; None for anything else, which needs Liquid."""
    if type(node) is ContentNode:
        return node.text
    expression = node.expression if type(node) is _OutputNode else None
    if not isinstance(expression, FilteredExpression) or type(expression.left) is not Path:
        return None
    path, filters = expression.left.path, expression.filters or []
    if len(path) != 1 or type(path[0]) is not str:
        return None
    if not filters:
        return Slot(path[0])
    default = filters[0]
    if len(filters) > 1 or default.name != "default" or len(default.args) != 1 or hasattr(default.args[0], "name"):
        return None
    value = default.args[0].value
    return Slot(path[0], value.value) if type(value) is StringLiteral else None


def _unquoted(template: BoundTemplate) -> Iterator[str]:
    """Bare words where a text in quotes may be meant: filters' arguments, and what an attribute is compared with."""
    for expression in _expressions(template.nodes, RenderContext(template)):
        used = list(_filters_of(expression))
        for n, one in enumerate(used):
            # An attribute that a later default replaces may be missing, so it may be meant.
            if not any(later.name == "default" for later in used[n + 1 :]):
                yield from filter(None, map(_bare_word, one.children()))
        yield from filter(None, map(_bare_word, compared_operands(expression)))


def _bare_word(expression: Expression) -> str:
    path = expression.path if type(expression) is Path else ()
    return path[0] if len(path) == 1 and isinstance(path[0], str) else ""


def _check(template: BoundTemplate) -> None:
    """Raise LiquidError for what parses and would fail for every user, such as an unknown filter.

    It also makes the template's comparisons strict and weighs its loops: every template passes here once.
    """
    context = RenderContext(template)
    for expression in _expressions(template.nodes, context):
        if isinstance(expression, RangeLiteral) and not _is_small(expression):
            raise LiquidError(f"a range must be of numbers, at most {MAX_TURNS} of them", token=expression.token)
        for used in _filters_of(expression):
            used.validate_filter_arguments(template.env)
        make_strict(expression)
    weigh(template.nodes, context)
    check_turns(template.nodes, context)


def _expressions(nodes: Any, context: RenderContext) -> Iterator[Expression]:
    for node in nodes:
        pending = list(node.expressions())
        while pending:
            expression = pending.pop()
            yield expression
            pending.extend(expression.children())
        yield from _expressions(node.children(context), context)


def _filters_of(expression: Expression) -> Iterator[Filter]:
    if isinstance(expression, FilteredExpression | TernaryFilteredExpression):
        yield from expression.filters or ()
    if isinstance(expression, TernaryFilteredExpression):
        yield from expression.tail_filters or ()


def _is_small(expression: RangeLiteral) -> bool:
    length = range_length(expression)
    return length is not None and length <= MAX_TURNS


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with checks: missing attributes, which some filters take for empty, and huge results are errors."""

    @wraps(function)
    def guarded(left: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(left, Undefined) and name != "default":
            raise UndefinedError(left.hint, token=left.token)
        left, args = _value_for(name, left), tuple(_value_for(name, arg) for arg in args)
        if name in _MULTIPLYING:
            # Before it is called: afterwards the memory would be used already.
            longest = max((length_of(arg) for arg in itertools.chain(args, kwargs.values())), default=0)
            if (length_of(left) + 1) * (longest + 1) > _MAX_PRODUCT_CHARS:
                raise TooMuch(f"text is too much work: `{name}` makes it too long")
        try:
            result = function(left, *args, **kwargs)
        except UndefinedError:
            raise
        except (LiquidError, ArithmeticError, TypeError, LookupError):
            raise UnfitValue(f"{{}} is nothing that the filter `{name}` can take", None) from None
        if length_of(result) > MAX_TEXT_CHARS:
            raise TooMuch(f"text is too much work: `{name}` makes it too long")
        return result

    return guarded


def _value_for(name: str, value: Any) -> Any:
    """A value in the type that the filter understands: most filters take a Decimal for 0, or print its exponent."""
    if name in _MATHS:
        return number_in(value)
    return as_text(value) if isinstance(value, Decimal) and name not in _TAKES_ANYTHING else value
