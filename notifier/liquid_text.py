"""Liquid, cut down to what a push needs and to what cannot hang a worker.

Imported only by `placeholder.compiled`: the library costs 0.3 s, which a campaign without placeholders never pays.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext, Token, Undefined
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path, StringLiteral
from liquid.builtin.expressions.filtered import Filter, TernaryFilteredExpression
from liquid.builtin.expressions.logical import EqExpression, NeExpression
from liquid.builtin.expressions.primitive import Blank, IntegerLiteral, RangeLiteral
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import FilterArgumentError, LiquidError, UndefinedError
from liquid.expression import Expression
from liquid.undefined import UNDEFINED, FalsyStrictUndefined
from liquid.utils import ReadOnlyChainMap

from notifier.characters import is_blank
from notifier.placeholder import BadTemplate, PlainTemplate, Slot, Template, as_text, missing
from notifier.recipient import BrokenRecord

TAGS = frozenset({"if", "unless", "case", "for", "break", "continue", "assign", "capture", "cycle", "comment", "#"})
"""What a push may use. Nothing that loads other texts."""
_PARSER_TAGS = frozenset({"content", "output", "illegal"})
MAX_RANGE = 1_000
MAX_TEXT_CHARS = 65_536
_MULTIPLYING = frozenset({"replace", "join"})
"""Filters whose result can be as long as the product of their arguments."""
_MATHS = frozenset(
    {"abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times"}
)
_TAKES_ANYTHING = frozenset({"default", "date"})
_WITHIN_TAGS = frozenset({"else", "elsif", "when"})
_FAULT = re.compile(r"(?P<kind>unknown filter|unexpected tag|expected tag) (?P<quote>'?)(?P<name>\w+)(?P=quote)")


class _Missing(FalsyStrictUndefined):
    """A missing attribute: false in a condition, replaced by `default`, an error wherever it would be printed."""

    force_liquid_default = True
    __hash__ = FalsyStrictUndefined.__hash__


class _Context(RenderContext):
    """Knows the recipient's attributes and the text's own variables, and takes null for missing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = ReadOnlyChainMap(self.locals, self.globals)

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        value = super().get(path, token=token, default=None)
        if value is None:
            return _Missing(str(path[0]), token=token, hint=_name_in(path, token)) if default is UNDEFINED else default
        return value


class _Eq(EqExpression):
    """`name == blank` is true of a missing name, as Shopify's own Liquid has it."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, Undefined | Blank) and isinstance(right, Undefined | Blank):
            return True
        return super().evaluate(context)


class _Ne(NeExpression):
    """`name != blank` is false of a missing name."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        if isinstance(left, Undefined | Blank) and isinstance(right, Undefined | Blank):
            return False
        return super().evaluate(context)


class _Template(BoundTemplate):
    context_class = _Context


class _OutputNode(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(as_text(self.expression.evaluate(context)))


class _Output(Output):
    node_class = _OutputNode


class _Environment(Environment):
    """Liquid's standard with limits: 1,000 loop turns, 64 KB of text, no tag or filter that reaches outside."""

    template_class = _Template
    loop_iteration_limit = MAX_RANGE
    output_stream_limit = 4 * MAX_TEXT_CHARS
    local_namespace_limit = 4 * MAX_TEXT_CHARS

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAGS | _PARSER_TAGS}
        self.add_tag(_Output)
        self.filters = {name: _guarded(name, function) for name, function in self.filters.items()}


