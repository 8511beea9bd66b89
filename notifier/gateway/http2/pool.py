"""The connections of one endpoint: which of them carries a request, when one is opened, deadlines.

The order of a turn is what makes a verdict exact. First everything that has arrived is read: answers before deadlines
are judged, and ends of connections before a request is given to one. Then requests are placed, and last they are sent.
"""

from __future__ import annotations

import email.utils
import itertools
import time
from collections import deque
from collections.abc import Callable, Container
from urllib.parse import urlsplit

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.connection import Connection
from notifier.gateway.http2.dial import Dial, Target
from notifier.gateway.http2.session import Session
from notifier.gateway.http2.stream import Outcome, Stream
from notifier.model.exchange import Answer, NoAnswer, NoRoomError, Request

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""After a connection that never worked, no other is opened for this long, doubling each time."""
SILENCE = 5
"""So many timeouts in a row without any answer, and a connection counts as dead."""
HTTPS_PORT = 443
_ANSWERED = Outcome.ANSWERED
"""Bound once: Python 3.11 takes 0.15 µs to find an enumeration's member, and each answer asks for it."""
SPENT_DEADLINES = 256
"""So many ended requests may be kept beside the open ones until they are forgotten together."""


class Pool:
    """One endpoint.

    Args:
        target: where its connections go to.
        numbers: of connections.
        wake: called from another thread when a connection was made or has failed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        target: Target,
        numbers: itertools.count[int],
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self.sessions: list[Session] = []
        """Oldest first."""
        self.in_flight = 0
        self._target = target
        self._authority = urlsplit(endpoint.base_url).netloc
        self._numbers = numbers
        self._wake = wake
        self._clock = clock
        self._waiting: deque[Stream] = deque()
        self._deadlines: deque[Stream] = deque()
        """In the order of their submission: all have the same time. Ended ones are left in it for a while."""
        self._promised = 0
        self._failures = 0
        self._quiet_until_s = 0.0

    # -- what the transport asks ---------------------------------------------------------------------------------------

    def room(self) -> int:
        """Return how many requests fit now, one more than the connections take where another may be opened.

        What is returned is a promise: so many are taken before the next `turn`, whatever becomes of connections.
        """
        room = sum(session.room for session in self.sessions) + self._may_open() - len(self._waiting)
        self._promised = max(0, room)
        return self._promised

    def submit(self, request: Request) -> None:
        """Take a request; the next `turn` gives it to a connection."""
        if self._promised <= 0 and self.room() <= 0:
            raise NoRoomError(f"no room at {self.endpoint.name}")
        self._promised -= 1
        self.in_flight += 1
        stream = Stream(request, self._clock())
        self._waiting.append(stream)
        self._deadlines.append(stream)

    def turn(self, readable: Container[int], now_s: float, answers: list[Answer]) -> None:
        """Read, judge deadlines, place, send."""
        self._promised = 0
        for session in self.sessions:
            channel = session.channel
            if channel is None and session.dial.channel is not None:
                session.connect(session.dial.channel, now_s)
                self._take(session, session.read(now_s), now_s, answers)  # SETTINGS may have come with the handshake
            elif channel is not None and channel.fileno() in readable:
                self._take(session, session.read(now_s), now_s, answers)
            elif (dead := session.look_for_life(now_s)) or session.http.ended:
                self._take(session, dead, now_s, answers)
            if not session.retired and (error := session.beginning_error(now_s)):
                self._give_up_beginning(session, error, now_s, answers)
        self._give_up_overdue(now_s, answers)
        # Before requests are placed: what has ended must not count against a new connection.
        self._sweep()
        if self._waiting:
            self._place_waiting(now_s)
        for session in self.sessions:
            session.write()

    def due_in_s(self, now_s: float) -> float:
        """Seconds until something has to be done though nothing arrives."""
        due_s = [session.dial_until_s for session in self.sessions if not session.http.ready]
        if self._waiting and self._quiet_until_s > now_s:
            due_s.append(self._quiet_until_s)
        if (first := self._first_open()) is not None:
            due_s.append(first.submitted_at + self.endpoint.timeout_ms / 1000)
        return max(0.0, min(due_s, default=now_s + 1) - now_s)

    def replace(self, number: int) -> None:
        """Retire the connection of that number."""
        for session in self.sessions:
            if session.number == number:
                self._retire(session, self._clock())
        self._sweep()

    def close(self) -> None:
        """Close all connections and forget all requests."""
        for session in self.sessions:
            session.close()
        self.sessions, self.in_flight = [], 0
        self._waiting.clear()
        self._deadlines.clear()

    # -- reading -------------------------------------------------------------------------------------------------------

    def _give_up_beginning(self, session: Session, error: str, now_s: float, answers: list[Answer]) -> None:
        """Retire a connection that was never made."""
        self._retire(session, now_s)
        # One request is refused for it. Where other connections carry on, what waits has a chance with them.
        if self._waiting and all(other.retired for other in self.sessions):
            self._end_waiting(self._waiting.popleft(), session.number, error, now_s, answers)

    def _take(self, session: Session, ended: list[Stream], now_s: float, answers: list[Answer]) -> None:
        """Turn streams that have ended into answers; what was never sent waits for another connection."""
        unsent = []
        number = session.number
        for stream in ended:
            if stream.outcome is _ANSWERED:
                session.answered = True
                session.silent = self._failures = 0
            elif stream.outcome is Outcome.UNSENT:
                unsent.append(stream)
                continue
            self.in_flight -= 1
            answers.append(_answer(stream, number, now_s))
            # `_deadlines` keeps it for a while: without the request, which has the body and holds the push.
            stream.request = None
        for stream in reversed(unsent):
            _reopen(stream)
            self._waiting.appendleft(stream)
        # One that was never ready is retired by `_give_up_beginning`.
        if session.http.ready and (session.http.ended or session.http.draining):
            self._retire(session, now_s)

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _first_open(self) -> Stream | None:
        """The oldest request without an answer."""
        # One answer that takes 5 s would keep all 50,000 requests behind it, each with its body and its push.
        if len(self._deadlines) > 2 * self.in_flight + SPENT_DEADLINES:
            self._deadlines = deque(stream for stream in self._deadlines if stream.outcome is None)
        deadlines = self._deadlines
        while deadlines and deadlines[0].outcome is not None:
            deadlines.popleft()
        return deadlines[0] if deadlines else None

    def _give_up_overdue(self, now_s: float, answers: list[Answer]) -> None:
        """Everything that has arrived was read before: what is overdue has no answer in the socket."""
        submitted_before_s = now_s - self.endpoint.timeout_ms / 1000
        while (stream := self._first_open()) is not None and stream.submitted_at <= submitted_before_s:
            self._deadlines.popleft()
            session = stream.session
            if session is None:
                self._waiting.remove(stream)
                self._end_waiting(stream, 0, "no connection would take it in time", now_s, answers)
            else:
                self._time_out(stream, session, now_s, answers)

    def _time_out(self, stream: Stream, session: Session, now_s: float, answers: list[Answer]) -> None:
        session.http.cancel(stream, "no answer in time")
        if stream.outcome is not Outcome.ANSWERED:
            session.silent += 1
            # Silence says something about the connection: it never spoke, or does not speak any more.
            if not session.proven or session.silent >= SILENCE:
                stream.of_connection = True
                self._retire(session, now_s)
        self.in_flight -= 1
        answers.append(_answer(stream, session.number, now_s))

    def _end_waiting(self, stream: Stream, number: int, detail: str, now_s: float, answers: list[Answer]) -> None:
        """End a request that no connection has carried."""
        stream.outcome, stream.detail, stream.of_connection = Outcome.REFUSED, detail, number > 0
        self.in_flight -= 1
        answers.append(_answer(stream, number, now_s))

    # -- placing -------------------------------------------------------------------------------------------------------

    def _may_open(self) -> bool:
        """Another connection: once all are full, none is still proving itself, and none has failed just now.

        Those that drain count only when they are many: a server may say goodbye faster than it answers.
        """
        usable = [session for session in self.sessions if not session.retired]
        return (
            len(usable) < self.endpoint.max_connections
            and len(self.sessions) < 2 * self.endpoint.max_connections
            and all(session.proven for session in usable)
            and self._clock() >= self._quiet_until_s
        )

    def _place_waiting(self, now_s: float) -> None:
        """Give requests to the oldest connections with room: no more are open than latency needs."""
        waiting = self._waiting
        for session in self.sessions:
            if not waiting:
                return
            room = session.room
            if room <= 0 or not session.may_carry(now_s):
                continue
            for _ in range(min(room, len(waiting))):
                stream = waiting.popleft()
                stream.session = session
                session.http.submit(stream)
        # A connection that is being made, or has to show that it lives, takes what waits when it is ready.
        if waiting and not any(session.room for session in self.sessions) and self._may_open():
            self._open(now_s)

    def _open(self, now_s: float) -> None:
        http = Connection(self._authority, path_is_shared=self.endpoint.path_is_shared)
        dial = Dial(self._target, self._wake)
        self.sessions.append(Session(next(self._numbers), self.endpoint, http, dial, now_s))

    def _retire(self, session: Session, now_s: float) -> None:
        """Give it nothing new; one that never worked brings a pause."""
        if session.retired:
            return
        session.retired = True
        if not session.answered:
            self._failures += 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))
            self._quiet_until_s = now_s + pause_s

    def _sweep(self) -> None:
        if not any(session.is_spent for session in self.sessions):
            return
        for session in self.sessions:
            if session.is_spent:
                session.close()
        self.sessions = [session for session in self.sessions if not session.is_spent]


def _reopen(stream: Stream) -> None:
    """Make a stream that was never sent ready for another connection."""
    stream.outcome = stream.session = None
    stream.id = stream.begins_at = stream.ends_at = stream.sent = 0
    stream.detail, stream.of_connection = "", False


def _answer(stream: Stream, number: int, now_s: float) -> Answer:
    """What the caller gets. A status that has come is the answer, whatever happened behind it."""
    ticket, latency_s = stream.request.ticket, now_s - stream.submitted_at
    if stream.outcome is _ANSWERED:
        return Answer(
            ticket=ticket,
            status=stream.status,
            body=bytes(stream.body),
            retry_after_s=_seconds(stream.retry_after) if stream.retry_after else None,
            latency_s=latency_s,
            connection=number,
        )
    return Answer(
        ticket=ticket,
        no_answer=NoAnswer.UNANSWERED if stream.outcome is Outcome.UNANSWERED else NoAnswer.REFUSED,
        connection_ended=stream.of_connection,
        detail=stream.detail,
        latency_s=latency_s,
        connection=number,
    )


def _seconds(retry_after: str) -> int | None:
    """Seconds from either form of `Retry-After` (RFC 9110, section 10.2.3); None for what is neither, and for 0."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:10]), 2**31) or None
    try:
        until = email.utils.parsedate_to_datetime(text)
        return max(0, round(until.timestamp() - time.time())) or None
    except (ValueError, OverflowError, OSError):
        return None
