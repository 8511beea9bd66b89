"""`schedules put`: a schedule's file from this machine into the stack, by the step with which the pages save one."""

import difflib
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.identity import approver
from operations.cli.options import ApprovesBy, AsJson, Stack, StackFile, Yes, console, print_json, sure
from operations.cli.schedule_function import ask_function
from operations.cli.schedule_previews import schedule_name
from schedules.definition import key_of
from schedules.documents import BucketTexts
from schedules.store import ScheduleState


@reports_errors
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The schedule, as JSON. Its name is the file's.")],
    name: Annotated[str, typer.Option("--name", help="Another name than the file's.")] = "",
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--pause",
            help="Of an edit, until it is approved: keep sending what is in force, or pause. Default: asks; pause. "
            "Refused without RequireApproval: an edit is in force within a minute.",
        ),
    ] = None,
    yes: Yes = False,
    by: ApprovesBy = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Write a schedule: a new one, or an edit of one. It is checked whole first; every fault is printed with its field.

    What changes is shown before it is asked for. You are entered as its author, as on the pages: where the stack has
    RequireApproval another person approves it. You are known by the mail address with which you are signed in at AWS,
    else by --by; with RequireApproval, and of what lifts the stack's caps or quiet hours, only an address counts.

    Exit 0 if it was written, 1 if it has faults, or was edited by another person in this moment.

    Example: notifier schedules put day-2-engagement.json --keep
    """
    cloud, text = Cloud(find_deployment(stack, stack_file)), _text_of(file)
    name = name or schedule_name(file)
    by = approver(cloud, by)
    before = BucketTexts(cloud.client("s3"), cloud.deployment.bucket).get(key_of(name))
    if not as_json:
        _print_changes(key_of(name), before or b"", text)
    if keep is None and before is not None and not yes and sys.stdin.isatty():
        keep = _asked_to_keep(cloud, name)
    sure(f"Write {key_of(name)} as {by}?", yes=yes)
    event = {
        "action": "save", "schedule": name, "text": text, "keep": keep, "by": by,
        # Refused where it is another one by then: what was shown is what is replaced.
        "before": sha256(before).hexdigest() if before is not None else "",
    }  # fmt: skip
    answer = ask_function(cloud, event, f"notifier schedules preview {file}")
    if as_json:
        print_json(answer)
    else:
        written = f"{key_of(name)} is written (hash {answer['hash'][:12]}): {_what_follows(answer, keep=keep)}"
        console().print(written, markup=False)


def _text_of(file: Path) -> str:
    try:
        # As it is: with its own line ends, so that its hash here is the hash there.
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        raise CommandError(ExitCode.NOT_FINE, f"{file}: it is not UTF-8", "save it as UTF-8") from None


def _print_changes(key: str, before: bytes, text: str) -> None:
    old, new = before.decode("utf-8", "replace").splitlines(), text.splitlines()
    for line in difflib.unified_diff(old, new, f"{key}, now", f"{key}, then", lineterm=""):
        console().print(line, markup=False, soft_wrap=True)


def _asked_to_keep(cloud: Cloud, name: str) -> bool | None:
    """What fires until an edit is approved. None where it waits for no approval, or nothing fires now."""
    shown = ask_function(cloud, {"action": "show", "schedule": name}, "notifier schedules list")
    if not shown["needs_approval"] or not shown["in_force"] or shown["line"]["state"] == ScheduleState.PAUSED.value:
        return None
    return typer.confirm("Keep sending what is in force until the edit is approved? Else nothing fires.", err=True)


def _what_follows(answer: Mapping[str, Any], *, keep: bool | None = None) -> str:
    """When what was written counts, and what fires until then."""
    meanwhile = _meanwhile(answer) if keep else ""
    # A function of a release before says neither.
    is_approved, lifts = answer.get("is_approved", False), answer.get("lifts", "")
    waits = answer["needs_approval"] and not is_approved
    if answer["is_paused"]:
        then = "waits for an approval" if waits else "is in force"
        follows = f"it is paused; within a minute after it is resumed this {then}"
    elif waits:
        follows = "it is looked at within a minute, and fires once another person has approved it"
    else:
        follows = f"it is {'approved already, and ' if answer['needs_approval'] else ''}in force within a minute"
    if lifts and not is_approved:
        follows += (
            f"; nothing of it is sent before another person has approved it ({lifts}): "
            f"notifier schedules approve {answer['schedule']}"
        )
    return f"{follows}{meanwhile}"


def _meanwhile(answer: Mapping[str, Any]) -> str:
    """What became of --keep: nothing that a person said is dropped without a word."""
    if answer["keeps_old"]:
        return "; what is in force goes on until then"
    if answer.get("is_approved"):
        return "; nothing waits, so nothing is kept"
    if not answer["in_force"]:
        return "; nothing is in force yet that could go on until then"
    if answer["in_force"] == answer["hash"]:
        return "; it is what is in force already, so nothing waits"
    return f"; that what is in force goes on could NOT be noted: notifier schedules keep {answer['schedule']}"
