"""Erased users, as the tombstones of a run say: which objects were replaced by which, and how many users they lost.

A tombstone has no id of anybody. A record of an erased user is replaced in place, so that all other records keep their
numbers, by which rows are identified: `{"erased": true}`; a further row of the same user also has `"follows": true`.
A row of theirs keeps everything but the id, which becomes `erased:` and the record's number, and the push ids.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from notifier.model.batch_file import PinnedObject
from notifier.model.run import Source, source_of

PREFIX = "summaries/_erasures/"
"""Of the tombstones' keys. They have counts and hashes only, and are kept as long as the summaries."""


FILES = "audiences/_erased/"
"""Of batch files and audiences without the erased users: they hold the others, and are kept as long as audiences."""


def moved_manifest(key: str) -> str:
    """Where the manifest of a prepared audience is after an erasure, so that no later run finds it."""
    return f"{FILES}manifests/{key.removeprefix('audiences/')}"


class Replaced(msgspec.Struct, frozen=True):
    """One object before and after. Versions are None where the bucket keeps none.

    `new_key` may be another one: nothing is ever put under `batches/` again, because that would start a run.
    """

    bucket: str
    key: str
    old_version_id: str | None
    old_etag: str
    old_sha256: str
    new_key: str
    new_version_id: str | None
    new_etag: str
    new_size: int
    new_sha256: str
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


_Place = tuple[str, str, str | None]
"""Bucket, key and version."""


class Erasures:
    """All tombstones of a run."""

    def __init__(self, tombstones: Iterable[Tombstone] = ()) -> None:
        self._now: dict[_Place, Replaced] = {}
        """By the place that the run knows: what stands there now, after any number of erasures."""
        self._origin: dict[_Place, _Place] = {}
        self._etags: dict[_Place, str] = {}
        self._in_place: dict[tuple[str, str], Replaced] = {}
        self.users = 0
        # Oldest first: a later erasure replaces what an earlier one wrote.
        for tombstone in sorted(tombstones, key=lambda one: one.at_ms):
            self.users += tombstone.users
            for replaced in tombstone.objects:
                self._take(replaced)

    def _take(self, replaced: Replaced) -> None:
        old = (replaced.bucket, replaced.key, replaced.old_version_id)
        origin = self._origin.get(old, old)
        self._now[origin] = replaced
        self._etags.setdefault(origin, replaced.old_etag)
        self._origin[replaced.bucket, replaced.new_key, replaced.new_version_id] = origin
        if replaced.key == replaced.new_key:
            self._in_place[replaced.bucket, replaced.key] = replaced

    def now(self, pinned: PinnedObject) -> tuple[PinnedObject, str | None]:
        """What stands in a pinned object's place, and the SHA-256 that it must have; itself where nothing does."""
        replaced = self._now.get((pinned.bucket, pinned.key, pinned.version_id))
        if replaced is None:
            return pinned, None
        by = PinnedObject(
            replaced.bucket, replaced.new_key, replaced.new_version_id, replaced.new_etag, replaced.new_size
        )
        return by, replaced.new_sha256

    def of(self, bucket: str, key: str) -> Replaced | None:
        """The last replacement of an object of the run's results, which keep their keys."""
        return self._in_place.get((bucket, key))

    def sources(self, bucket: str, key: str) -> Iterator[Source]:
        """The versions of a batch file that were replaced."""
        for place, etag in self._etags.items():
            if place[:2] == (bucket, key):
                yield source_of(bucket, key, place[2], etag)


ERASED = "erased:"


def erased_id(record: int) -> str:
    """What replaces an erased user's id in rows and lists."""
    return f"{ERASED}{record}"


def is_erased(record: object) -> bool:
    """Whether a record of the audience is what an erasure left."""
    return type(record) is dict and record.get("erased") is True and "user_id" not in record


def follows(record: Any) -> bool:
    """Whether an erased record is a further row of the user before it."""
    return record.get("follows") is True
