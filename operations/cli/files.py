"""`validate`, `test`, `count`: what is done with files."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from notifier.audience import (
    AudienceChanged,
    AudienceStream,
    AudienceUnreachable,
    BrokenFile,
    FileKind,
    IdSet,
    pin,
    pin_parts,
    read_ids,
)
from notifier.audience import read_head as read_s3_head
from notifier.audience.local import parser_for, read_local, read_local_head
from notifier.counting.counter import AudienceCounter, AudienceFigures
from notifier.counting.job import LEASE_MS, CountJob, CountStatus, count_id
from notifier.gateway.additions import addition_faults
from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Audience, BrokenCampaign, Fault, Part, read_audience
from operations.cli.options import AsJson, By, Stack, StackFile, console, notes, print_json, who
from operations.cli.place import Cloud, find_place, split_url
from operations.cli.shown import show_figures, show_inspection, show_warnings, warnings_of
from operations.cli.trouble import ExitCode, Trouble, tells_trouble
from operations.dry_check import Inspector

AT_ONCE = 10_000
POLL_S = 0.5
USERS_ALONE = "; if it is meant to hold users and no campaign, say --users-only"
ASK_AGAIN_S = LEASE_MS / 1000 + 15

Source = Annotated[str, typer.Argument(metavar="FILE", help="A file on this machine, or s3://bucket/key.")]


class Input:
    """A batch file or audience parts, here or in S3.

    Args:
        users_only: it holds users and no campaign.
    """

    def __init__(self, sources: list[str], cloud_of: "CloudOf", *, users_only: bool) -> None:
        self._sources = sources
        self._cloud_of = cloud_of
        self._users_only = users_only
        self._place_of: Callable[[int], tuple[str, int]] = lambda number: ("", number)

    def locate(self, record: int) -> tuple[str, int]:
        """The part that holds a record that was just read, where there are several, and its number there."""
        return self._place_of(record)

    @property
    def name(self) -> str:
        """How people call it."""
        return " + ".join(self._sources)

    def head(self) -> BatchFileHead:
        """The campaign, and where the users are. Raises Trouble and BrokenFile."""
        source = self._sources[0]
        if not source.startswith("s3://"):
            return read_local_head(Path(source))
        client = self._cloud_of().client("s3")
        return read_s3_head(client, _pin(client, source))

    def pieces(self, head: BatchFileHead | None) -> Iterator[list[object]]:
        """The records. Raises Trouble and BrokenFile."""
        if head is not None and head.audience is not None:
            yield from self._referenced(head.audience)
            return
        kind = FileKind.USERS if self._users_only else FileKind.BATCH_FILE
        for source in self._sources:
            if source.startswith("s3://"):
                client = self._cloud_of().client("s3")
                yield from _streamed(client, (_pin(client, source),), kind)
            else:
                path = Path(source)
                yield from read_local(path, parser_for(path, kind))

    def excluded(self, exclude: Audience) -> IdSet | None:
        """The users that a campaign leaves out; None when no stack is named where the list could be.

        Raises:
            BrokenFile, AudienceChanged: the worker would refuse the file for it.
            Trouble: the list cannot be read from here.
        """
        try:
            cloud = self._cloud_of()
        except Trouble as trouble:
            if trouble.code is ExitCode.USAGE:
                return None
            raise
        client = cloud.client("s3")
        try:
            return read_ids(client, pin_parts(client, exclude.parts, self._bucket(cloud), "exclude"))
        except AudienceUnreachable as error:
            raise Trouble(ExitCode.UNREACHABLE, str(error), "check the credentials and their permissions") from None

    def _bucket(self, cloud: Cloud) -> str:
        """Where parts are that name no bucket: beside the batch file, or in the stack's bucket."""
        source = self._sources[0]
        return split_url(source)[0] if source.startswith("s3://") else cloud.place.bucket

    def _referenced(self, audience: object) -> Iterator[list[object]]:
        try:
            parts = read_audience(audience).parts
        except BrokenCampaign as error:
            raise BrokenFile(self.name, str(error), (0,)) from None
        cloud = self._cloud_of()
        try:
            pinned = pin_parts(cloud.client("s3"), parts, self._bucket(cloud))
        except AudienceChanged as error:
            raise Trouble(
                ExitCode.NOT_FOUND, str(error), "upload the part, or name the version that is there"
            ) from None
        except AudienceUnreachable as error:
            raise Trouble(ExitCode.UNREACHABLE, str(error), "check the credentials and their permissions") from None
        stream = AudienceStream(cloud.client("s3"), pinned, kind=FileKind.USERS)

        def place_of(record: int) -> tuple[str, int]:
            part, number = stream.locate(record)
            return pinned[part].name, number

        if len(pinned) > 1:
            self._place_of = place_of
        yield from _taken(stream)


