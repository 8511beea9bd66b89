"""A compiled text, and its plain kind, which only prints attributes: a join fills it in, without Liquid."""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from notifier.model.characters import is_blank
from notifier.model.spelling import BrokenRecord

AS_IN = "as in {{ first_name | default: 'there' }} or {% if first_name %}Hi{% endif %}"
MAX_QUOTED_CHARS = 40
"""Of a value, in a message for an operator."""
_MAX_EXPONENT = 40
"""A number with a larger exponent is printed with it: 1e400 would be 400 zeros."""


class BadTemplate(ValueError):
    """A text that is not Liquid, or uses what is not allowed. The message has line and column; `mend` what to write."""

    def __init__(self, problem: str, mend: str = AS_IN) -> None:
        super().__init__(problem)
        self.mend = mend


class UnfitValue(BrokenRecord):
    """An attribute has a value that the text cannot use, such as text where a number is compared.

    The message is the record's reason. It has no value, because reasons are stored and counted. `with_value` has it,
    for an operator who looks at the records.

    Args:
        problem: with `{}` for the attribute's name.
        value: shortened in `with_value`.
        mend: what to write instead.
        name: of the attribute, as the text writes it; "" if it is not known yet.
    """

    def __init__(self, problem: str, value: object, mend: str = "", name: str = "") -> None:
        self._problem, self._value, self._mend = problem, value, mend
        self.name = name
        fix = f" ({mend})" if mend else ""
        super().__init__(problem.format(f"`{name}`" if name else "a value") + fix)
        quoted = as_text(value)[:MAX_QUOTED_CHARS]
        self.with_value = f'{self}: it is "{quoted}"' if isinstance(value, str | Decimal | int | float) else str(self)

    def of(self, name: str) -> "UnfitValue":
        """The same fault with the attribute's name."""
        return UnfitValue(self._problem, self._value, self._mend, name)


class Slot(Struct, frozen=True):
    """A position at which one attribute is printed, or `default` if the attribute is missing or empty."""

    name: str
    default: str | None = None

    def text_of(self, value: object) -> str:
        """The text that is printed for a value. None is a missing attribute: exports write null for it."""
        if value is None:
            if self.default is None:
                raise missing(self.name)
            return self.default
        # What Liquid's `default` takes for empty: false, "", [] and {}; not 0, and not a blank text.
        if self.default is not None and (value is False or (isinstance(value, str | list | dict) and not value)):
            return self.default
        return as_text(value)


class PlainTemplate:
    """A text that only prints attributes."""

    unquoted = frozenset[str]()
    """Those of `roots` that may be texts without their quotes: `default: there`. Of a plain text none."""

    def __init__(self, pieces: tuple[str | Slot, ...]) -> None:
        self._pieces = pieces
        slots = [piece for piece in pieces if isinstance(piece, Slot)]
        self.required = frozenset(slot.name for slot in slots if slot.default is None)
        """Attributes without which it cannot be filled in."""
        self.roots = frozenset(slot.name for slot in slots)
        """Every attribute that the text mentions, also where it may be missing."""
        self.names: frozenset[str] | None = self.roots
        """The attributes that it prints."""
        self.always_visible = any(not is_blank(piece) for piece in pieces if isinstance(piece, str))
        """Whether a reader sees something, whatever the attributes are."""

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one recipient. Raises BrokenRecord naming the attribute that is missing."""
        # Written out, because it runs for every recipient: most values are texts and need no `text_of`.
        out = []
        for piece in self._pieces:
            if type(piece) is str:
                out.append(piece)
                continue
            value = values.get(piece.name)  # type: ignore[union-attr]
            out.append(value if type(value) is str and value else piece.text_of(value))  # type: ignore[union-attr]
        return "".join(out)


def has_placeholder(text: str) -> bool:
    """Whether the text has to be filled in."""
    return "{{" in text or "{%" in text


def missing(name: str) -> BrokenRecord:
    """The reason given for a record that lacks an attribute."""
    return BrokenRecord(f"attribute `{name}` is missing")


def as_text(value: object) -> str:
    """A value as Liquid prints it; a number with a decimal point as the file writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, Decimal):
        # 1E+3 prints as 1000. Beyond the limit a short number would become a text of any length.
        return f"{value:f}" if value.is_finite() and abs(value.adjusted()) < _MAX_EXPONENT else str(value)
    if isinstance(value, list):
        return "".join(map(str, value))
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    return str(value)
