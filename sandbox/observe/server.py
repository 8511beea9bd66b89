"""The pages on a port of their own, for whoever has no server to mount them in."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from sandbox.observe.pages import Observatory


class ObserveServer:
    """Serves an observatory on 127.0.0.1; `url` says where."""

    def __init__(self, observatory: Observatory, base: str = "/observe", port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.observatory = observatory
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{base}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="observe", daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    observatory: Observatory


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """One page."""
        status, kind, body = self.server.observatory.pages(self.path)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""
