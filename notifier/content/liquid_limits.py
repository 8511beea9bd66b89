"""What filling in one text may cost: loop turns, steps, characters. All loops and filters of the text count together.

Liquid's own limits are for each loop and its parents: forty loops behind each other may turn forty times as often.
Counted are turns and characters, not time, so that a record is judged alike on every machine.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TextIO

from liquid import BoundTemplate, RenderContext, Token
from liquid.ast import Node
from liquid.builtin.expressions.primitive import IntegerLiteral, RangeLiteral
from liquid.builtin.tags.for_tag import ForNode, ForTag
from liquid.expression import Expression
from liquid.undefined import UNDEFINED, FalsyStrictUndefined
from liquid.utils import ReadOnlyChainMap

from notifier.content.template import BadTemplate
from notifier.model.recipient import BrokenRecord

MAX_TURNS = 1_000
"""Of all loops of a text together."""
MAX_STEPS = 15_000
"""Tags, placeholders, filters and list items, each as often as it is worked through."""
MAX_CHARS = 500_000
"""That go into filters and variables and come out of them."""
MAX_TEXT_CHARS = 65_536
"""Of a text, an intermediate one too. A payload holds 4,096 bytes."""
SHORTER = "a push holds 4,096 bytes: show fewer items, for example with limit: 3"
_FILTER_STEPS = {"date": 30}
"""What a filter costs where it is not 4: measured, as a step is about 1 µs."""
_COUNTS_ALL = frozenset({"size", "first", "last", "default"})
"""Filters that take a list of any length in one step."""


class TooMuch(BrokenRecord):
    """A record for which the text is too much work."""


class Missing(FalsyStrictUndefined):
    """A missing attribute: false in a condition, replaced by `default`, an error wherever it would be printed."""

    force_liquid_default = True
    __hash__ = FalsyStrictUndefined.__hash__


class Context(RenderContext):
    """One rendering: the recipient's attributes and the text's own variables, null taken for missing, and its cost."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = ReadOnlyChainMap(self.locals, self.globals)
        self.weight = 1
        """Steps of one turn of the loop that is about to begin."""
        self._turns = self._steps = self._chars = 0

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """The value at a path. Missing ones, and null, know the path as the text wrote it."""
        value = super().get(path, token=token, default=None)
        if value is None:
            return Missing(str(path[0]), token=token, hint=_name_in(path, token)) if default is UNDEFINED else default
        return value

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Called where a loop begins, with the number of its turns."""
        self._turns += length
        if self._turns > MAX_TURNS:
            raise TooMuch(f"text is too much work: its loops turn over {MAX_TURNS:,} times")
        self.charge(length * self.weight)

    def assign(self, key: str, val: Any) -> None:
        """A variable of the text. Liquid would measure all others each time."""
        self.charge(1, length_of(val))
        self.locals[key] = val

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """A filter that pays for what it is given and for what it makes of it."""
        return partial(self._charged, name, super().filter(name, token))

    def charge(self, steps: int, chars: int = 0) -> None:
        """Count some work. Raises TooMuch."""
        self._steps += steps
        self._chars += chars
        if self._steps > MAX_STEPS:
            raise TooMuch(f"text is too much work: over {MAX_STEPS:,} steps")
        if self._chars > MAX_CHARS:
            raise TooMuch(f"text is too much work: it handles over {MAX_CHARS:,} characters")

    def _charged(self, name: str, function: Callable[..., object], left: Any, *args: Any, **kwargs: Any) -> object:
        items = len(left) if isinstance(left, list | tuple | range) and name not in _COUNTS_ALL else 0
        if name == "uniq":  # compares each item with every other
            items = items * items // 100
        self.charge(_FILTER_STEPS.get(name, 4) + items, length_of(left))
        result = function(left, *args, **kwargs)
        self.charge(len(result) if isinstance(result, list | tuple) else 0, length_of(result))
        return result


class Template(BoundTemplate):
    """A text whose renderings are counted."""

    context_class = Context


class _ForNode(ForNode):
    weight = 1

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        assert isinstance(context, Context)
        context.weight = self.weight
        return int(super().render_to_output(context, buffer))


class LimitedForTag(ForTag):
    """A loop whose turns count as much as there is in it."""

    node_class = _ForNode


def length_of(value: object) -> int:
    """How long a value is: the digits of a number, too."""
    if type(value) is int:
        return value.bit_length() // 3
    return len(value) if isinstance(value, str | list | tuple) else 0


def weigh(nodes: Any, context: RenderContext) -> int:
    """Gives every loop its weight, the steps of one turn. Returns the steps of these nodes; a loop in them is one."""
    total = 0
    for node in nodes:
        inner = weigh(node.children(context), context)
        if isinstance(node, _ForNode):
            node.weight = 1 + inner
            inner = 0
        total += 1 + inner + sum(1 for _ in all_expressions(node))
    return total


def check_turns(nodes: Any, context: RenderContext) -> None:
    """Refuse a text that turns too often for everybody. Raises BadTemplate."""
    turns = _turns_of(nodes, context)
    if turns > MAX_TURNS:
        raise BadTemplate(f"its loops turn {turns:,} times, at most {MAX_TURNS:,} are allowed", SHORTER)


def _turns_of(nodes: Any, context: RenderContext) -> int:
    """Turns of the loops over ranges that nothing skips: those in a condition may never be reached."""
    total = 0
    for node in nodes:
        ends = node.expression.iterable if isinstance(node, _ForNode) else None
        if isinstance(ends, RangeLiteral) and node.expression.limit is None and node.expression.offset is None:
            length = range_length(ends) or 0
            total += length * (1 + _turns_of(node.block.nodes, context))
    return total


def range_length(ends: RangeLiteral) -> int | None:
    """How many numbers a range has; None if that depends on attributes."""
    if not (isinstance(ends.start, IntegerLiteral) and isinstance(ends.stop, IntegerLiteral)):
        return None
    return max(0, int(ends.stop.value) - int(ends.start.value) + 1)


def all_expressions(node: Node) -> Iterator[Expression]:
    """Every expression of one node, those within others too."""
    pending = list(node.expressions())
    while pending:
        expression = pending.pop()
        yield expression
        pending.extend(expression.children())


def _name_in(path: list[object], token: Token | None) -> str:
    """A path as the text wrote it; of a computed one only what stands in the text, never a value of the record."""
    name = ".".join(map(str, path))
    if token is None or name in token.source:
        return name
    return token.value if token.value.isidentifier() else "computed"
