"""moto over HTTP, quick enough for tests that make a hundred thousand requests.

moto's own server closes each connection, waits a hundredth of a second for more of each request, and lists a folder to
find out which service is meant. AWS keeps connections open, and so does this server.
"""

import contextlib
import functools
import io
import itertools
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from moto.core import responses
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
_BODILESS: Final = ("204", "304")
_LOOKS_EVERY_S: Final = 0.02
"""So long the end of `serving` waits at most: the standard library's half a second would be felt by each test file."""

# moto looks through the members of a service's class in each request.
_responses: Any = responses
_responses.method_names_from_class = functools.cache(_responses.method_names_from_class)


def _backend_app(service: Any) -> Any:
    app = create_backend_app(service)
    app.after_request_funcs.clear()  # headers for pages of other hosts, which nobody asks from here
    return app


class Moto(DomainDispatcherApplication):  # type: ignore[misc]
    """moto's choice of a backend by host name, remembered: it lists a directory for every request otherwise."""

    def __init__(self) -> None:
        super().__init__(_backend_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """The backend's name, or None."""
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class _Handler(MotoRequestHandler):  # type: ignore[misc]
    """One connection, and its requests one after the other. They are not logged."""

    protocol_version = "HTTP/1.1"
    # One segment for head and body: else Nagle's algorithm and delayed acknowledgements cost 40 ms an answer.
    disable_nagle_algorithm = True
    wbufsize = -1
    _has_answered = False

    def make_environ(self) -> Environ:
        """With the whole body: what an application left unread would be taken for the next request."""
        environ: Environ = super().make_environ()
        is_chunked = environ.get("wsgi.input_terminated", False)
        size = -1 if is_chunked else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        return environ

    def run_wsgi(self) -> None:
        """Answer one request. werkzeug's own would close the connection."""
        environ = self.make_environ()
        self._has_answered = False
        head: list[Any] = []

        def start_response(*status_and_headers: Any) -> Any:
            head[:] = status_and_headers[:2]

        try:
            pieces: Any = self.server.app(environ, start_response)
            with contextlib.closing(pieces) if hasattr(pieces, "close") else contextlib.nullcontext():
                self._send(iter(pieces), environ["REQUEST_METHOD"], head)
        except ConnectionError:  # the client has gone, or a fault was to close the connection
            self.close_connection = True
        except Exception:  # noqa: BLE001 - an error of moto's, such as an action that it does not know
            traceback.print_exc(file=sys.stderr)
            self.close_connection = True
            if not self._has_answered:  # else it would stand within a body
                self.send_error(500)

    def _send(self, pieces: Iterator[bytes], method: str, head: list[Any]) -> None:
        first = next(pieces, b"")  # it may be this that has `head` filled
        status, headers = head
        code, _, words = status.partition(" ")
        self.send_response(int(code), words)
        for name, value in headers:
            self.send_header(name, value)
        has_body = method != "HEAD" and code not in _BODILESS
        if has_body and not any(name.lower() == "content-length" for name, _ in headers):
            first, pieces = b"".join((first, *pieces)), iter(())
            self.send_header("Content-Length", str(len(first)))
        self._has_answered = True
        self.end_headers()
        for piece in itertools.chain((first,), pieces):
            if has_body:
                self.wfile.write(piece)
                self.wfile.flush()  # at once: a fault lets the first half of an answer wait for the second
        self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Flush the interim answer: botocore waits for it before it sends a PUT's body."""
        went_on: bool = super().handle_expect_100()
        self.wfile.flush()
        return went_on

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Keep errors, drop the line for each request."""
        if type == "error":
            print(message % args, file=sys.stderr, flush=True)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a run makes thousands of requests."""


def server_of(application: Application) -> BaseWSGIServer:
    """A server on a free port of 127.0.0.1, a thread for each connection. `serve_forever` serves."""
    return make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Handler)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """moto in this process: the address of its server, which serves until the end of the `with`."""
    application, one_at_a_time = Moto(), threading.Lock()

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        # moto looks at a condition and writes in two steps: two claims in the same instant would both be granted.
        with one_at_a_time:
            return application(environ, start_response)  # type: ignore[no-any-return]

    server = server_of(answer)
    thread = threading.Thread(target=server.serve_forever, args=(_LOOKS_EVERY_S,), name="moto", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
