"""`schedules preview`: whom a schedule of a stack would reach next, as of now; or a schedule's file with its times."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from botocore.exceptions import BotoCoreError, ClientError

from notifier.gateway.additions import addition_faults
from notifier.model.campaign import CONTROL
from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.display import preview_panel
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.left_out import in_words
from operations.cli.options import AsJson, Stack, StackFile, console, notes, print_json
from operations.cli.schedule_function import ask_function
from operations.dry_check import Inspector
from operations.dry_check.inspection import Inspection
from schedules.definition import BrokenSchedule, Schedule, read_schedule

POLL_S = 1.0
_TOKEN = "0" * 32
"""Of devices whose tokens the schedules' function keeps for itself."""


class Reached(msgspec.Struct, frozen=True):
    """Whom a schedule's time would reach as of now.

    Attributes:
        users: at most; `left_out` of them, by reason. None where it is not known.
        examples: what three of them would see. Of one of the control group, who gets nothing, there is `arm` alone.
    """

    schedule: str
    occurrence: str
    users: int
    left_out: Mapping[str, int] | None
    examples: tuple[Mapping[str, Any], ...]


@reports_errors
def preview(
    schedule: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A schedule of the stack, or a schedule's file on this machine.")
    ],
    day: Annotated[
        str, typer.Option("--day", metavar="DATE", help="Of a schedule of the stack: for this date. Default: the next.")
    ] = "",
    count: Annotated[int, typer.Option(help="Of a file: how many times.", min=1, max=1000)] = 10,
    needs_approval: Annotated[
        bool, typer.Option("--require-approval", help="Of a file: check it as a stack with RequireApproval does.")
    ] = False,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Say whom the next time of a schedule would reach as of now; or check a schedule's file, and list its next times.

    Of a schedule of the stack its audience is made, and counted: how many users there are, how many would be left out
    (too late, quiet hours, caps, lists), and what three of them would see. Nothing is sent. A file needs no stack.

    Exit 0 if it can be used, 1 if it has faults. `python -m sandbox schedule` plays a file with its audience.

    Example: notifier schedules preview day-2-engagement --day 2026-12-01
    """
    if (path := Path(schedule)).is_file():
        _of_file(path, count, needs_approval=needs_approval, as_json=as_json)
        return
    if schedule.endswith(".json") or "/" in schedule:
        raise CommandError(ExitCode.NOT_FOUND, f"{schedule}: there is no such file", "notifier schedules list")
    cloud = Cloud(find_deployment(stack, stack_file))
    found, seen = _reached(cloud, schedule, day)
    if as_json:
        print_json(found)
    else:
        _print(found, seen)


# -- of a stack -------------------------------------------------------------------------------------------------------


def _reached(cloud: Cloud, name: str, day: str) -> tuple[Reached, dict[str, Inspection]]:
    """Have the audience made, and count it; and what was found of the examples, by user."""
    event, advice = {"action": "preview", "schedule": name, "day": day}, f"notifier schedules show {name}"
    with notes().status("making its audience"):
        while (answer := ask_function(cloud, event, advice))["state"] == "preparing":
            time.sleep(POLL_S)
    if answer["state"] == "failed":
        raise CommandError(ExitCode.NOT_FINE, f"its audience cannot be made: {answer['reason']}", advice)
    campaign = answer["campaign"]
    left_out = _left_out(cloud, answer["manifest"], campaign)
    seen = {record["user_id"]: _seen(campaign, record) for record in answer["examples"]}
    examples = tuple(_example(user_id, one) for user_id, one in seen.items())
    return Reached(name, answer["occurrence"], answer["users"], left_out, examples), seen


def _left_out(cloud: Cloud, manifest: str, campaign: Mapping[str, Any]) -> Mapping[str, int] | None:
    """How many would be left out, by reason, as the audience function finds. None where it does not."""
    lambda_, payload = cloud.client("lambda"), {"left_out": manifest, "bucket": cloud.deployment.bucket}
    try:
        settings = lambda_.get_function_configuration(FunctionName=cloud.deployment.schedules)
        answer = lambda_.invoke(
            FunctionName=settings["Environment"]["Variables"]["AUDIENCE_FUNCTION"],
            InvocationType="RequestResponse",
            Payload=msgspec.json.encode(payload | {"campaign": campaign}),
        )
    except (BotoCoreError, ClientError):
        notes().print("how many would be left out is not known: the audience function could not be asked")
        return None
    found = msgspec.json.decode(answer["Payload"].read())
    if answer.get("FunctionError") or "left_out" not in found:
        fault = found.get("fault", "the audience function failed: look at its logs")
        notes().print(f"how many would be left out is not known: {fault}", markup=False)
        return None
    left_out: dict[str, int] = found["left_out"]
    return left_out


def _seen(campaign: Mapping[str, Any], record: Mapping[str, Any]) -> Inspection:
    """What a worker would make of a user, without regard to the hour. Raises CommandError."""
    members = {name: value for name, value in campaign.items() if name not in ("local_time", "quiet")}
    devices = [device | {"token": _TOKEN} for device in record["devices"]]
    inspector = Inspector("", addition_faults, 1, time.time())
    if inspector.take_campaign(members) is None:
        faults = "; ".join(map(str, inspector.found.faults))
        raise CommandError(ExitCode.NOT_FINE, f"the worker would refuse its batch file: {faults}", "correct the file")
    inspector.take_records([[dict(record) | {"devices": devices}]])
    return inspector.finish()


def _example(user_id: str, seen: Inspection) -> dict[str, Any]:
    for shown in seen.previews:
        return {name: getattr(shown, name) for name in ("user_id", "arm", "locale", "title", "body")}
    if seen.broken:
        return {"user_id": user_id, "broken": seen.broken[0].reason}
    return {"user_id": user_id, "arm": CONTROL}


def _print(found: Reached, seen: Mapping[str, Inspection]) -> None:
    out = console()
    out.print(f"{found.schedule} {found.occurrence}", style="bold", markup=False)
    known = found.left_out is not None
    users = in_words(found.users, found.left_out or {}) if known else f"at most {counted(found.users, 'user')}"
    out.print(users, markup=False)
    for example in found.examples:
        for shown in seen[example["user_id"]].previews:
            out.print(preview_panel(shown))
        if "title" not in example:
            why = f"broken: {example['broken']}" if "broken" in example else "in the control group: gets nothing"
            out.print(f"{example['user_id']}: {why}", markup=False)


# -- of a file --------------------------------------------------------------------------------------------------------


def schedule_name(file: Path) -> str:
    """The name that a schedule's file gives it. Raises CommandError for YAML."""
    if file.suffix.lower() in (".yaml", ".yml"):
        mend = f"yq -o json {file} > {file.stem}.json"
        raise CommandError(ExitCode.USAGE, f"{file}: a schedule is JSON, and this is YAML", mend)
    return file.stem if file.suffix.lower() == ".json" else file.name


def _of_file(file: Path, count: int, *, needs_approval: bool, as_json: bool) -> None:
    try:
        schedule = read_schedule(schedule_name(file), file.read_bytes(), needs_approval=needs_approval)
    except BrokenSchedule as error:
        for fault in error.faults:
            console().print(f"{file}: {fault}", markup=False)
        raise typer.Exit(ExitCode.NOT_FINE) from None
    _print_times(schedule, count, as_json=as_json)


def _print_times(schedule: Schedule, count: int, *, as_json: bool) -> None:
    found: list[dict[str, str]] = []
    for occurrence in schedule.timetable.after(datetime.now(UTC)):
        if len(found) == count:
            break
        found.append({"id": f"{schedule.name}-{occurrence.stamp}", "utc": f"{occurrence.utc:%Y-%m-%dT%H:%M:%SZ}"})
    if as_json:
        print_json(found)
        return
    if not found:
        console().print("it has no time that is still to come", markup=False)
    for one in found:
        console().print(f"{one['id']}   {one['utc']}", markup=False)
