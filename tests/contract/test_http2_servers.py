"""Servers that nobody here wrote: nginx, Node's http2, Go's net/http, granian. A missing one is said, and skipped.

Each is restarted in the middle and says goodbye, refuses or resets by itself where it can. What our side says of each
request is held against the server's log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.transport import Http2Transport
from notifier.model.exchange import Answer, NoAnswer, Request

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "servers"
COUNT = 4_000
PATIENCE_S = 90.0
NGINX = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format path '$uri'; access_log {log} path; keepalive_requests 300; http2_max_concurrent_streams {limit};
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u;
  scgi_temp_path {home}/s; ssl_certificate {pem}; ssl_certificate_key {pem};
  server {{
    listen 127.0.0.1:{port} ssl http2;
    location ~ 7$ {{ return 410 '{{}}'; }}
    location / {{ return 200 '{{}}'; }}
  }}
}}
"""


def program(name: str) -> str:
    """Where it is; skips without it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/go/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Server:
    """A process that listens on a port, and its log of paths."""

    def __init__(self, home: Path, command: Callable[[Server, int], Sequence[str]], limit: int) -> None:
        self.home, self.pem = home, home / "both.pem"
        self.log = home / "both.pem.log"
        with closing(socket.create_server(("127.0.0.1", 0))) as placeholder:
            self.port = placeholder.getsockname()[1]
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(home / "ca.pem"))
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(self.pem))
        leaf.private_key_pem.write_to_path(str(home / "key.pem"))
        self._command = command(self, limit)
        self._start()

    def _start(self) -> None:
        environment = {**os.environ, "SERVER_LOG": str(self.log), "PYTHONPATH": str(HERE)}
        with (self.home / "output").open("ab") as output:
            # A session of its own: what it starts ends with it.
            self._process = subprocess.Popen(
                self._command, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port))):
                return
            assert self._process.poll() is None, (self.home / "output").read_text()
        raise AssertionError("it does not listen")

    def stop(self) -> None:
        """As an operator does: ask first."""
        # nginx, asked to terminate at once, leaves requests out of its log that it has just answered.
        self._process.send_signal(signal.SIGQUIT if "nginx" in self._command[0] else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self._start()

    def paths(self) -> list[str]:
        """What it has processed."""
        return self.log.read_text().split() if self.log.exists() else []


def nginx(server: Server, limit: int) -> Sequence[str]:
    """GOAWAY after every 300 requests."""
    names = {"home": server.home, "log": server.log, "pem": server.pem, "port": server.port, "limit": limit}
    (server.home / "conf").write_text(NGINX.format(**names))
    return [program("nginx"), "-p", str(server.home), "-c", str(server.home / "conf")]


def node(server: Server, limit: int) -> Sequence[str]:
    """Refuses, resets, and says goodbye after 400 streams."""
    return [program("node"), str(HERE / "node.js"), str(server.port), str(server.pem), str(limit)]


def go(server: Server, limit: int) -> Sequence[str]:
    """Resets some; its shutdown sends GOAWAY twice."""
    built = server.home / "server"
    subprocess.run([program("go"), "build", "-o", str(built), str(HERE / "main.go")], check=True)
    return [str(built), str(server.port), str(server.pem), str(limit)]


def granian(server: Server, _limit: int) -> Sequence[str]:
    """hyper's HTTP/2, in Rust."""
    files = ["--ssl-certificate", str(server.pem), "--ssl-keyfile", str(server.home / "key.pem")]
    where = ["--host", "127.0.0.1", "--port", str(server.port), "--http", "2", "--interface", "wsgi"]
    return [str(Path(sys.executable).parent / "granian"), *where, *files, "granian_app:app"]


@pytest.fixture(params=[nginx, node, go, granian], ids=lambda made: str(made.__name__))
def kind(request: pytest.FixtureRequest) -> Callable[[Server, int], Sequence[str]]:
    """One of them."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[1, 100], ids=["one stream", "100 streams"])
def server(
    kind: Callable[[Server, int], Sequence[str]], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Server]:
    """It runs, with a limit of streams."""
    made = Server(tmp_path, kind, request.param)
    yield made
    made.stop()


def run(transport: Http2Transport, count: int, at_half: Callable[[], None]) -> dict[int, Answer]:
    """Send `count` requests; answers by ticket."""
    answers: dict[int, Answer] = {}
    number = 0
    half = [at_half]
    give_up = time.monotonic() + PATIENCE_S
    while len(answers) < count:
        assert time.monotonic() < give_up, f"{len(answers)} of {count}"
        while number < count and transport.room("gw") > 0:
            lines = ("authorization: bearer x", f"apns-id: {number}", "apns-topic: a", "content-type: application/json")
            body = b"x" * (number % 3_000)
            transport.submit(Request(endpoint="gw", path=f"/{number}", headers=lines, body=body, ticket=number))
            number += 1
        for answer in transport.poll(0.5):
            assert answer.ticket not in answers
            answers[answer.ticket] = answer
        if half and number > count // 2:
            half.pop()()
    return answers


def test_what_is_said_of_each_request_is_true_by_the_servers_log(server: Server) -> None:
    """Thousands of requests, a restart in the middle: each ends once, and what is said of it is in the log, or not."""
    url, ca_file = f"https://localhost:{server.port}", str(server.home / "ca.pem")
    endpoint = Endpoint(name="gw", base_url=url, max_connections=3, max_streams=100, probe_first=True, timeout_ms=8_000)
    with closing(Http2Transport([endpoint], ca_file)) as transport:
        restarting = threading.Thread(target=server.restart)
        answers = run(transport, COUNT, restarting.start)
        restarting.join()
    seen = Counter(server.paths())
    assert not [path for path, times in seen.items() if times > 1]
    answered = [one for one in answers.values() if one.no_answer is None]
    refused = [one for one in answers.values() if one.no_answer is NoAnswer.REFUSED]
    outcome = f"{len(answered)} answered, {len(refused)} refused, {COUNT - len(answered) - len(refused)} unanswered"
    assert [one.ticket for one in answered if not seen[f"/{one.ticket}"]] == [], outcome
    assert not [one for one in refused if seen[f"/{one.ticket}"]]
    assert [one for one in answered if one.status != (410 if one.ticket % 10 == 7 else 200)] == []
    assert len(answered) > COUNT * 0.8, outcome
