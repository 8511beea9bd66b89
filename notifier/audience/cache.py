"""Whole objects kept in a directory between invocations, bounded in bytes; the least recently used goes first.

A file gets its final name only once it is complete, so a name that is there can be believed. Two processes may share
the directory: each writes under a name of its own, and an evicted file stays readable for whoever has it open.
"""

import contextlib
import hashlib
import logging
import os
import secrets
from pathlib import Path

from notifier.model.batch_file import PinnedObject

SUFFIX = ".audience"
UNFINISHED = ".unfinished"

log = logging.getLogger(__name__)
_writing: set[str] = set()
"""Unfinished files of this process, so that those of a dead one with the same process id are told apart."""


class Entry:
    """A file being written. Whoever writes may read it at the same time through `descriptor`."""

    def __init__(self, path: Path, final: Path, size: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._path, self._final, self._size = path, final, size
        self._written = 0
        _writing.add(path.name)

    def write(self, data: bytes) -> bool:
        """Append; False when the disk refuses, and then the entry is given up."""
        try:
            left = memoryview(data)
            while left:
                left = left[os.pwrite(self.descriptor, left, self._written + len(data) - len(left)) :]
        except OSError as error:
            log.warning("audience cache given up: %s", error.strerror)
            self.discard()
            return False
        self._written += len(data)
        return True

    def commit(self) -> None:
        """Make it the cached object, if it is complete."""
        if self._written != self._size:
            self.discard()
            return
        try:
            self._path.rename(self._final)
        except OSError as error:
            log.warning("audience cache not kept: %s", error.strerror)
        _writing.discard(self._path.name)

    def discard(self) -> None:
        """Forget it. The descriptor stays open for its reader."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        _writing.discard(self._path.name)


class FileCache:
    """The directory. `max_bytes` bounds what all files in it hold together."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes

    def open(self, pinned: PinnedObject) -> int | None:
        """A descriptor of the complete object, or None. The caller closes it."""
        path = self._directory / (_name_of(pinned) + SUFFIX)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        if os.fstat(descriptor).st_size != pinned.size:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return descriptor

    def create(self, pinned: PinnedObject) -> Entry | None:
        """Room for the object, or None where it does not fit the bound or the disk refuses."""
        if pinned.size > self._max_bytes:
            return None
        name = _name_of(pinned)
        unfinished = f"{name}.{pinned.size}.{os.getpid()}.{secrets.token_hex(4)}{UNFINISHED}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if not self._make_room(pinned.size):
                return None
            return Entry(self._directory / unfinished, self._directory / (name + SUFFIX), pinned.size)
        except OSError as error:
            log.warning("audience not cached: %s", error.strerror)
            return None

    def _make_room(self, size: int) -> bool:
        """Evict until `size` bytes fit beside what is being written."""
        complete: list[tuple[float, int, Path]] = []
        total = size
        for path in self._directory.iterdir():
            with contextlib.suppress(OSError):
                if path.suffix == UNFINISHED:
                    total += _reserved_by(path)
                elif path.suffix == SUFFIX:
                    stat = path.stat()
                    complete.append((stat.st_mtime, stat.st_size, path))
                    total += stat.st_size
        for _, held, path in sorted(complete):
            if total <= self._max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= held
        return total <= self._max_bytes


def _reserved_by(path: Path) -> int:
    """Bytes an unfinished file will hold; one left behind by a dead process is removed."""
    _, size, process_id, _, _ = path.name.split(".")
    if path.name in _writing or (int(process_id) != os.getpid() and _is_alive(int(process_id))):
        return int(size)
    path.unlink()
    return 0


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _name_of(pinned: PinnedObject) -> str:
    identity = "\n".join((pinned.bucket, pinned.key, pinned.version_id or "", pinned.etag))
    return hashlib.sha256(identity.encode()).hexdigest()[:40]
