"""A client connection of ours and a server of Python's `h2`, joined by two pipes in memory, driven by a program.

A program is bytes: an operation and its argument, two bytes each. What the server did is in its log, which the tests
hold against what the client says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from notifier.gateway.http2.connection import Connection
from notifier.gateway.http2.stream import Outcome, Stream
from notifier.model.exchange import Request

Codes = h2.settings.SettingCodes
LINES = ["authorization: bearer secret", "content-type: application/json"]
BODIES = (1, 7, 0, 200, 3_000, 20_000, 70_000)
WINDOWS = (0, 1, 2, 100, 16_384, 65_535, 1_000_000)
LIMITS = (0, 1, 2, 3, 10, 1_000)
TABLES = (0, 60, 200, 4_096, 65_536)
FRAMES = (16_384, 20_000, 1_000_000)
STATUSES = (200, 204, 404, 410, 429, 503)
CODES = (0, 2, 7, 8, 11, 99)
GRACEFUL = 2**31 - 1


@dataclass
class Asked:
    """A request at the server."""

    ticket: int
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    answered: int = 0
    """The status, once its head was sent."""
    sent: bytearray = field(default_factory=bytearray)
    done: bool = False
    """Answered to the end, or reset."""


class Pair:
    """Both ends and the pipes between them."""

    def __init__(self, first_settings: dict[Codes, int], *, ready: bool = False) -> None:
        """`ready`: the first SETTINGS have been exchanged."""
        self.client = Connection("gateway.example")
        self.streams: dict[int, Stream] = {}
        """All that were submitted, by ticket."""
        self.ended: list[Stream] = []
        self.to_server, self.to_client = bytearray(), bytearray()
        self.cut = False
        self.cancelled: set[int] = set()
        self._server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._server.local_settings = h2.settings.Settings(client=False, initial_values=first_settings)
        self._server.initiate_connection()
        self._asked: dict[int, Asked] = {}
        self._last = GRACEFUL
        """Of our GOAWAY: streams above are not processed."""
        self._debts: dict[int, int] = {}
        self._unacknowledged = 1
        self.processed: dict[int, int] = {}
        """By ticket, how often the server acted on a complete request."""
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self._flush()
        if ready:
            self._carry_all()

    # -- the client ----------------------------------------------------------------------------------------------------

    def submit(self, size: int) -> None:
        """A request, if there is room; its path is its ticket."""
        ticket = len(self.streams) + 1
        lines = LINES if ticket % 3 else [*LINES, f"apns-id: {ticket:036d}", f"x-{ticket % 5}: y"]
        body = bytes([ticket % 251]) * size
        stream = Stream(Request(endpoint="gw", path=f"/{ticket}", headers=lines, body=body, ticket=ticket))
        room = self.client.room
        taken = self.client.submit(stream)
        assert taken == (room > 0)
        if taken:
            self.streams[ticket] = stream

    def cancel(self, at: int) -> None:
        """Give up one of the open streams."""
        still_open = [stream for stream in self.streams.values() if stream.outcome is None]
        if still_open:
            stream = still_open[at % len(still_open)]
            self.client.cancel(stream, "no answer in time")
            self.cancelled.add(stream.request.ticket)
            self.ended.append(stream)

    def client_writes(self, limit: int) -> None:
        """Bytes go into the pipe: from here on they count as sent."""
        self.to_server += self.client.data_to_send(limit)

    def client_reads(self, limit: int) -> None:
        """Some of what the server wrote arrives."""
        data, self.to_client = bytes(self.to_client[:limit]), self.to_client[limit:]
        self.ended += self.client.receive(data)

    def end(self) -> None:
        """The connection is gone; what is in the pipes is lost."""
        self.cut = True
        self.ended += self.client.lost("the connection broke")

    # -- the server ----------------------------------------------------------------------------------------------------

    def server_reads(self, limit: int) -> None:
        """Some of what the client wrote arrives. A violation of ours raises here, from h2."""
        data, self.to_server = bytes(self.to_server[:limit]), self.to_server[limit:]
        for event in self._server.receive_data(data):
            self._on_event(event)
        self._flush()

    def _on_event(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=stream_id, headers=headers):
                path = next(str(value) for name, value in headers if str(name) == ":path")
                self._asked[stream_id] = Asked(int(path[1:]))
            case h2.events.DataReceived(stream_id=stream_id, data=data):
                self._debts[stream_id] = self._debts.get(stream_id, 0) + event.flow_controlled_length
                self._asked[stream_id].body += data
            case h2.events.StreamEnded(stream_id=stream_id):
                asked = self._asked[stream_id]
                asked.complete = True
                if stream_id <= self._last and not asked.done:
                    ticket = asked.ticket
                    assert bytes(asked.body) == self.streams[ticket].request.body
                    self.processed[ticket] = self.processed.get(ticket, 0) + 1
            case h2.events.SettingsAcknowledged():
                self._unacknowledged -= 1
            case h2.events.StreamReset(stream_id=stream_id) if stream_id in self._asked:
                self._asked[stream_id].done = True
            case _:
                pass

    def _flush(self) -> None:
        self.to_client += self._server.data_to_send()

    def _open(self, *, early: bool) -> list[int]:
        """Streams that may be answered: complete ones, with `early` the others as well."""
        return [
            stream_id
            for stream_id, asked in self._asked.items()
            if not asked.done and stream_id <= self._last and (asked.complete or early)
        ]

    def answer(self, at: int, *, early: bool = False, informational: bool = False, split: int = 0) -> None:
        """Head, body and end; with `split` some of it only, the rest by another call."""
        candidates = self._open(early=early)
        if not candidates:
            return
        stream_id = candidates[at % len(candidates)]
        asked = self._asked[stream_id]
        if not asked.answered:
            self._head(stream_id, asked, STATUSES[at % len(STATUSES)], informational=informational)
        if split:
            self._send(stream_id, asked, b"part", end=False, padding=split % 3)
            return
        self._send(stream_id, asked, b"end" * (at % 3), end=True, padding=at % 2)
        if not asked.complete and at % 2:
            self._server.reset_stream(stream_id, 0)
        self._flush()

    def _head(self, stream_id: int, asked: Asked, status: int, *, informational: bool) -> None:
        if informational:
            self._server.send_headers(stream_id, [(":status", "103"), ("link", "</x>")])
        more = [("retry-after", "7")] if status >= 400 else [("apns-id", "x" * (status % 90)), ("date", "now")]
        self._server.send_headers(stream_id, [(":status", str(status)), *more])
        asked.answered = self.statuses[asked.ticket] = status
        self._flush()

    def _send(self, stream_id: int, asked: Asked, body: bytes, *, end: bool, padding: int) -> None:
        room = self._server.local_flow_control_window(stream_id) - 1 - padding
        body = body[: max(0, room)]
        asked.sent += body
        self.bodies[asked.ticket] = bytes(asked.sent)
        if end and len(asked.sent) % 4 == 1:
            if body:
                self._server.send_data(stream_id, body)
            self._server.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)  # trailers
        elif body or end:
            pad = padding if room > 0 and padding else None
            self._server.send_data(stream_id, body, end_stream=end, pad_length=pad)
        asked.done = end
        self._flush()

    def reset(self, at: int) -> None:
        """RST_STREAM. REFUSED_STREAM only for what was not processed, as it promises."""
        candidates = self._open(early=True)
        if not candidates:
            return
        stream_id, code = candidates[at % len(candidates)], CODES[at % len(CODES)]
        asked = self._asked[stream_id]
        if code == h2.errors.ErrorCodes.REFUSED_STREAM and (asked.ticket in self.processed or asked.answered):
            code = h2.errors.ErrorCodes.CANCEL
        asked.done = True
        self._server.reset_stream(stream_id, code)
        self._flush()

    def go_away(self, at: int) -> None:
        """GOAWAY by hand, as h2 answers nothing after its own: first the graceful one, then the real last stream."""
        processed = [stream_id for stream_id, asked in self._asked.items() if asked.ticket in self.processed]
        answered = [stream_id for stream_id, asked in self._asked.items() if asked.answered]
        least = max((*processed, *answered), default=0)
        last = GRACEFUL if at % 3 == 0 else least + at % 5
        self._last = last = min(self._last, last)
        payload = struct.pack("!LL", last, CODES[at % len(CODES)]) + b'{"reason":"Shutdown"}'
        self.raw(7, 0, 0, payload)

    def settings(self, at: int) -> None:
        """New SETTINGS, of any kind."""
        choices: tuple[dict[Codes | int, int], ...] = (
            {Codes.MAX_CONCURRENT_STREAMS: LIMITS[at % len(LIMITS)]},
            {Codes.INITIAL_WINDOW_SIZE: WINDOWS[at % len(WINDOWS)]},
            {Codes.HEADER_TABLE_SIZE: TABLES[at % len(TABLES)]},
            {Codes.MAX_FRAME_SIZE: FRAMES[at % len(FRAMES)]},
        )
        self._update(choices[at // 7 % len(choices)])

    def _update(self, changes: dict[Codes | int, int]) -> None:
        """h2 takes any acknowledgement for one of the newest SETTINGS: only one may be under way."""
        if not self._unacknowledged:
            self._unacknowledged = 1
            self._server.update_settings(changes)
            self._flush()

    def _carry_all(self) -> None:
        self.client_reads(1 << 20)
        while self.client.has_data:
            self.client_writes(1 << 20)
        self.server_reads(1 << 20)

    def grant(self) -> None:
        """WINDOW_UPDATE for what was read."""
        debts, self._debts = self._debts, {}
        for stream_id, size in debts.items():
            if size:
                self._server.acknowledge_received_data(size, stream_id)
        self._flush()

    def raw(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame that h2 does not make."""
        self._flush()
        self.to_client += struct.pack("!L", len(payload))[1:] + struct.pack("!BBL", kind, flags, stream_id) + payload

    def ping(self) -> None:
        """PING."""
        self._server.ping(b"12345678")
        self._flush()

    def settle(self) -> None:
        """Open all windows, answer everything, carry all bytes, until nothing moves any more."""
        self._carry_all()
        self._update({Codes.INITIAL_WINDOW_SIZE: 1_000_000, Codes.MAX_CONCURRENT_STREAMS: 100})
        self._server.increment_flow_control_window(5_000_000)
        self._flush()
        for _ in range(50):
            self._carry_all()
            self.grant()
            while self._open(early=False):
                self.answer(0)
            if not self.to_client and not self.to_server and not self.client.has_data:
                return
        raise AssertionError("the two never come to rest")


