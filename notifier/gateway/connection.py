"""One connection to a gateway, and the libcurl handles that carry requests over it."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from typing import Any

import pycurl

from notifier.gateway.endpoint import Endpoint
from notifier.model.exchange import Answer, NoAnswer, Request

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are kept. A gateway's own are under 1 KB; a proxy's error page must not fill the memory."""
KEEP_S = 3600
"""An idle connection is used again for so long: APNs wants them kept for hours."""
UPLOAD_BYTES = 16 * 1024
"""What libcurl keeps for each handle: its least, enough for any push. Its usual 64 KB are 45 MB more for 1,000."""
HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)
"""FIN or reset from the other side. macOS has no POLLRDHUP; there an idle close costs a request."""
NO_REQUEST = Request(endpoint="", path="", headers=(), body=b"", ticket=None)


class Slot:
    """One easy handle, set up once and used for one request after the other."""

    __slots__ = (
        "_base_url",
        "_headers",
        "_path",
        "_received",
        "_sent",
        "_size",
        "body_taken",
        "connection",
        "curl",
        "denied",
        "request",
        "submitted_at",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, bundle: str) -> None:
        self.request = NO_REQUEST
        self.connection: Connection | None = None
        self.body_taken = self.denied = False
        self.submitted_at = 0.0
        self._base_url = endpoint.base_url
        self._received = bytearray()
        self._sent = 0
        self._path: str | None = None
        self._headers: Sequence[str] | None = None
        self._size = -1
        self.curl = curl = pycurl.Curl()
        # The way back from a finished handle to its slot. `close` cuts the cycle.
        curl.slot = self
        # No SIGALRM for time-outs of name resolution: it would reach whatever thread runs.
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.CAINFO, bundle)
        curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        # Without an upgrade or a fallback to HTTP/1.1: APNs speaks only HTTP/2, and streams are what makes this fast.
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, endpoint.connect_timeout_ms)
        # Each new connection resolves the name again, so that it can reach another of the gateway's hosts.
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.MAXAGE_CONN, KEEP_S)
        curl.setopt(pycurl.USERAGENT, "notifier")
        curl.setopt(pycurl.UPLOAD_BUFFERSIZE, UPLOAD_BYTES)
        curl.setopt(pycurl.POST, 1)
        # The body by callback, and no seek function: so libcurl cannot rewind it to send a request twice unseen.
        curl.setopt(pycurl.READFUNCTION, self._read)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        # Asked for each new connection: the second of a multi is refused.
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)

    def prepare(self, connection: Connection) -> pycurl.Curl:
        """Return the handle, loaded with the request, for `connection`. Sets only options that changed."""
        request, curl = self.request, self.curl
        self.connection = connection
        self.body_taken = self.denied = False
        self._sent = 0
        self._received.clear()
        # A handle keeps its options. Headers are compared by identity: a list that several pushes share (FCM's) is set
        # once, for libcurl copies every line.
        path, headers, size = request.path, request.headers, len(request.body)
        if path != self._path:
            self._path = path
            curl.setopt(pycurl.URL, self._base_url + path)
        if headers is not self._headers:
            self._headers = headers
            curl.setopt(pycurl.HTTPHEADER, headers)
        if size != self._size:
            self._size = size
            curl.setopt(pycurl.POSTFIELDSIZE, size)
        return curl

    @property
    def started(self) -> bool:
        """Whether libcurl has taken anything of the body."""
        return self._sent > 0

    @property
    def has_status(self) -> bool:
        """Whether the final answer's headers have arrived (1xx is not final)."""
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE)) >= 200

    def answer(self, connection: int) -> Answer:
        """Return the HTTP answer that arrived."""
        curl = self.curl
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        return Answer(
            ticket=self.request.ticket,
            status=status,
            # A copy: the buffer is cleared for the handle's next request.
            body=bytes(self._received),
            retry_after_s=(curl.getinfo(pycurl.RETRY_AFTER) or None) if status >= 400 else None,
            latency_s=curl.getinfo(pycurl.TOTAL_TIME),
            connection=connection,
        )

    def no_answer(self, connection: int, meaning: NoAnswer, detail: str, *, connection_ended: bool) -> Answer:
        """Return that there was no answer, and why."""
        return Answer(
            ticket=self.request.ticket,
            no_answer=meaning,
            connection_ended=connection_ended,
            detail=detail,
            latency_s=self.curl.getinfo(pycurl.TOTAL_TIME),
            connection=connection,
        )

    def forget(self) -> None:
        """Drop the request."""
        self.request = NO_REQUEST
        self.connection = None

    def close(self) -> None:
        """Give the handle back to libcurl."""
        self.forget()
        self.curl.slot = None
        self.curl.close()

    def _read(self, size: int) -> bytes:
        """Give libcurl the next piece of the body."""
        body = self.request.body
        # Nearly always the whole body in one piece: no slice, which would copy it.
        piece = body if self._sent == 0 and len(body) <= size else body[self._sent : self._sent + size]
        self._sent += len(piece)
        if not self.body_taken and self._sent >= len(body):
            # From here on the gateway may have the whole push: only its answer can say that it was not processed.
            self.body_taken = True
            if self.connection is not None:
                self.connection.body_taken()
        return piece

    def _write(self, data: bytes) -> int | None:
        if len(self._received) + len(data) > ANSWER_LIMIT:
            self._received += data[: ANSWER_LIMIT - len(self._received)]
            return 0  # fewer bytes than given: libcurl ends the transfer with an error
        self._received += data
        return None  # all of it was taken

    def _open_socket(self, _purpose: int, address: Any) -> socket.socket | int:
        """Open the one connection of this multi; refuse another, which libcurl asks for when the first is spent."""
        if self.connection is None or self.connection.up:
            self.denied = True
            return int(pycurl.SOCKET_BAD)
        opened = socket.socket(address.family, address.socktype, address.protocol)
        self.connection.opened.append(opened)
        return opened


