"""Limits on the work of one rendering: loop turns, steps, characters, summed over all loops and filters of the text.

Liquid's own limits are for each loop and its parents: forty loops one after the other may turn forty times as often.
The unit is not time, so that a record is broken on every machine or on none.
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
from notifier.model.spelling import BrokenRecord

MAX_TURNS = 1_000
"""Turns of all loops of a text together."""
MAX_STEPS = 15_000
"""Tags, placeholders, filters and list items, each as often as it is processed. A step takes about 1 µs."""
MAX_CHARS = 500_000
"""Characters that go into filters and variables and come out of them."""
MAX_TEXT_CHARS = 65_536
"""Length of a text, also of an intermediate one. A payload has at most 4,096 bytes."""
SHORTER = "a push holds 4,096 bytes: show fewer items, for example with limit: 3"
_STEPS_OF_A_FILTER = 4
_STEPS_BY_FILTER = {"date": 30}
"""Measured: a call of a filter takes about 4 µs, of `date` 30 µs."""
_UNIQ_PAIRS_PER_STEP = 100
"""`uniq` compares each item with every other."""
_BITS_PER_DIGIT = 3
"""Of a number. Rounded down from 3.3, so that its length is not underestimated."""
_COUNTS_ALL = frozenset({"size", "first", "last", "default"})
"""Filters that take a list of any length in one step."""


class TooMuch(BrokenRecord):
    """Rendering the text for this record is too much work."""


class Missing(FalsyStrictUndefined):
    """A missing attribute: false in a condition, replaced by `default`, an error if it would be printed."""

    force_liquid_default = True
    __hash__ = FalsyStrictUndefined.__hash__


class Context(RenderContext):
    """One rendering: the recipient's attributes, the text's own variables, and the work so far. Null is missing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Without Liquid's own `now` and `today`: a text with them would mean an attribute, which may have that name.
        self.scope = ReadOnlyChainMap(self.locals, self.globals)
        self.weight = 1
        """Steps of one turn of the next loop; its `_ForNode` sets it."""
        self._turns = self._steps = self._chars = 0

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """The value at a path; `Missing`, with the path as the text writes it, if there is none or it is null."""
        value = super().get(path, token=token, default=None)
        if value is None:
            return Missing(str(path[0]), token=token, hint=_name_in(path, token)) if default is UNDEFINED else default
        return value

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Called by Liquid before a loop, with the number of its turns. Raises TooMuch."""
        self._turns += length
        if self._turns > MAX_TURNS:
            raise TooMuch(f"text is too much work: its loops turn over {MAX_TURNS:,} times")
        self.charge(length * self.weight)

    def assign(self, key: str, val: Any) -> None:
        """Set a variable of the text. Not Liquid's own method, which measures all variables at each assignment."""
        self.charge(1, length_of(val))
        self.locals[key] = val

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """A filter whose input and output are charged."""
        return partial(self._charged, name, super().filter(name, token))

    def charge(self, steps: int, chars: int = 0) -> None:
        """Add some work. Raises TooMuch beyond the limits."""
        self._steps += steps
        self._chars += chars
        if self._steps > MAX_STEPS:
            raise TooMuch(f"text is too much work: over {MAX_STEPS:,} steps")
        if self._chars > MAX_CHARS:
            raise TooMuch(f"text is too much work: it handles over {MAX_CHARS:,} characters")

    def _charged(self, name: str, function: Callable[..., object], left: Any, *args: Any, **kwargs: Any) -> object:
        # A filter works on each item of a list, and its time is nearly all of a long one's.
        items = len(left) if isinstance(left, list | tuple | range) and name not in _COUNTS_ALL else 0
        if name == "uniq":
            items = items * items // _UNIQ_PAIRS_PER_STEP
        # The input before the call, so that too much is refused before it is done.
        self.charge(_STEPS_BY_FILTER.get(name, _STEPS_OF_A_FILTER) + items, length_of(left))
        result = function(left, *args, **kwargs)
        self.charge(len(result) if isinstance(result, list | tuple) else 0, length_of(result))
        return result


class Template(BoundTemplate):
    """A parsed text whose renderings are counted."""

    context_class = Context


class _ForNode(ForNode):
    weight = 1

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        assert isinstance(context, Context)
        context.weight = self.weight
        return int(super().render_to_output(context, buffer))


class LimitedForTag(ForTag):
    """The tag `for`; each of its turns is charged for the nodes in its body."""

    node_class = _ForNode


def length_of(value: object) -> int:
    """The length of a text or a list, and the digits of a number, which can be multiplied without end."""
    if type(value) is int:
        return value.bit_length() // _BITS_PER_DIGIT
    return len(value) if isinstance(value, str | list | tuple) else 0


def weigh(nodes: Any, context: RenderContext) -> int:
    """Set the weight of every loop, which is the steps of one turn. Returns the steps of these nodes.

    A loop counts as one step here: its turns are charged when it runs.
    """
    total = 0
    for node in nodes:
        inner = weigh(node.children(context), context)
        if isinstance(node, _ForNode):
            node.weight = 1 + inner
            # Charged by the loop itself, for each of its turns.
            inner = 0
        total += 1 + inner + sum(1 for _ in all_expressions(node))
    return total


def check_turns(nodes: Any, context: RenderContext) -> None:
    """Raise BadTemplate for a text whose loops turn too often whatever the attributes are."""
    turns = _turns_of(nodes, context)
    if turns > MAX_TURNS:
        raise BadTemplate(f"its loops turn {turns:,} times, at most {MAX_TURNS:,} are allowed", SHORTER)


def _turns_of(nodes: Any, context: RenderContext) -> int:
    """Turns of the loops over fixed ranges. Those within a condition are left out: they may never be reached."""
    total = 0
    for node in nodes:
        ends = node.expression.iterable if isinstance(node, _ForNode) else None
        if isinstance(ends, RangeLiteral) and node.expression.limit is None and node.expression.offset is None:
            length = range_length(ends) or 0
            # A loop within a loop turns as often as both counts multiplied, beside the outer one's own turns.
            total += length * (1 + _turns_of(node.block.nodes, context))
    return total


def range_length(ends: RangeLiteral) -> int | None:
    """The count of a range's numbers; None if it depends on attributes."""
    if not (isinstance(ends.start, IntegerLiteral) and isinstance(ends.stop, IntegerLiteral)):
        return None
    return max(0, int(ends.stop.value) - int(ends.start.value) + 1)


def all_expressions(node: Node) -> Iterator[Expression]:
    """Every expression of one node, nested ones included."""
    pending = list(node.expressions())
    while pending:
        expression = pending.pop()
        yield expression
        pending.extend(expression.children())


def _name_in(path: list[object], token: Token | None) -> str:
    """A path as the text writes it. `a[b]` is resolved to a value of the record, which must not get into a reason."""
    name = ".".join(map(str, path))
    if token is None or name in token.source:
        return name
    return token.value if token.value.isidentifier() else "computed"
