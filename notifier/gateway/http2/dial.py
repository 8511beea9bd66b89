"""Connecting: name, TCP, proxy, TLS and ALPN, in a thread, as each of them may block."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import msgspec

from notifier.gateway.http2.socket import ALPN, READ_BYTES, Channel, TlsLayer

LEAST_TRY_S = 0.25
"""An address is tried for an equal share of the time that is left, and not less than this."""
PROXY_ANSWER_BYTES = 16 * 1024

TOO_LATE = "no connection in time"
UNTRUSTED = "the server's certificate is not trusted"
NOT_HTTP_2 = "the server does not speak HTTP/2"


class CannotConnect(Exception):
    """No connection; the text says why, in words for a person, and holds no secret."""


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy that opens a tunnel (CONNECT, RFC 9110, section 9.3.6)."""

    host: str
    port: int
    over_tls: bool
    credentials: str = ""
    """user:password; never shown."""

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_of(url: str) -> Proxy | None:
    """`http://host:port` or `https://user:password@host:port`; None for an empty one. Raises ValueError."""
    if not url:
        return None
    # The address itself is in no message: it may hold a password.
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("a proxy's address is http://host:port or https://host:port, with user:password@ if needed")
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    over_tls = parts.scheme == "https"
    return Proxy(host, port or (443 if over_tls else 80), over_tls, credentials)


class Target(msgspec.Struct, frozen=True):
    """Where to connect to, and how."""

    host: str
    port: int
    context: ssl.SSLContext
    """Offers h2 by ALPN."""
    timeout_s: float
    proxy: Proxy | None = None
    proxy_context: ssl.SSLContext | None = None


class Dial:
    """One attempt to connect, which begins at once.

    Args:
        on_end: called from the thread when `channel` or `error` is there.
    """

    def __init__(self, target: Target, on_end: Callable[[], None]) -> None:
        self.channel: Channel | None = None
        self.error = ""
        self._target = target
        self._on_end = on_end
        self._abandoned = False
        self._lock = threading.Lock()
        # A daemon: a name server that does not answer must not hold up the end of the process.
        threading.Thread(target=self._run, name="gateway-dial", daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether the attempt has ended."""
        return self.channel is not None or bool(self.error)

    def abandon(self) -> None:
        """No caller waits for it any more: what it still opens is closed."""
        with self._lock:
            self._abandoned = True
            if self.channel is not None:
                self.channel.close()

    def _run(self) -> None:
        channel, error = None, ""
        try:
            channel = connect(self._target)
        except CannotConnect as reason:
            error = str(reason)
        except Exception:  # noqa: BLE001 - whatever it is, the loop must hear that the attempt has ended
            error = "connecting failed"
        with self._lock:
            if self._abandoned:
                if channel is not None:
                    channel.close()
                return
            self.channel, self.error = channel, error
        self._on_end()


def connect(target: Target) -> Channel:
    """Connect, in `timeout_s` all together. Raises `CannotConnect`."""
    deadline = time.monotonic() + target.timeout_s
    proxy = target.proxy
    connected = _connected(*((proxy.host, proxy.port) if proxy else (target.host, target.port)), deadline)
    try:
        pipe = _Pipe(connected, deadline)
        if proxy is not None:
            _open_tunnel(pipe, proxy, target)
        _secure(pipe, target.context, target.host)
        if pipe.layers[-1].protocol != ALPN:
            raise CannotConnect(NOT_HTTP_2)
    except BaseException:
        connected.close()
        raise
    return Channel(connected, pipe.layers)


def _connected(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first address that takes one, IPv6 or IPv4, in the resolver's order (RFC 6724)."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise CannotConnect(f"the name {host} was not found") from None
    error = "no TCP connection"
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise CannotConnect(TOO_LATE)
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(min(left_s, max(LEAST_TRY_S, left_s / (len(addresses) - tried))))
            opened.connect(address)
        except OSError as failure:
            opened.close()
            error = TOO_LATE if isinstance(failure, TimeoutError) else f"no TCP connection ({failure.strerror})"
            continue
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return opened
    raise CannotConnect(error)


class _Pipe:
    """A socket that blocks until the deadline, under the layers of TLS that it has so far."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.layers: list[TlsLayer] = []
        self._socket = connected
        self._deadline = deadline

    def send(self, data: bytes) -> None:
        for layer in reversed(self.layers):
            data = layer.seal(data)
        self._await()
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise CannotConnect(TOO_LATE) from None
        except OSError:
            raise CannotConnect("the connection broke while it was made") from None

    def receive(self) -> bytes:
        """Some bytes; raises `CannotConnect` at the end."""
        while True:
            self._await()
            try:
                data = self._socket.recv(READ_BYTES)
            except TimeoutError:
                raise CannotConnect(TOO_LATE) from None
            except OSError:
                data = b""
            if not data:
                raise CannotConnect("the server closed the connection while it was made")
            for layer in self.layers:
                data = layer.feed(data)
            if data:
                return data
            if any(layer.ended for layer in self.layers):
                raise CannotConnect("the proxy closed the connection while it was made")

    def _await(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise CannotConnect(TOO_LATE)
        self._socket.settimeout(left_s)


def _secure(pipe: _Pipe, context: ssl.SSLContext, hostname: str) -> None:
    """Add a layer of TLS to the pipe, verified for `hostname`."""
    layer = TlsLayer(context, hostname)
    data = b""
    try:
        while True:
            is_complete, answer = layer.shake_hands(data)
            if answer:
                pipe.send(answer)
            if is_complete:
                break
            data = pipe.receive()
    except ssl.SSLCertVerificationError as error:
        raise CannotConnect(f"{UNTRUSTED}: {error.verify_message}") from None
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        # RFC 7301, section 3.2: the alert of a server that shares no protocol with us.
        text = NOT_HTTP_2 if "no application protocol" in reason else f"the TLS handshake failed ({reason or 'closed'})"
        raise CannotConnect(text) from None
    pipe.layers.append(layer)


def _open_tunnel(pipe: _Pipe, proxy: Proxy, target: Target) -> None:
    """Ask the proxy for a tunnel to the gateway."""
    if proxy.over_tls and target.proxy_context is not None:
        _secure(pipe, target.proxy_context, proxy.host)
    where = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.credentials:
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(proxy.credentials.encode()).decode())
    pipe.send("\r\n".join((*lines, "", "")).encode())
    answer = b""
    # In TLS the client speaks first: nothing follows the proxy's headers until we begin.
    while b"\r\n\r\n" not in answer:
        answer += pipe.receive()
        if len(answer) > PROXY_ANSWER_BYTES:
            raise CannotConnect("the proxy's answer has no end")
    version, _, rest = answer.partition(b" ")
    status = rest[:3]
    if not version.startswith(b"HTTP/1.") or not status.isdigit():
        raise CannotConnect("the proxy does not speak HTTP")
    if not status.startswith(b"2"):
        raise CannotConnect(f"the proxy refuses the connection: {status.decode()}")
