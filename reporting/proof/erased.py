"""Erased users, as the tombstones of a run say: which objects were replaced by which, and how many users they lost.

A tombstone has no id of anybody. A record of an erased user is replaced in place, so that all other records keep their
numbers, by which rows are identified: `{"erased": true}`; a further row of the same user also has `"follows": true`.
A row of theirs keeps everything but the id, which becomes `erased:` and the record's number, and the push ids.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from notifier.model.batch_file import PinnedObject

PREFIX = "summaries/_erasures/"
"""Of the tombstones' keys. They have counts and hashes only, and are kept as long as the summaries."""


class Replaced(msgspec.Struct, frozen=True):
    """One object before and after. `version_id` is None where the bucket keeps no versions."""

    bucket: str
    key: str
    old_version_id: str | None
    old_sha256: str
    new_version_id: str | None
    new_sha256: str
    new_etag: str
    new_size: int
    records: int
    """Records or rows of erased users in it."""


class Tombstone(msgspec.Struct, frozen=True):
    """One erasure in one run: when, by whom, how many users, and each object that was replaced."""

    run_id: str
    at_ms: int
    by: str
    users: int
    objects: tuple[Replaced, ...]
    version: int = 1


class Erasures:
    """All tombstones of a run, oldest first."""

    def __init__(self, tombstones: Iterable[Tombstone] = ()) -> None:
        self._after: dict[tuple[str, str, str], Replaced] = {}
        self._latest: dict[tuple[str, str], Replaced] = {}
        self.users = 0
        for tombstone in sorted(tombstones, key=lambda one: one.at_ms):
            self.users += tombstone.users
            for replaced in tombstone.objects:
                self._after[replaced.bucket, replaced.key, replaced.old_sha256] = replaced
                self._latest[replaced.bucket, replaced.key] = replaced

    def now(self, pinned: PinnedObject) -> tuple[PinnedObject, str | None]:
        """The object that has replaced a pinned one, and the SHA-256 that it must have; itself where none does."""
        replaced = self._latest.get((pinned.bucket, pinned.key))
        if replaced is None:
            return pinned, None
        by = PinnedObject(pinned.bucket, pinned.key, replaced.new_version_id, replaced.new_etag, replaced.new_size)
        return by, replaced.new_sha256

    def of(self, bucket: str, key: str) -> Replaced | None:
        """The last replacement of an object of the run's results."""
        return self._latest.get((bucket, key))


def erased_id(record: int) -> str:
    """What replaces an erased user's id in rows and lists."""
    return f"erased:{record}"


def is_erased(record: object) -> bool:
    """Whether a record of the audience is what an erasure left."""
    return type(record) is dict and record.get("erased") is True and "user_id" not in record


def follows(record: Any) -> bool:
    """Whether an erased record is a further row of the user before it."""
    return record.get("follows") is True
