"""A proxy that opens tunnels (CONNECT), as companies have: with credentials, over TLS, and one that goes dead."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading

import trustme

Socket = socket.socket | ssl.SSLSocket


class ConnectProxy:
    """Relays bytes between clients and where they want to be connected to. A context manager.

    Args:
        credentials: `user:password` that it demands; empty for none.
        authority: whose certificate it has; None: it speaks plain HTTP.
        host: the address it listens on.
        answer: what it says instead of opening a tunnel.
    """

    def __init__(
        self, credentials: str = "", authority: trustme.CA | None = None, host: str = "127.0.0.1", answer: bytes = b""
    ) -> None:
        self.asked: list[str] = []
        """The first line of each request."""
        self.dead = threading.Event()
        """Relays no byte of the open tunnels any more; new ones work."""
        self._credentials = credentials
        self._answer = answer
        self._context = None if authority is None else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if authority is not None and self._context is not None:
            authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._open: list[Socket] = []
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> ConnectProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept holds the descriptor: shutting it down ends the wait.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        client: Socket = accepted
        self._open.append(client)
        with contextlib.suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(accepted, server_side=True)
                self._open.append(client)
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(4096)
            lines = request.decode().split("\r\n")
            self.asked.append(lines[0])
            expected = "Proxy-Authorization: Basic " + base64.b64encode(self._credentials.encode()).decode()
            if self._answer:
                client.sendall(self._answer)
            elif self._credentials and expected not in lines:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            else:
                self._tunnel(client, lines[0].split(" ")[1])

    def _tunnel(self, client: Socket, where: str) -> None:
        host, _, port = where.rpartition(":")
        server = socket.create_connection((host, int(port)))
        self._open.append(server)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        dead = self.dead
        threading.Thread(target=self._relay, args=(server, client, dead), daemon=True).start()
        self._relay(client, server, dead)

    def _relay(self, giver: Socket, taker: Socket, dead: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := giver.recv(65_536):
                if not dead.is_set():
                    taker.sendall(data)
            if not dead.is_set():
                taker.shutdown(socket.SHUT_WR)

    def die(self) -> None:
        """Open tunnels are dead from here on."""
        self.dead.set()
        self.dead = threading.Event()
