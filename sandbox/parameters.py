"""A template's parameters: their defaults and what overrides them, checked as CloudFormation checks them."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.intrinsics import TemplateError, as_text


def parameter_values(declared: Mapping[str, Mapping[str, Any]], overrides: Mapping[str, str]) -> dict[str, Any]:
    """The value of every declared parameter: text, or a list of texts. Raises TemplateError."""
    unknown = sorted(set(overrides) - set(declared))
    if unknown:
        raise TemplateError(f"Parameters: the template has no {', '.join(unknown)}")
    return {name: _parameter(name, item, overrides) for name, item in declared.items()}


def _parameter(name: str, declared: Mapping[str, Any], overrides: Mapping[str, str]) -> Any:
    value = overrides[name] if name in overrides else declared.get("Default")
    if value is None:
        raise TemplateError(f"Parameters.{name}: no default, and no value was given")
    text = as_text(value)
    kind = str(declared.get("Type", "String"))
    if kind.startswith("AWS::SSM::") and name not in overrides:
        raise TemplateError(f"Parameters.{name}: {kind} cannot be looked up in the sandbox; give a value")
    allowed = [as_text(item) for item in declared.get("AllowedValues", ())]
    if allowed and text not in allowed:
        raise TemplateError(f"Parameters.{name}: {text!r} is none of {', '.join(allowed)}")
    if "AllowedPattern" in declared and not re.fullmatch(str(declared["AllowedPattern"]), text):
        raise TemplateError(f"Parameters.{name}: {text!r} does not match {declared['AllowedPattern']}")
    if kind == "Number":
        _check_number(name, text, declared)
    return text.split(",") if kind == "CommaDelimitedList" else text


def _check_number(name: str, text: str, declared: Mapping[str, Any]) -> None:
    try:
        number = float(text)
    except ValueError:
        raise TemplateError(f"Parameters.{name}: {text!r} is not a number") from None
    if number < float(declared.get("MinValue", number)) or number > float(declared.get("MaxValue", number)):
        raise TemplateError(f"Parameters.{name}: {text} is out of range")