class CloudOf:
    """The stack, looked for only when something of it is needed: a file on this machine needs none."""

    def __init__(self, stack: str | None, stack_file: Path | None) -> None:
        self._stack = stack
        self._stack_file = stack_file
        self._cloud: Cloud | None = None

    def __call__(self) -> Cloud:
        """The stack. Raises Trouble."""
        if self._cloud is None:
            self._cloud = Cloud(find_place(self._stack, self._stack_file))
        return self._cloud


def _pin(client: Any, url: str) -> PinnedObject:
    bucket, key = split_url(url)
    try:
        return pin(client, bucket, key)
    except AudienceChanged as error:
        raise Trouble(ExitCode.NOT_FOUND, str(error), "check bucket and key") from None
    except AudienceUnreachable as error:
        raise Trouble(ExitCode.UNREACHABLE, str(error), "check the credentials and their permissions") from None


def _streamed(client: Any, parts: tuple[PinnedObject, ...], kind: FileKind) -> Iterator[list[object]]:
    yield from _taken(AudienceStream(client, parts, kind=kind))


def _taken(stream: AudienceStream) -> Iterator[list[object]]:
    try:
        while not stream.ended:
            taken = stream.take(AT_ONCE)
            if taken:
                yield taken
            else:
                stream.wait(POLL_S)
    except AudienceUnreachable as error:
        raise Trouble(ExitCode.UNREACHABLE, str(error), "try again") from None
    finally:
        stream.close()


