"""The pipe for one object's bytes, from the thread that fetches them to the loop that parses them."""

import os
import threading
from collections import deque

from notifier.audience.cache import Entry

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""How far an uncached download may be ahead of its reader."""


class Closed(Exception):
    """The reader has closed the pipe: stop fetching."""


class Download:
    """A pipe with one writer and one reader, through a cache file if there is one, else through bounded memory.

    Args:
        changed: notified when there is something new to read, or room to write.
        start: the object's byte at which the download begins.
    """

    def __init__(self, changed: threading.Condition, start: int = 0) -> None:
        self._changed = changed
        self._entry: Entry | None = None
        self._descriptor: int | None = None
        self._in_file = 0
        self._position = start
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._error: Exception | None = None
        self._closed = False

    def take_file(self, descriptor: int, size: int) -> None:
        """Read from this file: it holds the whole object, and the reader closes it."""
        with self._changed:
            self._descriptor, self._in_file, self._ended = descriptor, size, True
            self._dispose_if_closed()
            self._changed.notify_all()

    def write_through(self, entry: Entry) -> None:
        """From now on write to this file and read from there."""
        with self._changed:
            # `read` continues at the object's own offset, so a file is right only from the object's first byte on.
            self._entry, self._descriptor = entry, entry.descriptor
            self._dispose_if_closed()

    def put(self, data: bytes) -> None:
        """Pass on more bytes. Blocks while too many wait in memory.

        Raises:
            Closed: the reader has closed the pipe.
        """
        # Outside the lock: only this thread writes, and a slow disk must not block the reader.
        if self._entry is not None and self._entry.write(data):
            with self._changed:
                self._raise_if_closed()
                self._in_file += len(data)
                self._changed.notify_all()
            return
        with self._changed:
            # The disk refused, or there was no file. What the file holds is read before the pieces.
            self._entry = None
            self._changed.wait_for(lambda: self._closed or self._waiting < MAX_WAITING_BYTES)
            self._raise_if_closed()
            self._pieces.append(data)
            self._waiting += len(data)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """End the bytes, with the error that ended them early."""
        if self._entry is not None:
            if error is None:
                self._entry.commit()
            else:
                self._entry.discard()
        with self._changed:
            self._ended, self._error, self._entry = True, error, None
            self._dispose_if_closed()
            self._changed.notify_all()

    @property
    def is_readable(self) -> bool:
        """Whether `read` would not return None. The caller holds the condition."""
        return self._ended or bool(self._pieces) or self._position < self._in_file

    def read(self, limit: int) -> bytes | None:
        """The next bytes; None when none have arrived; empty at the end. Never waits for the network.

        Raises:
            The error that ended the download, after everything before it has been read.
        """
        with self._changed:
            # The file first: its bytes came before those that wait in memory.
            if self._descriptor is not None and self._position < self._in_file:
                data = os.pread(self._descriptor, min(limit, self._in_file - self._position), self._position)
                self._position += len(data)
                return data
            if self._pieces:
                return self._next_piece(limit)
            if self._error is not None:
                raise self._error
            return b"" if self._ended else None

    def close(self) -> None:
        """Stop the writer and close the file."""
        with self._changed:
            self._closed = True
            self._pieces.clear()
            # A writer that writes to the file now would write to a closed descriptor: it closes the file itself.
            if self._ended or self._entry is None:
                self._dispose()
            self._changed.notify_all()

    def abandon(self) -> None:
        """Called by the writer after `Closed`: drop the unfinished file and close it."""
        if self._entry is not None:
            self._entry.discard()
        with self._changed:
            self._entry, self._ended = None, True
            self._dispose()

    def _next_piece(self, limit: int) -> bytes:
        data = self._pieces.popleft()
        if len(data) > limit:
            self._pieces.appendleft(data[limit:])
            data = data[:limit]
        self._waiting -= len(data)
        self._position += len(data)
        self._changed.notify_all()
        return data

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise Closed

    def _dispose_if_closed(self) -> None:
        if self._closed and self._entry is None:
            self._dispose()

    def _dispose(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor, self._in_file = None, 0
