"""Users become parts: plain newline-delimited JSON, at most 250,000 users each, with what a manifest says of them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
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
    part = _Part(directory, 0, 0)
    for some in users:
        while some:
            # Users come thousands at a time, and a part ends within such a group.
            taken, some = some[: max_users - part.users], some[max_users - part.users :]  # noqa: PLW2901
            with limits_as_faults(str(directory)):
                part.write(taken)
            if part.users == max_users:
                yield part.end()
                part = _Part(directory, part.number + 1, part.first_record + part.users)
        on_progress(part.first_record + part.users)
    if part.users:
        yield part.end()
    else:
        part.discard()


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
        self._out.close()
        self._path.unlink()
