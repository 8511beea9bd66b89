"""The files that `validate`, `test` and `count` read: on this machine or in S3, by the worker's own parsers."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.config import Config

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
from notifier.audience.unpack import Unpacker
from notifier.model.batch_file import BatchFileHead, PinnedObject
from notifier.model.campaign import Audience
from notifier.model.campaign_reading import BrokenCampaign, read_audience
from operations.cli.cloud import Cloud, split_url
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode

RECORDS_AT_ONCE = 10_000
WAIT_S = 0.5
BEGINNING_BYTES = 256 * 1024
"""More than a campaign needs: its texts are limited."""
CHECK_CREDENTIALS = "check the credentials and their permissions"

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A file on this machine, or s3://bucket/key.")]


class InputFiles:
    """A batch file or audience parts, on this machine or in S3.

    Args:
        sources: paths, or s3://bucket/key.
        users_only: they hold users and no campaign.
    """

    def __init__(self, sources: list[str], cloud: "LazyCloud", *, users_only: bool) -> None:
        self._sources = sources
        self._cloud = cloud
        self._users_only = users_only
        self._locate: Callable[[int], tuple[str, int]] = lambda number: ("", number)

    def locate(self, record: int) -> tuple[str, int]:
        """The part that holds a record, "" where there is one part only, and the record's number there.

        Args:
            record: counted over all parts; at most the last one that `pieces` has given.
        """
        return self._locate(record)

    def local_beginnings(self) -> Iterator[bytes]:
        """The first text of each file on this machine, unpacked. A damaged gzip is left to the parser."""
        for source in self._sources:
            if source.startswith("s3://"):
                continue
            with Path(source).open("rb") as stored, contextlib.suppress(BrokenFile):
                yield _unpacked(source, stored.read(BEGINNING_BYTES))

    @property
    def name(self) -> str:
        """For messages."""
        return " + ".join(self._sources)

    def head(self) -> BatchFileHead:
        """The campaign, and where the users are. Raises CommandError and BrokenFile."""
        source = self._sources[0]
        if not source.startswith("s3://"):
            return read_local_head(Path(source))
        client = self._cloud.get().client("s3")
        try:
            return read_s3_head(client, pin_url(client, source))
        except (AudienceChanged, AudienceUnreachable) as error:
            raise unread(error) from None

    def pieces(self, head: BatchFileHead | None) -> Iterator[list[object]]:
        """The records. Raises CommandError and BrokenFile."""
        if head is not None and head.audience is not None:
            yield from self._referenced(head.audience)
            return
        kind = FileKind.USERS if self._users_only else FileKind.BATCH_FILE
        for source in self._sources:
            if source.startswith("s3://"):
                client = self._cloud.get().client("s3")
                yield from _pieces(AudienceStream(client, (pin_url(client, source),), kind=kind))
            else:
                path = Path(source)
                yield from read_local(path, parser_for(path, kind))

    def excluded(self, exclude: Audience) -> IdSet | None:
        """The users on a campaign's exclude list; None when no stack is named that could hold the list.

        Raises:
            BrokenFile, AudienceChanged: the worker would refuse the file for it.
            CommandError: the list cannot be read from here.
        """
        try:
            cloud = self._cloud.get()
        except CommandError as error:
            # Without a stack the rest of the file can still be checked; the caller warns that the list was not read.
            if error.code is ExitCode.USAGE:
                return None
            raise
        client = cloud.client("s3")
        try:
            # The same reader as the worker's, so that a list that is broken there is broken here.
            return read_ids(client, pin_parts(client, exclude.parts, self._bucket(cloud), "exclude"))
        except AudienceUnreachable as error:
            raise CommandError(ExitCode.UNREACHABLE, str(error), CHECK_CREDENTIALS) from None

    def _bucket(self, cloud: Cloud) -> str:
        """The bucket of parts that name none: the batch file's own, or the stack's for a file on this machine."""
        source = self._sources[0]
        return split_url(source)[0] if source.startswith("s3://") else cloud.deployment.bucket

    def _referenced(self, audience: object) -> Iterator[list[object]]:
        """The records of the parts that a batch file names."""
        pinned = self._pin_parts(audience)
        stream = AudienceStream(self._cloud.get().client("s3"), pinned, kind=FileKind.USERS)

        def locate(record: int) -> tuple[str, int]:
            part, number = stream.locate(record)
            return pinned[part].name, number

        # With one part the record's number in it is the number itself, and needs no name.
        if len(pinned) > 1:
            self._locate = locate
        yield from _pieces(stream)

    def _pin_parts(self, audience: object) -> tuple[PinnedObject, ...]:
        try:
            parts = read_audience(audience).parts
        except BrokenCampaign as error:
            raise BrokenFile(self.name, str(error), (0,)) from None
        cloud = self._cloud.get()
        try:
            return pin_parts(cloud.client("s3"), parts, self._bucket(cloud))
        except AudienceChanged as error:
            mend = "upload the part, or name the version that is there"
            raise CommandError(ExitCode.NOT_FOUND, str(error), mend) from None
        except AudienceUnreachable as error:
            raise CommandError(ExitCode.UNREACHABLE, str(error), CHECK_CREDENTIALS) from None


def _unpacked(name: str, stored: bytes) -> bytes:
    unpacker = Unpacker(name)
    unpacker.push(stored)
    text = bytearray()
    while piece := unpacker.pull():
        text += piece
    return bytes(text)


class LazyCloud:
    """The stack's services, found when they are first needed: a file on this machine needs no stack."""

    def __init__(self, stack: str | None, stack_file: Path | None) -> None:
        self._stack = stack
        self._stack_file = stack_file
        self._cloud: Cloud | None = None

    def get(self) -> Cloud:
        """The services. Raises CommandError where no stack is named."""
        if self._cloud is None:
            self._cloud = Cloud(find_deployment(self._stack, self._stack_file))
        return self._cloud


def s3_client(stack: str | None, stack_file: Path | None) -> Any:
    """S3 as a stack has it where one is named, else as boto3 finds it."""
    if stack or stack_file or os.environ.get("NOTIFIER_STACK_FILE") or os.environ.get("NOTIFIER_STACK"):
        return Cloud(find_deployment(stack, stack_file)).client("s3")
    # A bucket as a host name cannot be resolved on a local endpoint.
    is_stand_in = "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
    return boto3.client("s3", config=Config(s3={"addressing_style": "path" if is_stand_in else "auto"}))


def pin_url(client: Any, url: str) -> PinnedObject:
    """The version of an object that is there now, so that all of it is read from one version. Raises CommandError."""
    bucket, key = split_url(url)
    try:
        return pin(client, bucket, key)
    except (AudienceChanged, AudienceUnreachable) as error:
        raise unread(error) from None


def unread(error: AudienceChanged | AudienceUnreachable) -> CommandError:
    """Why an object could not be read, as a command says it."""
    if isinstance(error, AudienceChanged):
        return CommandError(ExitCode.NOT_FOUND, str(error), "check bucket and key")
    return CommandError(ExitCode.UNREACHABLE, str(error), CHECK_CREDENTIALS)


def _pieces(stream: AudienceStream) -> Iterator[list[object]]:
    try:
        while not stream.ended:
            taken = stream.take(RECORDS_AT_ONCE)
            if taken:
                yield taken
            else:
                stream.wait(WAIT_S)
    except AudienceUnreachable as error:
        raise CommandError(ExitCode.UNREACHABLE, str(error), "try again") from None
    finally:
        # Also where the reader has stopped early: it ends the download's threads.
        stream.close()
