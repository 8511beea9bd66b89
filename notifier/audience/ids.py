"""A list of user ids to leave out: read once, looked up for every user."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from notifier.audience.cache import FileCache
from notifier.audience.ranges import Sleep
from notifier.audience.stream import AudienceStream, FileKind
from notifier.model.audience_faults import BrokenFile
from notifier.model.batch_file import PinnedObject
from notifier.model.keyed_id import key_in, keyed
from notifier.model.record_reading import id_of, user_id_in
from notifier.model.spelling import BrokenRecord

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RECORDS_AT_ONCE = 10_000
_WAIT_S = 1.0
_BUCKETS = 256
_NAMED_PARTS = 3
"""So many parts are named in an error: an entry's own part is not known here."""


class IdSet:
    """User ids as 8-byte hashes in sorted arrays, one per value of the lowest byte: 8 MB for a million ids.

    With a million ids and a million users, a wrong match is expected once in 18 million runs.

    An entry may also be a keyed hash of an id, where a list must not have the id itself, or the key of such hashes
    (`notifier.model.keyed_id`).
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._buckets = [array("Q") for _ in range(_BUCKETS)]
        self._is_empty = True
        self._keys: set[bytes] = set()
        for user_id in ids:
            self._add(user_id)
        self._sort()

    def __contains__(self, user_id: object) -> bool:
        # Most runs leave nobody out, and each of their users is looked up twice: no hash for those.
        if self._is_empty or not isinstance(user_id, str):
            return False
        # A list without a key costs no further hash.
        return self.has_hash(_hash(user_id)) or any(self.has_hash(_hash(keyed(key, user_id))) for key in self._keys)

    def __bool__(self) -> bool:
        """Whether it has an entry."""
        return not self._is_empty

    @property
    def is_keyed(self) -> bool:
        """Whether entries may be keyed hashes: then an id's own hash does not suffice."""
        return bool(self._keys)

    def has_hash(self, number: int) -> bool:
        """Whether an entry has this hash: who looks an id up in several lists hashes it once."""
        bucket = self._buckets[number % _BUCKETS]
        at = bisect_left(bucket, number)
        return at < len(bucket) and bucket[at] == number

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def _add(self, user_id: str) -> None:
        if (key := key_in(user_id)) is not None:
            self._keys.add(key)
            return
        number = _hash(user_id)
        self._buckets[number % _BUCKETS].append(number)
        self._is_empty = False

    def _sort(self) -> None:
        # One bucket at a time: a set of all hashes at once would need several times the memory of the arrays.
        for n, bucket in enumerate(self._buckets):
            self._buckets[n] = array("Q", sorted(set(bucket)))


def read_ids(
    client: "S3Client",
    parts: Sequence[PinnedObject],
    *,
    cache: FileCache | None = None,
    pause: Sleep | None = None,
) -> IdSet:
    """The ids of all parts: strings, integers, or objects with `user_id`, in any format that an audience part may have.

    Blocks until the bytes have arrived.

    Raises:
        BrokenFile: an entry is none of these. It is not skipped, because its user would get the push.
        AudienceChanged, AudienceUnreachable: as of the stream.
    """
    ids = IdSet()
    stream = AudienceStream(client, parts, kind=FileKind.IDS, cache=cache, pause=pause)
    try:
        while not stream.ended:
            before = stream.position()
            taken = stream.take(_RECORDS_AT_ONCE)
            for n, entry in enumerate(taken):
                user_id = _id_of(entry)
                if user_id is None:
                    raise _broken_entry(parts, before.byte or 0, before.record + n)
                ids._add(user_id)
            if not taken:
                stream.wait(_WAIT_S)
    finally:
        stream.close()
    ids._sort()
    return ids


def _broken_entry(parts: Sequence[PinnedObject], byte: int, record: int) -> BrokenFile:
    names = " + ".join(part.name for part in parts[:_NAMED_PARTS])
    return BrokenFile(names, "an entry that is neither a user id nor an object with `user_id`", (byte,), record)


def _id_of(entry: object) -> str | None:
    """The id as `read_recipient` gives it, so that both files may write it differently."""
    if isinstance(entry, dict):
        return user_id_in(entry)
    try:
        return id_of(entry)
    except BrokenRecord:
        return None


def hash_of(user_id: bytes) -> int:
    """The hash of a user id in UTF-8, as the list has it."""
    return int.from_bytes(blake2b(user_id, digest_size=8).digest(), "little")


def _hash(user_id: str) -> int:
    # An id with a lone surrogate is in no audience, but must not fail here.
    return hash_of(user_id.encode(errors="surrogatepass"))
