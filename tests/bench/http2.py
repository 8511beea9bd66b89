"""What our HTTP/2 costs: CPU microseconds a request.

    python -m tests.bench.http2              in memory: submit, frames out, an answer in (no TLS, no socket)
    python -m tests.bench.http2 sink         through sockets to nginx

In memory the server's answers are bytes made beforehand, 40 to a read, as a busy gateway sends them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2 import frames
from notifier.gateway.http2.connection import Connection
from notifier.gateway.http2.stream import Stream
from notifier.gateway.http2.transport import Http2Transport
from notifier.model.exchange import Request, Transport
from tests.bench import sink

COUNT = 100_000
AT_ONCE = 40
BODY = b'{"message":{"token":"' + b"t" * 152 + b'","notification":{"title":"Hi","body":"3 people joined"}}}'
AUTHORIZATION = "authorization: bearer " + "a" * 200
FCM_LINES = [AUTHORIZATION, "content-type: application/json"]
FCM_PATH = "/v1/projects/p/messages:send"
APNS_LINES = ("apns-topic: com.example.app", "apns-push-type: alert", "apns-priority: 10", "apns-collapse-id: spring.a")
HEAD = b"\x88\x5f\x10application/json\x61\x1dMon, 01 Jan 2029 00:00:00 GMT"
FCM_ANSWER = b'{"name":"projects/p/messages/0:1500415314455276%31bd1c9631bd1c96"}'

Make = Callable[[int], Request]


def fcm(number: int) -> Request:
    """One path and one list of headers for all; the token is in the body."""
    return Request(endpoint="gw", path=FCM_PATH, headers=FCM_LINES, body=BODY, ticket=number)


def apns(number: int) -> Request:
    """A path and an id for each."""
    lines = [AUTHORIZATION, f"apns-id: 8a0e0f6f-3d5c-5b9d-9a3e-{number:012x}", *APNS_LINES]
    return Request(endpoint="gw", path=f"/3/device/{number:064x}", headers=lines, body=BODY, ticket=number)


def answer_bytes(first_id: int, body: bytes) -> bytes:
    """The answers to `AT_ONCE` streams."""
    ids = range(first_id, first_id + 2 * AT_ONCE, 2)
    if not body:
        flags = frames.END_HEADERS | frames.END_STREAM
        return b"".join(frames.frame(frames.HEADERS, flags, one, HEAD) for one in ids)
    head, end = frames.END_HEADERS, frames.END_STREAM
    return b"".join(
        frames.frame(frames.HEADERS, head, one, HEAD) + frames.frame(frames.DATA, end, one, body) for one in ids
    )


def in_memory(make: Make, body: bytes, *, path_is_shared: bool) -> tuple[float, float]:
    """Microseconds and bytes sent for each request."""
    connection = Connection("gateway.example:443", path_is_shared=path_is_shared)
    opened = frames.settings(()) + frames.window_update(0, 2**31 - 1 - frames.DEFAULT_WINDOW)
    connection.receive(opened)
    requests = [make(number) for number in range(COUNT)]
    answers = [answer_bytes(1 + 2 * number, body) for number in range(0, COUNT, AT_ONCE)]
    sent = answered = 0
    began_s = time.process_time()
    for turn, answer in enumerate(answers):
        for request in requests[turn * AT_ONCE : turn * AT_ONCE + AT_ONCE]:
            connection.submit(Stream(request))
        while connection.has_data:
            sent += len(connection.data_to_send())
        answered += len(connection.receive(answer))
    spent_s = time.process_time() - began_s
    assert answered == COUNT
    return spent_s / COUNT * 1e6, sent / COUNT


def through_sockets(transport: Transport, make: Make, count: int) -> float:
    """Microseconds for each request, as the worker calls a transport."""
    number = answered = 0
    began_s = time.process_time()
    while answered < count:
        for _ in range(min(transport.room("gw"), count - number)):
            transport.submit(make(number))
            number += 1
        for answer in transport.poll(1.0):
            answered += 1
            assert answer.status == 200, answer
    return (time.process_time() - began_s) / count * 1e6


def main() -> None:
    """Measure and print."""
    if "sink" not in sys.argv:
        for name, make, body in (("FCM", fcm, FCM_ANSWER), ("APNs", apns, b"")):
            best = min(in_memory(make, body, path_is_shared=make is fcm) for _ in range(3))
            print(f"in memory, {name}: {best[0]:.1f} µs a request, {best[1]:.0f} bytes sent")
        return
    with sink.running() as server:
        endpoint = Endpoint(name="gw", base_url=server.url, max_connections=4, max_streams=100, probe_first=False)
        for turn in range(3):
            for name, make in (("FCM", fcm), ("APNs", apns)):
                with closing(Http2Transport([endpoint], server.ca_file)) as transport:
                    through_sockets(transport, make, 500)
                    began_s = time.monotonic()
                    cost_us = through_sockets(transport, make, COUNT // 2)
                    rate = COUNT / 2 / (time.monotonic() - began_s)
                print(f"turn {turn}, {name}: {cost_us:.1f} µs a request, {rate:,.0f}/s")


if __name__ == "__main__":
    main()
