"""HTTP/2 frames: bytes to frames and back (RFC 9113, sections 4, 6 and 7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
"""Frame types (section 6)."""

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20
"""Flags (section 6)."""

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
"""Settings (section 6.5.2)."""

DEFAULT_WINDOW = 65_535
LARGEST_WINDOW = LAST_STREAM_ID = 2**31 - 1
FRAME_LIMIT = 16_384
"""The largest payload without another SETTINGS_MAX_FRAME_SIZE. We neither allow nor send larger ones."""
LARGEST_FRAME_LIMIT = 2**24 - 1
HEADER_BYTES = 9

HEADER = struct.Struct(">HBBBL")
"""A frame's header: 24 bits of length as 16 and 8, type, flags, and a reserved bit with 31 bits of stream id."""
WORD = struct.Struct(">L")
TWO_WORDS = struct.Struct(">LL")
SETTING = struct.Struct(">HL")


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


_NAMES = {code.value: code.name for code in ErrorCode}


def code_name(code: int) -> str:
    """The code's name in the RFC, or its number."""
    return _NAMES.get(code, f"code {code:#x}")


class ProtocolError(Exception):
    """The server broke the protocol such that the whole connection ends (section 5.4.1)."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class FrameReader:
    """Cuts a stream of bytes, however it was split, into frames."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield type, flags, stream id and payload of each frame that is complete; keep the rest for the next call.

        The caller must exhaust the iterator. Raises `ProtocolError` for a frame above `FRAME_LIMIT`, before its
        payload is waited for: not more than one frame is ever kept.
        """
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        unpack = HEADER.unpack_from
        while size - at >= HEADER_BYTES:
            high, low, kind, flags, stream_id = unpack(data, at)
            end = at + HEADER_BYTES + (high << 8 | low)
            if end - at > HEADER_BYTES + FRAME_LIMIT:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a frame above the limit")
            if end > size:
                break
            yield kind, flags, stream_id & LAST_STREAM_ID, data[at + HEADER_BYTES : end]
            at = end
        self._rest = data[at:] if at < size else b""


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """One frame of a payload within the limit."""
    size = len(payload)
    return HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def settings(values: Sequence[tuple[int, int]]) -> bytes:
    """SETTINGS (section 6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*value) for value in values))


def settings_of(payload: bytes) -> Iterator[tuple[int, int]]:
    """The values in a SETTINGS payload, in order; its length is a multiple of 6."""
    yield from SETTING.iter_unpack(payload)


SETTINGS_ACK = frame(SETTINGS, ACK, 0, b"")


def ping(opaque: bytes, *, ack: bool = False) -> bytes:
    """PING (section 6.7); `opaque` has 8 bytes."""
    return frame(PING, ACK if ack else 0, 0, opaque)


def reset(stream_id: int, code: ErrorCode) -> bytes:
    """RST_STREAM (section 6.4)."""
    return frame(RST_STREAM, 0, stream_id, WORD.pack(code))


def goaway(code: ErrorCode) -> bytes:
    """GOAWAY (section 6.8). A client that takes no pushes has processed no stream of the server's: 0."""
    return frame(GOAWAY, 0, 0, TWO_WORDS.pack(0, code))


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE (section 6.9); stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, WORD.pack(increment))


def header_frames(stream_id: int, block: bytes, *, end_stream: bool) -> bytes:
    """HEADERS, and CONTINUATION where the block is too large for one frame (section 6.10)."""
    limit = FRAME_LIMIT
    first, at = block[:limit], limit
    pieces = []
    flags = END_STREAM if end_stream else 0
    pieces.append(frame(HEADERS, flags | (END_HEADERS if at >= len(block) else 0), stream_id, first))
    while at < len(block):
        piece, at = block[at : at + limit], at + limit
        pieces.append(frame(CONTINUATION, END_HEADERS if at >= len(block) else 0, stream_id, piece))
    return b"".join(pieces)


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without padding and without the deprecated priority (sections 6.1 and 6.2)."""
    begin, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its length of padding")
        begin, end = 1, end - payload[0]
    if flags & HAS_PRIORITY:
        begin += 5
    if begin > end:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[begin:end]
