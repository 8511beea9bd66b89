"""The Runtime API that an environment's runtime client polls: one small server for each environment.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from sandbox.local_lambda.invocation import Invocation

_BASE: Final = "/2018-06-01/runtime"


class Ready(msgspec.Struct, frozen=True):
    """The runtime client asks for its next invocation."""


class Result(msgspec.Struct, frozen=True):
    """The handler has answered."""

    request_id: str
    payload: bytes


class Error(msgspec.Struct, frozen=True):
    """The handler, or the import of its module when `request_id` is empty, has raised."""

    request_id: str
    payload: bytes
    error_type: str


Report = Ready | Result | Error


class RuntimeApi:
    """Hands invocations to one runtime client and gives back what it reports."""

    def __init__(self) -> None:
        self._next: queue.SimpleQueue[tuple[Invocation, int] | None] = queue.SimpleQueue()
        self.reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.api = self
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="runtime-api", daemon=True).start()

    def hand_over(self, invocation: Invocation, deadline_ms: int) -> None:
        """Gives the next invocation to the runtime client. `deadline_ms` is epoch time."""
        self._next.put((invocation, deadline_ms))

    def wait_for_next(self) -> tuple[Invocation, int] | None:
        """Blocks until there is an invocation; None when the environment is closed."""
        return self._next.get()

    def close(self) -> None:
        """Ends the server."""
        self._next.put(None)
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    api: RuntimeApi

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the runtime client was killed in the middle of a call."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        """Only `/invocation/next`."""
        if self.path != f"{_BASE}/invocation/next":
            self._answer(404)
            return
        self.server.api.reports.put(Ready())
        work = self.server.api.wait_for_next()
        if work is None:
            self.close_connection = True
            return
        invocation, deadline_ms = work
        self._answer(
            200,
            invocation.payload,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
                "Lambda-Runtime-Trace-Id": invocation.trace,
            },
        )

    def do_POST(self) -> None:
        """`/invocation/ID/response`, `/invocation/ID/error` and `/init/error`."""
        body = self._body()
        match self.path.removeprefix(_BASE).strip("/").split("/"):
            case ["invocation", request_id, "response"]:
                self.server.api.reports.put(Result(request_id, body))
            case ["invocation", request_id, "error"]:
                self.server.api.reports.put(Error(request_id, body, self._error_type(body)))
            case ["init", "error"]:
                self.server.api.reports.put(Error("", body, self._error_type(body)))
            case _:
                self._answer(404)
                return
        self._answer(202, b'{"status":"OK"}')

    def _error_type(self, body: bytes) -> str:
        try:
            return str(json.loads(body).get("errorType", ""))
        except (ValueError, AttributeError):
            return self.headers.get("Lambda-Runtime-Function-Error-Type", "")

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the function's own log says what happened."""
