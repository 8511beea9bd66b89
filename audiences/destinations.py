"""Where a prepared audience is written: a bucket, or a directory of this machine.

Both keep the same promise: an object appears whole or not at all, and the manifest is created once, after all
that it names. So a reader that finds a manifest finds every object in it.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import ClientError

from notifier.audience.pin import NO_VERSION, unquoted
from notifier.audience.unused import UNUSED
from notifier.model.batch_file import PinnedObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PUT_BYTES = 256 * 1024 * 1024
"""Up to this size one PUT: a part of 250,000 users is smaller, as a rule."""


class Destination(Protocol):
    """Where the objects of an audience go. Keys are relative to it."""

    bucket: str
    """The bucket; empty for a directory."""

    def put(self, key: str, path: Path) -> PinnedObject:
        """Store a file under a key that only this attempt uses."""

    def create(self, key: str, data: bytes) -> bool:
        """Store an object unless it is there. Returns False if another attempt has stored it."""

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """Store an object in place of the one with these bytes. Returns False if another attempt has replaced it."""

    def has(self, pinned: PinnedObject) -> bool:
        """Whether these very bytes are there under their name."""

    def read(self, key: str) -> bytes | None:
        """An object's bytes; None if there is no such object."""


class Bucket:
    """A bucket of S3.

    Args:
        unused: what is put is tagged: it expires after two days unless a run takes it (`notifier.audience.unused`).
    """

    def __init__(self, client: "S3Client", bucket: str, *, unused: bool = False) -> None:
        self.bucket = bucket
        self._client = client
        self._extra = {"Tagging": f"{UNUSED}=true"} if unused else {}

    def put(self, key: str, path: Path) -> PinnedObject:
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - half a second, which a directory can do without

        # upload_file splits what one PUT cannot take, and repeats what fails.
        config = TransferConfig(multipart_threshold=_PUT_BYTES, multipart_chunksize=64 * 1024 * 1024, use_threads=False)
        self._client.upload_file(str(path), self.bucket, key, ExtraArgs=self._extra, Config=config)
        head = self._client.head_object(Bucket=self.bucket, Key=key)
        version = head.get("VersionId", NO_VERSION)
        version_id = None if version == NO_VERSION else version
        return PinnedObject(self.bucket, key, version_id, unquoted(head["ETag"]), head["ContentLength"])

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "412"):
                raise
            return False
        return True

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """Store an object in place of the one with these bytes. Returns False if another attempt has replaced it."""
        found = self._client.get_object(Bucket=self.bucket, Key=key)
        if found["Body"].read() != before:
            return False
        try:
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType="application/json", IfMatch=found["ETag"]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                raise
            return False
        return True

    def has(self, pinned: PinnedObject) -> bool:
        """Whether these very bytes are there under their name: an expired object is still read by its version only."""
        try:
            return unquoted(self._client.head_object(Bucket=self.bucket, Key=pinned.key)["ETag"]) == pinned.etag
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            return False

    def copy(self, source: str, key: str) -> None:
        """Copy an object, whole or not at all; done again it gives the same object."""
        self._client.copy_object(Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": source})

    def read(self, key: str) -> bytes | None:
        try:
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None


class Directory:
    """A directory of this machine. Its objects' ETags are their SHA-256."""

    bucket = ""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, key: str, path: Path) -> PinnedObject:
        place = self._place(key)
        size, etag = path.stat().st_size, _sha256(path)
        # It may come from another disk: then it is copied, and must not be seen under its name before it is whole.
        unfinished = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.move(path, unfinished)
        unfinished.replace(place)
        return PinnedObject("", key, None, etag, size)

    def create(self, key: str, data: bytes) -> bool:
        place = self._place(key)
        unfinished = place.with_name(f".{place.name}.{os.getpid()}")
        unfinished.write_bytes(data)
        try:
            # A link is made whole or not at all, and never over a file that is there.
            place.hardlink_to(unfinished)
        except FileExistsError:
            return False
        finally:
            unfinished.unlink()
        return True

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        if self.read(key) != before:
            return False
        unfinished = self._place(key).with_name(f".{Path(key).name}.{os.getpid()}")
        unfinished.write_bytes(data)
        unfinished.replace(self._path / key)
        return True

    def has(self, pinned: PinnedObject) -> bool:
        path = self._path / pinned.key
        return path.is_file() and path.stat().st_size == pinned.size

    def read(self, key: str) -> bytes | None:
        try:
            return (self._path / key).read_bytes()
        except FileNotFoundError:
            return None

    def _place(self, key: str) -> Path:
        place = self._path / key
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def _sha256(path: Path) -> str:
    with path.open("rb") as stored:
        return hashlib.file_digest(stored, "sha256").hexdigest()
