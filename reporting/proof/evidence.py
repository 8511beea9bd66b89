"""The objects of a run in S3: which version of which file it sent, its campaign, and its results by batch."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Campaign
from notifier.model.caps import NO_CAPS, RunCaps
from notifier.model.cut import CUT_LIST
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.run import Source, batch_name, source_of
from notifier.model.summary import Summary
from reporting.proof.conclusion import CannotProve, NotProved
from reporting.proof.direct_get import DirectGet
from reporting.proof.erased import PREFIX, Erasures, Tombstone

COMPLETED = "completed"
"""The status of a run that read every record and settled every device."""
READERS = 8
"""Objects fetched at once."""
_AHEAD = 64
"""Objects that are fetched before they are needed: this bounds the memory."""
_NAME = re.compile(r"batch=(\d{8,})(?:\.r(\d+))?(?:\.e(\d+))?\.json\.gz\Z")
_MOST_VERSIONS = 1000
_MISSING = ("NoSuchKey", "404", "NoSuchVersion", "NotFound")


class Admitted(msgspec.Struct, frozen=True):
    """What the first claim stored under `state/`, as far as an audit reads it.

    `breaks` is not stored: the indexes of parts of a final cut that begin a window. Windows never share a batch.
    """

    campaign: Campaign
    parts: tuple[PinnedObject, ...]
    inline: bool
    exclude: tuple[PinnedObject, ...]
    rehearse: bool
    prepared: str = ""
    holdout: Holdout = NOBODY
    breaks: tuple[int, ...] = ()
    caps: RunCaps = NO_CAPS


class Stored(msgspec.Struct, frozen=True):
    """One object of a batch. `epoch` is in the name of what belongs to one claim; rows have it in their metadata."""

    key: str
    number: int
    round: int
    epoch: int | None
    body: bytes
    metadata: dict[str, str]


def read_summary(client: Any, bucket: str, run_id: str) -> Summary:
    """The summary of a run that is over. Raises CannotProve."""
    body = read_object(client, bucket, f"summaries/run_id={run_id}/summary.json")
    if body is None:
        raise CannotProve("there is no summary: the run is not over, or its summary has expired (SummaryDays)")
    return msgspec.json.decode(body, type=Summary)


def read_admitted(client: Any, bucket: str, summary: Summary) -> Admitted:
    """The campaign and the pinned objects that the run began with. Raises CannotProve."""
    body = read_object(client, bucket, f"state/run_id={summary.run_id}/campaign.json")
    if body is None:
        raise state_gone("what the run began with", summary)
    return msgspec.json.decode(body, type=Admitted)


def state_gone(what: str, summary: Summary) -> CannotProve:
    """Why something is not under `state/`: a run that ended before it began has stored nothing there."""
    if summary.status != COMPLETED and not summary.users:
        return CannotProve(f"nothing was sent: the run was over ({summary.status}) before it began, and left no rows")
    return CannotProve(f"state/ is gone: {what} was deleted, or has expired (WorkDays)")


def read_erasures(client: Any, bucket: str, run_id: str) -> Erasures:
    """What was erased of the run since."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{PREFIX}run_id={run_id}/")
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    bodies = (read_object(client, bucket, key) or b"" for key in keys)
    return Erasures(msgspec.json.decode(body, type=Tombstone) for body in bodies)


def find_source(client: Any, summary: Summary, erasures: Erasures) -> Source:
    """The version of the batch file that this run sent: the one that makes the run's id.

    The id is a hash of bucket, key and version, so that no other version can stand in its place.

    Raises:
        NotProved: the versions that are there make other ids.
        CannotProve: there is none any more.
    """
    bucket, _, key = summary.source.removeprefix("s3://").partition("/")
    # By prefix: other keys that begin so are among them, and left out below.
    answer = client.list_object_versions(Bucket=bucket, Prefix=key, MaxKeys=_MOST_VERSIONS)
    found = [one for one in answer.get("Versions", ()) if one["Key"] == key]
    for one in found:
        # An object of before versioning is named by its ETag, which `source_of` decides.
        source = source_of(bucket, key, one.get("VersionId"), one["ETag"])
        if source.run_id == summary.run_id:
            return source
    for source in erasures.sources(bucket, key):
        if source.run_id == summary.run_id:
            return source
    if not found:
        raise CannotProve(f"{summary.source} is gone: the batch file was deleted, or has expired (BatchFileDays)")
    raise NotProved(
        summary.source, "no version of it makes this run's id: it is another file than the one that was sent"
    )


