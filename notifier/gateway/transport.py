"""What carries requests to a gateway and brings answers back: the values and the protocol.

A transport has one colour: `submit` and `poll` are plain calls from one thread. It knows nothing of tokens, messages or
verdicts, never sends a request twice by its own decision, and says of every request that got no answer whether the
gateway may have processed it. `notifier.gateway.curl` is the real one.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class NoAnswer(enum.StrEnum):
    """Why there was no HTTP answer."""

    REFUSED = "refused"
    """Certainly not processed (no connection, TLS failure, REFUSED_STREAM…): safe to send again."""
    UNANSWERED = "unanswered"
    """May have been processed (timeout, reset, lost connection): sending again may repeat it."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One host, as data."""

    name: str
    """What requests call it: `fcm`, `apns`, `apns-sandbox`."""
    base_url: str
    """Scheme, host and port, without a trailing slash."""
    max_connections: int
    max_streams: int
    """In flight on each connection, whatever more the server's SETTINGS would allow."""
    probe_first: bool
    """Keep every fresh connection at one request until that is answered, as APNs demands."""
    timeout_ms: int = 20_000
    """Deadline of one request, from `submit` to the last byte of the answer."""
    connect_timeout_ms: int = 5_000


class Request(msgspec.Struct, gc=True, kw_only=True):
    """One push on its way. `path` and `body` hold a device token, so they stay out of the repr."""

    endpoint: str
    path: str
    headers: Sequence[str]
    """Wire lines, `name: value`; a list or a tuple."""
    body: bytes
    ticket: Any
    """The caller's own, handed back with the answer."""

    def __repr__(self) -> str:
        return f"Request(endpoint={self.endpoint!r}, body={len(self.body)} bytes)"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request: an HTTP answer, or the reason why there is none."""

    ticket: Any
    status: int = 0
    """The HTTP status; 0 without an answer."""
    body: bytes = b""
    """At most 64 KiB of it."""
    retry_after_s: int | None = None
    """`Retry-After` in seconds, from either of its forms; asked only of a status of 400 and above."""
    no_answer: NoAnswer | None = None
    connection_ended: bool = False
    """There is no answer because the whole connection ended, or never began: it says nothing about this request."""
    detail: str = ""
    """The transport's own words for `no_answer`; never a URL, which would hold the token."""
    latency_s: float = 0.0
    connection: int = 0
    """Which connection carried it, for `replace_connection`; numbers are not used again."""

    def __repr__(self) -> str:
        outcome = f"status={self.status}" if self.no_answer is None else f"no_answer={self.no_answer.value!r}"
        return f"Answer({outcome}, detail={self.detail!r}, body={len(self.body)} bytes, connection={self.connection})"


class NoRoomError(RuntimeError):
    """`submit` was called although `room` said 0."""


class Transport(Protocol):
    """Carries requests. Not thread-safe; one thread calls everything."""

    def room(self, endpoint: str) -> int:
        """Return how many requests `endpoint` takes now. It may be 1 while a fresh connection is tried."""
        ...

    def submit(self, request: Request) -> None:
        """Put a request on its way; raise `NoRoomError` where there is none."""
        ...

    def poll(self, timeout_s: float) -> list[Answer]:
        """Move everything on; return what was answered, at once if anything was, else after at most `timeout_s`."""
        ...

    @property
    def in_flight(self) -> int:
        """How many requests were submitted and not yet returned by `poll`."""
        ...

    def replace_connection(self, endpoint: str, connection: int) -> None:
        """Give that connection nothing new, close it once it is drained; an unknown one is ignored."""
        ...

    def close(self) -> None:
        """Close every connection, dropping what is still in flight: drain first."""
        ...
