"""The JSON Schema of `queries/NAME.json`, generated from the types: `python -m operations.query_schema` prints it.

It is kept in `docs/query.schema.json`. What a schema cannot say (that the SQL has just these parameters, that defaults
are among the choices) is checked by `audiences.queries.read_query`.
"""

import inspect
import json
import sys
from typing import Any

import msgspec

from notifier.model.stored_query import StoredQuery
from operations.schema import DIALECT


def query_schema() -> dict[str, Any]:
    """The schema, in JSON Schema's 2020-12 dialect."""
    schema = msgspec.json.schema(StoredQuery)
    for node in schema["$defs"].values():
        node["description"] = inspect.cleandoc(node["description"])
    parameter = schema["$defs"]["Parameter"]
    # `texts` has lists, of which each text is one of the choices; a date is a text.
    kinds = {
        "text": {"type": "string"},
        "date": {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}(?![\s\S])"},
        "integer": {"type": "integer"},
        "number": {"type": "number"},
        "boolean": {"type": "boolean"},
    }
    rules = [_rule(name, kind, kind) for name, kind in kinds.items()]
    rules.append(_rule("texts", {"type": "string"}, {"type": "array", "items": {"type": "string"}}))
    parameter["allOf"] = rules
    return {"$schema": DIALECT, "title": "Stored query", **schema}


def _rule(name: str, choice: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """What values are where the type is `name`."""
    members = {"choices": {"items": choice}, "default": default}
    return {"if": {"properties": {"type": {"const": name}}}, "then": {"properties": members}}


def as_text() -> str:
    """The contents of `docs/query.schema.json`."""
    return json.dumps(query_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
