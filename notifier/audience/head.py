"""What a batch file says besides its users."""

from typing import TYPE_CHECKING

from notifier.audience.cache import FileCache
from notifier.audience.ranges import Sleep
from notifier.audience.stream import AudienceStream, FileKind
from notifier.model.batch_file import BatchFileHead, PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 10_000
_WAIT_S = 1.0
_JOIN_S = 10.0


def read_head(
    client: "S3Client", pinned: PinnedObject, *, cache: FileCache | None = None, pause: Sleep | None = None
) -> BatchFileHead:
    """Read until it is known; where `users` come before `campaign` that is the whole file, once.

    Blocks until the bytes have arrived. Numbers with a fraction are Decimals.

    Raises:
        BrokenFile: not a batch file, as far as it was read.
        AudienceChanged, AudienceUnreachable: as of the stream.
    """
    stream = AudienceStream(client, (pinned,), kind=FileKind.BATCH_FILE, cache=cache, pause=pause)
    try:
        while not stream.ended and not ("campaign" in stream.values and stream.in_users):
            if not stream.take(_AT_ONCE):
                stream.wait(_WAIT_S)
        values = stream.values
        return BatchFileHead(values["campaign"], values.get("audience"), stream.in_users)
    finally:
        stream.close(_JOIN_S)
