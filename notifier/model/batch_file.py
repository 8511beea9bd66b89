"""The objects in S3 that a run reads: which bytes exactly, and the keys of a batch file other than `users`."""

from typing import Any

import msgspec

EVENT_LASTS_S = 48 * 3600
"""So long after it is written a batch file may yet become a run. Its event comes within 24 hours (EventBridge); each of
its four attempts, three of them replays of a dead letter, waits for six hours at most (Lambda)."""


class PinnedObject(msgspec.Struct, frozen=True):
    """One version of one object. `etag` is without quotes, `size` in bytes as stored."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int

    @property
    def name(self) -> str:
        """The object's address, as messages name it."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def request(self) -> dict[str, Any]:
        """Bucket, key and version as boto3's arguments. The caller adds the condition on the ETag."""
        address = {"Bucket": self.bucket, "Key": self.key}
        return address | ({"VersionId": self.version_id} if self.version_id else {})


class BatchFileHead(msgspec.Struct, frozen=True):
    """The decoded values of the keys, not validated. `audience` is None if the users are in the file itself."""

    campaign: object
    audience: object | None
    has_users: bool
