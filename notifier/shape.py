"""What is wrong with the shape of decoded JSON: every fault with its place, where msgspec names only the first."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from notifier.characters import CONTROL, shown_control

AS_A_TIME = 'write it as in "2026-11-21T20:00:00+01:00", or with Z for UTC'


_PATTERNS = {
    "'^[a-z0-9_-]": ("not a name that an arm can have", "1 to 32 of a-z, 0-9, - and _, for example: question-2"),
    "'^[^": ("has a line break, a tab or another control character", "write it in one line"),
    "": ("has characters that are not allowed here", ""),
}
"""What the campaign's regular expressions want, by their beginning."""


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong in a file: where, what, and how to mend it."""

    field: str
    problem: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" + (f" ({self.mend})" if self.mend else "")


def shape_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    """Every field of the wrong type, not only the first that msgspec would name."""
    struct = _struct_of(kind)
    if struct is None or not isinstance(value, Mapping):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield Fault(path, *_in_words(str(error)))
        except (RecursionError, ValueError, OverflowError) as error:
            yield Fault(path, f"not readable: {type(error).__name__}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in value:
        if name not in fields:
            yield Fault(f"{path}.{shown_name(name)}", "unknown field", f"known: {', '.join(fields)}")
    for name, field in fields.items():
        if name in value:
            yield from _member_faults(value[name], field.type, f"{path}.{name}")
        elif field.required:
            yield Fault(f"{path}.{name}", "missing")


def _member_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    """Faults of one field: looks into lists and mappings of structs, so that each is named by its own place."""
    members = [bare for part in _alternatives(kind) if (bare := _unannotated(part)) is not None]
    for member in members:
        inner = get_args(member)
        if get_origin(member) is tuple and isinstance(value, list) and _struct_of(inner[0]):
            found = [fault for n, item in enumerate(value) for fault in shape_faults(item, inner[0], f"{path}[{n}]")]
            yield from found
            if found:
                return
        if get_origin(member) is dict and isinstance(value, Mapping) and _struct_of(inner[1]):
            found = [
                fault
                for key, item in value.items()
                for fault in shape_faults(item, inner[1], f"{path}.{shown_name(key)}")
            ]
            yield from found
            if found:
                return
        if _struct_of(member) and isinstance(value, Mapping):
            yield from shape_faults(value, member, path)
            return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield Fault(path, *_in_words(str(error)))
    except (RecursionError, ValueError, OverflowError) as error:
        yield Fault(path, f"not readable: {type(error).__name__}")


def _alternatives(kind: Any) -> tuple[Any, ...]:
    kind = _unannotated(kind)
    return get_args(kind) if get_origin(kind) not in (tuple, dict, Literal, None) else (kind,)


def _unannotated(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    kind = _unannotated(kind)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _in_words(problem: str) -> tuple[str, str]:
    """msgspec's sentence, split into problem and place within the field."""
    text, _, place = problem.partition(" - at `$")
    if "matching regex" in text:  # the expression itself is for no reader
        return next(words for beginning, words in _PATTERNS.items() if beginning in text or not beginning)
    if "RFC3339" in text or "`datetime" in text:
        return text[:1].lower() + text[1:], AS_A_TIME
    return text[:1].lower() + text[1:], f"at {place.rstrip('`')}" if place.strip("`") else ""


def text_faults(value: object, place: str) -> Iterator[Fault]:
    """Texts, at any depth, that JSON can escape and a push cannot say: lone surrogates and control characters."""
    rest = [(value, place)]
    while rest:
        value, place = rest.pop()
        if isinstance(value, str) and not is_encodable(value):
            yield Fault(place, "has a lone surrogate: not encodable as UTF-8")
        elif isinstance(value, str) and (control := shown_control(value)):
            yield Fault(place, f"has the control character {control}", "remove it: it is no text")
        elif isinstance(value, Mapping):
            odd = [name for name in value if not is_encodable(str(name)) or shown_control(str(name))]
            rest += [(name, f"{place}.{shown_name(name)}") for name in odd]
            rest += [(item, f"{place}.{shown_name(name)}") for name, item in value.items()]
        elif isinstance(value, list | tuple):
            rest += [(item, f"{place}[{n}]") for n, item in enumerate(value)]


def shown_name(name: object) -> str:
    """A member's name as it may stand in a report, whatever it is made of."""
    return CONTROL.sub("\ufffd", str(name)[:60]).encode("utf-8", "replace").decode()


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can say it: a lone surrogate, which JSON can escape, it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
