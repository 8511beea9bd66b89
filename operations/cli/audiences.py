"""`audience`: what files of any format hold, and one prepared audience of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn
from rich.text import Text

from notifier.model.plurals import counted
from operations.cli.display import print_counts
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
from operations.cli.requests import faults, workplace
from operations.cli.sources import s3_client

if TYPE_CHECKING:
    from audiences.database import Limits
    from audiences.destinations import Destination
    from audiences.manifest_format import Manifest
    from audiences.sources import InputFile

_SCHEME = "s3://"

audience = typer.Typer(
    help="Prepare audiences once, of files or of a query.",
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
    list[str] | None, typer.Argument(metavar="[FILES]", help="Files of users, as of `notifier count`.")
]
Show = Annotated[list[str] | None, typer.Option("--show", help="An attribute whose values may be shown as examples.")]
Memory = Annotated[int, typer.Option("--memory-mb", help="What the database may use before it spills to the disk.")]
Work = Annotated[
    Path | None, typer.Option("--work", help="A directory for files on the way. Default: a temporary one.")
]


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
    from audiences.build import Order, build  # noqa: PLC0415 - DuckDB is loaded for these commands only

    # Not the first that is given: two at once are a mistake, and either choice could send to the wrong users.
    if len([one for one in (files, query, sql) if one]) != 1:
        raise CommandError(ExitCode.USAGE, "nothing to make it of, or several things", "give FILES, --query or --sql")
    # Milliseconds: two commands at the same time must not share an attempt's folder.
    attempt = time.time_ns() // 1_000_000
    with workplace(work, memory_mb) as limits, faults(), progress_of(as_json) as on_progress:
        destination = _destination(out, stack, stack_file)
        if files:
            inputs = inputs_of(files, limits, stack, stack_file)
            order = Order({"files": files}, inputs, attempt, tuple(show or ()))
        else:
            asked = Asked(query, sql, param or (), table or (), root, workgroup, query_time_s, stack, stack_file)
            order = order_of(asked, limits, destination, tuple(show or ()), attempt)
        manifest = build(order, destination, limits, on_progress)
    if as_json:
        print_json(manifest)
    else:
        _print_manifest(console(), manifest, out)


def inputs_of(
    files: list[str], limits: "Limits", stack: str | None, stack_file: Path | None
) -> "tuple[InputFile, ...]":
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
    # The worker looks for a prepared audience under one prefix; anywhere else it would be found by hand only.
    if folder.strip("/"):
        mend = f"name the bucket alone: {_SCHEME}{bucket}; the audience's folder there is audiences/prepared/ID/"
        raise CommandError(ExitCode.USAGE, f"{out}: a prepared audience has a folder of its own", mend)
    return Bucket(s3_client(stack, stack_file), bucket)


@contextmanager
def progress_of(as_json: bool) -> Iterator[Callable[[str, int], None]]:
    """Shows what is done at the moment."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with ProgressBar(*columns, console=notes(), transient=True, disable=as_json) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, users: bar.update(task, description=f"{what} {counted(users, 'user')}" if users else what)


def _print_manifest(out: Console, manifest: "Manifest", where: str) -> None:
    from audiences.manifest_format import NAME, folder_of  # noqa: PLC0415

    print_counts(out, manifest.counts)
    out.print(Text(f"{counted(len(manifest.parts), 'part')}: {where.rstrip('/')}/{folder_of(manifest.id)}{NAME}"))
