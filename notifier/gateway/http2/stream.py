"""A stream: one request and what became of it."""

from __future__ import annotations

import enum
from typing import Any

import msgspec


class Outcome(enum.Enum):
    """How a stream ended."""

    ANSWERED = enum.auto()
    """The status has come; the body may be cut off."""
    UNSENT = enum.auto()
    """Not a byte of it was handed to the socket."""
    REFUSED = enum.auto()
    """Certainly not processed: not sent to its end, above GOAWAY's last stream, or REFUSED_STREAM (RFC 9113, 8.7)."""
    UNANSWERED = enum.auto()
    """May have been processed."""


class Stream(msgspec.Struct, eq=False):
    """One request on its way. Its repr says nothing of the request, which holds a device token."""

    request: Any
    submitted_at: float = 0.0
    """On the transport's clock."""
    id: int = 0
    outcome: Outcome | None = None
    """None while it is open."""
    status: int = 0
    retry_after: str = ""
    body: bytes | bytearray = b""
    received: int = 0
    """Bytes of the answer's DATA, padding included."""
    detail: str = ""
    """Why there is no answer."""
    of_connection: bool = False
    """The whole connection ended, or went away without this one."""
    begins_at: int = 0
    ends_at: int = 0
    """Where the request begins and ends in what the connection sends; the end is 0 while some of the body waits."""
    window: int = 0
    """What the server still takes of a waiting body, and how much of it was sent."""
    sent: int = 0
    session: Any = None
    """What carries it, in a pool."""

    def __repr__(self) -> str:
        return f"Stream(id={self.id}, outcome={self.outcome}, status={self.status})"
