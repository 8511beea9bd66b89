"""`schedules`: campaigns that come back: which there are, what became of their times, and what one does with them."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.identity import approver
from operations.cli.options import ApprovesBy, AsJson, By, Stack, StackFile, Yes, console, print_json, sure, who
from operations.cli.schedule_function import ask_function
from operations.cli.schedule_previews import preview
from operations.cli.schedule_uploads import put
from schedules.definition import BrokenSchedule
from schedules.documents import BucketTexts, Documents
from schedules.rules import OccurrenceState
from schedules.store import NOT_LOOKED_AT, OccurrenceItem, ScheduleItem, ScheduleState, ScheduleStore

schedules = typer.Typer(
    help="Campaigns that come back: write and list them, look at what became of each time, pause and resume them.",
    epilog="Example: notifier schedules show day-2-engagement",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule: schedules/NAME.json.")]
Day = Annotated[str, typer.Option("--day", metavar="DATE", help="The date, in the schedule's zone.")]
SHOWN = 20


class Seen(msgspec.Struct, frozen=True):
    """A schedule as it is listed."""

    name: str
    state: str
    next: str
    next_utc: str
    last: str
    last_state: str
    last_users: int | None
    reason: str


@schedules.command("list")
@reports_errors
def list_schedules(stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """List the schedules: whether each fires, when next, and what became of its last time.

    Exit 0 if each fires, is paused or has ended; 1 if one is broken or waits for an approval.

    Example: notifier schedules list
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    store, documents = _store(cloud), _documents(cloud)
    found = [_seen(store, name) for name in sorted(documents.files())]
    if as_json:
        print_json(found)
    else:
        _print_list(found)
    troubled = (ScheduleState.BROKEN.value, ScheduleState.UNAPPROVED.value)
    raise typer.Exit(ExitCode.NOT_FINE if any(one.state in troubled for one in found) else 0)


