"""Parts of a prepared audience are tagged until a run takes them: what stays unused expires after two days.

People count audiences on the pages, change them, and count again: most of what is prepared for them is never sent.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UNUSED = "unused"
"""The tag's key; its value is `true`. The template's lifecycle rule names both."""
PREPARED = "audiences/prepared/"


def keep_for_run(client: "S3Client", bucket: str, parts: Iterable[PinnedObject]) -> None:
    """Remove the tag of each part that is a prepared one of the stack's bucket. Repeatable."""
    for part in parts:
        if part.bucket == bucket and part.key.startswith(PREPARED):
            version = {"VersionId": part.version_id} if part.version_id else {}
            # A run is not refused for this: a part that expires is read by its version for BatchFileDays more.
            with suppress(ClientError, BotoCoreError):
                client.delete_object_tagging(Bucket=bucket, Key=part.key, **version)