def run(pair: Pair, program: bytes) -> None:
    """Carry out a program."""
    for operation, argument in zip(program[::2], program[1::2], strict=False):
        if pair.cut:
            return
        OPERATIONS[operation % len(OPERATIONS)](pair, argument)


def odd(pair: Pair, at: int) -> None:
    """Frames that carry no request: PING, a type that nobody knows, PRIORITY."""
    if at % 3 == 0:
        pair.ping()
    elif at % 3 == 1:
        pair.raw(0xBE, at, at, b"?" * at)
    else:
        pair.raw(2, 0, 1, bytes(5))


def rare(pair: Pair, at: int) -> None:
    """What ends things: not in every program."""
    if at < 128:
        pair.cancel(at)
    elif at < 192:
        pair.go_away(at)
    elif at < 208:
        pair.end()


ALL = 1 << 20
OPERATIONS: list[Callable[[Pair, int], None]] = [
    *[lambda pair, at: pair.submit(BODIES[at % len(BODIES)])] * 9,
    *[lambda pair, at: pair.client_writes(1 + at)] * 2,
    *[lambda pair, _: pair.client_writes(ALL)] * 3,
    *[lambda pair, at: pair.server_reads(1 + at)] * 2,
    *[lambda pair, _: pair.server_reads(ALL)] * 3,
    *[lambda pair, at: pair.client_reads(1 + at % 64)] * 2,
    *[lambda pair, _: pair.client_reads(ALL)] * 3,
    *[lambda pair, at: pair.answer(at, informational=at % 4 == 0)] * 2,
    lambda pair, at: pair.answer(at, split=1 + at, early=at % 4 == 0),
    lambda pair, at: pair.answer(at, early=True),
    Pair.reset,
    Pair.settings,
    lambda pair, _: pair.grant(),
    odd,
    rare,
]
"""What a byte of a program stands for: those that bring requests forward are frequent."""


def check(pair: Pair) -> None:
    """Nothing lost, nothing twice, and what the client says of each request is true by the server's log."""
    tickets = [stream.request.ticket for stream in pair.ended]
    assert sorted(tickets) == sorted(pair.streams)
    assert all(times == 1 for times in pair.processed.values())
    for stream in pair.ended:
        ticket = stream.request.ticket
        if stream.outcome is Outcome.ANSWERED:
            assert stream.status == pair.statuses[ticket]
            assert pair.bodies.get(ticket, b"").startswith(bytes(stream.body))
            assert stream.retry_after == ("7" if stream.status >= 400 else "")
        elif stream.outcome is not Outcome.UNANSWERED:
            assert ticket not in pair.processed, (stream, stream.detail)
