"""Which bytes exactly: an object of S3, its ETag, and its version if the bucket keeps versions."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError, UnsupportedS3ArnError

from notifier.audience.s3_errors import ARCHIVED, CODES_OF_HEAD, broken_connection, code_of, fault_of
from notifier.model.audience_faults import AudienceChanged, AudienceDenied, AudienceUnreachable
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Part

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_VERSION = "null"
"""What S3 calls the version of an object written before versioning: it can be overwritten, so it pins nothing."""

_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_RESTORED = 'ongoing-request="false"'
"""In the header `x-amz-restore`: a readable copy of the archived object is there."""
_PIN_THREADS = 8
"""Requests at a time: 10,000 parts, the most there may be, take a minute or two."""


def pin(
    client: "S3Client", bucket: str, key: str, *, version_id: str | None = None, etag: str | None = None
) -> PinnedObject:
    """The object as it is now, by one HEAD.

    Raises:
        AudienceChanged: the object does not exist, or not with the version or ETag that was given.
        AudienceDenied: S3 refuses to read it; the message says what has to be changed.
        AudienceUnreachable: S3 did not answer, or refuses for the moment.
    """
    name = f"s3://{bucket}/{key}"
    wanted = version_id if version_id != NO_VERSION else None
    with _s3_errors_as_faults(name, wanted):
        head = _head(client, _address(bucket, key, wanted))
    found = unquoted(head["ETag"])
    if etag and found != unquoted(etag):
        raise AudienceChanged(f"{name}: the ETag is {found}, stated was {unquoted(etag)}")
    if _is_archived(head):
        raise AudienceDenied(f"{name}: {ARCHIVED.format(code=head.get('StorageClass', 'ARCHIVE'))}")
    version = head.get("VersionId", NO_VERSION)
    return PinnedObject(bucket, key, None if version == NO_VERSION else version, found, head["ContentLength"])


def pin_parts(
    client: "S3Client", parts: Iterable[Part], bucket: str, field: str = "audience"
) -> tuple[PinnedObject, ...]:
    """Pin every part and read its first byte, so that an unreadable part is found before any push.

    Args:
        bucket: the bucket of parts that name none.
        field: the list's name in the batch file: errors name the part by it, as in `audience.parts[0]`.

    Raises:
        AudienceChanged, AudienceDenied, AudienceUnreachable: as `pin`.
    """

    def one(numbered: tuple[int, Part]) -> PinnedObject:
        number, part = numbered
        try:
            pinned = pin(client, part.bucket or bucket, part.key, version_id=part.version_id, etag=part.etag)
            _check_readable(client, pinned)
        except (AudienceChanged, AudienceUnreachable) as error:
            # The same class: callers distinguish AudienceDenied from AudienceUnreachable.
            raise type(error)(f"{field}.parts[{number}]: {error}") from None
        return pinned

    with ThreadPoolExecutor(_PIN_THREADS) as pool:
        return tuple(pool.map(one, enumerate(parts)))


def unquoted(etag: str) -> str:
    """An ETag without its quotes and weakness mark."""
    return etag.removeprefix("W/").strip('"')


def _address(bucket: str, key: str, version_id: str | None) -> dict[str, Any]:
    return {"Bucket": bucket, "Key": key} | ({"VersionId": version_id} if version_id else {})


def _head(client: "S3Client", address: dict[str, Any]) -> Any:
    """The answer to a HEAD. A refusal of it has no body, so the same is asked by a GET of one byte, which says why."""
    try:
        return client.head_object(**address)
    except ClientError as error:
        if code_of(error) not in CODES_OF_HEAD:
            raise
        client.get_object(**address, Range="bytes=0-0")["Body"].read()
        raise  # the GET succeeded, so there is no better reason than the HEAD's status


def _check_readable(client: "S3Client", pinned: PinnedObject) -> None:
    """Read one byte, because S3 answers a HEAD even if the object's KMS key must not be used."""
    # An empty object has no first byte: the range would be refused.
    if pinned.size:
        with _s3_errors_as_faults(pinned.name, pinned.version_id):
            client.get_object(**pinned.request, IfMatch=f'"{pinned.etag}"', Range="bytes=0-0")["Body"].read()


def _is_archived(head: Mapping[str, Any]) -> bool:
    # Intelligent-Tiering keeps its storage class in the archive and says so in ArchiveStatus.
    archived = head.get("StorageClass") in _ARCHIVES or "ArchiveStatus" in head
    return archived and _RESTORED not in head.get("Restore", "")


@contextmanager
def _s3_errors_as_faults(name: str, version_id: str | None) -> Iterator[None]:
    """Turns any error of a request into a fault of the audience."""
    try:
        yield
    except ClientError as error:
        raise fault_of(error, name, version_id) from error
    # botocore refuses such names before it sends anything.
    except (ParamValidationError, UnsupportedS3ArnError) as error:
        raise AudienceChanged(f"{name}: no bucket or key can have this name") from error
    except broken_connection() as error:
        raise AudienceUnreachable(f"{name}: S3 does not answer") from error