class Connection:
    """One connection: a multi that holds no second one, and the slots in flight on it."""

    __slots__ = (
        "_active",
        "_fd",
        "_limit",
        "_multi",
        "_probe_first",
        "_started_at_last_look",
        "_taken",
        "_unstarted_since",
        "answered",
        "closed",
        "number",
        "opened",
        "proven",
        "retired",
        "silent",
        "slots",
        "up",
    )  # fmt: skip

    def __init__(self, number: int, endpoint: Endpoint) -> None:
        self.number = number
        self.slots: set[Slot] = set()
        self.opened: list[socket.socket] = []
        self.up = False
        """Connected, and a request is on it: from here on no other connection may take its place unseen."""
        self.proven = False
        """May carry more than one request."""
        self.answered = self.retired = self.closed = False
        self.silent = 0
        """Timeouts since the last answer."""
        # libcurl's own descriptor of the connection, from its first answer on.
        self._fd = -1
        self._limit = endpoint.max_streams
        self._probe_first = endpoint.probe_first
        self._active = self._taken = self._started_at_last_look = 0
        self._unstarted_since: float | None = None
        self._multi = multi = pycurl.CurlMulti()
        # One connection with many streams. What does not fit on it waits in the multi, and is never given a second one.
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
        # 100 is libcurl's default. It is no lower, so that `_limit` alone decides how many are in flight.
        multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, max(100, endpoint.max_streams))

    @property
    def room(self) -> int:
        """How many more requests it takes."""
        if self.retired:
            return 0
        # One request proves a fresh connection: a gateway that refuses it at once takes no others with it.
        return (self._limit if self.proven else 1) - len(self.slots)

    def start(self, slot: Slot) -> None:
        """Send the slot's request over this connection."""
        self._multi.add_handle(slot.prepare(self))
        self.slots.add(slot)

    def body_taken(self) -> None:
        """A request's body went out."""
        self._taken += 1
        self._active += 1
        self.up = True
        if not self._probe_first:
            self.proven = True

    def perform(self) -> tuple[list[pycurl.Curl], list[tuple[pycurl.Curl, int, str]]]:
        """Let libcurl work; return the handles that are answered, and those that failed with code and text."""
        multi = self._multi
        multi.perform()
        if self.opened:
            self._close_originals()
        queued, good, bad = multi.info_read(1000)
        while queued:
            queued, more_good, more_bad = multi.info_read(1000)
            good += more_good
            bad += more_bad
        return good, bad

    def finish(self, slot: Slot, *, answered: bool) -> None:
        """Take the slot off the connection."""
        # Asked while the handle is still on the multi: afterwards libcurl has no socket for it.
        if answered and not self.answered:
            self._fd = slot.curl.getinfo(pycurl.ACTIVESOCKET)
        self._remove(slot)
        if answered:
            self.answered = self.proven = True
            self.silent = 0
        else:
            self.silent += 1

    def hung_up(self) -> bool:
        """Say whether the server closed an idle connection: libcurl does not look, and would send into it.

        libcurl may have closed the descriptor, and another may have its number: then this one is spent anyway.
        """
        # With requests on it libcurl reads the connection itself; without a first answer there is no descriptor.
        if self.slots or self._fd < 0:
            return False
        poller = select.poll()
        poller.register(self._fd, HANG_UP)
        return bool(poller.poll(0))

    def stuck(self, now: float, patience_s: float) -> bool:
        """Say whether requests wait here and none was started for `patience_s`: the server is closing it."""
        # Nothing waits, or nothing can have been started yet.
        if not self.up or self._active >= len(self.slots):
            self._unstarted_since = None
        # The first look at waiting requests, or one was started since the last: the time begins again.
        elif self._unstarted_since is None or self._taken != self._started_at_last_look:
            self._unstarted_since, self._started_at_last_look = now, self._taken
        else:
            return now - self._unstarted_since >= patience_s
        return False

    def withdraw_unstarted(self) -> list[Slot]:
        """Take back the requests whose body libcurl has not touched: they were not sent."""
        return self._withdraw([slot for slot in self.slots if not slot.started])

    def withdraw(self) -> list[Slot]:
        """Take back everything, sent or not."""
        return self._withdraw(list(self.slots))

    def watch(self, poller: select.poll, wait_ms: float) -> float:
        """Register the descriptors libcurl waits for; return `wait_ms`, or less where its timer is due earlier."""
        readable, writable, _ = self._multi.fdset()
        for fd in {*readable, *writable}:
            events = (select.POLLIN if fd in readable else 0) | (select.POLLOUT if fd in writable else 0)
            poller.register(fd, events)
        # -1 where libcurl has no timer.
        timer_ms = self._multi.timeout()
        return min(wait_ms, timer_ms) if timer_ms >= 0 else wait_ms

    def close(self) -> None:
        """Close the connection; its slots were taken off before."""
        if not self.closed:
            self.closed = True
            self._multi.close()

    def _withdraw(self, slots: list[Slot]) -> list[Slot]:
        for slot in slots:
            self._remove(slot)
        return slots

    def _close_originals(self) -> None:
        """Close the sockets opened for libcurl: pycurl has duplicated them, and ours would keep the peer connected."""
        for original in self.opened:
            original.close()
        self.opened.clear()

    def _remove(self, slot: Slot) -> None:
        self._multi.remove_handle(slot.curl)
        self.slots.discard(slot)
        slot.connection = None
        self._active -= slot.body_taken
