"""What is wrong with the shape of decoded JSON: every fault with its place, where msgspec names only the first."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from notifier.model.characters import CONTROL, shown_control
from notifier.model.plain_words import described, wrong


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
        yield from _kind_faults(value, kind, path)
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in value:
        if name not in fields and struct.__struct_config__.forbid_unknown_fields:
            yield Fault(f"{path}.{shown_name(name)}", "unknown field", f"known: {', '.join(fields)}")
    for name, field in fields.items():
        if name in value:
            yield from _member_faults(value[name], field.type, f"{path}.{name}")
        elif field.required:
            yield Fault(f"{path}.{name}", "missing")


def _member_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    """Faults of one field: looks into structs, lists and mappings, so that each fault is named by its own place."""
    for member in _alternatives(kind):
        bare = _unannotated(member)
        inner = get_args(bare)
        found: list[Fault] = []
        if get_origin(bare) is tuple and isinstance(value, list):
            found = [fault for n, item in enumerate(value) for fault in shape_faults(item, inner[0], f"{path}[{n}]")]
        elif get_origin(bare) is dict and isinstance(value, Mapping):
            for name, item in value.items():
                at = f"{path}.{shown_name(name)}"
                found += [*_kind_faults(name, inner[0], at), *shape_faults(item, inner[1], at)]
        elif _struct_of(bare) and isinstance(value, Mapping):
            yield from shape_faults(value, bare, path)
            return
        if found:
            yield from found
            return
    yield from _kind_faults(value, kind, path)


def _kind_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield Fault(path, *wrong(value, kind, str(error)))
    except RecursionError:
        yield Fault(path, "nested too deeply", "flatten it")
    except (ValueError, OverflowError):
        yield Fault(path, f"{described(value)} cannot be read")


def _alternatives(kind: Any) -> tuple[Any, ...]:
    kind = _unannotated(kind)
    return get_args(kind) if get_origin(kind) not in (tuple, dict, Literal, None) else (kind,)


def _unannotated(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    kind = _unannotated(kind)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


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
