"""`count`: how many users and devices an audience holds."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from notifier.audience import BrokenFile, FileKind
from notifier.audience.local import parser_for, read_local, read_local_head
from notifier.counting.counter import AudienceCounter, AudienceFigures
from notifier.counting.job import LEASE_MS, CountJob, CountStatus, count_id
from notifier.model.campaign import Part
from operations.cli.cloud import Cloud
from operations.cli.display import print_figures, print_warnings, warnings_of
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.options import AsJson, By, Stack, StackFile, console, notes, print_json, who
from operations.cli.sources import FIX_THE_FILE, LazyCloud, pin_url

POLL_S = 0.5
ASK_AGAIN_S = LEASE_MS / 1000 + 15
"""A claim on a job that makes no progress is over by then, with some room: asking again starts another worker on it."""


@reports_errors
def count(
    source: Annotated[
        list[str], typer.Argument(metavar="PART", help="Audience parts: s3://bucket/key, or files on this machine.")
    ],
    by: By = None,
    timeout_s: Annotated[float, typer.Option(help="How long to wait for the stack to count.")] = 3600.0,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Count an audience: users, devices by platform, repeated tokens, locales, time zones, attributes.

    Parts in S3 are counted by the stack, and the result is kept: the same objects
    are not counted a second time. Files on this machine are counted here.

    Exit 0 if there is a valid device, 1 if there is none.

    Example: notifier count s3://push-campaigns/audiences/part-000.json.gz
    """
    remote = [name.startswith("s3://") for name in source]
    if any(remote) and not all(remote):
        raise CommandError(ExitCode.USAGE, "some parts are in S3 and some are here", "count them apart")
    if all(remote):
        figures = _count_in_stack(LazyCloud(stack, stack_file).get(), source, who(by), timeout_s, as_json)
    else:
        figures = _count_here(source)
    if as_json:
        print_json(msgspec.to_builtins(figures) | {"warnings": list(warnings_of(figures))})
    else:
        print_figures(console(), figures)
        print_warnings(console(), figures)
    # The warnings say why: a run with such an audience would be refused.
    if not figures.devices:
        raise typer.Exit(ExitCode.NOT_FINE)


def _count_here(source: list[str]) -> AudienceFigures:
    """Count files on this machine as one audience. Records are numbered within the file that holds them."""
    name, first = "", 0
    counts = AudienceCounter(locate=lambda number: (name if len(source) > 1 else "", number - first))
    try:
        for name in source:
            path, first = Path(name), counts.figures.records
            for records in read_local(path, parser_for(path, _content_of(path))):
                counts.take(records)
    except BrokenFile as error:
        raise CommandError(ExitCode.NOT_FINE, str(error), FIX_THE_FILE) from None
    counts.figures.repeated_tokens = counts.tokens.repeated()
    return counts.figures


def _content_of(path: Path) -> FileKind:
    """Whether a file is a batch file with its users in it, or users alone. Raises CommandError where it has none."""
    try:
        head = read_local_head(path)
    except BrokenFile:
        return FileKind.USERS
    if head.audience is not None:
        raise CommandError(
            ExitCode.USAGE, f"{path}: its users are elsewhere", "count the parts that its audience names"
        )
    return FileKind.BATCH_FILE


def _count_in_stack(cloud: Cloud, source: list[str], by: str, timeout_s: float, as_json: bool) -> AudienceFigures:
    """The stack's count of these objects, from an earlier job where there is one."""
    client = cloud.client("s3")
    pinned = [pin_url(client, url) for url in source]
    parts = [Part(one.key, one.bucket, one.version_id, one.etag) for one in pinned]
    count = count_id(parts)
    job = cloud.count_jobs.read(count)
    if job is None or job.status is not CountStatus.DONE:
        named = [{"bucket": p.bucket, "key": p.key, "version_id": p.version_id, "etag": p.etag} for p in parts]

        def ask() -> None:
            # Not waited for: counting takes longer than a connection may be idle.
            cloud.control({"action": "count", "parts": named, "by": by}, wait=False)

        job = _await_job(cloud, count, job, ask, timeout_s, as_json)
    if job.result is None:
        raise CommandError(ExitCode.NOT_FINE, f"counting failed: {job.reason}", "fix the audience, then count it again")
    return job.result


def _await_job(
    cloud: Cloud, count: str, before: CountJob | None, ask: Callable[[], None], timeout_s: float, as_json: bool
) -> CountJob:
    """Ask for a count and wait until it ends; ask again when its job has not moved for longer than a claim lasts.

    Args:
        before: an earlier job with the same id, which has failed: its ending is not this one's.
    """
    began = moved = time.monotonic()
    columns = (TextColumn("counting"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[users]:,} users"))
    with Progress(*columns, console=notes(), transient=True, disable=as_json) as progress:
        task = progress.add_task("counting", total=None, users=0)
        ask()
        while time.monotonic() - began < timeout_s:
            job = cloud.count_jobs.read(count)
            if job is not None and job != before:
                done = job.progress
                progress.update(task, total=done.bytes_total or None, completed=done.bytes, users=done.users)
                if job.status is not CountStatus.COUNTING:
                    return job
                before, moved = job, time.monotonic()
            elif time.monotonic() - moved > ASK_AGAIN_S:
                # The function that counted has crashed: its claim is over, and the next one continues the job.
                ask()
                moved = time.monotonic()
            time.sleep(POLL_S)
    raise CommandError(
        ExitCode.NOT_FINE, f"still counting after {timeout_s:.0f} s", "run the same command later: counting goes on"
    )
