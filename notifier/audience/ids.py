"""A list of user ids to leave out: read once, asked for every user."""

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
from notifier.model.recipient import BrokenRecord, id_of, user_id_in

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 10_000
_WAIT_S = 1.0
_DRAWERS = 256


class IdSet:
    """User ids as 8-byte hashes in sorted drawers: 8 MB a million.

    Of a million ids and a million users, about one pair in 18 million runs would be taken for equal wrongly.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._drawers = [array("Q") for _ in range(_DRAWERS)]
        for user_id in ids:
            self._add(user_id)
        self._sort()

    def __contains__(self, user_id: str) -> bool:
        number = _hash(user_id)
        drawer = self._drawers[number & 0xFF]
        at = bisect_left(drawer, number)
        return at < len(drawer) and drawer[at] == number

    def __len__(self) -> int:
        return sum(map(len, self._drawers))

    def _add(self, user_id: str) -> None:
        number = _hash(user_id)
        self._drawers[number & 0xFF].append(number)

    def _sort(self) -> None:
        for n, drawer in enumerate(self._drawers):
            self._drawers[n] = array("Q", sorted(set(drawer)))


def read_ids(
    client: "S3Client",
    parts: Sequence[PinnedObject],
    *,
    cache: FileCache | None = None,
    pause: Sleep | None = None,
) -> IdSet:
    """The ids of all parts: strings, integers, or objects with `user_id`, in any form an audience part may have.

    Blocks until the bytes have arrived.

    Raises:
        BrokenFile: an entry is none of these; nobody may be sent to because an exclusion could not be read.
        AudienceChanged, AudienceUnreachable: as of the stream.
    """
    ids = IdSet()
    stream = AudienceStream(client, parts, kind=FileKind.IDS, cache=cache, pause=pause)
    try:
        while not stream.ended:
            before = stream.position()
            taken = stream.take(_AT_ONCE)
            for n, entry in enumerate(taken):
                user_id = _id_of(entry)
                if user_id is None:
                    raise BrokenFile(
                        " + ".join(part.name for part in parts[:3]),
                        "an entry that is neither a user id nor an object with `user_id`",
                        (before.byte or 0,),
                        before.record + n,
                    )
                ids._add(user_id)
            if not taken:
                stream.wait(_WAIT_S)
    finally:
        stream.close()
    ids._sort()
    return ids


def _id_of(entry: object) -> str | None:
    """The id as a record would have it, so that the same user is left out however either file writes it."""
    if isinstance(entry, dict):
        return user_id_in(entry)
    try:
        return id_of(entry)
    except BrokenRecord:
        return None


def _hash(user_id: str) -> int:
    return int.from_bytes(blake2b(user_id.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
