"""`audit`: proves, from the objects in S3 alone, that a run sent what was decided."""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from operations.cli.cloud import Cloud
from operations.cli.deployment import Deployment, find_deployment
from operations.cli.errors import ExitCode, reports_errors
from operations.cli.options import AsJson, RunName, Stack, StackFile, console, notes, print_json
from reporting.proof.audit import Progress as OnProgress
from reporting.proof.audit import audit as audited
from reporting.proof.conclusion import Audit, Conclusion


@reports_errors
def audit(run: RunName, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Prove that a run sent what was approved: recompute it from S3, device by device, and compare.

    Approval's hash, batch file, audience, every user's arm, one row for each device, dead tokens, summary. Says
    "proved", or the first place where it is not. 300,000 users take 10 s of
    CPU, and as long as S3 needs for the objects.

    Exit 0 if it is proved; 1 if not, or if files have expired that the proof needs.

    Example: notifier audit day-2-engagement-2026-11-21
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    run_id = cloud.run_id_of(run)
    with _progress(quiet=as_json) as on_progress:
        found = audited(
            cloud.client("s3"),
            cloud.deployment.bucket,
            run_id,
            on_progress,
            make_client=functools.partial(_s3, cloud.deployment),
        )
    if as_json:
        print_json(msgspec.to_builtins(found) | {"in_words": found.in_words})
    else:
        _print(found)
    if found.conclusion is not Conclusion.PROVED:
        raise typer.Exit(ExitCode.NOT_FINE)


def _s3(deployment: Deployment) -> Any:
    """The second process's client."""
    return Cloud(deployment).client("s3")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnProgress]:
    """Shows the progress on a terminal, and nothing where there is none."""
    with Progress(
        TextColumn("auditing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("users"),
        TimeElapsedColumn(),
        console=notes(),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    ) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=max(done, total))


def _print(found: Audit) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for step in found.steps:
        table.add_row(Text("✓", style="green"), Text(step.name), Text(step.found, overflow="fold"))
    out = console()
    out.print(table)
    style = "bold green" if found.conclusion is Conclusion.PROVED else "bold red"
    out.print(Text(found.in_words, style=style))
