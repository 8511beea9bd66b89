"""Which bytes exactly: an object of S3, its version where the bucket keeps versions, and its ETag."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from notifier.audience.faults import AudienceChanged, AudienceUnreachable
from notifier.campaign import Part

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_VERSION = "null"
"""What S3 calls the version of an object written before versioning: it can be overwritten, so it pins nothing."""

_GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchBucket", "405", "MethodNotAllowed"})
_FORBIDDEN = frozenset({"403", "AccessDenied"})
"""S3 says this also of what is not there, to whom may not list the bucket:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html."""
_CHANGED = frozenset({"412", "PreconditionFailed", "416", "InvalidRange"})


class PinnedObject(msgspec.Struct, frozen=True):
    """One version of one object. `etag` is without quotes, `size` in bytes as stored."""

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def request(self) -> dict[str, Any]:
        """The arguments by which every request names exactly these bytes, conditions aside."""
        place = {"Bucket": self.bucket, "Key": self.key}
        return place | ({"VersionId": self.version_id} if self.version_id else {})


def pin(
    client: "S3Client", bucket: str, key: str, *, version_id: str | None = None, etag: str | None = None
) -> PinnedObject:
    """The object as it is now, by one HEAD.

    Raises:
        AudienceChanged: it is not there, or not the version or ETag that was stated.
        AudienceUnreachable: S3 refused the request.
    """
    wanted = version_id if version_id != NO_VERSION else None
    asked: dict[str, Any] = {"Bucket": bucket, "Key": key} | ({"VersionId": wanted} if wanted else {})
    try:
        head = client.head_object(**asked)
    except ClientError as error:
        raise read_error(error, f"s3://{bucket}/{key}") from error
    found = unquoted(head["ETag"])
    if etag and found != unquoted(etag):
        raise AudienceChanged(f"s3://{bucket}/{key}: the ETag is {found}, stated was {unquoted(etag)}")
    version = head.get("VersionId", NO_VERSION)
    return PinnedObject(bucket, key, None if version == NO_VERSION else version, found, head["ContentLength"])


def pin_parts(client: "S3Client", parts: Iterable[Part], bucket: str) -> tuple[PinnedObject, ...]:
    """Every part, pinned by a few threads; `bucket` is where parts are that name none. Errors as of `pin`."""

    def one(part: Part) -> PinnedObject:
        return pin(client, part.bucket or bucket, part.key, version_id=part.version_id, etag=part.etag)

    with ThreadPoolExecutor(8) as pool:
        return tuple(pool.map(one, parts))


def unquoted(etag: str) -> str:
    """An ETag without its quotes and weakness mark."""
    return etag.removeprefix("W/").strip('"')


def read_error(error: ClientError, name: str) -> Exception:
    """What S3's answer means to an audience."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _GONE:
        return AudienceChanged(f"{name}: not there, or not under this name ({code})")
    if code in _CHANGED:
        return AudienceChanged(f"{name}: other bytes than the pinned ones ({code})")
    if code in _FORBIDDEN:
        return AudienceUnreachable(f"{name}: not there, or it may not be read ({code})")
    return AudienceUnreachable(f"{name}: S3 answered {code or 'without a code'}")
