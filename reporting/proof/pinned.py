"""Reads a pinned object to its end, into a file, and recomputes from its bytes what S3 calls its ETag."""

import hashlib
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from notifier.model.batch_file import PinnedObject
from reporting.proof.conclusion import CannotProve, NotProved

PIECE_BYTES = 1024 * 1024
_GONE = ("404", "NoSuchKey", "NoSuchVersion", "NotFound", "405", "MethodNotAllowed")
_CHANGED = ("412", "PreconditionFailed")


class EtagDigest:
    """The ETag of bytes, as S3 computes it without KMS: their MD5; of a multipart upload the MD5 of the parts' MD5s."""

    def __init__(self, part_bytes: int | None = None) -> None:
        self._part_bytes = part_bytes
        self._parts: list[bytes] = []
        self._part = hashlib.md5(usedforsecurity=False)
        self._room = part_bytes or 0

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        while self._part_bytes and len(data) >= self._room:
            self._part.update(data[: self._room])
            data = data[self._room :]
            self._close()
        self._part.update(data)
        self._room -= len(data)

    def _close(self) -> None:
        self._parts.append(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._room = self._part_bytes or 0

    def etag(self) -> str:
        """The ETag of all bytes so far."""
        if self._part_bytes is None:
            return self._part.hexdigest()
        if self._room != self._part_bytes or not self._parts:
            self._close()
        return f"{hashlib.md5(b''.join(self._parts), usedforsecurity=False).hexdigest()}-{len(self._parts)}"


def fetch(client: Any, pinned: PinnedObject, path: Path, sha256: str | None = None) -> bool:
    """Write the object's bytes to a file. Returns whether they were recomputed: with KMS an ETag alone cannot be.

    Args:
        sha256: what their SHA-256 must be, where that is on record.

    Raises:
        NotProved: they are other bytes than those that were pinned.
        CannotProve: the object is gone.
    """
    try:
        answer = client.get_object(**pinned.request, IfMatch=f'"{pinned.etag}"')
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _CHANGED:
            raise NotProved(pinned.name, f"other bytes than those that were pinned (ETag {pinned.etag})") from None
        if code in _GONE:
            raise CannotProve(f"{pinned.name} is gone: deleted, or expired (BatchFileDays)") from None
        raise
    digest, sha = EtagDigest(_part_bytes(client, pinned)), hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for piece in answer["Body"].iter_chunks(PIECE_BYTES):
            file.write(piece)
            digest.update(piece)
            sha.update(piece)
            size += len(piece)
    if size != pinned.size:
        raise NotProved(pinned.name, f"{size:,} bytes, pinned were {pinned.size:,}")
    if sha256 is not None and sha.hexdigest() != sha256:
        raise NotProved(pinned.name, "its bytes are not those on record (SHA-256)")
    # With a KMS key an ETag says nothing about the bytes: S3's word, and the SHA-256 on record, are all there is.
    if "kms" in answer.get("ServerSideEncryption", "") or answer.get("SSECustomerAlgorithm"):
        return sha256 is not None
    if digest.etag() != pinned.etag:
        raise NotProved(pinned.name, f"its bytes make the ETag {digest.etag()}, pinned was {pinned.etag}")
    return True


def _part_bytes(client: Any, pinned: PinnedObject) -> int | None:
    """The size of a multipart upload's parts (all but the last have it); None for an object of one piece."""
    if "-" not in pinned.etag:
        return None
    length: int = client.head_object(**pinned.request, PartNumber=1)["ContentLength"]
    return length
