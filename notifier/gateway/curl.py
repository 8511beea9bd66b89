"""The transport over libcurl's multi interface: one multi for each connection, `perform` and `poll`, no asyncio.

    transport = CurlTransport([endpoint])
    transport.submit(request)              # while transport.room(endpoint.name) > 0
    for answer in transport.poll(0.05):    # the ticket of each is its request's
        ...

Why one multi a connection: then we choose the connection, not libcurl. Requests are packed on the first connection
with room, so that no more are open than latency needs; a fresh one carries one request until it has proved itself; and
one that a gateway spoilt can be left to drain. Many multis cost nothing against one (tests/bench/results/loop.md).

libcurl sends again by itself when a connection dies, silently. Two things prevent that: bodies are handed over by
READFUNCTION without a seek function, so it cannot rewind, and OPENSOCKETFUNCTION refuses a multi its second
connection, so that a request cannot slip to another one unseen. What the second one turns away was certainly
not processed; it is moved to another connection here, which is no second send.
"""

from __future__ import annotations

import itertools
import select
import time
from collections import deque
from collections.abc import Callable, Iterable

import pycurl

from notifier.gateway.ca_bundle import ca_bundle
from notifier.gateway.connection import NO_REQUEST, Connection, Slot
from notifier.gateway.curl_errors import STREAM_ONLY, no_answer
from notifier.gateway.endpoint import Endpoint
from notifier.model.exchange import Answer, NoAnswer, NoRoomError, Request

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""After a connection that never worked, the endpoint has no room for this long, doubling each time."""
SILENCE = 5
"""After so many timeouts in a row without any answer a connection counts as dead."""
BARREN_READINGS = 2
"""After so many reads of the sockets in a row without any answer, none is left in them."""
STUCK_S = 1.0
"""A request that a connection does not even start for so long is moved: the connection is closing."""


class CurlTransport:
    """The real transport (`notifier.model.exchange`). `ca_file`: one more authority to trust (PEM), or ""."""

    def __init__(
        self, endpoints: Iterable[Endpoint], ca_file: str = "", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bundle = ca_bundle(ca_file)
        self._clock = clock
        numbers = itertools.count(1)
        self._pools = {endpoint.name: _Pool(endpoint, self._bundle.name, numbers, clock) for endpoint in endpoints}

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
        # Before waiting: answers that have arrived meanwhile are returned at once.
        self._turn(answers)
        if not answers and timeout_s > 0:
            self._wait(timeout_s)
            self._turn(answers)
        return answers

    def replace_connection(self, endpoint: str, connection: int) -> None:
        """See `Transport.replace_connection`."""
        self._pools[endpoint].replace(connection)

    def close(self) -> None:
        """See `Transport.close`."""
        for pool in self._pools.values():
            pool.close()
        self._bundle.close()

    def _turn(self, answers: list[Answer]) -> None:
        for pool in self._pools.values():
            pool.turn(answers)

    def _wait(self, timeout_s: float) -> None:
        """Wait for any descriptor of any multi, or for the first of their timers."""
        poller, wait_ms = select.poll(), timeout_s * 1000
        for pool in self._pools.values():
            pause_ms = pool.pause_left_s() * 1000
            wait_ms = min(wait_ms, pause_ms) if pause_ms > 0 else wait_ms
            left_s = pool.deadline_left_s()
            # 1 ms more, so that the request is past its deadline when the wait is over.
            wait_ms = wait_ms if left_s is None else min(wait_ms, left_s * 1000 + 1)
            for connection in pool.connections:
                if connection.slots:
                    wait_ms = connection.watch(poller, wait_ms)
        poller.poll(max(0, wait_ms))


class _Pool:
    """The connections of one endpoint, oldest first, and the handles they share."""

    def __init__(
        self, endpoint: Endpoint, bundle: str, numbers: itertools.count[int], clock: Callable[[], float]
    ) -> None:
        self.endpoint = endpoint
        self.connections: list[Connection] = []
        self.waiting: deque[Slot] = deque()
        self.in_flight = 0
        self._bundle = bundle
        self._numbers = numbers
        self._clock = clock
        self._idle: list[Slot] = []
        self._deadlines: deque[tuple[float, Slot]] = deque()
        """Requests with the time of their submission, in its order."""
        self._promised = 0
        self._failures = 0
        self._quiet_until = 0.0

    def room(self) -> int:
        """Return how many requests fit now, one more than the open connections take where another may be opened.

        What is returned is a promise: so many are taken before the next `turn`, even if connections end meanwhile.
        """
        room = sum(connection.room for connection in self.connections) + self._may_open() - len(self.waiting)
        self._promised = max(0, room)
        return self._promised

    def pause_left_s(self) -> float:
        """Return the seconds until a new connection may be tried."""
        return max(0.0, self._quiet_until - self._clock())

    def submit(self, request: Request) -> None:
        """Give the request a handle and a connection."""
        slot = self._idle.pop() if self._idle else Slot(self.endpoint, self._bundle)
        slot.request = request
        slot.submitted_at = self._clock()
        if not self._place(slot):
            if self._promised <= 0:
                slot.forget()
                self._idle.append(slot)
                raise NoRoomError(f"no room at {self.endpoint.name}")
            # The connection that had this room was found closed since: the request waits for the one that takes over.
            self.waiting.append(slot)
        self._promised -= 1
        self.in_flight += 1
        self._deadlines.append((slot.submitted_at, slot))

    def turn(self, answers: list[Answer]) -> None:
        """Let libcurl work, take what is finished, move what was turned away."""
        spent = False
        self._promised = 0
        for connection in self.connections:
            if connection.slots:
                self._work(connection, answers)
            spent = spent or connection.retired
        self._give_up_overdue(answers)
        if spent:
            self._sweep()
        if self.waiting:
            self._place_waiting()

    def replace(self, number: int) -> None:
        """Retire the connection of that number."""
        for connection in self.connections:
            if connection.number == number:
                self._retire(connection)
                self._sweep()
                return

    def close(self) -> None:
        """Close all handles and connections."""
        slots = [*self.waiting, *self._idle]
        for connection in self.connections:
            slots += connection.withdraw()
            connection.close()
        for slot in slots:
            slot.close()
        self.connections, self._idle, self.in_flight = [], [], 0
        self.waiting.clear()
        self._deadlines.clear()

    def _may_open(self) -> bool:
        """A new connection, once all are full, only while none is still proving itself and none failed just now."""
        usable = [connection for connection in self.connections if not connection.retired]
        return (
            len(usable) < self.endpoint.max_connections
            and all(connection.proven for connection in usable)
            and self._clock() >= self._quiet_until
        )

    def _may_spare(self) -> bool:
        """Not too many are draining: a server with a low limit and slow answers must not get ever more connections."""
        return sum(connection.retired for connection in self.connections) < self.endpoint.max_connections

    def _place(self, slot: Slot) -> bool:
        """Start the slot on the first connection with room, or a new one; what a hang-up displaces waits for one."""
        hung_up = False
        # The oldest first: requests are packed on few connections, and the others can stay closed.
        for connection in self.connections:
            if connection.room > 0:
                # Looked at only now: libcurl would send into a connection that the gateway closed while it was idle.
                if not connection.hung_up():
                    connection.start(slot)
                    return True
                hung_up = True
                self._retire(connection)
        if self._may_open():
            self.connections.append(Connection(next(self._numbers), self.endpoint))
            self.connections[-1].start(slot)
            return True
        if hung_up:
            self.waiting.append(slot)
        return hung_up

    def _place_waiting(self) -> None:
        while self.waiting and self._place(self.waiting[0]):
            self.waiting.popleft()

    def deadline_left_s(self) -> float | None:
        """Return the seconds until the first request is given up; None if there is none."""
        if not self._deadlines:
            return None
        return max(0.0, self._deadlines[0][0] + self.endpoint.timeout_ms / 1000 - self._clock())

    def _overdue(self) -> Slot | None:
        """Return a request that is past its time. All have the same time: the oldest is first."""
        while self._deadlines:
            submitted_at, slot = self._deadlines[0]
            if slot.request is NO_REQUEST or slot.submitted_at != submitted_at:  # answered since
                self._deadlines.popleft()
            else:
                return slot if self.deadline_left_s() == 0 else None
        return None

    def _give_up_overdue(self, answers: list[Answer]) -> None:
        """Give up what has no answer in time, but nothing whose answer has arrived and was not read yet.

        libcurl's own timeout is not used: it is judged before the socket is read, and so takes answers for timeouts
        that came while the loop was blocked. After such a time one read does not take everything.
        """
        if self._overdue() is None:
            return
        barren = 0
        while barren < BARREN_READINGS:
            before = len(answers)
            for connection in self.connections:
                if connection.slots:
                    self._work(connection, answers)
            barren = barren + 1 if len(answers) == before else 0
        while (slot := self._overdue()) is not None:
            self._deadlines.popleft()
            if slot.connection is None:
                self.waiting.remove(slot)
                answers.append(self._refused(slot))
            else:
                self._time_out(slot.connection, slot, answers)

    def _time_out(self, connection: Connection, slot: Slot, answers: list[Answer]) -> None:
        slot.denied = False  # it is past its time: it is not moved to another connection any more
        if self._failed(connection, slot, pycurl.E_OPERATION_TIMEDOUT, "", answers):
            self._retire(connection)

    def _refused(self, slot: Slot) -> Answer:
        waited_s = self._clock() - slot.submitted_at
        ticket = slot.request.ticket
        self._release(slot)
        return Answer(
            ticket=ticket, no_answer=NoAnswer.REFUSED, detail="no connection would take it in time", latency_s=waited_s
        )

    def _release(self, slot: Slot) -> None:
        slot.forget()
        self._idle.append(slot)
        self.in_flight -= 1

    def _work(self, connection: Connection, answers: list[Answer]) -> None:
        good, bad = connection.perform()
        for curl in good:
            slot = curl.slot
            connection.finish(slot, answered=True)
            self._failures = 0
            answers.append(slot.answer(connection.number))
            self._release(slot)
        spent = [self._failed(connection, curl.slot, code, text, answers) for curl, code, text in bad]
        if any(spent) or (connection.stuck(self._clock(), STUCK_S) and self._may_spare()):
            self._retire(connection)

    def _failed(self, connection: Connection, slot: Slot, code: int, text: str, answers: list[Answer]) -> bool:
        """Deal with a request that libcurl gave up; return whether its connection is spent."""
        # Once the headers have come their status counts, whatever becomes of the body: asking again might repeat it.
        answered = slot.has_status
        connection.finish(slot, answered=answered)
        if answered:
            answers.append(slot.answer(connection.number))
            self._release(slot)
            return code not in STREAM_ONLY
        # Turned away before its body was touched: it was not sent, so another connection may carry it.
        if slot.denied and not slot.body_taken:
            self.waiting.append(slot)
            return True
        meaning, detail = no_answer(code, text, body_taken=slot.body_taken)
        is_gone = code not in STREAM_ONLY or not connection.proven or connection.silent >= SILENCE
        answers.append(slot.no_answer(connection.number, meaning, detail, connection_ended=is_gone))
        self._release(slot)
        return is_gone

    def _retire(self, connection: Connection) -> None:
        """Give it nothing new; what it has not started goes elsewhere; one that never worked brings a pause."""
        if connection.retired:
            return
        connection.retired = True
        self.waiting.extend(connection.withdraw_unstarted())
        if not connection.answered:
            # A gateway that is out of reach is not tried in a busy loop. An answer on any connection ends the doubling.
            self._failures += 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
            self._quiet_until = self._clock() + pause_s

    def _sweep(self) -> None:
        for connection in self.connections:
            if connection.retired and not connection.slots:
                connection.close()
        self.connections = [connection for connection in self.connections if not connection.closed]
