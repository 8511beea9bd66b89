"""The keys of a batch file other than `users`: the campaign, and the reference to an audience."""

from typing import TYPE_CHECKING

from notifier.audience.cache import FileCache
from notifier.audience.ranges import Sleep
from notifier.audience.stream import AudienceStream, FileKind
from notifier.model.batch_file import BatchFileHead, PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RECORDS_AT_ONCE = 10_000
_WAIT_S = 1.0
_JOIN_S = 10.0
"""How long `close` waits for the fetching thread to end."""


def read_head(
    client: "S3Client", pinned: PinnedObject, *, cache: FileCache | None = None, pause: Sleep | None = None
) -> BatchFileHead:
    """Read the file up to its users, or the whole of it if `users` come before `campaign`.

    Blocks until the bytes have arrived. Numbers with a fraction are Decimals.

    Raises:
        BrokenFile: what was read is not a batch file.
        AudienceChanged, AudienceUnreachable: as of the stream.
    """
    stream = AudienceStream(client, (pinned,), kind=FileKind.BATCH_FILE, cache=cache, pause=pause)
    try:
        # Once the users have begun and the campaign is known, the rest of the file cannot change either.
        while not stream.ended and not ("campaign" in stream.values and stream.in_users):
            if not stream.take(_RECORDS_AT_ONCE):
                stream.wait(_WAIT_S)
        values = stream.values
        return BatchFileHead(values["campaign"], values.get("audience"), stream.in_users)
    finally:
        stream.close(_JOIN_S)
