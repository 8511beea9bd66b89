"""Approval's objects in S3: audiences, batch files, test files, rows of test runs."""

import gzip
from datetime import datetime
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from approval.request import Written
from notifier.model.campaign import Part
from notifier.model.run import source_of

PUT_ATTEMPTS = 4
"""How often a conditional PUT is tried that S3 answers with a conflict."""
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

    def manifest(self, key: str) -> tuple[bytes, datetime] | None:
        """A prepared audience's manifest, and when it was written; None where it is gone."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise
        return answer["Body"].read(), answer["LastModified"]

    def changed_parts(self, parts: tuple[Part, ...]) -> tuple[str, ...]:
        """The keys whose object is no longer the one that was pinned."""
        changed = []
        for part in parts:
            head = self._head(part.key)
            if head is None or head["ETag"].strip('"') != part.etag:
                changed.append(part.key)
        return tuple(changed)

    def _head(self, key: str) -> Any:
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)
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
