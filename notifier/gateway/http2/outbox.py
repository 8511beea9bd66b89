"""What a connection has to send: frames in their order, and bodies that wait for flow control (RFC 9113, 5.2)."""

from __future__ import annotations

from collections import deque

from notifier.gateway.http2 import frames
from notifier.gateway.http2.frames import ErrorCode, ProtocolError
from notifier.gateway.http2.stream import Stream

RECORD_BYTES = 16_384
"""A TLS record takes so many."""
REPLY_LIMIT = 1_000
"""So many unsent acknowledgements, and the server is flooding us: it does not read what it asks for."""
PUMP_LIMIT = 65_536
"""Bodies are cut into frames only while less than this waits: tiny windows make ten bytes out of one."""

_HEADERS, _DATA = frames.HEADERS, frames.DATA
_END_HEADERS, _END_STREAM = frames.END_HEADERS, frames.END_STREAM


class Outbox:
    """Bytes to send, and how many were handed over already."""

    __slots__ = ("_blocked", "_buffer", "_replies", "handed", "initial_window", "window")

    def __init__(self) -> None:
        self.handed = 0
        """Bytes that were handed to the socket since the connection began."""
        self.window = self.initial_window = frames.DEFAULT_WINDOW
        self._buffer = bytearray()
        self._blocked: deque[Stream] = deque()
        self._replies = 0

    def __bool__(self) -> bool:
        return bool(self._buffer)

    def request(self, stream: Stream, block: bytes) -> None:
        """Queue a request: the header block, and of the body as much as both windows allow."""
        buffer, body = self._buffer, stream.request.body
        size, block_size, limit = len(body), len(block), frames.FRAME_LIMIT
        stream.begins_at = self.handed + len(buffer)
        # Nearly always: the whole request at once, in two frames that are packed here (measured, tests/bench/http2.py).
        if (
            0 < size <= self.window
            and size <= self.initial_window
            and size <= limit >= block_size
            and not self._blocked
        ):
            pack = frames.HEADER.pack
            buffer += pack(block_size >> 8, block_size & 0xFF, _HEADERS, _END_HEADERS, stream.id)
            buffer += block
            buffer += pack(size >> 8, size & 0xFF, _DATA, _END_STREAM, stream.id)
            buffer += body
            self.window -= size
            stream.ends_at = self.handed + len(buffer)
            return
        buffer += frames.header_frames(stream.id, block, end_stream=not size)
        stream.window = self.initial_window
        if size:
            self._blocked.append(stream)
            self.pump()
        else:
            stream.ends_at = self.handed + len(buffer)

    def control(self, frame: bytes) -> None:
        """Queue a frame that no flow control holds back."""
        self._buffer += frame

    def reply(self, frame: bytes) -> None:
        """The same for one that the server asked for; raises `ProtocolError` when it does not read them."""
        self._replies += 1
        if self._replies > REPLY_LIMIT:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "a flood of frames that want an acknowledgement")
        self._buffer += frame

    def pump(self) -> None:
        """Frame what both windows allow of the waiting bodies."""
        for _ in range(len(self._blocked)):
            if self.window <= 0 or len(self._buffer) >= PUMP_LIMIT:
                return
            stream = self._blocked.popleft()
            if stream.outcome is None and not self._send_some(stream):
                self._blocked.append(stream)

    def adjust(self, initial_window: int) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE applies to open streams as well; their window may go below 0 (section 6.9.2)."""
        difference = initial_window - self.initial_window
        self.initial_window = initial_window
        for stream in self._blocked:
            stream.window += difference
            if stream.window > frames.LARGEST_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window above its limit")

    def take(self, limit: int) -> bytes:
        """Hand over at most `limit` bytes."""
        buffer = self._buffer
        if len(buffer) <= limit:
            data = bytes(buffer)
            buffer.clear()
            self._replies = 0
        else:
            data = bytes(buffer[:limit])
            del buffer[:limit]
        self.handed += len(data)
        if self._blocked:
            self.pump()  # what waited for `PUMP_LIMIT` only
        return data

    def withdraw(self, stream: Stream) -> None:
        """Send nothing more of a stream's body."""
        if not stream.ends_at and stream in self._blocked:
            self._blocked.remove(stream)

    def discard(self) -> None:
        """Send nothing of what waits any more."""
        self._buffer.clear()
        self._blocked.clear()

    def _send_some(self, stream: Stream) -> bool:
        """Return whether that was all of its body."""
        body = stream.request.body
        while len(self._buffer) < PUMP_LIMIT:
            size = min(stream.window, self.window, frames.FRAME_LIMIT, len(body) - stream.sent)
            if size <= 0:
                return False
            begin, stream.sent = stream.sent, stream.sent + size
            stream.window -= size
            self.window -= size
            is_last = stream.sent == len(body)
            flags = frames.END_STREAM if is_last else 0
            self._buffer += frames.frame(frames.DATA, flags, stream.id, body[begin : stream.sent])
            if is_last:
                stream.ends_at = self.handed + len(self._buffer)
                return True
        return False