@schedules.command("show")
@reports_errors
def show(
    name: Name,
    limit: Annotated[int, typer.Option(help="How many of its latest times.", min=1, max=1000)] = SHOWN,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of a schedule's times, the latest first: users, run, and why one was not sent.

    Example: notifier schedules show day-2-engagement --limit 50
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    store = _store(cloud)
    if store.read(name) is None:
        raise CommandError(ExitCode.NOT_FOUND, f"there is no schedule {name!r}", "notifier schedules list")
    seen, history = _seen(store, name), store.history(name, limit=limit)
    if as_json:
        print_json({"schedule": seen, "occurrences": [_plain(one) for one in history]})
        return
    _print_list([seen])
    _print_history(history)


schedules.command("put")(put)
schedules.command("preview")(preview)


@schedules.command("pause")
@reports_errors
def pause(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why, for those who look at it next.")] = "",
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Pause a schedule: nothing fires, and what has not become a run yet is left out. Runs go on.

    Example: notifier schedules pause day-2-engagement --reason "the sign-up form changes"
    """
    _ask({"action": "pause", "schedule": name, "reason": reason}, by, stack, stack_file, as_json=as_json)


@schedules.command("resume")
@reports_errors
def resume(
    name: Name, by: By = None, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False
) -> None:
    """Resume a paused schedule, from its next time on. What was due meanwhile is not made up for.

    Example: notifier schedules resume day-2-engagement
    """
    _ask({"action": "resume", "schedule": name}, by, stack, stack_file, as_json=as_json)


@schedules.command("ready")
@reports_errors
def ready(
    name: Name, day: Day, by: By = None, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False
) -> None:
    """Say that a day's files are complete, for a schedule whose audience is dated drops.

    Example: notifier schedules ready day-2-engagement --day 2026-12-01
    """
    _ask({"action": "ready", "schedule": name, "day": day}, by, stack, stack_file, as_json=as_json)


@schedules.command("now")
@reports_errors
def now(
    name: Name,
    day: Day,
    yes: Yes = False,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Fire a schedule now, for a day: limits and approval hold as for any other of its times.

    Example: notifier schedules now day-2-engagement --day 2026-12-01
    """
    sure(f"Fire {name} now, for {day}?", yes=yes)
    _ask({"action": "now", "schedule": name, "day": day}, by, stack, stack_file, as_json=as_json)


@schedules.command("decide")
@reports_errors
def decide(
    name: Name,
    occurrence: Annotated[str, typer.Argument(metavar="TIME", help="As `show` prints it: 2026-12-01T0900.")],
    approve: Annotated[bool, typer.Option("--approve/--reject", help="Whether it is sent.")],
    by: ApprovesBy = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Decide on a time that is outside of the schedule's limits: approve or reject it.

    Example: notifier schedules decide day-2-engagement 2026-12-01T0900 --reject
    """
    decision = "approve" if approve else "reject"
    event = {"action": "decide", "schedule": name, "occurrence": occurrence, "decision": decision}
    by = approver(Cloud(find_deployment(stack, stack_file)), by)
    _ask(event, by, stack, stack_file, as_json=as_json)


@schedules.command("approve")
@reports_errors
def approve(
    name: Name, yes: Yes = False, by: ApprovesBy = None, stack: Stack = None, stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Approve what a schedule's file, and every text that it names, says now. With RequireApproval it fires only then.

    You are known by the mail address with which you are signed in at AWS, where the session is named by one; else by
    --by. Where two people approve, or one who did not write it, only an address counts.

    Example: notifier schedules approve day-2-engagement
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    documents, by = _documents(cloud), approver(cloud, by)
    try:
        document = documents.read(name)
    except BrokenSchedule as error:
        raise CommandError(ExitCode.NOT_FINE, str(error), "correct the file first") from None
    if not as_json:
        for key in sorted(document.texts):
            console().print(f"---- {key}", markup=False)
            console().print(document.texts[key].decode("utf-8", "replace"), markup=False)
    sure(f"Approve these texts of {name} (hash {document.hash[:12]}) as {by}?", yes=yes)
    event = {"action": "approve", "schedule": name, "hash": document.hash}
    _ask(event, by, stack, stack_file, as_json=as_json)


@schedules.command("keep")
@reports_errors
def keep(name: Name, by: By = None, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Keep sending what is in force while an edit waits for its approval. Without it the schedule waits, too.

    Example: notifier schedules keep day-2-engagement
    """
    _ask({"action": "keep", "schedule": name}, by, stack, stack_file, as_json=as_json)


def _ask(event: dict[str, Any], by: str | None, stack: str | None, stack_file: Path | None, *, as_json: bool) -> None:
    """Have the function of the schedules do something, and print its answer."""
    cloud = Cloud(find_deployment(stack, stack_file))
    decoded = ask_function(cloud, {**event, "by": who(by)}, f"notifier schedules show {event['schedule']}")
    if as_json:
        print_json(decoded)
    else:
        console().print("  ".join(f"{name}: {value}" for name, value in decoded.items() if value), markup=False)


def _store(cloud: Cloud) -> ScheduleStore:
    return ScheduleStore(cloud.client("dynamodb"), cloud.deployment.table, time.time)


def _documents(cloud: Cloud) -> Documents:
    return Documents(BucketTexts(cloud.client("s3"), cloud.deployment.bucket))


def _seen(store: ScheduleStore, name: str) -> Seen:
    item = store.read(name) or ScheduleItem(name, ScheduleState.BROKEN, reason=f"{NOT_LOOKED_AT}: within a minute")
    last = next(iter(store.history(name, limit=1)), None)
    return Seen(
        name=name,
        state=item.state.value,
        next=item.next if item.fires else "",
        next_utc=_utc(item.next_at_ms) if item.fires else "",
        last=last.stamp if last else "",
        last_state=last.state.value if last else "",
        last_users=last.users if last and last.users >= 0 else None,
        reason=item.reason,
    )


def _utc(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _plain(one: OccurrenceItem) -> dict[str, Any]:
    return {
        "occurrence": one.stamp,
        "utc": f"{one.occurrence.utc:%Y-%m-%dT%H:%M:%SZ}",
        "state": one.state.value,
        "users": one.users if one.users >= 0 else None,
        "run_id": one.run_id or None,
        "reason": one.reason or None,
        "by": one.by or None,
        "decide_until": _utc(one.review_until_ms) if one.review_until_ms else None,
        "definition": one.hash,
    }


def _print_list(found: list[Seen]) -> None:
    if not found:
        console().print("there are no schedules: write one with `notifier schedules put FILE`", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("schedule", "state", "next", "last", "what became of it"):
        table.add_column(column)
    for one in found:
        users = "" if one.last_users is None else f", {counted(one.last_users, 'user')}"
        table.add_row(one.name, one.state, one.next_utc, one.last, f"{one.last_state}{users}")
    console().print(table)
    for one in found:
        if one.reason:
            console().print(Text(f"{one.name}: {one.reason}"))


def _print_history(history: list[OccurrenceItem]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("time", "state", "users", "run", "why"):
        table.add_column(column)
    for one in history:
        users = f"{one.users:,}" if one.users >= 0 else ""
        until = f"; decide until {_utc(one.review_until_ms)}" if one.state is OccurrenceState.NEEDS_REVIEW else ""
        table.add_row(one.stamp, one.state.value, users, one.run_id, Text(one.reason + until))
    console().print(table)
