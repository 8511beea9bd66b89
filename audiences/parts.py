"""Users become parts: plain newline-delimited JSON, at most 250,000 users each, with what a manifest says of them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from audiences.faults import limits_as_faults
from audiences.manifest_format import MAX_USERS_IN_PART, part_name
from notifier.model.user_rows import BATCH_SIZE

assert MAX_USERS_IN_PART % BATCH_SIZE == 0


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
    users: Iterable[list[tuple[int, int, str]]],
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

    def write(self, users: list[tuple[int, int, str]]) -> Iterator[WrittenPart]:
        """Write some users: hash, number of devices, JSON text. Raises AudienceFault where the disk is full."""
        while users:
            # Users come thousands at a time, and a part ends within such a group.
            room = self._max_users - self._part.users
            taken, users = users[:room], users[room:]
            with limits_as_faults(str(self._directory)):
                self._part.write(taken)
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

    def write(self, users: list[tuple[int, int, str]]) -> None:
        text = ("\n".join([line for _, _, line in users]) + "\n").encode()
        self._sha256.update(text)
        self._out.write(text)
        self._bytes += len(text)
        self._devices += sum([devices for _, devices, _ in users])
        # The first of these that begins a batch.
        first = -self.users % BATCH_SIZE
        self._batches += [f"{users[n][0]:016x}" for n in range(first, len(users), BATCH_SIZE)]
        self.users += len(users)

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
