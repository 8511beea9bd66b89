"""Which loop drives libcurl cheapest: CPU microseconds a request, of the client process alone.

    python -m tests.bench.loop                    the whole table (kept in tests/bench/results/loop.md)
    python -m tests.bench.loop one --loop plain --body read --connections 4 --multis 4

The sink is nginx (`tests.bench.sink`). Every case runs in a process of its own; CPU is `time.process_time`, so what
the sink burns is not in it. Requests per second are wall clock, with sink and client sharing the machine: a side note.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import platform
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pycurl

from notifier.gateway.curl import CurlTransport
from notifier.gateway.endpoint import Endpoint
from notifier.model.exchange import Request
from tests.bench import sink

BODY = b'{"message":{"token":"' + b"t" * 152 + b'","notification":{"title":"Hi","body":"3 people joined"}}}'
HEADERS = ["authorization: bearer " + "a" * 200, "content-type: application/json", "Expect:"]


class Slot:
    """One easy handle, set up once and used again for every request."""

    def __init__(self, url: str, ca: str, read_body: bool) -> None:
        self.url = url
        self.read_body = read_body
        self.answer = bytearray()
        self.body = b""
        self.sent = 0
        curl = self.curl = pycurl.Curl()
        curl.setopt(pycurl.CAINFO, ca)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        curl.setopt(pycurl.PIPEWAIT, 1)
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TIMEOUT_MS, 10_000)
        curl.setopt(pycurl.WRITEFUNCTION, self.answer.extend)
        if read_body:
            curl.setopt(pycurl.READFUNCTION, self.read)

    def read(self, size: int) -> bytes:
        """Hand libcurl the next piece of the body."""
        piece = self.body[self.sent : self.sent + size]
        self.sent += len(piece)
        return piece

    def prepare(self, number: int) -> None:
        """Make the handle ready for one more request: URL, headers and body set again, as the worker must."""
        self.answer.clear()
        curl = self.curl
        curl.setopt(pycurl.URL, f"{self.url}/{number}")
        curl.setopt(pycurl.HTTPHEADER, HEADERS)
        if self.read_body:
            self.body, self.sent = BODY, 0
            curl.setopt(pycurl.POSTFIELDSIZE, len(BODY))
        else:
            curl.setopt(pycurl.POSTFIELDS, BODY)

    def judge(self) -> None:
        """What the worker asks of every answer."""
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        if status != 200 or not self.answer:
            raise RuntimeError(f"status {status}")


def new_multis(multi: Callable[[], pycurl.CurlMulti], count: int, connections: int) -> list[pycurl.CurlMulti]:
    """Return `count` multis that hold `connections` connections together."""
    multis = [multi() for _ in range(count)]
    for one in multis:
        one.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        one.setopt(pycurl.M_MAX_HOST_CONNECTIONS, connections // count)
        one.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, 1000)
    return multis


class Work:
    """Requests handed out one by one, until enough are done; the first tenth is not timed."""

    def __init__(self, requests: int) -> None:
        self.requests = requests
        self.started = 0
        self.done = 0
        self.warm = requests // 10
        self.cpu = self.wall = 0.0

    def finish_one(self) -> None:
        """Count an answer, and start the clocks after the warm-up."""
        self.done += 1
        if self.done == self.warm:
            self.cpu, self.wall = time.process_time(), time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Return CPU microseconds a request, and requests per second of wall clock."""
        timed = self.done - self.warm
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        return {"cpu_us": cpu / timed * 1e6, "per_s": timed / wall}


def refill(work: Work, multi: pycurl.CurlMulti, owner: dict[pycurl.Curl, Slot]) -> int:
    """Take the finished handles of one multi, judge them, put them back to work; return how many finished."""
    finished = 0
    while True:
        queued, good, bad = multi.info_read()
        if bad:
            raise RuntimeError(bad[0][1:])
        for curl in good:
            slot = owner[curl]
            slot.judge()
            work.finish_one()
            multi.remove_handle(curl)
            if work.started < work.requests:
                slot.prepare(work.started)
                work.started += 1
                multi.add_handle(curl)
        finished += len(good)
        if not queued:
            return finished


def spread(work: Work, multis: list[pycurl.CurlMulti], slots: list[Slot]) -> dict[pycurl.Curl, Slot]:
    """Start every slot once, dealt out over the multis."""
    for number, slot in enumerate(slots):
        slot.prepare(number)
        work.started += 1
        multis[number % len(multis)].add_handle(slot.curl)
    return {slot.curl: slot for slot in slots}


