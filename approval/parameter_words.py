"""A stored query's parameters in the composer: what each is called there, and what may be filled in. No I/O."""

from msgspec import UNSET

from notifier.model.stored_query import Parameter, ParameterKind

MAX_LABEL_CHARS = 80
"""A longer description is a hint: the label is then made of the name."""
_TYPES: dict[ParameterKind, str] = {
    "text": "A text.",
    "integer": "A whole number, such as 3.",
    "number": "A number, such as 2.5.",
    "date": "A date.",
    "boolean": "Yes or no.",
    "texts": "Texts, each on a line of its own.",
}
_YES_OR_NO = (("true", "yes"), ("false", "no"))


def label(name: str, parameter: Parameter) -> str:
    """What a parameter is called: its description where there is a short one, else its name as words."""
    described = parameter.description.strip().removesuffix(".")
    if 0 < len(described) <= MAX_LABEL_CHARS:
        return described
    words = name.replace("_", " ").strip() or name
    return f"{words[:1].upper()}{words[1:]}"


def hint(name: str, parameter: Parameter) -> str:
    """What may be filled in: type or choices, what is taken if nothing is, and a description that is no label."""
    said = [] if label(name, parameter) == parameter.description.strip().removesuffix(".") else [parameter.description]
    found = choices(parameter)
    if found and parameter.type == "texts":
        said.append("Any of these.")
    elif found and parameter.type != "boolean":
        said.append(f"One of {len(found)} choices.")
    else:
        said.append(_TYPES[parameter.type])
    default = default_words(parameter)
    if parameter.default is UNSET:
        said.append("It must be filled in.")
    else:
        said.append(f"If empty: {default}." if default else "May be left empty.")
    return " ".join(one for one in said if one)


def choices(parameter: Parameter) -> tuple[tuple[str, str], ...]:
    """What may be chosen, each with its words; empty where anything may be typed."""
    if parameter.choices is UNSET:
        return _YES_OR_NO if parameter.type == "boolean" else ()
    return tuple((_typed(one), _words(one)) for one in parameter.choices)


def default_words(parameter: Parameter) -> str:
    """The parameter's default as the page says it; empty where there is none."""
    default = parameter.default
    if default is UNSET:
        return ""
    return ", ".join(default) if isinstance(default, tuple) else _words(default)


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(value: object) -> str:
    return dict(_YES_OR_NO)[_typed(value)] if isinstance(value, bool) else str(value)
