"""The ways to a gateway: proxies, IPv6, TLS in memory, and connections that die without a word."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.dial import proxy_of
from notifier.gateway.http2.socket import Channel, TlsLayer, tls_context
from notifier.gateway.http2.transport import Http2Transport
from notifier.model.exchange import Answer, NoAnswer, Request
from sandbox.wire.actions import Reply
from sandbox.wire.server import WireServer
from tests.contract.connect_proxy import ConnectProxy

PATIENCE_S = 10.0
PASSWORD = "pass-word-that-nobody-may-read"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


def transport_to(server: WireServer, proxy: str = "", clock: Callable[[], float] = time.monotonic) -> Http2Transport:
    """A transport with one endpoint."""
    endpoint = Endpoint(
        name="gw", base_url=server.url, max_connections=1, max_streams=10, probe_first=True, timeout_ms=60_000
    )
    return Http2Transport([endpoint], server.ca_file, proxy=proxy, clock=clock)


def submit(transport: Http2Transport, number: int) -> None:
    """One request."""
    transport.submit(Request(endpoint="gw", path=f"/{number}", headers=("x: y",), body=b"{}", ticket=number))


def answer_of(transport: Http2Transport, tick: Callable[[], None] = lambda: None) -> Answer:
    """The next answer; `tick` is called before each poll."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        tick()
        for answer in transport.poll(0.02):
            return answer
    raise AssertionError("no answer")


# -- proxies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("credentials", ["", f"user:{PASSWORD}"], ids=["open", "with credentials"])
def test_a_proxy_opens_a_tunnel(over_tls: bool, credentials: str) -> None:
    """CONNECT, then TLS with the gateway itself, within the proxy's own TLS if it has one."""
    authority = trustme.CA()
    with WireServer(authority=authority) as server, ConnectProxy(credentials, authority if over_tls else None) as proxy:
        scheme, who = "https" if over_tls else "http", f"{credentials}@" if credentials else ""
        with closing(transport_to(server, f"{scheme}://{who}{proxy.address}")) as transport:
            for number in range(3):
                submit(transport, number)
                assert answer_of(transport).status == 200
        assert proxy.asked == [f"CONNECT localhost:{server.port} HTTP/1.1"]
        assert server.paths() == ["/0", "/1", "/2"]


@pytest.mark.parametrize(
    ("proxy_says", "detail"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy refuses the connection: 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the proxy does not speak HTTP"),
        (b"x" * 20_000, "the proxy's answer has no end"),
        (b"", "the proxy refuses the connection: 407"),
    ],
    ids=["502", "no HTTP", "no end", "407"],
)
def test_a_proxy_that_refuses_is_no_connection(proxy_says: bytes, detail: str) -> None:
    """Certainly not processed; the detail says what the proxy said, and never the password."""
    with WireServer() as server, ConnectProxy("user:other", answer=proxy_says) as proxy:
        with closing(transport_to(server, f"http://user:{PASSWORD}@{proxy.address}")) as transport:
            submit(transport, 1)
            answer = answer_of(transport)
        assert (answer.no_answer, answer.connection_ended, answer.detail) == (NoAnswer.REFUSED, True, detail)
        assert server.connections == 0


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[str]:
    """The address of a proxy that nobody here wrote, with a password."""
    if (program := shutil.which("tinyproxy")) is None:
        pytest.skip("tinyproxy is not installed: apt-get install tinyproxy")
    with closing(socket.create_server(("127.0.0.1", 0))) as placeholder:
        port = placeholder.getsockname()[1]
    lines = (f"Port {port}", "Listen 127.0.0.1", "Allow 127.0.0.1", f"BasicAuth user {PASSWORD}")
    (tmp_path / "conf").write_text("\n".join((*lines, "")))
    process = subprocess.Popen([program, "-d", "-c", str(tmp_path / "conf")], stdout=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))):
                break
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_a_real_proxy_opens_a_tunnel(tinyproxy: str) -> None:
    """tinyproxy, with and without the password it wants."""
    with WireServer() as server:
        with closing(transport_to(server, f"http://user:{PASSWORD}@{tinyproxy}")) as transport:
            submit(transport, 1)
            assert answer_of(transport).status == 200
        with closing(transport_to(server, f"http://{tinyproxy}")) as transport:
            submit(transport, 2)
            answer = answer_of(transport)
        assert (answer.no_answer, answer.detail[-4:]) == (NoAnswer.REFUSED, " 407")
        assert server.paths() == ["/1"]


def test_a_proxys_address_is_checked_and_its_password_not_shown() -> None:
    """An error for what is no address, without quoting it; the repr is host and port."""
    assert proxy_of("") is None
    made = proxy_of(f"https://us%40er:{PASSWORD}@proxy.example")
    assert made is not None
    assert (made.host, made.port, made.over_tls) == ("proxy.example", 443, True)
    assert made.credentials == f"us@er:{PASSWORD}"
    assert PASSWORD not in repr(made)
    for wrong in (
        f"socks5://user:{PASSWORD}@host",
        PASSWORD,
        f"http://{PASSWORD}:x/",
        f"http://[{PASSWORD}",
        "http://",
    ):
        with pytest.raises(ValueError, match="http://host:port") as raised:
            proxy_of(wrong)
        assert PASSWORD not in str(raised.value)