def plain(work: Work, slots: list[Slot], multis: int, connections: int) -> None:
    """`perform()` every multi, then wait for the descriptors of them all."""
    all_multis = new_multis(pycurl.CurlMulti, multis, connections)
    owner = spread(work, all_multis, slots)
    while work.done < work.requests:
        finished = 0
        for multi in all_multis:
            multi.perform()
            finished += refill(work, multi, owner)
        if finished:
            continue
        if multis == 1:
            all_multis[0].select(1.0)
            continue
        poller, wait_ms = select.poll(), 1000
        for multi in all_multis:
            readable, writable, _ = multi.fdset()
            for fd in {*readable, *writable}:
                poller.register(
                    fd, (select.POLLIN if fd in readable else 0) | (select.POLLOUT if fd in writable else 0)
                )
            timeout_ms = multi.timeout()
            wait_ms = timeout_ms if 0 <= timeout_ms < wait_ms else wait_ms
        poller.poll(wait_ms)


EPOLL_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class Watcher:
    """The descriptors and timers of all multis, in one epoll."""

    def __init__(self, multis: list[pycurl.CurlMulti]) -> None:
        self.epoll = select.epoll()
        self.by_fd: dict[int, pycurl.CurlMulti] = {}
        self.due: dict[pycurl.CurlMulti, float] = {}
        for multi in multis:
            multi.setopt(pycurl.M_SOCKETFUNCTION, functools.partial(self.on_socket, multi))
            multi.setopt(pycurl.M_TIMERFUNCTION, functools.partial(self.on_timer, multi))

    def on_socket(self, multi: pycurl.CurlMulti, what: int, fd: int, _multi: object, _data: object) -> None:
        """libcurl wants a descriptor watched, differently, or not any more."""
        if what == pycurl.POLL_REMOVE:
            if self.by_fd.pop(fd, None) is not None:
                with contextlib.suppress(OSError):
                    self.epoll.unregister(fd)
        elif fd in self.by_fd:
            self.epoll.modify(fd, EPOLL_EVENTS[what])
        else:
            self.by_fd[fd] = multi
            self.epoll.register(fd, EPOLL_EVENTS[what])

    def on_timer(self, multi: pycurl.CurlMulti, timeout_ms: int) -> None:
        """libcurl wants to be called at a time, or not any more."""
        self.due.pop(multi, None)
        if timeout_ms >= 0:
            self.due[multi] = time.monotonic() + timeout_ms / 1000

    def turn(self) -> list[pycurl.CurlMulti]:
        """Wait, let libcurl work; return the multis that did."""
        now = time.monotonic()
        touched = [multi for multi, at in self.due.items() if at <= now]
        for multi in touched:
            self.due.pop(multi, None)
            multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        wait_s = 0 if touched else min([1.0, *(max(0.0, at - now) for at in self.due.values())])
        for fd, event in self.epoll.poll(wait_s):
            mask = pycurl.CSELECT_IN if event & ~select.EPOLLOUT else 0
            mask |= pycurl.CSELECT_OUT if event & select.EPOLLOUT else 0
            multi = self.by_fd.get(fd)
            if multi is not None:
                multi.socket_action(fd, mask)
                touched.append(multi)
        return touched


def action(work: Work, slots: list[Slot], multis: int, connections: int) -> None:
    """`socket_action()` and one epoll over all multis."""
    all_multis = new_multis(pycurl.CurlMulti, multis, connections)
    watcher = Watcher(all_multis)
    owner = spread(work, all_multis, slots)
    while work.done < work.requests:
        for multi in watcher.turn():
            refill(work, multi, owner)


def async_futures(work: Work, slots: list[Slot], multis: int, connections: int) -> None:
    """asyncio on `pycurl.AsyncCurlMulti`: one coroutine a slot, awaiting each answer."""

    async def keep_busy(slot: Slot, multi: pycurl.AsyncCurlMulti) -> None:
        while work.started < work.requests:
            slot.prepare(work.started)
            work.started += 1
            await multi.perform(slot.curl)
            slot.judge()
            work.finish_one()

    async def everybody() -> None:
        all_multis = new_multis(pycurl.AsyncCurlMulti, multis, connections)
        await asyncio.gather(*(keep_busy(slot, all_multis[n % multis]) for n, slot in enumerate(slots)))
        for multi in all_multis:
            await multi.aclose()

    asyncio.run(everybody())


LOOPS = {"plain": plain, "action": action, "asyncio": async_futures}


def run_transport(work: Work, arguments: argparse.Namespace) -> None:
    """Drive the product's own `CurlTransport`, as the worker does: submit while there is room, poll."""
    parts = urlsplit(arguments.url)
    endpoint = Endpoint(
        name="gw",
        base_url=f"{parts.scheme}://{parts.netloc}",
        max_connections=arguments.connections,
        max_streams=arguments.in_flight // arguments.connections,
        probe_first=True,
    )
    transport = CurlTransport([endpoint], arguments.ca)
    while work.done < work.requests:
        for _ in range(min(transport.room("gw"), work.requests - work.started)):
            path = f"{parts.path}/{work.started}"
            transport.submit(Request(endpoint="gw", path=path, headers=HEADERS, body=BODY, ticket=work.started))
            work.started += 1
        for answer in transport.poll(1.0):
            if answer.status != 200:
                raise RuntimeError(answer)
            work.finish_one()


