"""Finds every fault in the structure of decoded JSON, each with its path. msgspec itself names only the first."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from notifier.model.characters import CONTROL_CHARACTER, control_character_in
from notifier.model.plain_words import described, wrong

_NAME_CHARS = 60
"""Of a member's name, in a message."""


class Fault(msgspec.Struct, frozen=True):
    """One fault of a file: the path of the field, the problem, and what to write instead (`mend`)."""

    field: str
    problem: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" + (f" ({self.mend})" if self.mend else "")


def shape_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    """A fault for each field that is unknown, missing or of the wrong type.

    Args:
        kind: the type that the value should have.
        path: of the value in the file.
    """
    struct = _struct_of(kind)
    if struct is None or not isinstance(value, Mapping):
        yield from _kind_faults(value, kind, path)
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in value:
        if name not in fields and struct.__struct_config__.forbid_unknown_fields:
            import difflib  # noqa: PLC0415 - only for a file that is refused

            close = difflib.get_close_matches(str(name).lower(), fields, 1)
            meant = f"did you mean {close[0]}? " if close else ""
            yield Fault(f"{path}.{printable_name(name)}", "unknown field", f"{meant}known: {', '.join(fields)}")
    for name, field in fields.items():
        if name in value:
            yield from _member_faults(value[name], field.type, f"{path}.{name}")
        elif field.required:
            yield Fault(f"{path}.{name}", "missing")


def _member_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    """The faults of one field. It looks into structs, lists and mappings, so that each fault has its own path."""
    # Of a union such as `Text | None` the member that the value looks like is the one that was meant.
    for member in _alternatives(kind):
        bare = _unannotated(member)
        inner = get_args(bare)
        found: list[Fault] = []
        if get_origin(bare) is tuple and isinstance(value, list):
            found = [fault for n, item in enumerate(value) for fault in shape_faults(item, inner[0], f"{path}[{n}]")]
        elif get_origin(bare) is dict and isinstance(value, Mapping):
            for name, item in value.items():
                at = f"{path}.{printable_name(name)}"
                found += [*_kind_faults(name, inner[0], at), *shape_faults(item, inner[1], at)]
        # An object where a struct is expected: its fields' faults say more than "not a text" of the other member.
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


def text_faults(value: object, path: str) -> Iterator[Fault]:
    """A fault for each text, at any depth, with a lone surrogate or a control character, which no push can have."""
    # A list instead of recursion: the value's depth is not checked yet.
    waiting = [(value, path)]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, str) and not is_encodable(value):
            yield Fault(path, "has a lone surrogate: not encodable as UTF-8")
        elif isinstance(value, str) and (control := control_character_in(value)):
            yield Fault(path, f"has the control character {control}", "remove it: it is no text")
        elif isinstance(value, Mapping):
            odd = [name for name in value if not is_encodable(str(name)) or control_character_in(str(name))]
            waiting += [(name, f"{path}.{printable_name(name)}") for name in odd]
            waiting += [(item, f"{path}.{printable_name(name)}") for name, item in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(item, f"{path}[{n}]") for n, item in enumerate(value)]


def printable_name(name: object) -> str:
    """A member's name for a message: shortened, without control characters and lone surrogates."""
    return CONTROL_CHARACTER.sub("\ufffd", str(name)[:_NAME_CHARS]).encode("utf-8", "replace").decode()


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can encode the text. It cannot encode a lone surrogate, which JSON can escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