@tells_trouble
def validate(
    file: Source,
    users_only: Annotated[
        bool, typer.Option("--users-only", help="The file holds users and no campaign: an audience part.")
    ] = False,
    payloads: Annotated[bool, typer.Option("--payloads", help="Show the previews' whole payloads.")] = False,
    limit: Annotated[int, typer.Option(help="List so many broken records and repeated tokens; 0 for all.", min=0)] = 50,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Look at a batch file as the worker would: every fault with its place, arms, payload sizes, three previews.

    Nothing is sent, and for a file on this machine nothing is asked of AWS, unless its audience or exclude list lies
    there.
    Exit 0 if the worker would take it, 1 if it would refuse it.

    Example: notifier validate day-2.json
    """
    source = Input([file], CloudOf(stack, stack_file), users_only=users_only)
    inspector = Inspector(source.name, addition_faults, limit, time.time(), source.locate)
    head = None
    try:
        if not users_only:
            head = source.head()
            campaign = inspector.take_campaign(head.campaign)
            if campaign is not None and campaign.exclude is not None:
                _exclude(inspector, source, campaign.exclude)
        with _spinner(as_json=as_json) as progress:
            task = progress.add_task("looking at users", total=None)
            inspector.take_records(source.pieces(head), lambda users: progress.update(task, completed=users))
    except BrokenFile as error:
        mend = "mend the file at this place, or export it again" + ("" if head or users_only else USERS_ALONE)
        inspector.found.faults.append(Fault("file", str(error), mend))
    found = inspector.finish()
    if as_json:
        print_json(found)
    else:
        show_inspection(console(), found, payloads=payloads)
    if not found.is_fine:
        raise typer.Exit(ExitCode.NOT_FINE)


def _exclude(inspector: Inspector, source: Input, exclude: Audience) -> None:
    """Have the users on the exclude list left out; a list that cannot be read is a fault, as it is to the worker."""
    try:
        excluded = source.excluded(exclude)
    except (AudienceChanged, BrokenFile) as error:
        inspector.found.faults.append(
            Fault("campaign.exclude", str(error), "upload the list, or name the one there is")
        )
        excluded = IdSet()
    if excluded is not None:
        inspector.exclude(excluded)


def _spinner(*, as_json: bool) -> Progress:
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,}"))
    return Progress(*columns, console=notes(), transient=True, disable=as_json)


@tells_trouble
def count(
    source: Annotated[
        list[str], typer.Argument(metavar="PART...", help="Audience parts: s3://bucket/key, or files on this machine.")
    ],
    by: By = None,
    timeout_s: Annotated[float, typer.Option(help="Wait so long for a job in the stack.")] = 3600.0,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Count an audience: users, devices by platform, repeated tokens, locales, time zones, attributes.

    Parts in S3 are counted by the stack, as a job that others see too; asked again, the same objects are not counted
    again. Files on this machine are counted here.

    Example: notifier count s3://push-campaigns/audiences/part-000.json.gz s3://push-campaigns/audiences/part-001.json.gz
    """
    remote = [name.startswith("s3://") for name in source]
    if any(remote) and not all(remote):
        raise Trouble(ExitCode.USAGE, "some parts are in S3 and some are here", "count them apart")
    cloud_of = CloudOf(stack, stack_file)
    figures = _count_there(cloud_of(), source, who(by), timeout_s, as_json) if all(remote) else _count_here(source)
    if as_json:
        print_json(msgspec.to_builtins(figures) | {"warnings": list(warnings_of(figures))})
    else:
        show_figures(console(), figures)
        show_warnings(console(), figures)


def _count_here(source: list[str]) -> AudienceFigures:
    began, name = 0, ""
    tally = AudienceCounter(locate=lambda number: (name if len(source) > 1 else "", number - began))
    try:
        for name in source:
            path, began = Path(name), tally.figures.records
            for piece in read_local(path, parser_for(path, _held_by(path))):
                tally.take(piece)
    except BrokenFile as error:
        raise Trouble(ExitCode.NOT_FINE, str(error), "mend the file at this place, or export it again") from None
    tally.figures.repeated_tokens = tally.tokens.repeated()
    return tally.figures


def _held_by(path: Path) -> FileKind:
    """A batch file is counted like a part, if its users are in it."""
    try:
        head = read_local_head(path)
    except BrokenFile:
        return FileKind.USERS
    if head.audience is not None:
        raise Trouble(ExitCode.USAGE, f"{path}: its users are elsewhere", "count the parts that its audience names")
    return FileKind.BATCH_FILE


def _count_there(cloud: Cloud, source: list[str], by: str, timeout_s: float, as_json: bool) -> AudienceFigures:
    client = cloud.client("s3")
    pinned = [_pin(client, url) for url in source]
    parts = [Part(one.key, one.bucket, one.version_id, one.etag) for one in pinned]
    name = count_id(parts)
    seen = cloud.count_jobs.read(name)
    if seen is None or seen.status is not CountStatus.DONE:
        named = [{"bucket": p.bucket, "key": p.key, "version_id": p.version_id, "etag": p.etag} for p in parts]

        def ask() -> None:
            cloud.control({"action": "count", "parts": named, "by": by}, wait=False)

        seen = _await_count(cloud, name, seen, ask, timeout_s, as_json)
    if seen.result is None:
        raise Trouble(ExitCode.NOT_FINE, f"counting failed: {seen.reason}", "mend the audience, then count it again")
    return seen.result


def _await_count(
    cloud: Cloud, name: str, before: CountJob | None, ask: Callable[[], None], timeout_s: float, as_json: bool
) -> CountJob:
    """Ask, and wait for the answer; ask again when nobody has counted for longer than a claim holds."""
    began = moved = time.monotonic()
    columns = (TextColumn("counting"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[users]:,} users"))
    with Progress(*columns, console=notes(), transient=True, disable=as_json) as progress:
        task = progress.add_task("counting", total=None, users=0)
        ask()
        while time.monotonic() - began < timeout_s:
            seen = cloud.count_jobs.read(name)
            if seen is not None and seen != before:
                told = seen.progress
                progress.update(task, total=told.bytes_total or None, completed=told.bytes, users=told.users)
                if seen.status is not CountStatus.COUNTING:
                    return seen
                before, moved = seen, time.monotonic()
            elif time.monotonic() - moved > ASK_AGAIN_S:
                ask()
                moved = time.monotonic()
            time.sleep(POLL_S)
    raise Trouble(ExitCode.NOT_FINE, f"still counting after {timeout_s:.0f} s", "ask again later: it goes on meanwhile")
