"""TLS over a non-blocking socket: one read takes all there is, one write sends a whole TLS record.

`ssl.SSLSocket.recv` returns one TLS record at most, and a gateway may make one of each answer: a system call for each
push. Here TLS works in memory (`ssl.MemoryBIO`), apart from the socket.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import certifi

READ_BYTES = 64 * 1024
"""Of one system call; a gateway's answers of several milliseconds. Not more than 128 KiB, from which on each allocation
is a system call of its own."""
RECORD_BYTES = 16 * 1024
"""The plain text of a TLS record has no more. Asked for more, `read` allocates that much for every record: with 256 KiB
it took 25 us instead of 1.6, and a gateway may make a record of each answer."""
READS = 64
"""So many such reads at once, and the others have their turn: a server may send without an end."""
ALPN = "h2"


@cache
def tls_context(ca_file: str = "", *, alpn: str = ALPN) -> ssl.SSLContext:
    """Verify servers against the system's authorities (certifi's where it has none) and those of `ca_file` (PEM).

    TLS 1.2 and up. Raises OSError where `ca_file` cannot be read or holds no certificate.

    One for the process: reading the system's authorities takes 50 ms, at the check of the settings and at each hop.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_default_certs()
    else:
        context.load_verify_locations(certifi.where())
    if ca_file:
        context.load_verify_locations(ca_file)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


class TlsLayer:
    """TLS in memory, as a client."""

    def __init__(self, context: ssl.SSLContext, hostname: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self.ended = False
        """The other side has sent close_notify, or broke TLS."""

    @property
    def protocol(self) -> str | None:
        """What was agreed on by ALPN."""
        return self._tls.selected_alpn_protocol()

    def shake_hands(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the handshake; return whether it is complete, and what to send. Raises SSLError."""
        if data:
            self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        return True, self._outgoing.read()

    def feed(self, data: bytes) -> bytes:
        """Decrypt: return the plain text of all records that are complete."""
        incoming, pieces = self._incoming, []
        if data:
            incoming.write(data)
        try:
            while incoming.pending:
                piece = self._tls.read(RECORD_BYTES)
                if not piece:  # close_notify
                    self.ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seal(self, data: bytes) -> bytes:
        """Encrypt; with it comes what TLS itself has to send (key updates)."""
        if data:
            self._tls.write(data)
        return self._outgoing.read() if self._outgoing.pending else b""

    def close_notify(self) -> bytes:
        """What ends the session in order."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()


class Channel:
    """A connected socket and the TLS on it, of which the first is the outermost (a proxy's, where it has its own)."""

    def __init__(self, connected: socket.socket, layers: Sequence[TlsLayer]) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._layers = tuple(layers)
        self._unsent = b""
        self.ended = False
        """The other side has closed, or the connection is broken; nothing more will come."""

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._socket.fileno()

    @property
    def is_blocked(self) -> bool:
        """The socket takes no more now: wait until it is writable, then `flush`."""
        return bool(self._unsent)

    def receive(self) -> bytes:
        """Return all that has arrived. What came before an end is returned first, with `ended` set."""
        pieces = [self._plain(b"")]  # what came with the handshake's last bytes
        for _ in range(READS):
            data = self._read()
            if data:
                pieces.append(self._plain(data))
            if len(data) < READ_BYTES:
                break
        self.flush()
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Send; only while not `is_blocked`. What the socket does not take is kept."""
        if self.ended:
            return
        for layer in reversed(self._layers):
            data = layer.seal(data)
        self._unsent += data
        self._write()

    def flush(self) -> None:
        """Send what was kept, and what TLS has to send by itself."""
        if self._unsent:
            self._write()
        if not self._unsent:
            self.send(b"")

    def close(self) -> None:
        """Close in order as far as that needs no waiting: close_notify, then FIN."""
        with contextlib.suppress(OSError, ssl.SSLError):
            if not self.ended and not self._unsent:
                self._unsent = self._layers[-1].close_notify()
                for layer in reversed(self._layers[:-1]):
                    self._unsent = layer.seal(self._unsent)
                self._write()
        self._socket.close()

    def _plain(self, data: bytes) -> bytes:
        for layer in self._layers:
            data = layer.feed(data)
            self.ended = self.ended or layer.ended
        return data

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            self.ended = True
        return data

    def _write(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # What was received before is still to be read: the next `receive` finds the end.
            self._unsent = b""
            self.ended = True
