"""One connection of a pool, from dialling to its end: protocol and socket together."""

from __future__ import annotations

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.connection import Connection
from notifier.gateway.http2.dial import TOO_LATE, Dial
from notifier.gateway.http2.outbox import RECORD_BYTES
from notifier.gateway.http2.socket import Channel
from notifier.gateway.http2.stream import Stream

CLOSED = "the server closed the connection"
PING_AFTER_S = 5.0
"""Open streams, and so long nothing from the server: ask for a sign of life."""
PING_PATIENCE_S = 5.0
"""And so long no sign: the connection is dead."""
WRITE_BYTES = 4 * RECORD_BYTES
"""Of one system call: about 150 requests. A call for each record costs 2 us a request more (tests.bench.http2 sink).
More would count as sent, and so perhaps as processed, before the socket has taken it."""
STALE_S = 30.0
"""A connection without a stream and without a byte for so long carries a request only after a sign of life."""


class Session:
    """A connection, with what a pool knows of it."""

    def __init__(self, number: int, endpoint: Endpoint, http: Connection, dial: Dial, now_s: float) -> None:
        self.number = number
        self.http = http
        self.dial = dial
        self.channel: Channel | None = None
        self.answered = False
        """It has brought an answer."""
        self.retired = False
        """It is given no request any more, and closed when its streams have ended."""
        self.silent = 0
        """Timeouts since the last answer."""
        self.dial_until_s = now_s + endpoint.connect_timeout_ms / 1000
        self._max_streams = endpoint.max_streams
        self._probe_first = endpoint.probe_first
        self._received_at = now_s
        self._pinged_at: float | None = None

    @property
    def proven(self) -> bool:
        """May carry more than one request: after its first answer where that is demanded, else when it is made."""
        return self.answered or (not self._probe_first and self.http.ready)

    @property
    def room(self) -> int:
        """How many more requests it takes; one while it is being made."""
        if self.retired:
            return 0
        if not self.http.ready:
            return 1
        return max(0, min((self._max_streams if self.proven else 1) - self.http.open, self.http.room))

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left to do but to close it."""
        return self.retired and not self.http.open

    def connect(self, channel: Channel, now_s: float) -> None:
        """The attempt has succeeded."""
        self.channel = channel
        self._received_at = now_s

    def may_carry(self, now_s: float) -> bool:
        """Whether a request may go out now: not while it is being made, and not before a stale one has shown life."""
        if not self.http.ready:
            return False
        if self.http.open or now_s - self._received_at < STALE_S:
            return True
        self._ping(now_s)
        return False

    def read(self, now_s: float) -> list[Stream]:
        """Take all that has arrived; return the streams that ended."""
        channel = self.channel
        if channel is None:
            return []
        data = channel.receive()
        if data:
            self._received_at, self._pinged_at = now_s, None
        ended = self.http.receive(data)
        # After what arrived before the end, the end.
        if channel.ended:
            ended += self.http.lost(CLOSED)
        return ended

    def write(self) -> None:
        """Send what is ready, some TLS records at a time, as far as the socket takes them."""
        channel, http = self.channel, self.http
        if channel is None:
            return
        if channel.is_blocked:
            channel.flush()
        while http.has_data and not channel.is_blocked and not channel.ended:
            channel.send(http.data_to_send(WRITE_BYTES))

    def look_for_life(self, now_s: float) -> list[Stream]:
        """Ask a silent connection for a sign of life, and give up a dead one; return the streams that ended by that."""
        if self._pinged_at is None:
            if self.http.open and now_s - self._received_at >= PING_AFTER_S:
                self._ping(now_s)
        elif now_s - self._pinged_at >= PING_PATIENCE_S:
            return self.http.lost("the connection is dead: no answer to PING")
        return []

    def beginning_error(self, now_s: float) -> str:
        """Why a connection that is being made (until SETTINGS have come) has failed; empty while it has not."""
        if self.http.ready:
            return ""
        return self.http.ended or self.dial.error or (TOO_LATE if now_s >= self.dial_until_s else "")

    def close(self) -> None:
        """Close it, in order if it is alive."""
        self.retired = True
        if self.channel is None:
            self.dial.abandon()
            return
        if not self.http.ended:
            self.http.say_goodbye()
        self.write()
        self.channel.close()

    def _ping(self, now_s: float) -> None:
        if self._pinged_at is None:
            self._pinged_at = now_s
            self.http.ping()
