"""What the wire server can do with a request: plain values, carried out in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ErrorCode(IntEnum):
    """The HTTP/2 error codes used here (RFC 9113, section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    ENHANCE_YOUR_CALM = 0xB


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request: headers, then the body cut into `frames` DATA frames; no body, no DATA frame."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    frames: int = 1
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reset:
    """RST_STREAM for the request's stream."""

    code: ErrorCode = ErrorCode.INTERNAL_ERROR


@dataclass(frozen=True, slots=True)
class Cut:
    """Begin to answer and break off: headers, `body` without its end, then RST_STREAM, or the connection's end.

    `silent`: then nothing more, and the stream stays open.
    """

    status: int = 200
    body: bytes = b""
    code: ErrorCode | None = ErrorCode.INTERNAL_ERROR
    """None: the connection is closed instead."""
    silent: bool = False


@dataclass(frozen=True, slots=True)
class GoAway:
    """GOAWAY: streams above `last_stream_id` (None: above this request's own) are refused."""

    last_stream_id: int | None = None
    code: ErrorCode = ErrorCode.NO_ERROR
    reason: bytes = b""


@dataclass(frozen=True, slots=True)
class Settings:
    """SETTINGS with a new limit of concurrent streams."""

    max_concurrent_streams: int


@dataclass(frozen=True, slots=True)
class ReplyAll:
    """Answer every unanswered request of the connection."""

    reply: Reply = Reply()


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection: orderly (TLS close_notify, FIN), or by a TCP reset."""

    abort: bool = False


Action = Reply | Reset | Cut | GoAway | Settings | ReplyAll | Close
"""An empty tuple of actions is silence: the request is never answered."""