def written_twice(
    client: Any, bucket: str, run_id: str, ended_at_ms: int | None, erasures: Erasures
) -> tuple[str, str] | None:
    """Key and fault of the first rows object that was written again after its settlement; None if none was."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"rows/run_id={run_id}/batch=")
    before = ""
    for page in pages:
        for one in page.get("Versions", ()):
            if erasures.of(bucket, one["Key"]) is not None:
                continue
            # S3 lists the versions of a key one after the other.
            if one["Key"] == before:
                return before, "it was written again: a settlement is written once"
            before = one["Key"]
            if ended_at_ms is not None and _ms(one["LastModified"]) > ended_at_ms + SLACK_MS:
                return before, f"it was written at {one['LastModified']:%Y-%m-%d %H:%M:%S}, after the run's end"
    return None


SLACK_MS = 10 * 60 * 1000
"""Clocks of S3 and of the function may differ, and a claim that lost may write its last rows after the run's end."""


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


class ByBatch:
    """The objects of batches under a prefix, in the order of their numbers, fetched ahead by a few threads.

    Args:
        first: the batch from which on they are wanted.
        with_bodies: False where their names alone matter; of those that an erasure replaced the bytes always do.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str,
        pool: ThreadPoolExecutor,
        erasures: Erasures,
        first: int = 0,
        *,
        with_bodies: bool = True,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._objects_of = DirectGet(client, bucket)
        self._prefix = prefix
        self._erasures = erasures
        self._with_bodies = with_bodies
        # Names of before the first batch are for others to judge.
        self._after = f"{prefix}{batch_name(first, 0)}" if first else ""
        self._objects = self._fetched(pool)
        self._next = next(self._objects, None)

    def take(self, number: int) -> list[Stored]:
        """The objects of this batch. Batches are taken in rising order.

        Raises:
            NotProved: there are objects of a batch that comes before, or that is none.
        """
        taken = []
        while self._next is not None and self._next.number <= number:
            if self._next.number < number:
                raise NotProved(self._next.key, "a batch that the audience does not have")
            taken.append(self._next)
            self._next = next(self._objects, None)
        return taken

    def expect_end(self) -> None:
        """Raises NotProved where there are objects of batches behind those that were taken."""
        if self._next is not None:
            raise NotProved(self._next.key, "a batch that the audience does not have")

    def _keys(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, StartAfter=self._after
        )
        for page in pages:
            for found in page.get("Contents", ()):
                # `_probe` proves the folder writable, and query engines pass over such names.
                # The final cut's list is no batch's.
                name = found["Key"].rpartition("/")[2]
                if not name.startswith("_") and name != CUT_LIST:
                    yield found["Key"]

    def _fetched(self, pool: ThreadPoolExecutor) -> Iterator[Stored]:
        keys = self._keys()
        waiting = [pool.submit(self._fetch, key) for _, key in zip(range(_AHEAD), keys, strict=False)]
        while waiting:
            yield waiting.pop(0).result()
            if (key := next(keys, None)) is not None:
                waiting.append(pool.submit(self._fetch, key))

    def _fetch(self, key: str) -> Stored:
        match = _NAME.fullmatch(key, len(self._prefix))
        if match is None:
            raise NotProved(f"s3://{self._bucket}/{key}", "not the name of a batch's object")
        epoch = int(match[3]) if match[3] is not None else None
        replaced = self._erasures.of(self._bucket, key)
        if not self._with_bodies and replaced is None:
            return Stored(key, int(match[1]), int(match[2] or 0), epoch, b"", {})
        body, metadata = self._objects_of.get(key)
        if replaced is not None and sha256(body).hexdigest() != replaced.new_sha256:
            raise NotProved(key, "its bytes are not those that the erasure wrote (SHA-256)")
        return Stored(key, int(match[1]), int(match[2] or 0), epoch, body, metadata)


def read_object(client: Any, bucket: str, key: str, version: str | None = None) -> bytes | None:
    """An object's bytes, or those of one version; None where it is gone."""
    more = {"VersionId": version} if version else {}
    try:
        body: bytes = client.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            return None
        raise
    return body
