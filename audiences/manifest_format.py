"""The manifest of a prepared audience: what was made of what. A reader needs nothing else to use the audience.

Version 1 is a public contract: it changes by adding fields only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from notifier.model.audience_counts import Counts
from notifier.model.batch_file import PinnedObject

VERSION: Literal[1] = 1
PREFIX = "audiences/prepared/"
NAME = "_manifest.json"
MAX_USERS_IN_PART = 250_000
"""A multiple of the batch size, so that two parts never share a batch."""
ID_CHARS = 20


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object or file that the audience was made of, and how many rows were read from it."""

    bucket: Annotated[str, Meta(description="Empty for a file of the machine that prepared it.")]
    key: str
    etag: str
    size: int
    rows: int
    version_id: str | None = None


class PreparedPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object of users, and what is needed to send it without reading the others."""

    bucket: Annotated[str, Meta(description="Empty where the parts were written to a directory.")]
    key: str
    etag: str
    sha256: Annotated[str, Meta(description="Of the object's bytes, in hexadecimal digits.")]
    bytes: int
    users: int
    devices: int
    first_record: Annotated[int, Meta(description="The number of its first user over all parts: a multiple of 500.")]
    first_hash: Annotated[str, Meta(description="The first 8 bytes of sha256(user_id) of its first user.")]
    batches: Annotated[tuple[str, ...], Meta(description="The same of the first user of each 500.")]
    version_id: str | None = None

    @property
    def pinned(self) -> PinnedObject:
        """The object."""
        return PinnedObject(self.bucket, self.key, self.version_id, self.etag, self.bytes)


class InvalidObject(msgspec.Struct, frozen=True):
    """The object that lists every row and device that was left out, with its reason."""

    key: str


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A prepared audience."""

    id: str
    attempt: int
    request: Mapping[str, Any]
    inputs: tuple[Input, ...]
    parts: tuple[PreparedPart, ...]
    counts: Counts
    invalid: InvalidObject | None = None
    version: int = VERSION
    queries: Annotated[Mapping[str, str], Meta(description="The SQL that was run, by the query's name.")] = {}

    def encode(self) -> bytes:
        """As JSON, indented: people look at it."""
        plain = {"version": self.version, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


class UnknownManifest(ValueError):
    """A manifest that this release does not know. The message is for people."""


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in its JSON form.

    Raises:
        UnknownManifest: a newer release wrote it, or it is no manifest.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError:
        raise UnknownManifest("not a manifest of a prepared audience") from None
    if manifest.version > VERSION:
        raise UnknownManifest(f"a manifest of version {manifest.version}: this release reads {VERSION}")
    return manifest


def audience_id(request: Mapping[str, Any], inputs: Sequence[PinnedObject]) -> str:
    """The id of what is made of this request and exactly these bytes: the same again is not prepared twice.

    Args:
        inputs: what the request's files are at the moment, in the order of reading, which decides ties between rows.
    """
    pinned = [
        {"bucket": one.bucket, "key": one.key, "version_id": one.version_id, "etag": one.etag, "size": one.size}
        for one in inputs
    ]
    # Sorted members and no white space: the same request always gives the same text.
    canonical = msgspec.json.encode({"request": dict(request), "inputs": pinned}, order="sorted")
    return hashlib.sha256(canonical).hexdigest()[:ID_CHARS]


def folder_of(audience: str) -> str:
    """The keys' prefix of everything that belongs to an audience."""
    return f"{PREFIX}{audience}/"


def attempt_folder(audience: str, attempt: int) -> str:
    """The prefix of one attempt's objects. Attempts never share a folder, so nothing of two can be mixed."""
    return f"{folder_of(audience)}attempt={attempt}/"


def part_name(number: int) -> str:
    """The name of a part within its attempt's folder."""
    return f"part-{number:05d}.jsonl"
