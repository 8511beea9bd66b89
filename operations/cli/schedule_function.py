"""Asks the function of the schedules, which carries out what people want of schedules and winners."""

from collections.abc import Mapping
from typing import Any

import msgspec

from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.errors import CommandError, ExitCode


def ask_function(cloud: Cloud, event: Mapping[str, Any], mend: str) -> dict[str, Any]:
    """What the function of the schedules answers. Raises CommandError, with this advice where it refuses."""
    function = cloud.deployment.schedules
    if not function:
        advice = "deploy this release, or set NOTIFIER_SCHEDULES to the name of its function"
        raise CommandError(ExitCode.NOT_FOUND, "this stack has no function for schedules and winners", advice)
    payload = msgspec.json.encode(event)
    answer = cloud.client("lambda").invoke(FunctionName=function, InvocationType="RequestResponse", Payload=payload)
    body = answer["Payload"].read()
    if answer.get("FunctionError"):
        raise CommandError(ExitCode.UNREACHABLE, f"the function failed: {body.decode()[:500]}", "look at its logs")
    decoded: dict[str, Any] = msgspec.json.decode(body)
    if "refused" in decoded:
        faults = decoded.get("faults", ())
        # Each with its field, on a line of its own: the answer in one sentence has the first ones alone.
        about = f"schedules/{event.get('schedule')}.json: {counted(len(faults), 'fault')}"
        raise CommandError(ExitCode.NOT_FINE, "\n".join((about, *faults)) if faults else decoded["refused"], mend)
    return decoded
