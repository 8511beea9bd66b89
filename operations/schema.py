"""The JSON Schema of the batch file, generated from the types: `python -m operations.schema` prints it.

It is kept in `docs/batch-file.schema.json`. What a schema cannot say (percentages that sum to 100, texts that the
gateways refuse) is checked by `notifier.model.campaign_reading.read_campaign`.
"""

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from notifier.model.audience_request import SOURCES, AudienceSource
from notifier.model.campaign import Campaign
from notifier.model.recipient import UserRecord

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class BatchFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One push campaign and whom it is for: `users` in the file itself, or `audience`, which says where they are.

    UTF-8, plain or gzip, members in any order.
    """

    campaign: Campaign
    users: Annotated[
        tuple[UserRecord, ...],
        Meta(description="A broken record is counted, written out with its index and reason, and skipped."),
    ] = ()
    audience: AudienceSource | None = None


def batch_file_schema() -> dict[str, Any]:
    """The schema, in JSON Schema's 2020-12 dialect."""
    schema = msgspec.json.schema(BatchFile)
    for node in _objects_in(schema):
        if "description" in node and isinstance(node["description"], str):
            node["description"] = inspect.cleandoc(node["description"])
        if node.get("format") == "decimal":
            _as_number(node)
        # The default of an optional member is its absence: as `null` the schema would invite people to write it.
        if node.get("default", ...) is None:
            del node["default"]
    whole, record = schema["$defs"]["BatchFile"], schema["$defs"]["UserRecord"]
    whole["oneOf"] = [{"required": ["users"]}, {"required": ["audience"]}]
    whole["properties"]["audience"] = {"$ref": "#/$defs/AudienceSource"}
    whole["properties"]["users"].pop("default")
    record["anyOf"] = [{"required": ["devices"]}, {"required": ["platform", "token"]}]
    source = schema["$defs"]["AudienceSource"]
    source["oneOf"] = [{"required": [name]} for name in SOURCES]
    for name in ("all", "any", "without"):
        source["properties"][name]["items"] = {"$ref": "#/$defs/AudienceSource"}
    return {"$schema": DIALECT, "title": "Batch file", **schema}


def _as_number(node: dict[str, Any]) -> None:
    """Declare a decimal as a number, as a batch file has it: msgspec declares decimals as strings."""
    node["type"] = "number"
    del node["format"]
    if "default" in node:
        node["default"] = int(node["default"])


def _objects_in(node: object) -> Iterator[dict[str, Any]]:
    """Every object of a JSON value, outermost first."""
    if isinstance(node, dict):
        yield node
        for member in list(node.values()):
            yield from _objects_in(member)
    elif isinstance(node, list):
        for item in node:
            yield from _objects_in(item)


def as_text() -> str:
    """The contents of `docs/batch-file.schema.json`."""
    return json.dumps(batch_file_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
