"""`audience`: what files of any format hold, and one prepared audience of them."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import boto3
import typer
from botocore.config import Config
from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from notifier.audience import AudienceChanged, AudienceUnreachable, BrokenFile
from notifier.model.plurals import counted
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, Stack, StackFile, console, notes, print_json
from operations.cli.queries import (
    Asked,
    MaxTime,
    Params,
    QueryName,
    Root,
    SqlFile,
    TableFiles,
    WorkGroup,
    list_queries,
    order_of,
)

if TYPE_CHECKING:
    from audiences.database import Limits
    from audiences.destinations import Destination
    from audiences.manifest_format import Manifest
    from audiences.sources import InputFile
    from notifier.model.audience_counts import Counts

_SCHEME = "s3://"
_MOST = 5
"""Locales, time zones and attributes that are shown."""

audience = typer.Typer(
    help="Make audiences of files or of a query: count them, or prepare them once.",
    epilog="Example: notifier audience build exports/*.parquet -o s3://push-campaigns",
    no_args_is_help=True,
)
audience.command("queries")(list_queries)

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES",
        help="Files of users: here, or s3://bucket/key; folders and prefixes (ending in /), and globs. JSON, CSV, "
        "Parquet; plain, gzip or zstd.",
    ),
]
FilesOrNone = Annotated[
    list[str] | None, typer.Argument(metavar="[FILES]", help="Files of users, as of `notifier audience count`.")
]
Show = Annotated[list[str] | None, typer.Option("--show", help="An attribute whose values may be shown as examples.")]
Memory = Annotated[int, typer.Option("--memory-mb", help="What the database may use before it spills to the disk.")]
Work = Annotated[
    Path | None, typer.Option("--work", help="A directory for files on the way. Default: a temporary one.")
]


@audience.command("count")
@reports_errors
def count_files(
    files: Files,
    show: Show = None,
    memory_mb: Memory = 400,
    work: Work = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Count the audience that these files make: users with all their devices, one push per token.

    Example: notifier audience count exports/*.parquet
    """
    from audiences.build import Order, count  # noqa: PLC0415 - DuckDB is loaded for these commands only

    with _workplace(work, memory_mb) as limits, _faults(), _progress(as_json) as on_progress:
        inputs = _inputs(files, limits, stack, stack_file)
        found = count(Order({"files": files}, inputs, show=tuple(show or ())), limits, on_progress)
    if as_json:
        print_json(found)
    else:
        _print_counts(console(), found)


