"""The standing suppression: user ids that every run leaves out, in the objects under one prefix of the stack's bucket.

It is read again at each hop. A listing costs one request for 1,000 objects; only where it shows other objects than
before are the ids read again.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from notifier.audience.cache import FileCache
from notifier.audience.ids import IdSet, read_ids
from notifier.audience.pin import unquoted
from notifier.audience.ranges import Sleep
from notifier.audience.s3_errors import fault_of
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRIES = 3
"""Objects that are replaced while they are read are listed again, so often in all."""


class Suppression:
    """Reads the suppressed user ids, and keeps those that were read last.

    Args:
        prefix: of the keys, with the slash at its end.
        cache: keeps whole objects between invocations.
        pause: waits between attempts of a failed request, seconds.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        prefix: str,
        cache: FileCache | None = None,
        pause: Sleep | None = None,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._cache = cache
        self._pause = pause
        self._objects: tuple[PinnedObject, ...] = ()
        self.ids = IdSet()
        """The ids that were read last; none before the first `read`."""

    def read(self) -> IdSet:
        """The ids that are suppressed now. Blocks.

        Raises:
            BrokenFile, AudienceChanged, AudienceUnreachable: they cannot be read. What was read before is not used
                instead: users may have been added since.
        """
        for attempt in range(1, TRIES + 1):
            objects = tuple(self._listed())
            if objects == self._objects:
                return self.ids
            try:
                ids = read_ids(self._client, objects, cache=self._cache, pause=self._pause) if objects else IdSet()
            except AudienceChanged:
                if attempt == TRIES:
                    raise
                continue
            self._objects, self.ids = objects, ids
            break
        return self.ids

    def _listed(self) -> Iterator[PinnedObject]:
        """The objects as they are now, in the order of their keys, pinned by their ETags."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        try:
            for page in pages:
                for found in page.get("Contents", ()):
                    # Empty objects are what consoles make of folders, and markers such as `_SUCCESS`.
                    if found["Size"]:
                        yield PinnedObject(self._bucket, found["Key"], None, unquoted(found["ETag"]), found["Size"])
        except ClientError as error:
            raise fault_of(error, f"s3://{self._bucket}/{self._prefix}") from error
        except BotoCoreError as error:
            raise AudienceUnreachable(f"s3://{self._bucket}/{self._prefix}: S3 does not answer") from error