def run_one(arguments: argparse.Namespace) -> None:
    """Run one case in this process and print its figures as JSON."""
    work = Work(arguments.requests)
    if arguments.loop == "transport":
        run_transport(work, arguments)
        print(json.dumps(work.figures()))
        return
    slots = [Slot(arguments.url, arguments.ca, arguments.body == "read") for _ in range(arguments.in_flight)]
    LOOPS[arguments.loop](work, slots, arguments.multis, arguments.connections)
    print(json.dumps(work.figures()))


CASES = [
    # what, loop, body, connections, multis, in flight
    ("loop", "plain", "fields", 4, 1, 400),
    ("loop", "action", "fields", 4, 1, 400),
    ("loop", "asyncio", "fields", 4, 1, 400),
    ("loop", "plain", "fields", 1, 1, 100),
    ("loop", "asyncio", "fields", 1, 1, 100),
    ("body", "plain", "read", 4, 1, 400),
    ("body", "plain", "read", 1, 1, 100),
    ("multis", "plain", "read", 4, 4, 400),
    ("multis", "plain", "read", 8, 1, 800),
    ("multis", "plain", "read", 8, 8, 800),
    ("multis", "action", "read", 1, 1, 100),
    ("multis", "action", "read", 4, 1, 400),
    ("multis", "action", "read", 4, 4, 400),
    ("multis", "action", "read", 8, 8, 800),
    ("multis", "asyncio", "read", 4, 4, 400),
    ("transport", "transport", "read", 1, 1, 100),
    ("transport", "transport", "read", 4, 4, 400),
    ("transport", "transport", "read", 8, 8, 800),
    ("60 ms", "plain", "read", 1, 1, 1000),
    ("60 ms", "plain", "read", 10, 1, 1000),
    ("60 ms", "plain", "read", 10, 10, 1000),
    ("60 ms", "action", "read", 10, 10, 1000),
    ("60 ms", "asyncio", "read", 10, 1, 1000),
    ("60 ms", "transport", "read", 1, 1, 1000),
    ("60 ms", "transport", "read", 10, 10, 1000),
]


def measure(url: str, ca: str, requests: int, repeats: int) -> Iterator[str]:
    """Run every case; yield the rows of the table, the cheapest of `repeats` runs each."""
    for what, loop, body, connections, multis, in_flight in CASES:
        if what == "60 ms" and not sink.ECHO_MODULE.exists():
            continue
        path = "/slow" if what == "60 ms" else "/v1/projects/p/messages:send"
        command = [
            sys.executable,
            "-m",
            "tests.bench.loop",
            "one",
            "--url",
            url + path,
            "--ca",
            ca,
            "--loop",
            loop,
            "--body",
            body,
        ]
        command += ["--connections", str(connections), "--multis", str(multis), "--in-flight", str(in_flight)]
        command += ["--requests", str(requests)]
        runs = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(repeats)]
        best = min(runs, key=lambda run: float(run["cpu_us"]))
        spread_us = "–".join(f"{us:.0f}" for us in sorted(run["cpu_us"] for run in runs)[:: max(1, repeats - 1)])
        row = f"| {what} | {loop} | {body} | {connections} | {multis} | {in_flight} "
        row += f"| {best['cpu_us']:.1f} | {spread_us} | {best['per_s']:,.0f} |"
        print(row, file=sys.stderr, flush=True)
        yield row


def report(rows: list[str], requests: int) -> str:
    """Return the results page's table with the machine and the versions on top."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    return "\n".join(
        [
            f"- Machine: {model.split(':')[-1].strip()}, {os.cpu_count()} cores, {platform.platform()}",
            f"- {pycurl.version}; Python {platform.python_version()}; {sink.version()}",
            f"- Command: `python -m tests.bench.loop` ({requests:,} requests a case, first tenth not timed)",
            "",
            "| question | loop | body | connections | multis | in flight | CPU µs/request | range | requests/s |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Run one case, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["all", "one"], default="all")
    parser.add_argument("--loop", choices=[*LOOPS, "transport"], default="plain")
    parser.add_argument("--body", choices=["fields", "read"], default="read")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--multis", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=400)
    parser.add_argument("--requests", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--path", default="/v1/projects/p/messages:send", help="/slow answers after 60 ms")
    parser.add_argument("--url")
    parser.add_argument("--ca")
    arguments = parser.parse_args()
    if arguments.what == "one" and arguments.url:
        run_one(arguments)
        return
    with sink.running() as to:
        if arguments.what == "one":
            arguments.url, arguments.ca = to.url + arguments.path, to.ca_file
            run_one(arguments)
            return
        table = report(list(measure(to.url, to.ca_file, arguments.requests, arguments.repeats)), arguments.requests)
    print(table)


if __name__ == "__main__":
    main()
