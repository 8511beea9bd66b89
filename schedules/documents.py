"""Definitions in S3: the file that people edit, and the copy by which occurrences are made.

A definition is the file `schedules/NAME.json` and every text that it names: the SQL and the description of each stored
query, and what the conversions of its goal are found by (`notifier.model.goal_source`). One approval is good for all of
it, so its name is a hash over all of it:

    for each text, by key:  SHA-256 of its bytes, two spaces, its key, line feed    (the output of `sha256sum`)
    HASH = SHA-256 of those lines

and what is adopted is copied to `schedules/approved/NAME/HASH/`, which does not expire and which nobody who asks for
pushes can write. What is read from there is checked against HASH.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from botocore.exceptions import ClientError

from notifier.model.goal_source import PREFIX as CONVERSIONS
from notifier.model.goal_source import MissingText, hash_of, hashes_of, read_texts
from notifier.model.stored_query import PREFIX as QUERIES
from notifier.model.validation import Fault
from schedules.definition import PREFIX, BrokenSchedule, Schedule, key_of, name_of, read_schedule

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COPIES = f"{PREFIX}approved/"


class Document(msgspec.Struct, frozen=True):
    """A definition with every text that it names, by key."""

    schedule: Schedule
    texts: Mapping[str, bytes]

    @property
    def hash(self) -> str:
        """Names exactly these texts; see the module."""
        return hash_of(self.texts)

    @property
    def file_sha256(self) -> str:
        """Of the schedule's own file, in hexadecimal."""
        return sha256(self.texts[key_of(self.schedule.name)]).hexdigest()


class CopyChanged(Exception):
    """A copy is not what its hash says: it was changed in the bucket."""


def unapproved_reason(document: Document) -> str:
    """Why an edited schedule does not fire. It has the hash: whether it may fire is asked of each edit."""
    key = key_of(document.schedule.name)
    return f"{document.hash[:12]}: nobody has approved what {key} and the texts that it names say now"


def deleted_reason(name: str) -> str:
    """Why a schedule fires no more of which the file is gone."""
    return f"{key_of(name)} was deleted"


def copy_prefix(name: str, digest: str) -> str:
    """Where the copy of a definition is: each text under its own key behind this."""
    return f"{COPIES}{name}/{digest}/"


