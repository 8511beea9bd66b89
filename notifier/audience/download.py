"""The bytes of one object on their way from the thread that fetches them to the loop that parses them."""

import os
import threading
from collections import deque

from notifier.audience.cache import Entry

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""How far an uncached download may be ahead of its reader."""


class Closed(Exception):
    """The reader has gone: stop fetching."""


class Download:
    """A pipe with one writer and one reader, through a file where there is one, else through bounded memory.

    Args:
        changed: notified whenever there is something new to read, or room to write.
        start: the byte of the object that comes first.
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
        """All of the object is in this file."""
        with self._changed:
            self._descriptor, self._in_file, self._ended = descriptor, size, True
            self._dispose_if_closed()
            self._changed.notify_all()

    def write_through(self, entry: Entry) -> None:
        """What is put from now on goes to this file and is read from there."""
        with self._changed:
            self._entry, self._descriptor = entry, entry.descriptor
            self._dispose_if_closed()

    def put(self, data: bytes) -> None:
        """More bytes. Blocks while too many wait in memory.

        Raises:
            Closed: nobody reads any more.
        """
        if self._entry is not None and self._entry.write(data):
            with self._changed:
                self._raise_if_closed()
                self._in_file += len(data)
                self._changed.notify_all()
            return
        with self._changed:
            self._entry = None
            self._changed.wait_for(lambda: self._closed or self._waiting < MAX_WAITING_BYTES)
            self._raise_if_closed()
            self._pieces.append(data)
            self._waiting += len(data)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """No more bytes, because that was all or because of an error."""
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
        """Whether `read` would say something. Ask with the condition held."""
        return self._ended or bool(self._pieces) or self._position < self._in_file

    def read(self, limit: int) -> bytes | None:
        """The next bytes; None when none have arrived; empty at the end. Never waits for the network.

        Raises:
            what ended the download early, once everything before has been read.
        """
        with self._changed:
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
        """Stop the writer and give back the file."""
        with self._changed:
            self._closed = True
            self._pieces.clear()
            if self._ended or self._entry is None:
                self._dispose()
            self._changed.notify_all()

    def abandon(self) -> None:
        """The writer's last act after `Closed`."""
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
