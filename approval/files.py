"""Approval's objects in S3: audiences, batch files, test files, rows of test runs."""

import gzip
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from approval.request import Written
from notifier.model.campaign import Part
from notifier.model.run import source_of

PUT_ATTEMPTS = 4
"""How often a conditional PUT is tried that S3 answers with a conflict."""
PREPARED = "audiences/prepared/"
"""Where parts are tagged as unused (`notifier.audience.unused`), and expire after two days."""
_GONE = ("404", "NoSuchKey", "NoSuchVersion", "NotFound")


class OtherContent(Exception):
    """At the batch file's key there is a file with other content."""


class RowSeen(msgspec.Struct, frozen=True):
    """A gateway's answer for one device: the members of a row that the page shows."""

    device: int
    platform: str
    gateway: str
    outcome: str
    reason: str | None = None
    status: int | None = None


class ManifestRead(NamedTuple):
    """A manifest's bytes, when they were written, and their version; "" in a bucket without versions."""

    body: bytes
    made_at: datetime
    version_id: str


class Files:
    """Reads and writes the bucket.

    Args:
        client: a boto3 S3 client.
        bucket: its name.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    # -- audiences ----------------------------------------------------------------------------------------------------

    def manifest(self, key: str, version_id: str = "") -> "ManifestRead | None":
        """A prepared audience's manifest; None where it is gone.

        Args:
            version_id: the version to read where the key has none any more.
        """
        found = self._get(key) or (self._get(key, VersionId=version_id) if version_id else None)
        if found is None:
            return None
        return ManifestRead(found["Body"].read(), found["LastModified"], found.get("VersionId", ""))

    def _get(self, key: str, **version: str) -> Any:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, **version)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise

    def changed_parts(self, parts: tuple[Part, ...]) -> tuple[str, ...]:
        """The keys whose pinned object is gone, or is another one.

        A pinned version is read, and sent, after its key has expired or was written over, too.
        """
        return tuple(part.key for part in parts if not self._has(part, part.version_id))

    def replaced_parts(self, parts: tuple[Part, ...]) -> tuple[str, ...]:
        """The keys that have no longer the object that was pinned: it has expired, or was written over."""
        return tuple(part.key for part in parts if not self._has(part, None))

    def keep(self, parts: tuple[Part, ...]) -> None:
        """Let parts of a prepared audience be kept as long as any other audience, and not two days. Repeatable."""
        for part in parts:
            if part.bucket not in (None, self._bucket) or not part.key.startswith(PREPARED):
                continue
            version = {"VersionId": part.version_id} if part.version_id else {}
            # Nothing is refused for this: a version that expires is kept for as long again.
            with suppress(ClientError, BotoCoreError):
                self._client.delete_object_tagging(Bucket=self._bucket, Key=part.key, **version)

    def _has(self, part: Part, version_id: str | None) -> bool:
        head = self._head(part.key, version_id)
        return head is not None and head["ETag"].strip('"') == part.etag

    def _head(self, key: str, version_id: str | None) -> Any:
        version = {"VersionId": version_id} if version_id else {}
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key, **version)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise

    # -- batch files --------------------------------------------------------------------------------------------------

    def write_once(self, key: str, body: bytes, metadata: dict[str, str], now_ms: int) -> Written:
        """Write a batch file, unless it is there already; then it must have the same content.

        Called again after a crash in between, it returns what the first call would have returned.

        Raises:
            OtherContent: another content's hash is in its metadata.
        """
        answer = self._put_new(key, body, metadata)
        if answer is None:
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
            if answer["Metadata"].get("content-hash") != metadata["content-hash"]:
                raise OtherContent(key)
        version = answer.get("VersionId")
        source = source_of(self._bucket, key, version, answer["ETag"])
        return Written(key, source.etag, source.version_id, source.run_id, now_ms)

    def is_written(self, key: str, content_hash: str) -> bool:
        """Whether the batch file of this content is there: then its run has begun, whatever the request says."""
        head = self._head(key, None)
        return head is not None and head["Metadata"].get("content-hash") == content_hash

    def _put_new(self, key: str, body: bytes, metadata: dict[str, str], attempts: int = PUT_ATTEMPTS) -> Any:
        """S3's answer; None when the object is there already."""
        try:
            return self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                IfNoneMatch="*",  # is_new: of two approvals at once, one writes
                Metadata=metadata,
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("PreconditionFailed", "412"):
                return None
            # 409: another PUT to the key was under way, and the answer does not say how it ended. Try again.
            if code not in ("ConditionalRequestConflict", "409") or attempts == 1:
                raise
        return self._put_new(key, body, metadata, attempts - 1)

    def rows(self, run_id: str) -> list[RowSeen] | None:
        """The rows of a test run's first batch, which is its only one; None while they are not written."""
        key = f"rows/run_id={run_id}/batch=00000000.json.gz"
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise
        lines = gzip.decompress(body).splitlines()
        return [msgspec.json.decode(line, type=RowSeen) for line in lines if line]
