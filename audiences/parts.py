"""Users become parts: plain newline-delimited JSON, at most 250,000 users each, with what a manifest says of them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from audiences.faults import limits_as_faults
from audiences.manifest_format import MAX_USERS_IN_PART, part_name
from audiences.prepared_lines import order_of_id
from notifier.model.user_rows import BATCH_SIZE

assert MAX_USERS_IN_PART % BATCH_SIZE == 0
_User = TypeVar("_User", tuple[int, int, bytes], tuple[bytes, int, bytes])


class WrittenPart(msgspec.Struct, frozen=True):
    """A part on this disk. `batches` has the hash of the first user of each 500, as 16 hexadecimal digits."""

    path: Path
    sha256: str
    bytes: int
    users: int
    devices: int
    first_record: int
    batches: tuple[str, ...]


def written_parts(
    users: Iterable[list[tuple[int, int, bytes]]],
    directory: Path,
    max_users: int = MAX_USERS_IN_PART,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Iterator[WrittenPart]:
    """Write the users, part by part. The caller may delete a part's file before taking the next.

    Args:
        users: in their order: hash, number of devices, JSON text; several at once.
        max_users: in a part; a multiple of the batch size.
        on_progress: called with the number of users so far.
    """
    writer = PartWriter(directory, max_users)
    with closing(writer):
        for some in users:
            yield from writer.write(some)
            on_progress(writer.users)
        yield from writer.end()


class PartWriter:
    """Writes users into parts, and gives each part once it is full.

    Args:
        max_users: in a part; a multiple of the batch size.
        first_record: of the first part; a multiple of the batch size.
    """

    def __init__(self, directory: Path, max_users: int = MAX_USERS_IN_PART, first_record: int = 0) -> None:
        self._directory = directory
        self._max_users = max_users
        self._part = _Part(directory, 0, first_record)

    @property
    def users(self) -> int:
        """How many were written, those before the first part included."""
        return self._part.first_record + self._part.users

    def write(self, users: list[tuple[int, int, bytes]]) -> Iterator[WrittenPart]:
        """Write some users: hash, number of devices, JSON text. Raises AudienceFault where the disk is full."""
        for taken in self._by_parts(users):
            text = b"\n".join([line for _, _, line in taken]) + b"\n"
            yield from self._write(_Some(text, taken, partial(_hash_in, taken)))

    def write_lines(self, users: list[tuple[bytes, int, bytes]]) -> Iterator[WrittenPart]:
        """The same of lines of prepared parts: user id, number of devices, the line with its end, as it was stored."""
        for taken in self._by_parts(users):
            text = b"".join([line for _, _, line in taken])
            yield from self._write(_Some(text, taken, partial(_hash_by_id, taken)))

    def _by_parts(self, users: list[_User]) -> Iterator[list[_User]]:
        """Users come thousands at a time, and a part ends within such a group."""
        while users:
            room = self._max_users - self._part.users
            yield users[:room]
            users = users[room:]

    def _write(self, some: "_Some") -> Iterator[WrittenPart]:
        with limits_as_faults(str(self._directory)):
            self._part.write(some)
        if self._part.users == self._max_users:
            yield self._part.end()
            self._part = _Part(self._directory, self._part.number + 1, self.users)

    def end(self) -> Iterator[WrittenPart]:
        """The last part, if there is one."""
        if self._part.users:
            yield self._part.end()

    def close(self) -> None:
        """Delete what is written of a part that was not given: a warm process would keep its bytes on the disk."""
        self._part.discard()


class _Some(NamedTuple):
    """Some users, and the text of their lines. Only of a batch's first user the hash is asked for."""

    text: bytes
    users: Sequence[tuple[Any, int, Any]]
    hash_of: Callable[[int], int]


def _hash_in(users: Sequence[tuple[int, int, bytes]], n: int) -> int:
    return users[n][0]


def _hash_by_id(users: Sequence[tuple[bytes, int, bytes]], n: int) -> int:
    return order_of_id(users[n][0])


class _Part:
    """A part being written."""

    def __init__(self, directory: Path, number: int, first_record: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.number = number
        self.first_record = first_record
        self.users = 0
        self._path = directory / part_name(number)
        self._out = self._path.open("wb")
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._devices = 0
        self._batches: list[str] = []

    def write(self, some: _Some) -> None:
        self._sha256.update(some.text)
        self._out.write(some.text)
        self._bytes += len(some.text)
        self._devices += sum([devices for _, devices, _ in some.users])
        # The first of these that begins a batch.
        first = -self.users % BATCH_SIZE
        self._batches += [f"{some.hash_of(n):016x}" for n in range(first, len(some.users), BATCH_SIZE)]
        self.users += len(some.users)

    def end(self) -> WrittenPart:
        self._out.close()
        return WrittenPart(
            path=self._path,
            sha256=self._sha256.hexdigest(),
            bytes=self._bytes,
            users=self.users,
            devices=self._devices,
            first_record=self.first_record,
            batches=tuple(self._batches),
        )

    def discard(self) -> None:
        if not self._out.closed:
            self._out.close()
            self._path.unlink(missing_ok=True)