class Texts(Protocol):
    """Objects by their keys: a bucket, or a folder on a laptop."""

    def versions(self, prefix: str) -> Mapping[str, str]:
        """The keys directly under a prefix that ends in /, each with what changes when its bytes do."""
        ...

    def keys(self, prefix: str) -> Iterable[str]:
        """Every key under a prefix, in any depth."""
        ...

    def get(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        ...

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        ...

    def replace(self, key: str, body: bytes, before: bytes | None) -> bool:
        """Write an object in place of the one with these bytes, or of none. False where it is another one by now."""
        ...


class BucketTexts:
    """The objects of a bucket.

    Args:
        client: a boto3 S3 client.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def versions(self, prefix: str) -> Mapping[str, str]:
        """The keys directly under a prefix, with their ETags."""
        listed = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, Delimiter="/"
        )
        return {one["Key"]: one["ETag"].strip('"') for page in listed for one in page.get("Contents", ())}

    def keys(self, prefix: str) -> Iterable[str]:
        """Every key under a prefix."""
        listed = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [one["Key"] for page in listed for one in page.get("Contents", ())]

    def get(self, key: str) -> bytes | None:
        """An object's bytes."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body)

    def replace(self, key: str, body: bytes, before: bytes | None) -> bool:
        """Write an object in place of the one with these bytes, or of none."""
        condition: dict[str, Any] = {"IfNoneMatch": "*"}
        if before is not None:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
            if found["Body"].read() != before:
                return False
            condition = {"IfMatch": found["ETag"]}
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", **condition
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                raise
            return False
        return True


class Documents:
    """The definitions of a stack.

    Args:
        needs_approval: RequireApproval.
    """

    def __init__(self, texts: Texts, *, needs_approval: bool = False) -> None:
        self._texts = texts
        self.needs_approval = needs_approval

    def files(self) -> dict[str, str]:
        """What changes when a schedule, or a text that it may name, was edited, by the schedule's name."""
        found = {name: version for key, version in self._texts.versions(PREFIX).items() if (name := name_of(key))}
        # Most stacks have none, and a list in each minute costs money.
        if not found:
            return {}
        named = sorted({**self._texts.versions(QUERIES), **self._texts.versions(CONVERSIONS)}.items())
        # Of all of them: which ones a schedule names is known once it was read. Reading it again costs little.
        # And where the stack's RequireApproval is another one than before, every schedule is looked at again.
        edition = sha256(repr(named).encode()).hexdigest()[:16] + (".approval" if self.needs_approval else "")
        return {name: f"{version}.{edition}" for name, version in found.items()}

    def read(self, name: str) -> Document:
        """The definition as its author has it now.

        Raises:
            BrokenSchedule: with every fault.
        """
        data = self.text(name)
        if data is None:
            raise BrokenSchedule(key_of(name), (Fault("file", "is not there any more"),))
        return self.document(name, data)

    def text(self, name: str) -> bytes | None:
        """The file as its author has it now, whatever is in it; None without one."""
        return self._texts.get(key_of(name))

    def replace(self, name: str, text: bytes, before: bytes | None) -> bool:
        """Write a schedule's file in place of what it said, or of none. False where it says something else by now."""
        return self._texts.replace(key_of(name), text, before)

    def document(self, name: str, data: bytes) -> Document:
        """The definition that a file with these bytes would be, with the texts that it names as they are now.

        Raises:
            BrokenSchedule: with every fault.
        """
        schedule = read_schedule(name, data, needs_approval=self.needs_approval)
        texts = {key_of(name): data}
        for query in schedule.queries:
            for ending in (".sql", ".json"):
                key = f"{QUERIES}{query}{ending}"
                text = self._texts.get(key)
                if text is None:
                    mend = "notifier audience queries lists those that are there"
                    raise BrokenSchedule(key_of(name), (Fault("audience.query.name", f"there is no {key}", mend),))
                texts[key] = text
        goal = schedule.campaign.get("goal")
        if goal is not None:
            try:
                texts |= read_texts(goal["name"], self._texts.get)
            except MissingText as missing:
                mend = "its conversions are found by it: upload it first"
                raise BrokenSchedule(
                    key_of(name), (Fault("campaign.goal.name", f"there is no {missing.key}", mend),)
                ) from None
        return Document(_with_source(schedule, texts), texts)

    def copy(self, document: Document) -> None:
        """Write the copy of a definition. Repeatable: the same bytes under the same keys."""
        prefix = copy_prefix(document.schedule.name, document.hash)
        for key, text in document.texts.items():
            self._texts.put(prefix + key, text)

    def adopted(self, name: str, digest: str) -> Document:
        """A definition from its copy.

        Raises:
            CopyChanged: it is not what was copied.
        """
        prefix = copy_prefix(name, digest)
        texts = {key.removeprefix(prefix): self._texts.get(key) or b"" for key in self._texts.keys(prefix)}
        if hash_of(texts) != digest:
            raise CopyChanged(f"{prefix} in the bucket is not what was adopted under this hash: approve it again")
        return Document(_with_source(read_schedule(name, texts[key_of(name)]), texts), texts)


def _with_source(schedule: Schedule, texts: Mapping[str, bytes]) -> Schedule:
    """The schedule with the hashes of its goal's source: batch files carry them, as those of the pages do.

    A copy that was made before its goal's source was part of it has none, and its occurrences neither.
    """
    goal = schedule.campaign.get("goal")
    if goal is None:
        return schedule
    # What an author wrote for them is no hash of what was approved: it goes, also where there is none to put there.
    own = {name: value for name, value in goal.items() if not name.endswith("_sha256")}
    pinned = own | hashes_of(goal["name"], texts)
    return msgspec.structs.replace(schedule, campaign={**schedule.campaign, "goal": pinned})
