"""What the metadata of a file says that an erasure has put in the place of another one, without the erased users.

Who judges a file by the time at which it was written, or by its number of records, must know both of the one before.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

FROM = "erased-from"
"""The version that it replaces."""
WRITTEN_AT = "erased-written-at"
"""When the one was written that was put there by others than an erasure: UTC, ISO 8601."""
RECORDS = "erased-records"
"""How many records were left out since then, by this erasure and those before."""
PLACE = "erased-place"
"""Where the erasure has put it, as `place_of` has it. A copy has the metadata too, and is no file of an erasure's."""
MOST = 2_048
"""So many bytes the names and values of an object's metadata have together at most."""


class Rewritten(msgspec.Struct, frozen=True):
    """What was there before the first erasure: when it was written, and how many records it had beside those now."""

    written_at: datetime
    records: int


def place_of(bucket: str, key: str) -> str:
    """A bucket and a key, in metadata: ASCII, and as short for every key, because all of it may have 2 KB."""
    return sha256(f"{bucket}/{key}".encode()).hexdigest()


def rewritten(metadata: Mapping[str, str], place: str) -> Rewritten | None:
    """What an object's metadata say; None of one that no erasure has rewritten there, such as a copy of one.

    Args:
        place: where the object is: `place_of` it.
    """
    if metadata.get(PLACE) != place:
        return None
    try:
        at, records = datetime.fromisoformat(metadata[WRITTEN_AT]), int(metadata[RECORDS])
    except (KeyError, ValueError):
        return None
    return Rewritten(at, records) if at.tzinfo is not None else None


def metadata_of(
    before: Mapping[str, str], place: str, version: str, written_at: datetime, records: int
) -> dict[str, str]:
    """The metadata of a file that takes the place of another one: with those of that one where there is room for them.

    Args:
        before: the metadata of that one.
        place: where both are: `place_of` them.
        version: of that one.
        written_at: when that one was written.
        records: how many records of it are left out.
    """
    first = rewritten(before, place) or Rewritten(written_at, 0)
    of_erasure = {
        PLACE: place,
        FROM: version,
        WRITTEN_AT: first.written_at.astimezone(UTC).isoformat(),
        RECORDS: str(first.records + records),
    }
    both = {**before, **of_erasure}
    size = sum(len(f"x-amz-meta-{name}{value}".encode()) for name, value in both.items())
    return both if size <= MOST else of_erasure
