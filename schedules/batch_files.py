"""Writes batch files and records their approvals, each once; and reads the lanes of their runs."""

from collections.abc import Callable, Iterator
from typing import Any

from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from notifier.dynamodb import Item, Items
from notifier.model.run import LEDGER_VERSION, source_of

APPROVED_S = 90 * 86_400
"""An approval is kept for so long: longer than any batch file that may be under it."""


class BatchFiles:
    """The batch files of a stack.

    Args:
        s3: a boto3 S3 client.
        now: seconds since the epoch.
    """

    def __init__(self, items: Items, s3: Any, bucket: str, now: Callable[[], float]) -> None:
        self._items = items
        self._s3 = s3
        self._bucket = bucket
        self._now = now

    def write(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """Record that these bytes are approved, then write them, once. Returns the run's id. Repeatable.

        In this order: with RequireApproval the worker refuses a file that it finds without an approval.

        Args:
            approved_by: "" for nobody: nothing is recorded then, and the worker decides.
        """
        if approved_by:
            self._record(key, sha256_hex, approved_by)
        try:
            written = self._s3.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            # Written by an earlier attempt, which died before it could note that.
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            written = self._s3.head_object(Bucket=self._bucket, Key=key)
        return source_of(self._bucket, key, written.get("VersionId"), written["ETag"]).run_id

    def written(self, key: str) -> str:
        """The id of the run of a batch file that is there; "" where none is."""
        try:
            found = self._s3.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            return ""
        return source_of(self._bucket, key, found.get("VersionId"), found["ETag"]).run_id

    def _record(self, key: str, sha256_hex: str, approved_by: str) -> None:
        # The first one stays: an approval is never replaced.
        self._items.put_new(
            {
                "pk": f"approved#{self._bucket}/{key}",
                "sk": "approved",
                "sha256": sha256_hex,
                "request_id": "",
                "approved_by": approved_by,
                "version": LEDGER_VERSION,
                "expires_at": int(self._now()) + APPROVED_S,
            }
        )


def lanes_of(items: Items, run_id: str) -> Iterator[Item]:
    """The items of a run's lanes."""
    key = Key("pk").eq(f"run#{run_id}") & Key("sk").begins_with("lane#")
    yield from items.query(key, ConsistentRead=True)
