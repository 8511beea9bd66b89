"""The misbehaving HTTP/2 server: real TLS, real frames, a recorder, and one function that decides what happens.

    def behaviour(seen: Seen) -> tuple[Action, ...]:
        return (Reply(status=503, headers=(("retry-after", "7"),)),)

    with WireServer(behaviour) as server:
        server.url, server.ca_file, server.seen, server.peak_streams

It runs an asyncio loop in a thread of its own, on a free port of 127.0.0.1, with a certificate from an authority made
for it. A request is shown to the behaviour once it is complete (END_STREAM), and recorded before that call.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trustme

from sandbox.wire.actions import Action, Close, Cut, ErrorCode, GoAway, Reply, ReplyAll, Reset, Settings

MANY_STREAMS = 1000
SHUTDOWN_S = 0.05
"""How long a closing connection waits for the client's close_notify before it sends FIN."""

_LAST_TURNS = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """One complete request, as it came over the wire. Connections and a connection's requests count from 1."""

    connection: int
    number: int
    stream_id: int
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    protocol: str = "h2"


Behaviour = Callable[[Seen], tuple[Action, ...]]


def always(*actions: Action) -> Behaviour:
    """Return the behaviour that does the same with every request."""
    return lambda _seen: actions


class WireServer:
    """The server and its record. A context manager; everything it recorded stays readable after it is closed."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        max_concurrent_streams: int = MANY_STREAMS,
        alpn: tuple[str, ...] = ("h2",),
        authority: trustme.CA | None = None,
        idle_close_s: float | None = None,
    ) -> None:
        """`alpn` without "h2" makes an HTTP/1.1 server; an empty one ignores what the client offers.

        A connection without an open request for `idle_close_s` gets a GOAWAY and is closed.
        """
        self.behaviour = behaviour or always(Reply())
        self.max_concurrent_streams = max_concurrent_streams
        self.seen: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.peak_connections = 0
        self.peak_streams: dict[int, int] = {}
        self.peak_before_first_answer: dict[int, int] = {}
        self.violations: list[str] = []
        self._alpn = alpn
        self._idle_close_s = idle_close_s
        self._authority = authority or trustme.CA()
        self._home = tempfile.TemporaryDirectory(prefix="wire-")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire-server", daemon=True)
        self.ca_file = str(Path(self._home.name) / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._live: set[_Wire] = set()
        self._deserted = asyncio.Event()

    @property
    def url(self) -> str:
        """The base URL, without a path."""
        return f"https://localhost:{self.port}"

    def __enter__(self) -> WireServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, drop every connection, end the thread."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
            self._home.cleanup()

    def close_connections(self) -> None:
        """Close every connection in an orderly way, as a gateway does with idle ones; go on listening."""
        asyncio.run_coroutine_threadsafe(self._close_connections(), self._loop).result(10)

    def paths(self) -> list[str]:
        """Return the path of every request seen, in order: a repeated one is a repeated send."""
        return [seen.path for seen in self.seen]

    async def _listen(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        if self._alpn:
            context.set_alpn_protocols(list(self._alpn))
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = listener.getsockname()[1]
        self._server = await self._loop.create_server(
            lambda: _Wire(self), sock=listener, ssl=context, ssl_shutdown_timeout=SHUTDOWN_S
        )

    async def _close_connections(self) -> None:
        for wire in list(self._live):
            wire.close(abort=False)
        await self._deserted.wait()

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for wire in list(self._live):
            wire.close(abort=True)
        for task in asyncio.all_tasks(self._loop) - {asyncio.current_task()}:
            task.cancel()
        # The cancelled tasks and the closed transports need some turns of the loop to end.
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0.001)


class _Wire(asyncio.Protocol):
    """One connection. All of it runs in the server's loop."""

    def __init__(self, server: WireServer) -> None:
        self._server = server
        self._number = 0
        self._requests = itertools.count(1)
        self._answered = False
        self._open: dict[int, _Stream] = {}
        self._last_stream_id = 0
        self._refused_above = math.inf
        """The last stream of a GOAWAY that was sent: those above are neither shown to the behaviour nor recorded."""
        self._idle: asyncio.TimerHandle | None = None
        self._outbox: dict[int, list[bytes]] = {}
        self._plain = bytearray()
        self._speaks_h2 = True
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        limit = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: server.max_concurrent_streams}
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=limit)

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is through the TLS handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        server = self._server
        server.connections += 1
        server.open_connections += 1
        server.peak_connections = max(server.peak_connections, server.open_connections)
        self._number = server.connections
        server.peak_streams[self._number] = server.peak_before_first_answer[self._number] = 0
        server._live.add(self)
        server._deserted.clear()
        protocol = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        self._speaks_h2 = protocol == "h2"
        if self._speaks_h2:
            self._h2.initiate_connection()
            self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """The client left, or was thrown out."""
        self._server.open_connections -= 1
        self._server._live.discard(self)
        if not self._server._live:
            self._server._deserted.set()

    def data_received(self, data: bytes) -> None:
        """Feed the protocol machine, act on what became complete."""
        if not self._speaks_h2:
            self._http_1(data)
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._server.violations.append(f"connection {self._number}: {type(error).__name__}: {error}")
            self._flush()
            self._transport.close()
            return
        for event in events:
            self._on_event(event)
        self._flush()
        self._watch_idle()

    def _watch_idle(self) -> None:
        """Count the idle time from here on, if nothing is open."""
        after_s = self._server._idle_close_s
        if after_s is None:
            return
        if self._idle is not None:
            self._idle.cancel()
        self._idle = None if self._open else self._server._loop.call_later(after_s, self._close_idle)

    def _close_idle(self) -> None:
        if not self._transport.is_closing():
            self._go_away(self._last_stream_id, ErrorCode.NO_ERROR, b"")
            self.close(abort=False)

    # -- HTTP/2 -------------------------------------------------------------------------------------------------

    def _on_event(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int() as stream_id, headers=headers):
                self._last_stream_id = stream_id
                self._open[stream_id] = _Stream([(str(name), str(value)) for name, value in headers or []])
                self._count_streams()
            case h2.events.DataReceived(stream_id=int() as stream_id, data=bytes() as data):
                # Also for a stream that is closed already, or the connection's flow-control window would shrink.
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
                if stream_id in self._open:
                    self._open[stream_id].body += data
            case h2.events.StreamEnded(stream_id=int() as stream_id) if stream_id in self._open:
                self._complete(stream_id, self._open[stream_id])
            case h2.events.StreamReset(stream_id=int() as stream_id):
                self._open.pop(stream_id, None)
                self._outbox.pop(stream_id, None)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream_id in list(self._outbox):
                    self._send_body(stream_id)
            case _:
                pass

    def _count_streams(self) -> None:
        server, number = self._server, self._number
        server.peak_streams[number] = max(server.peak_streams[number], len(self._open))
        if not self._answered:
            peak = max(server.peak_before_first_answer[number], len(self._open))
            server.peak_before_first_answer[number] = peak

    def _complete(self, stream_id: int, stream: _Stream) -> None:
        if stream_id > self._refused_above:
            return  # RFC 9113, section 6.8: GOAWAY promises that they are not processed
        path = next((value for name, value in stream.headers if name == ":path"), "")
        headers, body = tuple(stream.headers), bytes(stream.body)
        seen = Seen(self._number, next(self._requests), stream_id, path, headers, body)
        self._server.seen.append(seen)
        for action in self._server.behaviour(seen):
            self._act(stream_id, action)

    def _act(self, stream_id: int, action: Action) -> None:
        match action:
            case Reply(delay_s=delay_s) if delay_s > 0:
                self._server._loop.call_later(delay_s, self._reply_later, stream_id, action)
            case Reply():
                self._reply(stream_id, action)
            case ReplyAll(reply=reply):
                for waiting in list(self._open):
                    self._reply(waiting, reply)
            case Reset(code=code):
                self._open.pop(stream_id, None)
                self._h2.reset_stream(stream_id, code)
            case Cut():
                self._cut(stream_id, action)
            case GoAway(last_stream_id=last, code=code, reason=reason):
                self._go_away(stream_id if last is None else last, code, reason)
            case Settings(max_concurrent_streams=limit):
                self._h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limit})
            case Close(abort=abort):
                self.close(abort)

    def _cut(self, stream_id: int, cut: Cut) -> None:
        self._answered = True
        self._open.pop(stream_id, None)
        self._h2.send_headers(stream_id, [(":status", str(cut.status)), ("content-type", "application/json")])
        if cut.body:
            self._h2.send_data(stream_id, cut.body)
        if cut.silent:
            return
        if cut.code is None:
            self.close(abort=False)
        else:
            self._h2.reset_stream(stream_id, cut.code)

    def _go_away(self, last_stream_id: int, code: int, reason: bytes) -> None:
        """Write the frame by hand: h2 refuses to answer anything after its own GOAWAY, gateways do answer."""
        self._flush()
        self._refused_above = min(self._refused_above, last_stream_id)
        payload = struct.pack("!LL", last_stream_id, code) + reason
        self._transport.write(struct.pack("!L", len(payload))[1:] + b"\x07\x00" + bytes(4) + payload)

    def _reply_later(self, stream_id: int, reply: Reply) -> None:
        if not self._transport.is_closing():
            self._reply(stream_id, reply)
            self._flush()
            self._watch_idle()

    def _reply(self, stream_id: int, reply: Reply) -> None:
        if self._open.pop(stream_id, None) is None:
            return
        self._answered = True
        headers = [(":status", str(reply.status)), *reply.headers]
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.send_headers(stream_id, headers, end_stream=not reply.body)
            if reply.body:
                size = -(-len(reply.body) // reply.frames)  # rounded up
                self._outbox[stream_id] = [reply.body[at : at + size] for at in range(0, len(reply.body), size)]
                self._send_body(stream_id)

    def _send_body(self, stream_id: int) -> None:
        """Send as much of a body as flow control allows; WINDOW_UPDATE brings us back."""
        pieces = self._outbox[stream_id]
        with contextlib.suppress(h2.exceptions.ProtocolError):
            while pieces:
                window = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
                if window <= 0:
                    return
                piece, rest = pieces[0][:window], pieces[0][window:]
                pieces[:1] = [rest] if rest else []
                self._h2.send_data(stream_id, piece, end_stream=not pieces)
                self._flush()
        self._outbox.pop(stream_id, None)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self, abort: bool) -> None:
        """Close this connection, with what was written before it sent first unless it is an abort."""
        if abort:
            with contextlib.suppress(OSError, AttributeError):  # it may be gone already
                raw = self._transport.get_extra_info("socket")
                # Lingering for 0 s makes the close a reset: nothing is sent any more.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._flush()
            self._transport.close()

    # -- HTTP/1.1, for clients that must not speak it -------------------------------------------------------------

    def _http_1(self, data: bytes) -> None:
        self._plain += data
        head, found, rest = bytes(self._plain).partition(b"\r\n\r\n")
        if not found:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        length = int(dict(headers).get("content-length", "0"))
        if len(rest) < length:
            return
        self._plain.clear()
        path = first.split(" ")[1] if " " in first else ""
        self._server.seen.append(Seen(self._number, next(self._requests), 0, path, headers, rest, "http/1.1"))
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


@dataclass(slots=True)
class _Stream:
    headers: list[tuple[str, str]]
    body: bytearray

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        self.headers = headers
        self.body = bytearray()
