"""The stack that an erasure goes through: its clients and names, and what becomes of each of its objects."""

from collections.abc import Callable
from typing import Any

import msgspec

from privacy.places import PREFIXES, Way
from privacy.run_eraser import GONE
from privacy.runs import Open
from privacy.versions import Version, versions_under
from privacy.whom import FOLDER

Progress = Callable[[str, int, int], object]
"""Is given what is gone through, how many are done, and of how many."""


class Stack(msgspec.Struct, frozen=True):
    """Clients and names of a stack."""

    s3: Any
    dynamodb: Any
    bucket: str
    table: str
    suppression: str
    approval_table: str | None = None


def read_versions(stack: Stack) -> dict[str, list[Version]]:
    """All versions in the bucket, newest first, by their key."""
    found: dict[str, list[Version]] = {}
    for version in versions_under(stack.s3, stack.bucket, ""):
        found.setdefault(version.key, []).append(version)
    return found


def way_of(stack: Stack, key: str) -> Way:
    """What becomes of an erased user in this object."""
    if key.startswith(stack.suppression):
        # The keyed hashes stay: they keep the erased from being reached again.
        return Way.NOBODY if key.startswith(stack.suppression + FOLDER) else Way.FILE
    # An object under no prefix of ours is read as a file: it may be anything.
    return next((way for prefix, way in PREFIXES.items() if key.startswith(prefix)), Way.FILE)


def left_to(stack: Stack, open_: Open, key: str) -> str | None:
    """The open run that an object is left to, or what else."""
    # A run that an earlier release began does not understand keyed hashes: until then it needs the plain ids.
    if key.startswith(stack.suppression) and open_.run_ids:
        return min(open_.run_ids)
    return open_.waits_for(key)


def is_manifest(key: str) -> bool:
    """Whether it is the manifest of a prepared audience, or of a final cut."""
    return key.startswith(("audiences/prepared/", "audiences/cut/")) and key.endswith("/_manifest.json")


def get_version(stack: Stack, version: Version) -> Any:
    """S3's answer with the bytes of a version; None where it has expired since it was listed."""
    more = {"VersionId": version.pin} if version.pin else {}
    try:
        return stack.s3.get_object(Bucket=stack.bucket, Key=version.key, **more)
    except stack.s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise
