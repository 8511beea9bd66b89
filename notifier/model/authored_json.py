"""JSON that a person writes, such as a stored query or a schedule: decoded strictly, with the place of a fault.

The standard library's decoder: it says where a fault is, and sees members that are there twice.
"""

import json
from typing import Any

from notifier.model.validation import Fault, printable_name


class BadJson(ValueError):
    """The text cannot be decoded. `fault` says where and why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def decode_authored(data: bytes, root: str) -> object:
    """The value in a file.

    Args:
        root: how paths of the file's members begin.

    Raises:
        BadJson: it is not UTF-8, not JSON, nested too deeply, or has a member twice.
    """

    def once(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in members]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise BadJson(Fault(f"{root}.{printable_name(twice)}", "given twice", "leave one of them"))
        return dict(members)

    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=once)
    except UnicodeDecodeError as error:
        raise BadJson(Fault(f"byte {error.start}", "is not UTF-8", "save it as UTF-8")) from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise BadJson(Fault(at, f"is not JSON: {error.msg.lower()}", "correct it")) from None
    except RecursionError:
        raise BadJson(Fault(root, "nested too deeply", "flatten it")) from None
