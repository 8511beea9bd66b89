"""Whole objects kept in a directory between invocations, bounded in bytes; the least recently used is evicted first.

A file gets its final name only when it is complete, so every final name is a whole object. Two processes may share the
directory: each writes under a name of its own, and a process that has an evicted file open can still read it.
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
"""Unfinished files of this process: one that is not here was left by a dead process that had the same process id."""


class Entry:
    """A file being written. Its bytes can be read at the same time through `descriptor`."""

    def __init__(self, path: Path, final: Path, size: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._path, self._final, self._size = path, final, size
        self._written = 0
        _writing.add(path.name)

    def write(self, data: bytes) -> bool:
        """Append. Returns False when the disk refuses; the entry is discarded then."""
        try:
            left = memoryview(data)
            # pwrite may write less than it was given. Like the reader's pread it does not move the file's position.
            while left:
                left = left[os.pwrite(self.descriptor, left, self._written + len(data) - len(left)) :]
        except OSError as error:
            log.warning("audience cache given up: %s", error.strerror)
            self.discard()
            return False
        self._written += len(data)
        return True

    def commit(self) -> None:
        """Make it the cached object if it is complete; an incomplete one is discarded."""
        if self._written != self._size:
            self.discard()
            return
        try:
            # Atomic: another process sees the whole object or none.
            self._path.rename(self._final)
        except OSError as error:
            log.warning("audience cache not kept: %s", error.strerror)
        _writing.discard(self._path.name)

    def discard(self) -> None:
        """Delete the file. The descriptor stays open for its reader."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        _writing.discard(self._path.name)


class FileCache:
    """The cache directory. `max_bytes` bounds the sum of its files, unfinished ones at their final size."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes

    def open(self, pinned: PinnedObject) -> int | None:
        """A descriptor of the complete object, or None if it is not cached. The caller closes it."""
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
        # The modification time is what eviction goes by.
        with contextlib.suppress(OSError):
            os.utime(path)
        return descriptor

    def create(self, pinned: PinnedObject) -> Entry | None:
        """A new file for the object, or None if it does not fit or the disk refuses."""
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
        """Evict until `size` bytes fit beside the unfinished files. Returns whether they fit."""
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
        for _, file_size, path in sorted(complete):
            if total <= self._max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= file_size
        return total <= self._max_bytes


def _reserved_by(path: Path) -> int:
    """The final size of an unfinished file, from its name; 0 for one of a dead process, which is removed."""
    _, size, process_id, _, _ = path.name.split(".")
    if path.name in _writing or (int(process_id) != os.getpid() and _is_alive(int(process_id))):
        return int(size)
    path.unlink()
    return 0


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)  # signal 0 only checks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to another user
    return True


def _name_of(pinned: PinnedObject) -> str:
    identity = "\n".join((pinned.bucket, pinned.key, pinned.version_id or "", pinned.etag))
    return hashlib.sha256(identity.encode()).hexdigest()[:40]
