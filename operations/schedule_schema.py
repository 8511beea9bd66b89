"""The JSON Schema of `schedules/NAME.json`, generated from the types: `python -m operations.schedule_schema` prints it.

It is kept in `docs/schedule.schema.json`. What a schema cannot say (that a cron expression matches a date, that a zone
exists) is checked by `schedules.definition.read_schedule`.
"""

import inspect
import json
import sys
from typing import Any

import msgspec

from operations.schema import DIALECT, batch_file_schema
from schedules.definition import DatedDrops, ScheduleFile


def schedule_schema() -> dict[str, Any]:
    """The schema, in JSON Schema's 2020-12 dialect. Campaign and audience are those of the batch file's."""
    schema = msgspec.json.schema(ScheduleFile)
    definitions = schema["$defs"]
    definitions |= msgspec.json.schema(DatedDrops)["$defs"]
    for node in definitions.values():
        node["description"] = inspect.cleandoc(node["description"])
        for name, member in list(node.get("properties", {}).items()):
            # The default of an optional member is its absence.
            if member.get("default", ...) is None:
                del node["properties"][name]["default"]
    batch_file = batch_file_schema()["$defs"]
    campaign = batch_file["Campaign"] | {"required": ["message"]}
    # Each occurrence has its own.
    own = ("id", "again", "test", "not_before", "abort_after")
    campaign["properties"] = {name: one for name, one in campaign["properties"].items() if name not in own}
    shared = {name: one for name, one in batch_file.items() if name not in ("BatchFile", "UserRecord")}
    schema["$defs"] = shared | definitions | {"ScheduledCampaign": campaign}
    del schema["$defs"]["Campaign"]
    whole = schema["$defs"]["ScheduleFile"]["properties"]
    whole["campaign"] = {"$ref": "#/$defs/ScheduledCampaign", "description": whole["campaign"]["description"]}
    whole["audience"]["anyOf"] = [{"$ref": "#/$defs/AudienceSource"}, {"$ref": "#/$defs/DatedDrops"}]
    schema["$defs"]["When"]["oneOf"] = [{"required": ["cron"]}, {"required": ["at"]}]
    return {"$schema": DIALECT, "title": "Schedule", **schema}


def as_text() -> str:
    """The contents of `docs/schedule.schema.json`."""
    return json.dumps(schedule_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
