"""Liquid, cut down to what a push needs and to what cannot hang a worker.

Imported only by `placeholder.compiled`: the library costs 0.3 s, which a campaign without placeholders never pays.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
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

from notifier.content.dialects import in_liquid, misread, shown_part, tidied
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
from notifier.content.liquid_values import compared_words, formatted, make_strict, number_in
from notifier.content.template import AS_IN, BadTemplate, PlainTemplate, Slot, Template, UnfitValue, as_text, missing
from notifier.model.characters import is_blank
from notifier.model.recipient import BrokenRecord

TAGS = frozenset({"if", "unless", "case", "for", "break", "continue", "assign", "capture", "cycle", "comment", "#"})
"""What a push may use. Nothing that loads other texts."""
_PARSER_TAGS = frozenset({"content", "output", "illegal"})
_MULTIPLYING = frozenset({"replace", "join"})
"""Filters whose result can be as long as the product of their arguments."""
_MATHS = frozenset(
    {"abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "round", "times"}
)
_TAKES_ANYTHING = frozenset({"default", "date"})
_WITHIN_TAGS = frozenset({"else", "elsif", "when"})
_FAULT = re.compile(r"(?P<kind>unknown filter|unexpected tag|expected tag) (?P<quote>'?)(?P<name>\w+)(?P=quote)")
_INSTEAD = {
    "abort_message": "leave such users out of the audience",
    "connected_content": "put the text itself here: nothing is loaded while sending",
    "content_blocks": "put the text itself here: nothing is loaded while sending",
    "include": "put the text itself here: nothing is loaded while sending",
    "render": "put the text itself here: nothing is loaded while sending",
}
"""Tags of other tools, and what to do without them."""
_MENDS = {
    "disallowed not operator": "turn it round: {% unless first_name %}Hi{% endunless %}",
    "unknown operator '!'": "turn it round: {% unless first_name %}Hi{% endunless %}",
    "disallowed parentheses": "leave the parentheses out, or put one {% if %} into another",
    "disallowed ternary": "write {% if first_name %}Hi{% else %}Hello{% endif %}",
    "unexpected '?'": "write {% if first_name %}Hi{% else %}Hello{% endif %}",
    "unexpected '+'": "use a filter: {{ points | plus: 1 }}, {{ first_name | append: '!' }}",
    "unexpected '*'": "use a filter: {{ price | times: 2 }}",
    "unexpected '/'": "use a filter: {{ price | divided_by: 2 }}",
    "expected '}}'": "end a placeholder with }} and a tag with %}",
    "expected '%}'": "end a placeholder with }} and a tag with %}",
    "a range must be": "write the numbers: {% for i in (1..3) %}",
}
"""What to write where the parser says so."""
_RESERVED = re.compile(
    r"expected a primitive expression, found (and|contains|cols|else|in|limit|offset|or|reversed|with)$"
)
_SPACED_NAME = re.compile(r"\{\{-?\s*(?P<name>[A-Za-z_]\w*(?: +\w+){1,3})\s*(?:\||-?\}\})")
_LEFT_OPEN = re.compile(r"\{\{[^{}]*(?:%\}|\}(?!\})|$)|\{%[^%{}]*(?:\}|$)")
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
    """Liquid's standard, each rendering counted, without any tag or filter that reaches outside."""

    template_class = BoundTemplateWithLimits
    output_stream_limit = MAX_TEXT_CHARS

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAGS | _PARSER_TAGS}
        self.add_tag(_Output)
        self.add_tag(LimitedForTag)
        ours = {**self.filters, "date": formatted}
        self.filters = {name: _guarded(name, function) for name, function in ours.items()}


