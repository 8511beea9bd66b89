"""Bytes on the wire for each push, both ways, TLS included; beside libcurl's for the same requests.

    python -m tests.bench.wire [--requests 20000]

A relay between client and sink counts the bytes; both keep 400 requests in flight. Bodies are a push of usual size.
libcurl (pycurl, of the developers' environment) gets each body by READFUNCTION, as this project gave it once.
"""

import argparse
import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.transport import Http2Transport
from tests.bench import sink
from tests.bench.http2 import BODY, Make, apns, fcm

AT_ONCE = 400
WARM_UP = 400


class Counted:
    """A relay's counts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = self.received = 0

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Bytes, both ways, until one side ends."""
        with client, server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = ready.recv(1 << 18)
                    if not data:
                        return
                    (server if ready is client else client).sendall(data)
                    if ready is client:
                        self.sent += len(data)
                    else:
                        self.received += len(data)


@contextlib.contextmanager
def counting(url: str) -> Iterator[Counted]:
    """Start a relay to `url`'s port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counted = Counted(listener.getsockname()[1])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection(("127.0.0.1", urlsplit(url).port or 443))
                    threading.Thread(target=counted.pass_on, args=(client, server), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield counted
        listener.shutdown(socket.SHUT_RDWR)


def by_us(url: str, ca_file: str, make: Make, numbers: range, *, path_is_shared: bool) -> Iterator[None]:
    """Send by our transport. Yields once after the warm-up, and once at the end."""
    endpoint = Endpoint(
        name="gw",
        base_url=url,
        max_connections=1,
        max_streams=AT_ONCE,
        probe_first=False,
        path_is_shared=path_is_shared,
    )
    with closing(Http2Transport([endpoint], ca_file)) as transport:
        for some in (numbers[:WARM_UP], numbers[WARM_UP:]):
            asked = answered = 0
            while answered < len(some):
                for _ in range(min(transport.room("gw"), len(some) - asked)):
                    transport.submit(make(some[asked]))
                    asked += 1
                answered += len(transport.poll(1.0))
            yield


def by_libcurl(url: str, ca_file: str, make: Make, numbers: range) -> Iterator[None]:
    """The same by libcurl, over one connection."""
    import pycurl

    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
    multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, AT_ONCE)

    def handle() -> "pycurl.Curl":
        curl = pycurl.Curl()
        curl.setopt(pycurl.CAINFO, ca_file)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        curl.setopt(pycurl.USERAGENT, "notifier")
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.WRITEFUNCTION, len)
        return curl

    idle = [handle() for _ in range(AT_ONCE)]
    for some in (numbers[:WARM_UP], numbers[WARM_UP:]):
        asked = answered = 0
        while answered < len(some):
            while idle and asked < len(some):
                curl, request = idle.pop(), make(some[asked])
                left = [request.body]
                curl.setopt(pycurl.URL, url + request.path)
                curl.setopt(pycurl.HTTPHEADER, list(request.headers))
                curl.setopt(pycurl.POSTFIELDSIZE, len(request.body))
                curl.setopt(pycurl.READFUNCTION, lambda _size, left=left: left.pop() if left else b"")
                multi.add_handle(curl)
                asked += 1
            multi.perform()
            multi.select(0.05)
            _, good, bad = multi.info_read()
            assert not bad, bad
            for curl in good:
                multi.remove_handle(curl)
                idle.append(curl)
            answered += len(good)
        yield


def measure(numbers: range, ca_file: str, url: str) -> None:
    """Print the bytes of each, the first `WARM_UP` requests of a connection left out."""
    for name, make in (("FCM", fcm), ("APNs", apns)):
        for client in ("ours", "libcurl"):
            with counting(url) as counted:
                there = f"https://localhost:{counted.port}"
                if client == "ours":
                    steps = by_us(there, ca_file, make, numbers, path_is_shared=make is fcm)
                else:
                    steps = by_libcurl(there, ca_file, make, numbers)
                next(steps)
                sent, received = counted.sent, counted.received
                next(steps)
                per = len(numbers) - WARM_UP
                sent, received = counted.sent - sent, counted.received - received
                list(steps)  # closes the connection
            beside = sent / per - len(BODY)
            line = f"{sent / per:6.1f} bytes sent ({beside:.1f} beside the body), {received / per:6.1f} received"
            print(f"{name:5} {client:8} {line}")


def main() -> None:
    """Start the sink, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    numbers = range(parser.parse_args().requests + WARM_UP)
    with sink.running() as to:
        measure(numbers, to.ca_file, to.url)


if __name__ == "__main__":
    main()