def test_ipv6_is_spoken() -> None:
    """To the proxy, here: the way to a gateway is the same."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        proxy = ConnectProxy(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with WireServer() as server, proxy, closing(transport_to(server, f"http://{proxy.address}")) as transport:
        submit(transport, 1)
        assert answer_of(transport).status == 200


# -- connections that die without a word -----------------------------------------------------------------------------


def test_a_dead_connection_is_found_by_ping_within_seconds() -> None:
    """Nothing comes for 5 s though a request is open: PING; 5 s later the connection is given up."""
    clock = Clock()
    with WireServer() as server, ConnectProxy() as proxy:
        address = f"http://{proxy.address}"
        with closing(transport_to(server, address, clock)) as transport:
            submit(transport, 0)
            answer_of(transport)
            proxy.die()
            submit(transport, 1)
            began = clock.now
            answer = answer_of(transport, lambda: setattr(clock, "now", clock.now + 0.5))
            assert (answer.no_answer, answer.connection_ended) == (NoAnswer.UNANSWERED, True)
            assert "PING" in answer.detail
            assert 10 <= clock.now - began <= 12
            submit(transport, 2)
            assert answer_of(transport).connection == 2


def test_a_slow_answer_on_a_living_connection_is_waited_for() -> None:
    """PING is answered, so nothing is given up before the request's own time."""
    clock = Clock()
    with WireServer(lambda seen: (Reply(delay_s=1.0),)) as server:
        with closing(transport_to(server, "", clock)) as transport:
            submit(transport, 0)
            assert answer_of(transport, lambda: setattr(clock, "now", clock.now + 0.5)).status == 200
        assert server.connections == 1


def test_a_connection_that_died_while_idle_costs_no_request() -> None:
    """After a long silence a request goes out only behind a sign of life; without one it goes to another connection."""
    clock = Clock()
    with WireServer() as server, ConnectProxy() as proxy:
        with closing(transport_to(server, f"http://{proxy.address}", clock)) as transport:
            submit(transport, 0)
            answer_of(transport)
            proxy.die()
            clock.now += 3_600
            submit(transport, 1)
            answer = answer_of(transport, lambda: setattr(clock, "now", clock.now + 0.5))
            assert (answer.status, answer.connection) == (200, 2)
        assert server.paths() == ["/0", "/1"]


def test_an_idle_connection_that_lives_is_used_again() -> None:
    """One PING, and no other connection."""
    clock = Clock()
    with WireServer() as server, closing(transport_to(server, "", clock)) as transport:
        for number in range(3):
            submit(transport, number)
            assert answer_of(transport).status == 200
            clock.now += 3_600
        assert server.connections == 1


# -- TLS in memory ---------------------------------------------------------------------------------------------------


def channel_and_peer(authority: trustme.CA, tmp_path: Path) -> tuple[Channel, ssl.SSLSocket]:
    """Our end and a server's, connected and through the handshake."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    theirs.setblocking(False)
    server = context.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
    layer = TlsLayer(tls_context(str(tmp_path / "ca.pem")), "localhost")
    complete, out = layer.shake_hands(b"")
    while True:
        if out:
            ours.sendall(out)
        try:
            server.do_handshake()
            break
        except ssl.SSLWantReadError:
            complete, out = layer.shake_hands(ours.recv(65_536))
    assert complete
    return Channel(ours, [layer]), server


def test_one_read_takes_all_records(tmp_path: Path) -> None:
    """A hundred records lie in the socket: one call returns them all."""
    channel, server = channel_and_peer(trustme.CA(), tmp_path)
    with closing(channel), closing(server):
        for number in range(100):
            server.send(b"%03d" % number)
        assert channel.receive() == b"".join(b"%03d" % number for number in range(100))
        assert channel.receive() == b""
        assert not channel.ended


def test_what_came_before_the_end_is_returned_with_it(tmp_path: Path) -> None:
    """Data, then a close: first the data."""
    channel, server = channel_and_peer(trustme.CA(), tmp_path)
    with closing(channel):
        server.send(b"last words")
        server.close()
        received = channel.receive()
        if not channel.ended:
            channel.receive()
        assert (received, channel.ended) == (b"last words", True)
        channel.send(b"into the void")


def test_bytes_that_are_no_tls_end_the_connection(tmp_path: Path) -> None:
    """Without an exception."""
    channel, server = channel_and_peer(trustme.CA(), tmp_path)
    with closing(channel), closing(socket.socket(fileno=server.detach())) as raw:
        raw.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        assert channel.receive() == b""
        assert channel.ended


def test_what_the_socket_does_not_take_is_sent_later(tmp_path: Path) -> None:
    """A full socket: nothing is lost, and the caller knows."""
    channel, server = channel_and_peer(trustme.CA(), tmp_path)
    with closing(channel), closing(server):
        sent = received = 0
        while not channel.is_blocked:
            channel.send(b"x" * 16_384)
            sent += 16_384
        while received < sent:
            try:
                received += len(server.recv(65_536))
            except ssl.SSLWantReadError:
                channel.flush()
        assert not channel.is_blocked


def test_only_tls_1_2_and_up_with_a_known_certificate(tmp_path: Path) -> None:
    """The context's terms; a file that holds no authority is an error."""
    context = tls_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "empty.pem", tmp_path / "missing.pem"):
        with pytest.raises(OSError, match=r"."):
            tls_context(str(path))