class LiquidTemplate:
    """A text with conditions, loops or filters: only rendering tells what it needs."""

    required: frozenset[str] = frozenset()
    names: frozenset[str] | None = None

    def __init__(self, template: BoundTemplate) -> None:
        self._template = template
        # Text between the tags of the outermost level is always printed.
        self.is_seen = any(type(node) is ContentNode and not is_blank(node.text) for node in template.nodes)

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one recipient. Raises BrokenRecord, with nothing of the record in its reason."""
        try:
            text = self._template.render(values)
            text.encode()
        except UndefinedError as error:
            raise missing(str(error.message)) from None
        except UnicodeEncodeError:
            raise BrokenRecord("attributes: not encodable as UTF-8") from None
        except BrokenRecord:
            raise
        except (LiquidError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError, MemoryError) as error:
            raise BrokenRecord(f"text cannot be made from its attributes: {type(error).__name__}") from None
        return text


@cache
def _environment() -> Environment:
    return _Environment(undefined=_Missing)


def compiled(source: str) -> Template:
    """The template of a text with placeholders: a plain one where that prints the same.

    Raises:
        BadTemplate: with line and column.
    """
    try:
        template = _environment().from_string(source)
        _check(template)
    except LiquidError as error:
        raise _bad(error) from None
    except RecursionError:
        raise BadTemplate("nested too deeply", "put fewer tags into each other") from None
    pieces = [_piece_of(node) for node in template.nodes]
    if any(piece is None for piece in pieces):
        return LiquidTemplate(template)
    return PlainTemplate(tuple(piece for piece in pieces if piece is not None))


def _piece_of(node: Node) -> str | Slot | None:
    """Text, or a printed attribute with at most a default; None for anything else."""
    if type(node) is ContentNode:
        return node.text
    expression = node.expression if type(node) is _OutputNode else None
    if type(expression) is not FilteredExpression or type(expression.left) is not Path:
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


def _check(template: BoundTemplate) -> None:
    """Refuses what parses and would fail for everybody: unknown filters, ranges nobody needs. Mends comparisons."""
    context = RenderContext(template)
    for expression in _expressions(template.nodes, context):
        if isinstance(expression, RangeLiteral) and not _is_small(expression):
            raise LiquidError(f"a range must be of numbers, at most {MAX_RANGE} of them", token=expression.token)
        for used in _filters_of(expression):
            used.validate_filter_arguments(template.env)
        if type(expression) is EqExpression:
            expression.__class__ = _Eq
        elif type(expression) is NeExpression:
            expression.__class__ = _Ne


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
    ends = (expression.start, expression.stop)
    if not all(isinstance(end, IntegerLiteral) for end in ends):
        return False
    start, stop = (end.value for end in ends)  # type: ignore[attr-defined]
    return bool(stop - start < MAX_RANGE)


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses missing attributes, which some of Liquid's take for empty, and texts that explode."""

    @wraps(function)
    def guarded(left: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(left, Undefined) and name != "default":
            raise UndefinedError(left.hint, token=left.token)
        left, args = _number_for(name, left), tuple(_number_for(name, arg) for arg in args)
        if name in _MULTIPLYING:
            longest = max((_length(arg) for arg in itertools.chain(args, kwargs.values())), default=0)
            if (_length(left) + 1) * (longest + 1) > 16 * MAX_TEXT_CHARS:
                raise FilterArgumentError("text too long", token=None)
        result = function(left, *args, **kwargs)
        if _length(result) > MAX_TEXT_CHARS:
            raise FilterArgumentError("text too long", token=None)
        return result

    return guarded


def _number_for(name: str, value: Any) -> Any:
    """A decimal number as the filter understands it: most of Liquid's take a Decimal for 0, or print its exponent."""
    if not isinstance(value, Decimal) or name in _TAKES_ANYTHING:
        return value
    return float(value) if name in _MATHS else as_text(value)


def _length(value: object) -> int:
    if type(value) is int:
        return value.bit_length() // 3
    return len(value) if isinstance(value, str | list | tuple) else 0


def _name_in(path: list[object], token: Token | None) -> str:
    """A path as the text wrote it; of a computed one only what stands in the text, never a value of the record."""
    name = ".".join(map(str, path))
    if token is None or name in token.source:
        return name
    return token.value if token.value.isidentifier() else "computed"


def _bad(error: LiquidError) -> BadTemplate:
    words = _in_words(error)
    found = _FAULT.search(words)
    kind, name = (found["kind"], found["name"]) if found else ("", "")
    match kind:
        case "unknown filter":
            near = get_close_matches(name, _environment().filters, 1, 0.5)
            return BadTemplate(words, f"perhaps {near[0]}" if near else "filters are Liquid's own, such as default")
        case "unexpected tag" if name.startswith("end") or name in _WITHIN_TAGS:
            return BadTemplate(words, f"no tag is open here that {{% {name} %}} belongs to")
        case "unexpected tag":
            return BadTemplate(words, f"tags are {', '.join(sorted(TAGS - {'#'}))}")
        case "expected tag":
            return BadTemplate(words, f"end it with {{% {name} %}}")
        case _:
            return BadTemplate(words)


def _in_words(error: LiquidError) -> str:
    try:
        place = error.context()
    except ValueError:
        place = None
    return f"line {place[0]}, column {place[1] + 1}: {error.message}" if place else str(error.message)
