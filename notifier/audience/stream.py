"""The records of all parts in order, from a cursor on. `take` never waits for the network."""

import enum
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from notifier.audience.batch_file_parser import BatchFileParser
from notifier.audience.cache import FileCache
from notifier.audience.fetch import Fetcher
from notifier.audience.part_parser import PartParser
from notifier.audience.ranges import Sleep
from notifier.audience.unpack import TEXT_BYTES, Unpacker
from notifier.model.audience_faults import BrokenFile
from notifier.model.batch_file import PinnedObject
from notifier.model.cursor import Cursor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STEPS = 16
"""Pieces of 64 KiB that one call of `take` parses at most, so that skipping does not keep the worker's loop waiting."""


class FileKind(enum.Enum):
    """What the objects of a stream contain."""

    BATCH_FILE = "batch_file"
    USERS = "users"
    IDS = "ids"


class AudienceStream:
    """Records as decoded JSON values; a line that is not JSON, or a record with a lone surrogate, is a `BrokenRecord`.

    Args:
        parts: the pinned objects, in the order of the audience; for users in the batch file, that file alone.
        cursor: the first record to return. Parts before it are not read. Within its part reading begins at its byte, or
            the records before it are skipped.
        kind: what the objects contain.
        cache: keeps whole objects; None for no cache.
        pause: waits between attempts of a failed request (seconds), in the fetching thread.
        plain: records in their usual form may come as `PlainRecord`.
    """

    def __init__(
        self,
        client: "S3Client",
        parts: Sequence[PinnedObject],
        cursor: Cursor | None = None,
        *,
        kind: FileKind = FileKind.USERS,
        cache: FileCache | None = None,
        pause: Sleep | None = None,
        plain: bool = False,
    ) -> None:
        cursor = cursor or Cursor()
        self._plain = plain
        self._parts = parts
        self._kind = kind
        self._first = cursor.part
        self._record = cursor.record
        """The number of the next record that `take` returns, over all parts."""
        self._parsed = cursor.record
        """The number of the next record that is parsed."""
        self._part_starts = [(cursor.record - cursor.in_part, cursor.part)]
        """The number of each part's first record, and the part."""
        self.read_bytes = 0
        """Stored bytes parsed by this stream so far, skipped records included."""
        self._records: list[object] = []
        """Parsed; taken up to `_next`."""
        self._starts: Sequence[int | None] = ()
        """The byte of each of `_records` in its part, or None."""
        self._next = 0
        self._error: Exception | None = None
        """Raised once the records before it are taken."""
        self._fetcher = Fetcher(client, parts[cursor.part :], cache, cursor.byte or 0, pause)
        self._begin(cursor.part, cursor.in_part, cursor.byte)

    def _begin(self, part: int, skip: int = 0, byte: int | None = None) -> None:
        """Begin a part: skip its first `skip` records, or begin at `byte`, where they end."""
        self._part = part
        self._in_part = skip if byte is not None else 0
        """Records of the part before those that wait, skipped ones included; it grows as they are parsed."""
        self._skip = skip - self._in_part
        self._part_over = part >= len(self._parts)
        if self._part_over:
            return
        if part > self._part_starts[-1][1]:
            self._part_starts.append((self._parsed, part))
        name = self._parts[part].name
        self._download = self._fetcher.download(part - self._first)
        self._unpacker = Unpacker(name, plain=byte is not None)
        self._parser: BatchFileParser | PartParser
        if self._kind is FileKind.BATCH_FILE:
            self._parser = BatchFileParser(name, skip=self._skip, plain=self._plain)
        else:
            ids = self._kind is FileKind.IDS
            self._parser = PartParser(name, line=byte, skip=self._skip, ids=ids, plain=self._plain)

    @property
    def ended(self) -> bool:
        """Whether every record was taken. It may become true only in a `take` that returns nothing."""
        over = self._part_over and self._part + 1 >= len(self._parts)
        return over and self._error is None and self._next >= len(self._records)

    def take(self, limit: int) -> list[object]:
        """At most `limit` records; fewer, or none, if the bytes have not arrived: see `ended` and `wait`.

        Raises:
            BrokenFile, AudienceChanged, AudienceUnreachable: after every record before the fault has been taken.
        """
        taken: list[object] = []
        steps = STEPS
        while len(taken) < limit:
            if self._next < len(self._records):
                batch = self._records[self._next : self._next + limit - len(taken)]
                self._next += len(batch)
                taken += batch
            elif not steps or self.ended or not self._step():
                break
            else:
                steps -= 1
        self._record += len(taken)
        if self._error is not None and not taken and self._next >= len(self._records):
            raise self._error
        return taken

    def wait(self, timeout_s: float) -> None:
        """Wait until `take` can go on, at most `timeout_s`. For callers that have nothing else to do."""
        if self.ended or self._error is not None or self._next < len(self._records):
            return
        with self._fetcher.changed:
            download = self._download
            self._fetcher.changed.wait_for(lambda: download.is_readable, timeout_s)

    def position(self) -> Cursor:
        """The cursor of the next record that `take` returns."""
        if not self._parts:
            # The final cut may leave nobody.
            return Cursor(record=self._record)
        waiting = len(self._records) - self._next
        # The end of a part and the beginning of the next are the same position; the latter needs no skipping.
        if self._part_over and not waiting and self._part + 1 < len(self._parts):
            return Cursor(record=self._record, part=self._part + 1)
        if self._skip:
            return Cursor(record=self._record, part=self._part, in_part=self._in_part + self._skip)
        byte = None
        # Bytes of an unpacked text are of no use: gzip cannot be read from the middle.
        if isinstance(self._parser, PartParser) and self._unpacker.is_gzip is False:
            if not waiting:
                byte = self._parser.byte
            elif self._next < len(self._starts):
                byte = self._starts[self._next]
        return Cursor(record=self._record, part=self._part, in_part=self._in_part - waiting, byte=byte)

    def locate(self, record: int) -> tuple[int, int]:
        """The part of a record, which is numbered over all parts, and the record's index in this part."""
        start, part = self._part_starts[bisect_right(self._part_starts, record, key=lambda one: one[0]) - 1]
        return part, record - start

    def close(self, join_s: float = 0) -> None:
        """Stop fetching and close the files.

        The thread ends after its current request: wait for that at most `join_s`, by default not at all.
        """
        self._fetcher.close()
        if join_s:
            self._fetcher.join(join_s)

    @property
    def values(self) -> dict[str, object]:
        """The keys of a batch file other than `users`, as far as it was read."""
        return self._parser.values if isinstance(self._parser, BatchFileParser) else {}

    @property
    def in_users(self) -> bool:
        """Whether the users of a batch file have begun."""
        return isinstance(self._parser, BatchFileParser) and self._parser.has_users

    def _step(self) -> bool:
        """Parse one more piece, or begin the next part. Returns False if no bytes have arrived."""
        if self._error is not None:
            return False
        if self._part_over:
            self._begin(self._part + 1)
            return True
        try:
            return self._parse_piece()
        except Exception as error:  # noqa: BLE001 - `take` raises it, after the records before it are taken
            self._error = error
            self._keep(self._parser.salvage())
            return True

    def _parse_piece(self) -> bool:
        text = self._unpacker.pull()
        if text is None:
            stored = self._download.read(TEXT_BYTES)
            if stored is None:
                return False
            self._unpacker.push(stored)
            self.read_bytes += len(stored)
            return True
        self._keep(self._parser.feed(text, final=not text))
        if not text:
            self._part_over = True
            if self._skip:
                # The bytes are pinned, so this is a cursor of another file or a parser that counts otherwise.
                part = self._parts[self._part]
                raise BrokenFile(part.name, "fewer records than were read before", (part.size,), self._in_part)
        return True

    def _keep(self, records: list[object]) -> None:
        """Make these the waiting records, without those to skip. All earlier ones are taken."""
        self._in_part += len(records)
        skipped = min(self._skip, len(records))
        self._skip -= skipped
        self._records = records[skipped:] if skipped else records
        self._parsed += len(self._records)
        # Only records in lines have bytes; a parser of another format may have followed in the same text.
        self._starts = self._parser.starts[skipped:] if isinstance(self._parser, PartParser) else ()
        self._next = 0
