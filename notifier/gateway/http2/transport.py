"""The transport over our own HTTP/2: a plain loop of `poll`, no asyncio; only connecting is done in threads."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import time
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.dial import Target, proxy_of
from notifier.gateway.http2.pool import HTTPS_PORT, Pool
from notifier.gateway.http2.socket import tls_context
from notifier.model.exchange import Answer, Request

GATHER_ABOVE = 16
GATHER_S = 0.01
"""With more in flight than that, a poll takes at least so long: many answers in one turn cost less than one in each.
The window makes up for what it adds to an answer: 2,000 in flight for 100 ms are 20,000 a second."""
LONGEST_WAIT_S = 1.0
"""So that silent connections are looked at."""


class Http2Transport:
    """A `Transport` (see `notifier.model.exchange`).

    Args:
        endpoints: whom to reach; each `base_url` is https.
        ca_file: PEM of authorities that are trusted beside the system's; empty for none. OSError if it cannot be read.
        proxy: `http://` or `https://` address of a proxy, with `user:password@` if it wants them; empty for none.
        clock: seconds, monotonic.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        ca_file: str = "",
        *,
        proxy: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._gathered_at = clock()
        self._waker = _Waker()
        made_proxy = proxy_of(proxy)
        context = tls_context(ca_file)
        proxy_context = tls_context(ca_file, alpn="") if made_proxy is not None and made_proxy.over_tls else None
        numbers = itertools.count(1)
        self._pools: dict[str, Pool] = {}
        for endpoint in endpoints:
            parts = urlsplit(endpoint.base_url)
            timeout_s = endpoint.connect_timeout_ms / 1000
            host, port = parts.hostname or "", parts.port or HTTPS_PORT
            target = Target(host, port, context, timeout_s, made_proxy, proxy_context)
            self._pools[endpoint.name] = Pool(endpoint, target, numbers, self._waker.wake, clock)

    def room(self, endpoint: str) -> int:
        """See `Transport.room`."""
        return self._pools[endpoint].room()

    def submit(self, request: Request) -> None:
        """See `Transport.submit`."""
        self._pools[request.endpoint].submit(request)

    @property
    def in_flight(self) -> int:
        """See `Transport.in_flight`."""
        return sum(pool.in_flight for pool in self._pools.values())

    def poll(self, timeout_s: float) -> list[Answer]:
        """See `Transport.poll`."""
        answers: list[Answer] = []
        self._turn(0, answers)
        if timeout_s <= 0:
            return answers
        if not answers:
            self._turn(self._wait_s(timeout_s), answers)
        if self.in_flight > GATHER_ABOVE:
            self._gather(answers)
        return answers

    def replace_connection(self, endpoint: str, connection: int) -> None:
        """See `Transport.replace_connection`."""
        self._pools[endpoint].replace(connection)

    def close(self) -> None:
        """See `Transport.close`."""
        for pool in self._pools.values():
            pool.close()
        self._waker.close()

    def _turn(self, wait_s: float, answers: list[Answer]) -> None:
        """Wait for a descriptor, then let every pool do what it can."""
        poller = select.poll()
        poller.register(self._waker.fileno(), select.POLLIN)
        for pool in self._pools.values():
            for session in pool.sessions:
                if session.channel is not None:
                    wanted = select.POLLIN | (select.POLLOUT if session.channel.is_blocked else 0)
                    poller.register(session.channel.fileno(), wanted)
        readable = {descriptor for descriptor, _ in poller.poll(wait_s * 1000)}
        if self._waker.fileno() in readable:
            self._waker.rest()
        now_s = self._clock()
        for pool in self._pools.values():
            pool.turn(readable, now_s, answers)

    def _wait_s(self, timeout_s: float) -> float:
        now_s = self._clock()
        # A millisecond more: poll rounds down, and what is nearly due would be looked at again and again.
        due_s = min((pool.due_in_s(now_s) for pool in self._pools.values()), default=timeout_s) + 0.001
        return min(timeout_s, LONGEST_WAIT_S, due_s)

    def _gather(self, answers: list[Answer]) -> None:
        """Let more answers come, up to `GATHER_S` since the last time: what took the time meanwhile counts."""
        left_s = self._gathered_at + GATHER_S - self._clock()
        if left_s > 0:
            self._sleep(min(left_s, GATHER_S))
            self._turn(0, answers)
        self._gathered_at = self._clock()


class _Waker:
    """Ends the loop's wait from another thread."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        for end in (self._ours, self._theirs):
            end.setblocking(False)

    def fileno(self) -> int:
        return self._ours.fileno()

    def wake(self) -> None:
        """Never blocks: a full pipe wakes as well. After the transport's end there is no thread to wake."""
        with contextlib.suppress(OSError):
            self._theirs.send(b"!")

    def rest(self) -> None:
        """Take the calls."""
        with contextlib.suppress(BlockingIOError):
            self._ours.recv(4096)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
