"""All versions of a bucket's objects, as a listing has them."""

from collections.abc import Iterator
from typing import Any

import msgspec


class Version(msgspec.Struct, frozen=True):
    """One version of an object. `at_s` is when it was written, in seconds since the epoch."""

    key: str
    id: str
    latest: bool
    size: int
    etag: str = ""
    at_s: float = 0.0

    @property
    def pin(self) -> str | None:
        """As a pin names it: an object of before versioning has none."""
        return None if self.id == "null" else self.id


def versions_under(client: Any, bucket: str, prefix: str) -> Iterator[Version]:
    """All versions under a prefix, key by key, the newest of each first."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Versions", ()):
            id_, at_s = one.get("VersionId") or "null", one["LastModified"].timestamp()
            yield Version(one["Key"], id_, one["IsLatest"], one["Size"], one["ETag"], at_s)
