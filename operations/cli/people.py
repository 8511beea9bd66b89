"""`find` and `erase`: what a stack has of a user, and its end."""

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

from notifier.model.plurals import counted
from notifier.model.record_reading import MAX_USER_ID_BYTES
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, By, Stack, StackFile, console, notes, print_json, sure, who
from privacy.erase import Erased, erase, in_words
from privacy.id_shapes import is_too_long
from privacy.places import OUT_OF_REACH
from privacy.stack import Stack as ErasingStack
from privacy.stack import read_versions
from privacy.whom import key_of, suppress
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

    Each look-up is written to the trail, under `summaries/_lookups/`, with your name and a keyed hash of the user id.

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
    key = key_of(s3, bucket, _suppression_of(cloud))
    entry = LookUp(
        now.isoformat(timespec="seconds"),
        who(by),
        "export" if export else "find",
        hashed(user, key),
        len(planned.runs),
        0,
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


@reports_errors
def erase_users(
    users: Annotated[list[str] | None, typer.Argument(metavar="USER…", help="User ids.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="IDS", help="A file of user ids, one a line.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Look again for everybody who was ever erased: after an open run has ended.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Erase users from everything that the stack has of them, older versions too. It cannot be undone.

    First they are suppressed, by keyed hashes. Files of a run that is not over, or not begun, are left to it and named:
    repeat with --again when it has ended. `notifier audit` then says "proved, 3 erased".

    Exit 0 if nobody is left; 1 if some object waits for something, or cannot be rewritten.

    Example: notifier erase user-4711 user-4712
    """
    ids = _ids(users or [], file)
    if not ids and not again:
        raise CommandError(ExitCode.USAGE, "nobody is named", "give user ids, --file IDS, or --again")
    cloud = Cloud(find_deployment(stack, stack_file))
    place = _stack_of(cloud)
    whose = f"Erase {counted(len(ids), 'user')}" if ids else "Look again for everybody who was erased"
    notes().print(in_words(read_versions(place)), markup=False)
    sure(f"{whose} in {place.bucket}?", yes=yes)
    now = datetime.now(UTC)
    whom = suppress(place.s3, place.bucket, place.suppression, ids, now)
    key = key_of(place.s3, place.bucket, place.suppression)
    for entry in [hashed(one, key) for one in ids] or [""]:
        note(place.s3, place.bucket, LookUp(now.isoformat(timespec="seconds"), who(by), "erase", entry, 0, 0), now)
    with Progress(console=notes(), transient=True, disable=as_json) as shown:
        task = shown.add_task("erasing", total=None)

        def on_progress(what: str, done: int, total: int) -> None:
            shown.update(task, description=what, completed=done, total=total)

        found = erase(place, whom, who(by), now, on_progress)
    if as_json:
        print_json(msgspec.to_builtins(found) | {"done": found.is_done, "out_of_reach": list(OUT_OF_REACH)})
    else:
        _print_erased(found)
    if not found.is_done:
        raise typer.Exit(ExitCode.NOT_FINE)


def _ids(users: list[str], file: Path | None) -> list[str]:
    if file is not None:
        try:
            users = users + file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise CommandError(ExitCode.USAGE, f"{file}: cannot be read as text", "write one user id a line") from None
    ids = list(dict.fromkeys(one.strip() for one in users if one.strip()))
    # A list in JSON or a row of a table, as often as not: nobody would be erased, and it would look as if they were.
    if long := next((one for one in ids if is_too_long(one)), None):
        problem = f"a user id has over {MAX_USER_ID_BYTES} bytes, which no audience can have: {long[:40]}…"
        raise CommandError(ExitCode.USAGE, problem, "write one user id a line")
    return ids


def _variables(cloud: Cloud, function: str) -> dict[str, str]:
    found = cloud.client("lambda").get_function_configuration(FunctionName=function)
    return dict(found.get("Environment", {}).get("Variables", {}))


def _suppression_of(cloud: Cloud) -> str:
    return _variables(cloud, cloud.deployment.worker).get("SUPPRESSION_PREFIX", "suppression/")


def _stack_of(cloud: Cloud) -> ErasingStack:
    deployment = cloud.deployment
    approval = _variables(cloud, deployment.approval).get("APPROVAL_TABLE") if deployment.approval else None
    return ErasingStack(
        cloud.client("s3"),
        cloud.client("dynamodb"),
        deployment.bucket,
        deployment.table,
        _suppression_of(cloud),
        approval,
    )


def _print_erased(found: Erased) -> None:
    out = console()
    for run_id, count in found.runs.items():
        out.print(f"run {run_id}: {count:,} users", markup=False)
    out.print(f"{found.objects:,} versions of objects deleted", markup=False)
    for key, why in (*found.waiting.items(), *found.left.items()):
        out.print(f"left: {key}: {why}", markup=False)
    if found.waiting:
        out.print("notifier erase --again, when that is over", markup=False)
    out.print("done: nobody is left" if found.is_done else "not done", markup=False)
    out.print("Out of reach: " + "; ".join(OUT_OF_REACH) + ".", markup=False)


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
