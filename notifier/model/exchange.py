"""One request to a gateway, what became of it, and the port of what carries both.

Shared by sending, which decides what to ask and what an answer means for the device, and by the gateways, which know
how a request is written and how it travels. Values only: nothing here opens a connection.
"""

import enum
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec


class NoAnswer(enum.StrEnum):
    """Why there was no HTTP answer. The difference decides whether asking again may repeat a push."""

    REFUSED = "refused"
    """Certainly not processed: no connection, REFUSED_STREAM, beyond GOAWAY's last stream, not written to its end."""
    UNANSWERED = "unanswered"
    """May have been processed: no answer in time, a reset, or a connection lost after the request was written."""


class Request(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One push on its way. `path` and `body` hold a device token, so they stay out of the repr."""

    endpoint: str
    """Name of the endpoint: `fcm`, `apns` or `apns-sandbox`."""
    path: str
    headers: Sequence[str]
    """Wire lines, `name: value`; a list or a tuple."""
    body: bytes
    ticket: Any
    """The caller's own value, handed back with the answer. A transport never looks into it."""

    def __repr__(self) -> str:
        return f"Request(endpoint={self.endpoint!r}, body={len(self.body)} bytes)"


class Answer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of one request: an HTTP answer (`status` above 0), or the reason why there is none (`no_answer`)."""

    ticket: Any
    status: int = 0
    """The HTTP status; 0 without an answer."""
    body: bytes = b""
    """At most 16 KiB of it."""
    retry_after_s: int | None = None
    """`Retry-After` in seconds, from either of its forms; read only of a status of 400 and above."""
    no_answer: NoAnswer | None = None
    connection_ended: bool = False
    """There is no answer because the whole connection ended, or never began: it says nothing about this request."""
    detail: str = ""
    """The transport's own text on `no_answer`; never a URL, which would hold the token."""
    latency_s: float = 0.0
    connection: int = 0
    """Which connection carried it, for `replace_connection`; numbers are not used again."""

    def __repr__(self) -> str:
        outcome = f"status={self.status}" if self.no_answer is None else f"no_answer={self.no_answer.value!r}"
        return f"Answer({outcome}, detail={self.detail!r}, body={len(self.body)} bytes, connection={self.connection})"


class NoRoomError(RuntimeError):
    """`submit` was called although `room` said 0."""


class Transport(Protocol):
    """Carries requests to gateways and brings their answers back. Not thread-safe: one thread calls everything.

    `poll` returns exactly one `Answer` for each submitted request, in any order. There are four cases:

    1. The answer arrived: `status`, `body`, and `retry_after_s` for an error.
    2. Final headers arrived, then the stream was reset, cut off or too long: as case 1, with what came of the body.
       The gateway has decided, so its status counts; asking again could repeat the push.
    3. The gateway cannot have processed it: `no_answer=REFUSED`. Asking again is safe.
    4. The gateway may have processed it: `no_answer=UNANSWERED`. Also where that is not known.

    In cases 3 and 4 `connection_ended` says that the whole connection failed, so that the failure is not counted
    against the device. A transport never sends a request twice by its own decision: what it moves to another
    connection was not written to the first. It knows nothing of tokens, messages or verdicts.
    """

    def room(self, endpoint: str) -> int:
        """How many requests `endpoint` takes now: that many `submit` calls succeed before the next `poll`.

        1 while a fresh connection is tried, 0 while connecting failed a moment ago.
        """
        ...

    def submit(self, request: Request) -> None:
        """Take a request; its deadline runs from here. Raises `NoRoomError` where there is no room."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Answer]:
        """Send and receive; return the answers at once if there are any, else after at most `timeout_s`."""
        ...

    @property
    def in_flight(self) -> int:
        """How many requests were submitted and not yet returned by `poll`."""
        ...

    def replace_connection(self, endpoint: str, connection: int) -> None:
        """Give that connection no new request, and close it when its last answer has come. Unknown: ignored."""
        ...

    def close(self) -> None:
        """Close every connection. What is still in flight is dropped without an answer: poll it out before."""
        ...
