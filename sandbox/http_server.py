"""A small HTTP/1.1 server on 127.0.0.1 that hands each request to one function and sends what that returns."""

import ssl
import threading
from collections.abc import Callable, Sequence
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec

Headers = Sequence[tuple[str, str]]


class Asked(msgspec.Struct, frozen=True):
    """One request. `path` is the target as it was sent: encoded, with its query."""

    method: str
    path: str
    headers: "Message[str, str]"
    body: bytes


class Reply(msgspec.Struct, frozen=True):
    """One response. Content-Length is added, except to a 204, which must not have one, and where `headers` state it."""

    status: int
    body: bytes = b""
    headers: Headers = ()


class HttpServer:
    """Listens from its making until `stop`; a thread for each connection.

    Args:
        answer: called in the connection's thread; may block. None closes the connection without a response.
        port: 0 takes any that is free; `port` says which.
        backlog: connections that wait to be accepted.
        tls: a server's context, for https.
    """

    def __init__(
        self,
        answer: Callable[[Asked], Reply | None],
        port: int = 0,
        *,
        name: str,
        backlog: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler, bind_and_activate=False)
        self._server.answer = answer
        self._server.request_queue_size = backlog
        self._server.server_bind()
        self._server.server_activate()
        if tls is not None:
            # The handshake is left to the connection's thread: a client that is slow at it keeps no other waiting.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name=name, daemon=True).start()

    def stop(self) -> None:
        """End the server. Requests under way are not waited for."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    answer: Callable[[Asked], Reply | None]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: clients that are killed or closed in the middle of a call are everyday life here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One segment for head and body: else Nagle's algorithm and delayed acknowledgements cost 40 ms a response.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _handle(self) -> None:
        reply = self.server.answer(Asked(self.command, self.path, self.headers, self._body()))
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status != 204 and not any(name.lower() == "content-length" for name, _ in reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _handle  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Flush the interim response: botocore waits for it before it sends a PUT's body."""
        went_on = super().handle_expect_100()
        self.wfile.flush()
        return went_on

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing: who serves has a log of its own."""