class LiquidTemplate:
    """A text with conditions, loops or filters: only rendering tells what it needs."""

    required: frozenset[str] = frozenset()
    names: frozenset[str] | None = None

    def __init__(self, template: BoundTemplate) -> None:
        self._template = template
        # Text between the tags of the outermost level is always printed.
        self.roots = frozenset(name for name in map(str, template.global_variables()) if not name.startswith("["))
        self.unquoted = frozenset(_unquoted(template)) & self.roots
        self.is_seen = any(type(node) is ContentNode and not is_blank(node.text) for node in template.nodes)

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one recipient. Raises BrokenRecord, with nothing of the record in its reason."""
        try:
            text = str(self._template.render(values))
            text.encode()
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
def compiled(source: str) -> Template:
    """The template of a text with placeholders: a plain one where that prints the same.

    Raises:
        BadTemplate: with line and column; and with the text in Liquid, where it is another tool's.
    """
    source = tidied(source)
    try:
        template = _parsed(source)
    except BadTemplate as error:
        raise _in_liquid(source, error) from None
    if misread(source):
        raise _in_liquid(source, BadTemplate("not what it looks like"))
    pieces = [_piece_of(node) for node in template.nodes]
    if any(piece is None for piece in pieces):
        return LiquidTemplate(template)
    return PlainTemplate(tuple(piece for piece in pieces if piece is not None))


def _parsed(source: str) -> BoundTemplate:
    try:
        template = _environment().from_string(source)
        _check(template)
    except LiquidError as error:
        raise _bad(error) from None
    except RecursionError:
        raise BadTemplate("nested too deeply", "put fewer tags into each other") from None
    return template


def _in_liquid(source: str, error: BadTemplate) -> BadTemplate:
    """What Liquid has against a text, or, where that is known, whose language it is and how it is written here."""
    rewritten, what, at = in_liquid(source)
    if not what:
        return error
    try:
        _parsed(rewritten)
    except BadTemplate:
        return BadTemplate(f"{error}; {what}", error.mend)
    line, column = source.count("\n", 0, at) + 1, at - (source.rfind("\n", 0, at) + 1) + 1
    shown = shown_part(source, rewritten)
    return BadTemplate(f"line {line}, column {column}: {what}", f"write {shown}" if shown else AS_IN)


def _piece_of(node: Node) -> str | Slot | None:
    """Text, or a printed attribute with at most a default; None for anything else."""
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
    """Bare words where a text in quotes might be meant: arguments of filters, what an attribute is compared with."""
    for expression in _expressions(template.nodes, RenderContext(template)):
        used = list(_filters_of(expression))
        for n, one in enumerate(used):
            # What a later default replaces may be missing.
            if not any(later.name == "default" for later in used[n + 1 :]):
                yield from filter(None, map(_bare_word, one.children()))
        yield from filter(None, map(_bare_word, compared_words(expression)))


def _bare_word(expression: Expression) -> str:
    path = expression.path if type(expression) is Path else ()
    return path[0] if len(path) == 1 and isinstance(path[0], str) else ""


def _check(template: BoundTemplate) -> None:
    """Refuses what parses and would fail for everybody, such as unknown filters. Has comparisons judge values."""
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
    """A filter that refuses missing attributes, which some of Liquid's take for empty, and texts that explode."""

    @wraps(function)
    def guarded(left: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(left, Undefined) and name != "default":
            raise UndefinedError(left.hint, token=left.token)
        left, args = _value_for(name, left), tuple(_value_for(name, arg) for arg in args)
        if name in _MULTIPLYING:
            longest = max((length_of(arg) for arg in itertools.chain(args, kwargs.values())), default=0)
            if (length_of(left) + 1) * (longest + 1) > 16 * MAX_TEXT_CHARS:
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
    """A value as the filter understands it: most of Liquid's take a Decimal for 0, or print its exponent."""
    if name in _MATHS:
        return number_in(value)
    return as_text(value) if isinstance(value, Decimal) and name not in _TAKES_ANYTHING else value


def _bad(error: LiquidError) -> BadTemplate:
    words = _in_words(error)
    found = _FAULT.search(words)
    kind, name = (found["kind"], found["name"]) if found else ("", "")
    match kind:
        case "unknown filter":
            near = get_close_matches(name, _environment().filters, 1, 0.5)
            return BadTemplate(words, f"perhaps {near[0]}" if near else "filters are Liquid's own, such as default")
        case "unexpected tag" if name in _INSTEAD:
            return BadTemplate(words, _INSTEAD[name])
        case "unexpected tag" if name.startswith("end") or name in _WITHIN_TAGS:
            return BadTemplate(words, f"no tag is open here that {{% {name} %}} belongs to")
        case "unexpected tag":
            return BadTemplate(words, f"tags are {', '.join(sorted(TAGS - {'#'}))}")
        case "expected tag":
            return BadTemplate(words, f"end it with {{% {name} %}}")
        case _:
            return BadTemplate(words, _mend_of(words, error))


def _mend_of(words: str, error: LiquidError) -> str:
    """How to write what the parser did not expect, where it is one of the usual mistakes."""
    for told, mend in _MENDS.items():
        if told in words:
            return mend
    if (found := _RESERVED.search(words)) is not None:
        return f"{found[1]} is a word of Liquid's own: write {{{{ ['{found[1]}'] }}}} for the attribute"
    source = error.token.source if error.token else ""
    if spaced := _SPACED_NAME.search(source):
        name = spaced["name"]
        return (
            f"write {{{{ {re.sub(r' +', '_', name)} }}}}, or {{{{ ['{name}'] }}}} if the attribute's name has a space"
        )
    if _LEFT_OPEN.search(source):
        return "end a placeholder with }} and a tag with %}"
    return AS_IN


def _in_words(error: LiquidError) -> str:
    try:
        place = error.context()
    except ValueError:
        place = None
    return f"line {place[0]}, column {place[1] + 1}: {error.message}" if place else str(error.message)
