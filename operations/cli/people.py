"""`find`: what a stack has of one user."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, By, Stack, StackFile, console, notes, print_json, who
from reporting.person import Found, find, plan
from reporting.trail import LookUp, hashed, note


@reports_errors
def find_user(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user id, as your audiences have it.")],
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only runs that sent on this day (UTC) or later: 2026-11-01.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write all of it to this file, as JSON: the answer to a data-subject request.")
    ] = None,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Find one user: every campaign, arm, device, outcome and time. Tells first what it has to read.

    Each look-up is written to the trail, under `summaries/_lookups/`, with your name and a hash of the user id.

    Exit 0 if there is something; 1 if the stack has no row of this user.

    Example: notifier find user-4711 --since 2026-11-01 --export user-4711.json
    """
    if not user:
        raise CommandError(ExitCode.USAGE, "the user id is empty", "give one")
    since_s = _epoch_of(since)
    cloud = Cloud(find_deployment(stack, stack_file))
    s3, bucket = cloud.client("s3"), cloud.deployment.bucket
    planned = plan(s3, bucket, user, since_s)
    notes().print(planned.in_words, markup=False)
    # Before anything is read: a look-up that breaks off is a look-up.
    now = datetime.now(UTC)
    entry = LookUp(
        now.isoformat(timespec="seconds"), who(by), "export" if export else "find", hashed(user), len(planned.runs), 0
    )
    note(s3, bucket, entry, now)
    with Progress(console=notes(), transient=True, disable=as_json) as shown:
        found = find(s3, bucket, user, planned, _shows(shown))
    if export is not None:
        _write(export, found, now)
    if as_json:
        print_json(_plain(found, now))
    else:
        _print(found)
    if not found.rows and not found.excluded:
        raise typer.Exit(ExitCode.NOT_FINE)


def _epoch_of(since: str | None) -> float:
    if since is None:
        return 0.0
    try:
        return datetime.strptime(since, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise CommandError(ExitCode.USAGE, f"--since {since}: not a day", "write it as 2026-11-01") from None


def _shows(progress: Progress) -> Callable[[int, int], object]:
    task = progress.add_task("reading", total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def _plain(found: Found, now: datetime) -> dict[str, Any]:
    return {"made_at": now.isoformat(timespec="seconds")} | dict(msgspec.to_builtins(found))


def _write(path: Path, found: Found, now: datetime) -> None:
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_plain(found, now)), indent=2) + b"\n")
    notes().print(f"written: {path}", markup=False)


def _print(found: Found) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("time (UTC)", "campaign", "arm", "device", "outcome"):
        table.add_column(name, overflow="fold")
    for row in found.rows:
        outcome = (
            f"{row.outcome}: {row.reason}" if row.reason and row.outcome in ("rejected", "failed") else row.outcome
        )
        table.add_row(row.at[:19], Text(row.campaign_id), row.arm, f"{row.platform} ({row.gateway})", Text(outcome))
    out = console()
    if found.rows:
        out.print(table)
    for one in found.excluded:
        out.print(f"left out of run {one.run_id}: {one.reason}", markup=False)
    if not found.rows and not found.excluded:
        out.print("no row of this user", markup=False)
