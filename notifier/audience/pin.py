"""Which bytes exactly: an object of S3, its version where the bucket keeps versions, and its ETag."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, UnsupportedS3ArnError
from urllib3.exceptions import HTTPError

from notifier.audience.s3_errors import ARCHIVED, WITHOUT_WORDS, code_of, read_error
from notifier.model.audience_faults import AudienceChanged, AudienceDenied, AudienceUnreachable
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Part

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_VERSION = "null"
"""What S3 calls the version of an object written before versioning: it can be overwritten, so it pins nothing."""

_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_RESTORED = 'ongoing-request="false"'


def pin(
    client: "S3Client", bucket: str, key: str, *, version_id: str | None = None, etag: str | None = None
) -> PinnedObject:
    """The object as it is now, by one HEAD.

    Raises:
        AudienceChanged: it is not there, or not the version or ETag that was stated.
        AudienceDenied: S3 keeps it back; the message says what has to be changed.
        AudienceUnreachable: S3 did not answer, or cannot now.
    """
    name = f"s3://{bucket}/{key}"
    wanted = version_id if version_id != NO_VERSION else None
    asked: dict[str, Any] = {"Bucket": bucket, "Key": key} | ({"VersionId": wanted} if wanted else {})
    with _answers(name, wanted):
        head = _head(client, asked)
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
    """Every part, pinned by a few threads, and its first byte read: what cannot be read is found before any push.

    Args:
        bucket: where parts are that name none.
        field: how the batch file calls the list: errors name the part by it, as `audience.parts[0]`.

    Raises:
        AudienceChanged, AudienceDenied, AudienceUnreachable: as `pin`.
    """

    def one(numbered: tuple[int, Part]) -> PinnedObject:
        number, part = numbered
        try:
            pinned = pin(client, part.bucket or bucket, part.key, version_id=part.version_id, etag=part.etag)
            _check_readable(client, pinned)
        except (AudienceChanged, AudienceUnreachable) as error:
            raise type(error)(f"{field}.parts[{number}]: {error}") from None
        return pinned

    with ThreadPoolExecutor(8) as pool:
        return tuple(pool.map(one, enumerate(parts)))


def unquoted(etag: str) -> str:
    """An ETag without its quotes and weakness mark."""
    return etag.removeprefix("W/").strip('"')


def _head(client: "S3Client", asked: dict[str, Any]) -> Any:
    """The answer to a HEAD. A refused one has no body: a GET of one byte is asked why."""
    try:
        return client.head_object(**asked)
    except ClientError as error:
        if code_of(error) not in WITHOUT_WORDS:
            raise
        client.get_object(**asked, Range="bytes=0-0")["Body"].read()
        raise  # the GET was answered: the HEAD's status is all there is


def _check_readable(client: "S3Client", pinned: PinnedObject) -> None:
    """Read one byte. S3 answers a HEAD also where the object's KMS key may not be used."""
    if pinned.size:
        with _answers(pinned.name, pinned.version_id):
            client.get_object(**pinned.request, IfMatch=f'"{pinned.etag}"', Range="bytes=0-0")["Body"].read()


def _is_archived(head: Mapping[str, Any]) -> bool:
    archived = head.get("StorageClass") in _ARCHIVES or "ArchiveStatus" in head
    return archived and _RESTORED not in head.get("Restore", "")


@contextmanager
def _answers(name: str, version_id: str | None) -> Iterator[None]:
    """Whatever a request raises, as an audience's fault."""
    try:
        yield
    except ClientError as error:
        raise read_error(error, name, version_id) from error
    except (ParamValidationError, UnsupportedS3ArnError) as error:
        raise AudienceChanged(f"{name}: no bucket or key can have this name") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise AudienceUnreachable(f"{name}: S3 does not answer") from error
