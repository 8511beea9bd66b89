"""CloudFormation's YAML and its intrinsic functions, resolved the way the service does it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_TAGS_WITHOUT_FN: Final = frozenset({"Ref", "Condition"})
_PLACEHOLDER: Final = re.compile(r"\$\{(!?)([^}]+)\}")


class TemplateError(ValueError):
    """The template cannot be run here; the text names the place in it."""


# libyaml's parser, in every wheel of PyYAML: the template takes a tenth of the second that the one in Python needs.
class _Loader(yaml.CSafeLoader):
    """YAML with the short forms (`!Ref`, `!Sub`) and with dates left as text, as CloudFormation reads it."""


def _short_form(loader: yaml.CSafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in _TAGS_WITHOUT_FN else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short_form)
_Loader.yaml_constructors["tag:yaml.org,2002:timestamp"] = yaml.SafeLoader.construct_yaml_str


def load(path: Path) -> dict[str, Any]:
    """The template as plain values, short forms turned into `{"Fn::Sub": …}`. Raises TemplateError."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise TemplateError(f"{path}: {error}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("Resources"), dict):
        raise TemplateError(f"{path}: no Resources")
    return tree


class _NoValue:
    """The value of AWS::NoValue: the property is left out."""


NO_VALUE: Final = _NoValue()


class Resolver:
    """Resolves intrinsic functions, given the values of references.

    `reference` answers `Ref` and `${Name}`, `attribute` answers `GetAtt`; both raise KeyError for what they do not
    know. Every error is a TemplateError that begins with the place.
    """

    def __init__(
        self,
        reference: Callable[[str], Any],
        attribute: Callable[[str, str], str],
        conditions: Mapping[str, Any],
        mappings: Mapping[str, Any],
    ) -> None:
        self._reference = reference
        self._attribute = attribute
        self._conditions = conditions
        self._mappings = mappings
        self._functions: dict[str, Callable[[Any, str], Any]] = {
            "Ref": self._ref,
            "Condition": lambda name, where: self.condition(str(name), where),
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Equals": self._equals,
            "Fn::Not": lambda value, where: not self._truths(value, where)[0],
            "Fn::And": lambda value, where: all(self._truths(value, where)),
            "Fn::Or": lambda value, where: any(self._truths(value, where)),
        }

    def resolve(self, node: Any, where: str) -> Any:
        """The node without intrinsics. `where` names the place for errors, such as `WorkerFunction.Environment`."""
        if isinstance(node, list):
            items = (self.resolve(item, f"{where}[{index}]") for index, item in enumerate(node))
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, value),) = node.items()
            if name in self._functions and not (name == "Condition" and isinstance(value, dict)):
                return self._functions[name](value, where)
            if isinstance(name, str) and name.startswith("Fn::"):
                raise TemplateError(f"{where}: {name} is not known to the sandbox")
        resolved = {key: self.resolve(value, f"{where}.{key}") for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NO_VALUE}

    def condition(self, name: str, where: str) -> bool:
        """Whether a named condition of the template holds."""
        if name not in self._conditions:
            raise TemplateError(f"{where}: no condition {name}")
        return bool(self.resolve(self._conditions[name], f"Conditions.{name}"))

    def _ref(self, name: Any, where: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        try:
            return self._reference(str(name))
        except KeyError:
            raise TemplateError(f"{where}: Ref to {name}, which is neither a parameter nor a resource") from None

    def _get_att(self, value: Any, where: str) -> str:
        parts = [str(self.resolve(part, where)) for part in self._list(value, where)]
        resource, name = parts[0], ".".join(parts[1:])
        try:
            return self._attribute(resource, name)
        except KeyError:
            raise TemplateError(f"{where}: GetAtt {resource}.{name} is not known to the sandbox") from None

    def _sub(self, value: Any, where: str) -> str:
        text, own = value if isinstance(value, list) else (value, {})
        variables = {key: self.resolve(item, where) for key, item in own.items()}

        def fill(match: re.Match[str]) -> str:
            literal, name = match.group(1), match.group(2).strip()
            if literal:
                return f"${{{name}}}"
            if name in variables:
                return as_text(variables[name])
            if "." in name:
                return self._get_att(name.split(".", 1), where)
            return as_text(self._ref(name, where))

        return _PLACEHOLDER.sub(fill, str(text))

    def _join(self, value: Any, where: str) -> str:
        separator, items = self._list(value, where)
        return str(separator).join(as_text(item) for item in self._list(items, where))

    def _select(self, value: Any, where: str) -> Any:
        index, items = self._list(value, where)
        resolved = self._list(items, where)
        try:
            return resolved[int(index)]
        except (IndexError, ValueError):
            raise TemplateError(f"{where}: Select {index} of {len(resolved)} items") from None

    def _split(self, value: Any, where: str) -> list[str]:
        separator, text = self._list(value, where)
        return as_text(text).split(str(separator))

    def _find_in_map(self, value: Any, where: str) -> Any:
        keys = [str(key) for key in self._list(value, where)]
        found: Any = self._mappings
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                raise TemplateError(f"{where}: nothing in Mappings under {'.'.join(keys)}")
            found = found[key]
        return found

    def _if(self, value: Any, where: str) -> Any:
        if not isinstance(value, list) or len(value) != 3:
            raise TemplateError(f"{where}: If wants a condition and two values")
        name, then, otherwise = value
        return self.resolve(then if self.condition(str(name), where) else otherwise, where)

    def _equals(self, value: Any, where: str) -> bool:
        left, right = self._list(value, where)
        return as_text(left) == as_text(right)

    def _truths(self, value: Any, where: str) -> list[bool]:
        return [bool(item) for item in self._list(value, where)]

    def _list(self, value: Any, where: str) -> list[Any]:
        resolved = self.resolve(value, where)
        if not isinstance(resolved, list):
            raise TemplateError(f"{where}: a list is expected")
        return resolved


def as_text(value: Any) -> str:
    """A scalar as CloudFormation writes it: `true`, `60000`; a list joined by commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return str(value)
