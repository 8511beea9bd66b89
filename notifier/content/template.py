"""One text with placeholders, compiled once and filled in a million times.

Placeholders are Liquid (https://shopify.github.io/liquid/). Most texts only print attributes, with or without a
default; those are filled in by a join, without Liquid. All others are rendered by Liquid itself (`liquid_text`), which
is imported only when a text has a placeholder.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from notifier.model.characters import is_blank
from notifier.model.recipient import BrokenRecord

MAX_SOURCE_CHARS = 20_000
"""No payload holds more than 4,096 bytes: a longer text is a mistake."""
AS_IN = "as in {{ first_name | default: 'there' }} or {% if first_name %}Hi{% endif %}"
MAX_SHOWN_CHARS = 40
"""Of a value, where somebody looks at a record."""
_MAX_SHIFT = 40


class BadTemplate(ValueError):
    """A text that is not Liquid, or not the Liquid we allow. The message says what and where, `mend` what to write."""

    def __init__(self, problem: str, mend: str = AS_IN) -> None:
        super().__init__(problem)
        self.mend = mend


class UnfitValue(BrokenRecord):
    """An attribute whose value a text cannot use, such as text where a number is compared.

    The reason has no value in it, because reasons are stored and counted. `shown` has, for who looks at the record.

    Args:
        problem: with `{}` for the attribute.
        value: shortened where it is shown.
        name: of the attribute, as the text writes it; empty while it is not known.
    """

    def __init__(self, problem: str, value: object, mend: str = "", name: str = "") -> None:
        self._problem, self._value, self._mend = problem, value, mend
        self.name = name
        mended = f" ({mend})" if mend else ""
        super().__init__(problem.format(f"`{name}`" if name else "a value") + mended)
        value_shown = as_text(value)[:MAX_SHOWN_CHARS]
        self.shown = f'{self}: it is "{value_shown}"' if isinstance(value, str | Decimal | int | float) else str(self)

    def of(self, name: str) -> "UnfitValue":
        """The same of a named attribute."""
        return UnfitValue(self._problem, self._value, self._mend, name)


class Template(Protocol):
    """A compiled text."""

    @property
    def required(self) -> frozenset[str]:
        """Attributes without which it cannot be filled in. Empty for what only rendering can tell."""

    @property
    def names(self) -> frozenset[str] | None:
        """The attributes it prints; None when only rendering can tell."""

    @property
    def roots(self) -> frozenset[str]:
        """Every attribute that it asks for, needed or not."""

    @property
    def unquoted(self) -> frozenset[str]:
        """Of these the words that stand where a text in quotes might be meant: `default: there`."""

    @property
    def is_seen(self) -> bool:
        """Whether a reader sees something whatever the attributes are."""

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one recipient. Raises BrokenRecord naming the attribute that is missing."""


class Slot(Struct, frozen=True):
    """A place where one attribute is printed; `default` stands in for a missing or empty one."""

    name: str
    default: str | None = None

    def text_of(self, value: object) -> str:
        """What is printed for a value of the attribute; None is a missing one, as in exports."""
        if value is None:
            if self.default is None:
                raise missing(self.name)
            return self.default
        if self.default is not None and (value is False or (isinstance(value, str | list | dict) and not value)):
            return self.default
        return as_text(value)


class PlainTemplate:
    """A text that only prints attributes."""

    unquoted = frozenset[str]()

    def __init__(self, pieces: tuple[str | Slot, ...]) -> None:
        self._pieces = pieces
        slots = [piece for piece in pieces if isinstance(piece, Slot)]
        self.required = frozenset(slot.name for slot in slots if slot.default is None)
        self.roots = frozenset(slot.name for slot in slots)
        self.names: frozenset[str] | None = self.roots
        self.is_seen = any(not is_blank(piece) for piece in pieces if isinstance(piece, str))

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one recipient. Raises BrokenRecord naming the attribute that is missing."""
        out = []
        for piece in self._pieces:
            if type(piece) is str:
                out.append(piece)
                continue
            value = values.get(piece.name)  # type: ignore[union-attr]
            out.append(value if type(value) is str and value else piece.text_of(value))  # type: ignore[union-attr]
        return "".join(out)


def has_placeholder(text: str) -> bool:
    """Whether the text is more than itself."""
    return "{{" in text or "{%" in text


def compiled(source: str) -> Template:
    """The template of a text.

    Raises:
        BadTemplate: with line and column, when it is not Liquid or uses what is not allowed.
    """
    if not has_placeholder(source):
        return PlainTemplate((source,))
    if len(source) > MAX_SOURCE_CHARS:
        raise BadTemplate(f"longer than {MAX_SOURCE_CHARS} characters", "shorten it: a payload holds 4,096 bytes")
    from notifier.content import liquid as liquid_text  # noqa: PLC0415 - costs 0.3 s, and most campaigns never need it

    return liquid_text.compiled(source)


def missing(name: str) -> BrokenRecord:
    """The reason given for a record that lacks an attribute."""
    return BrokenRecord(f"attribute `{name}` is missing")


def as_text(value: object) -> str:
    """A value as Liquid prints it; a number with a decimal point as it stood in the file."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() and abs(value.adjusted()) < _MAX_SHIFT else str(value)
    if isinstance(value, list):
        return "".join(map(str, value))
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    return str(value)