@audience.command("build")
@reports_errors
def build_files(
    *,
    files: FilesOrNone = None,
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR|s3://BUCKET", help="Where the audience is written.")],
    query: QueryName = None,
    sql: SqlFile = None,
    param: Params = None,
    table: TableFiles = None,
    root: Root = ".",
    workgroup: WorkGroup = None,
    query_time_s: MaxTime = 300.0,
    show: Show = None,
    memory_mb: Memory = 400,
    work: Work = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Prepare one audience of these files, or of a query: one record per user, one push per token, in ordered parts.

    It is written under audiences/prepared/ID/, and the same files give the same ID:
    what is prepared already is not prepared again.

    Example: notifier audience build s3://push-campaigns/audiences/2026-11-28/ -o s3://push-campaigns

    Example: notifier audience build --query follows-brands --param brands=Accessorize --from events -o DIR
    """
    from audiences.build import Order, build  # noqa: PLC0415 - as above

    if len([one for one in (files, query, sql) if one]) != 1:
        raise CommandError(ExitCode.USAGE, "nothing to make it of, or several things", "give FILES, --query or --sql")
    # Milliseconds: two commands at the same time must not share an attempt's folder.
    attempt = time.time_ns() // 1_000_000
    with _workplace(work, memory_mb) as limits, _faults(), _progress(as_json) as on_progress:
        destination = _destination(out, stack, stack_file)
        if files:
            inputs = _inputs(files, limits, stack, stack_file)
            order = Order({"files": files}, inputs, attempt, tuple(show or ()))
        else:
            asked = Asked(query, sql, param or (), table or (), root, workgroup, query_time_s, stack, stack_file)
            order = order_of(asked, limits, destination, tuple(show or ()), attempt)
        manifest = build(order, destination, limits, on_progress)
    if as_json:
        print_json(manifest)
    else:
        _print_manifest(console(), manifest, out)


def _inputs(files: list[str], limits: "Limits", stack: str | None, stack_file: Path | None) -> "tuple[InputFile, ...]":
    """The files, in the order of the command line; those of S3 are pinned, then fetched."""
    from audiences.fetch import fetch  # noqa: PLC0415
    from audiences.sources import local_files, pinned_files  # noqa: PLC0415

    found: list[InputFile] = []
    for number, name in enumerate(files):
        if name.startswith(_SCHEME):
            client = s3_client(stack, stack_file)
            found += fetch(client, pinned_files(client, [name], ""), limits.work / f"fetched-{number}")
        else:
            found += local_files([name])
    # A file that two names mean is read once.
    return tuple({one.name: one for one in found}.values())


def _destination(out: str, stack: str | None, stack_file: Path | None) -> "Destination":
    from audiences.destinations import Bucket, Directory  # noqa: PLC0415

    if not out.startswith(_SCHEME):
        return Directory(Path(out))
    bucket, _, folder = out.removeprefix(_SCHEME).partition("/")
    if folder.strip("/"):
        mend = f"name the bucket alone: {_SCHEME}{bucket}; the audience's folder there is audiences/prepared/ID/"
        raise CommandError(ExitCode.USAGE, f"{out}: a prepared audience has a folder of its own", mend)
    return Bucket(s3_client(stack, stack_file), bucket)


def s3_client(stack: str | None, stack_file: Path | None) -> Any:
    """S3 as a stack has it where one is named, else as boto3 finds it."""
    if stack or stack_file or os.environ.get("NOTIFIER_STACK_FILE") or os.environ.get("NOTIFIER_STACK"):
        return Cloud(find_deployment(stack, stack_file)).client("s3")
    is_stand_in = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
    return boto3.client("s3", config=Config(s3={"addressing_style": "path" if is_stand_in else "auto"}))


@contextmanager
def _workplace(work: Path | None, memory_mb: int) -> "Iterator[Limits]":
    from audiences.database import Limits  # noqa: PLC0415

    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="audience-", dir=work) as directory:
        yield Limits(Path(directory), memory_mb, threads=os.cpu_count() or 1)


@contextmanager
def _faults() -> Iterator[None]:
    """Turns what is wrong with an audience into a command's error."""
    from audiences.faults import AudienceFault  # noqa: PLC0415

    try:
        yield
    except AudienceFault as error:
        raise CommandError(ExitCode.NOT_FINE, error.problem, error.mend) from None
    except BrokenFile as error:
        raise CommandError(ExitCode.NOT_FINE, str(error), "fix the file at this position, or export it again") from None
    except AudienceChanged as error:
        raise CommandError(ExitCode.NOT_FOUND, str(error), "begin again: the files were replaced meanwhile") from None
    except AudienceUnreachable as error:
        raise CommandError(ExitCode.UNREACHABLE, str(error), "check the credentials and their permissions") from None


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[str, int], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with ProgressBar(*columns, console=notes(), transient=True, disable=as_json) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, users: bar.update(task, description=f"{what} {counted(users, 'user')}" if users else what)


def _print_manifest(out: Console, manifest: "Manifest", where: str) -> None:
    from audiences.manifest_format import NAME, folder_of  # noqa: PLC0415

    _print_counts(out, manifest.counts)
    parts = f"{len(manifest.parts)} part{'s' if len(manifest.parts) != 1 else ''}"
    out.print(Text(f"{parts}: {where.rstrip('/')}/{folder_of(manifest.id)}{NAME}"))


def _print_counts(out: Console, counts: "Counts") -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    platforms = ", ".join(
        f"{platform} {count:,} by {gateway}"
        for platform, gateways in counts.devices.items()
        for gateway, count in gateways.items()
    )
    table.add_row("rows", f"{counts.rows:,}")
    table.add_row("users", f"{counts.users:,} ({counted(counts.joined_rows, 'row')} joined to their users)")
    table.add_row("devices", f"{counts.device_count:,} ({platforms})")
    table.add_row("repeated tokens", f"{counts.repeated_tokens:,}")
    table.add_row("locales", Text(_largest(dict(counts.locales))))
    table.add_row("time zones", Text(_largest(dict(counts.timezones))))
    for name, found in counts.attributes.items():
        examples = f"; such as {', '.join(found.examples)}" if found.examples else ""
        table.add_row(Text(name), Text(f"missing for {counted(found.lacking, 'user')}{examples}"))
    out.print(table)
    for reason, count in counts.invalid.items():
        places = ", ".join(f"{one.row:,} of {one.input}" for one in counts.invalid_first if one.reason == reason)
        out.print(Text(f"  {count:,} × {reason} (first: row {places})"))


def _largest(counts: dict[str, int]) -> str:
    shown = sorted(counts.items(), key=lambda item: -item[1])[:_MOST]
    more = len(counts) - len(shown)
    return ", ".join(f"{name} {count:,}" for name, count in shown) + (f" and {more} more" if more else "") or "none"
