"""The transport against a real HTTP/2 server that misbehaves: what it reports, and that nothing is sent twice."""

from __future__ import annotations

import email.utils
import fcntl
import itertools
import socket
import sys
import termios
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trustme

from notifier.gateway.endpoint import Endpoint
from notifier.gateway.http2.transport import Http2Transport
from notifier.model.exchange import Answer, NoAnswer, NoRoomError, Request, Transport
from sandbox.wire.actions import Action, Close, Cut, ErrorCode, GoAway, Reply, ReplyAll, Reset, Settings
from sandbox.wire.server import Behaviour, Seen, WireServer, always

TOKEN = "device-token-that-nobody-may-read"
PATIENCE_S = 10.0
WARM_UPS = itertools.count(9_000)
Made = Callable[..., Transport]
KEPT_BYTES = 16 * 1024


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def transport_to() -> Iterator[Made]:
    """Make transports with one endpoint named `gw`; close them at the end."""
    made: list[Transport] = []

    def make(server: WireServer, clock: Callable[[], float] = time.monotonic, **changes: object) -> Transport:
        values: dict[str, object] = {"max_connections": 2, "max_streams": 100, "probe_first": False}
        values |= {"name": "gw", "base_url": server.url, "timeout_ms": 5_000, "connect_timeout_ms": 2_000} | changes
        transport = Http2Transport([Endpoint(**values)], server.ca_file, clock=clock)  # type: ignore[arg-type]
        made.append(transport)
        return transport

    yield make
    for transport in made:
        transport.close()


def request(number: int, body: bytes = b'{"message":{}}') -> Request:
    """Return request `number`; its path is its identity on the server, and a secret."""
    headers = ["content-type: application/json", "authorization: bearer x"]
    return Request(endpoint="gw", path=f"/3/device/{TOKEN}-{number}", headers=headers, body=body, ticket=number)


def collect(transport: Transport, count: int) -> list[Answer]:
    """Poll until `count` answers are there; what hangs fails."""
    answers: list[Answer] = []
    give_up = time.monotonic() + PATIENCE_S
    while len(answers) < count:
        assert time.monotonic() < give_up, f"{len(answers)} of {count} after {PATIENCE_S} s: {answers}"
        answers += transport.poll(0.5)
    return answers


def send(transport: Transport, count: int, first: int = 0) -> list[Answer]:
    """Send `count` requests as room allows; return their answers, sorted by ticket."""
    answers: list[Answer] = []
    give_up = time.monotonic() + PATIENCE_S
    number = first
    while len(answers) < count:
        assert time.monotonic() < give_up, f"{len(answers)} of {count} after {PATIENCE_S} s: {answers}"
        while number < first + count and transport.room("gw") > 0:
            transport.submit(request(number))
            number += 1
        answers += transport.poll(0.5)
    return sorted(answers, key=lambda answer: int(answer.ticket))


def warm(transport: Transport) -> Answer:
    """Send the one request that proves a fresh connection."""
    (answer,) = send(transport, 1, first=next(WARM_UPS))
    assert answer.status == 200
    return answer


def nth(first: tuple[Action, ...], **later: tuple[Action, ...]) -> Behaviour:
    """Do `first` for a connection's first request, `rN` for its request N, and nothing for the others."""
    return lambda seen: first if seen.number == 1 else later.get(f"r{seen.number}", ())


def assert_seen_once(server: WireServer) -> None:
    """Nothing reached the server twice."""
    repeated = {path: times for path, times in Counter(server.paths()).items() if times > 1}
    assert not repeated


def outcomes(answers: list[Answer]) -> set[NoAnswer | None]:
    """Return the kinds of no-answer among the answers."""
    return {answer.no_answer for answer in answers}


# -- answers ------------------------------------------------------------------------------------------------------


def test_an_answer_carries_its_ticket_status_and_body(transport_to: Made) -> None:
    """Every answer finds its request by ticket, whatever the order of arrival."""
    with WireServer(lambda seen: (Reply(201, seen.path.encode()),)) as server:
        answers = send(transport_to(server), 250)
        assert [answer.ticket for answer in answers] == list(range(250))
        assert all(answer.status == 201 and answer.body.endswith(f"-{answer.ticket}".encode()) for answer in answers)
        assert outcomes(answers) == {None}
        assert_seen_once(server)


def test_the_request_arrives_as_it_was_given(transport_to: Made) -> None:
    """Path, headers and body arrive; no Expect, no content-encoding, over HTTP/2."""
    with WireServer() as server:
        transport = transport_to(server)
        body = b'{"n":' + b"1" * 200_000 + b"}"
        transport.submit(request(1, body))
        collect(transport, 1)
        (seen,) = server.seen
        headers = dict(seen.headers)
        assert (seen.protocol, seen.body, headers[":method"]) == ("h2", body, "POST")
        assert headers[":path"] == request(1).path
        assert headers["authorization"] == "bearer x"
        assert "expect" not in headers


def test_a_handle_that_is_not_told_what_it_knows_still_says_it(transport_to: Made) -> None:
    """The same path and headers with another body, then another path, then other headers: each arrives as given."""
    shared, renewed = ["authorization: bearer old"], ["authorization: bearer new"]
    asked = [("/a", shared, b"1"), ("/a", shared, b"22"), ("/b", shared, b"22"), ("/b", renewed, b"4")]
    with WireServer() as server:
        transport = transport_to(server)
        for path, headers, body in asked:
            transport.submit(Request(endpoint="gw", path=path, headers=headers, body=body, ticket=None))
            collect(transport, 1)
        arrived = [(dict(seen.headers), seen.body) for seen in server.seen]
    said = [(headers[":path"], [f"authorization: {headers['authorization']}"], body) for headers, body in arrived]
    assert said == asked


def test_handles_are_used_again_without_leftovers(transport_to: Made) -> None:
    """A long body before a short one, an error before a success: nothing of the first is in the second."""
    replies = {1: Reply(503, b"x" * 1000, (("retry-after", "7"),)), 2: Reply(200, b"")}
    with WireServer(lambda seen: (replies[seen.number],)) as server:
        transport = transport_to(server)
        transport.submit(request(1, b"a" * 5000))
        (first,) = collect(transport, 1)
        transport.submit(request(2, b"b"))
        (second,) = collect(transport, 1)
        assert (first.status, first.retry_after_s, len(first.body)) == (503, 7, 1000)
        assert (second.status, second.retry_after_s, second.body) == (200, None, b"")
        assert [seen.body for seen in server.seen] == [b"a" * 5000, b"b"]


@pytest.mark.parametrize(
    ("reply", "length"),
    [
        (Reply(400, b'{"reason":"BadDeviceToken"}', frames=27), 27),
        (Reply(410, b""), 0),
        (Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", (("content-type", "text/html"),)), 37),
        (Reply(200, b"x" * 3_000_000), None),
    ],
    ids=["one byte a frame", "headers only", "HTML", "three megabytes"],
)
def test_an_odd_answer_is_an_answer(transport_to: Made, reply: Reply, length: int | None) -> None:
    """Answers in many frames, without a body, not JSON or far too long end with their status; the body is bounded."""
    length = KEPT_BYTES if length is None else length
    with WireServer(always(reply)) as server:
        transport = transport_to(server)
        for answer in send(transport, 3):
            assert (answer.status, answer.no_answer) == (reply.status, None)
            assert answer.body == reply.body[:length]
        assert server.connections == 1
        assert_seen_once(server)


def test_retry_after_is_read_in_both_forms(transport_to: Made) -> None:
    """Seconds, and an HTTP date; none when there is none."""
    soon = email.utils.formatdate(time.time() + 90, usegmt=True)
    values: dict[int, tuple[tuple[str, str], ...]] = {1: (("retry-after", "30"),), 2: (("retry-after", soon),), 3: ()}
    with WireServer(lambda seen: (Reply(429, headers=values[seen.number]),)) as server:
        transport = transport_to(server)
        seconds, date, none = [send(transport, 1, first=n)[0].retry_after_s for n in range(3)]
        assert seconds == 30
        assert date is not None
        assert 80 <= date <= 91
        assert none is None


# -- no connection ------------------------------------------------------------------------------------------------


def test_a_refused_connection_is_refused(transport_to: Made) -> None:
    """Nobody listens: certainly not processed."""
    with WireServer() as server, closing(socket.create_server(("127.0.0.1", 0))) as placeholder:
        port = placeholder.getsockname()[1]
        placeholder.close()
        (answer,) = send(transport_to(server, base_url=f"https://127.0.0.1:{port}"), 1)
        assert (answer.status, answer.no_answer) == (0, NoAnswer.REFUSED)
        assert "no TCP connection" in answer.detail


def test_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    """TLS is verified: another CA's certificate ends before any request is sent."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with WireServer() as server:
        endpoint = Endpoint(name="gw", base_url=server.url, max_connections=1, max_streams=1, probe_first=True)
        for ca_file in (str(other), ""):
            with closing(Http2Transport([endpoint], ca_file)) as transport:
                assert send(transport, 1)[0].no_answer is NoAnswer.REFUSED
        assert server.seen == []


def test_a_handshake_that_hangs_is_refused(transport_to: Made) -> None:
    """A server that accepts and says nothing runs into the connect timeout: nothing was sent."""
    with WireServer() as server, closing(socket.create_server(("127.0.0.1", 0))) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        (answer,) = send(transport_to(server, base_url=url, connect_timeout_ms=150), 1)
        assert answer.no_answer is NoAnswer.REFUSED
        assert "no connection in time" in answer.detail


@pytest.mark.parametrize("alpn", [("http/1.1",), ()], ids=["HTTP/1.1 offered", "ALPN ignored"])
def test_a_server_without_http_2_gets_no_request(transport_to: Made, alpn: tuple[str, ...]) -> None:
    """There is no fall back to HTTP/1.1."""
    with WireServer(alpn=alpn) as server:
        (answer,) = send(transport_to(server, timeout_ms=500), 1)
        assert (answer.status, answer.no_answer is None) == (0, False)
        assert [seen for seen in server.seen if seen.path.startswith("/3/")] == []


def test_after_a_failed_connection_there_is_no_room_for_a_moment(transport_to: Made) -> None:
    """A gateway that is away does not burn one attempt after the other; the pause grows, a success ends it."""
    clock = Clock()
    with WireServer() as server, closing(socket.create_server(("127.0.0.1", 0))) as placeholder:
        port = placeholder.getsockname()[1]
        placeholder.close()
        transport = transport_to(server, clock, base_url=f"https://127.0.0.1:{port}")
        for pause_s in (0.1, 0.2, 0.4):
            assert transport.room("gw") == 1
            assert send(transport, 1)[0].no_answer is NoAnswer.REFUSED
            assert transport.room("gw") == 0
            clock.now += pause_s * 0.9
            assert transport.room("gw") == 0
            clock.now += pause_s * 0.2


# -- connections that break ---------------------------------------------------------------------------------------


def test_a_connection_lost_with_20_unanswered_is_ambiguous_and_nothing_is_sent_again(transport_to: Made) -> None:
    """The connection is reset under 20 requests the server has read: all are unanswered, none is seen twice."""
    with WireServer(nth((Reply(),), r21=(Close(abort=True),))) as server:
        transport = transport_to(server)
        warm(transport)
        answers = send(transport, 20)
        assert outcomes(answers) == {NoAnswer.UNANSWERED}
        assert all(answer.connection_ended for answer in answers)
        assert len(server.seen) == 21
        assert_seen_once(server)
        assert warm(transport).connection == 2


def test_an_orderly_close_under_requests_is_ambiguous(transport_to: Made) -> None:
    """FIN instead of an answer: unanswered as well, and seen once."""
    with WireServer(nth((Reply(),), r5=(Close(),))) as server:
        transport = transport_to(server)
        warm(transport)
        assert outcomes(send(transport, 4)) == {NoAnswer.UNANSWERED}
        assert_seen_once(server)


def test_a_connection_closed_while_idle_costs_no_request(transport_to: Made) -> None:
    """What finds its connection closed was not sent: it goes to a fresh connection by itself, probing as always."""
    with WireServer() as server:
        transport = transport_to(server, probe_first=True)
        warm(transport)
        server.close_connections()
        answers = send(transport, 30)
        assert outcomes(answers) == {None}
        assert {answer.connection for answer in answers} == {2}
        assert server.peak_before_first_answer == {1: 1, 2: 1}
        assert_seen_once(server)


def test_room_that_was_promised_holds_although_the_connection_was_closed_meanwhile(transport_to: Made) -> None:
    """Many requests in one turn, after an idle connection was closed or sent away: all taken, all answered once."""
    with WireServer() as server:
        transport = transport_to(server, probe_first=True)
        for number in range(0, 300, 30):
            warm(transport)
            promised = transport.room("gw")
            server.close_connections()
            taken = min(promised, 30)
            for one in range(number, number + taken):
                transport.submit(request(one))
            assert taken == 30
            assert outcomes(collect(transport, taken)) == {None}
        assert_seen_once(server)


def test_connections_sent_away_again_and_again_lose_nothing(transport_to: Made) -> None:
    """GOAWAY at every 40th request of a connection: nothing is raised, each request ends once, none is sent twice."""
    with WireServer(lambda seen: (Reply(),) if seen.number % 40 else (Reply(), GoAway(None))) as server:
        transport = transport_to(server)
        assert {answer.ticket for answer in send(transport, 1_000)} == set(range(1_000))
        assert_seen_once(server)


def test_a_first_request_that_is_cut_off_is_ambiguous(transport_to: Made) -> None:
    """The very first request of a connection was read, then the connection ended."""
    with WireServer(always(Close(abort=True))) as server:
        (answer,) = send(transport_to(server), 1)
        assert answer.no_answer is NoAnswer.UNANSWERED
        assert len(server.seen) == 1


# -- streams that break -------------------------------------------------------------------------------------------


def test_a_reset_stream_is_ambiguous_and_ends_alone(transport_to: Made) -> None:
    """RST_STREAM INTERNAL_ERROR: that request is unanswered, the connection goes on."""
    with WireServer(lambda seen: (Reset(),) if seen.number == 3 else (Reply(),)) as server:
        answers = send(transport_to(server), 5)
        (broken,) = [answer for answer in answers if answer.status == 0]
        assert (broken.no_answer, broken.connection_ended) == (NoAnswer.UNANSWERED, False)
        assert "INTERNAL_ERROR" in broken.detail
        assert server.connections == 1
        assert_seen_once(server)


@pytest.mark.parametrize("status", [200, 410, 503])
@pytest.mark.parametrize("code", [ErrorCode.NO_ERROR, ErrorCode.INTERNAL_ERROR, ErrorCode.CANCEL], ids=str)
@pytest.mark.parametrize("body", [b"", b'{"name": "proj'], ids=["no body", "half a body"])
def test_an_answer_cut_off_behind_its_headers_counts(
    transport_to: Made, status: int, code: ErrorCode, body: bytes
) -> None:
    """The status has come: it is the answer, with what there is of the body; the connection goes on."""
    with WireServer(lambda seen: (Cut(status, body, code),) if seen.number == 3 else (Reply(201),)) as server:
        answers = send(transport_to(server), 5)
        (cut,) = [answer for answer in answers if answer.status != 201]
        assert (cut.status, cut.no_answer, cut.body) == (status, None, body)
        assert server.connections == 1
        assert_seen_once(server)


def test_an_answer_cut_off_by_the_end_of_its_connection_counts(transport_to: Made) -> None:
    """Headers with 200, half a body, and the connection is closed: accepted, and a fresh connection for the next."""
    with WireServer(lambda seen: (Cut(200, b"{", None),) if seen.number == 2 else (Reply(),)) as server:
        transport = transport_to(server)
        warm(transport)
        (cut,) = send(transport, 1)
        assert (cut.status, cut.no_answer) == (200, None)
        assert warm(transport).connection == 2
        assert_seen_once(server)


def test_an_answer_that_never_ends_counts_when_its_time_is_over(transport_to: Made) -> None:
    """Headers with 200 and then silence: the time-out ends it, and the status counts."""
    with WireServer(lambda seen: (Cut(200, b"{", silent=True) if seen.number > 1 else Reply(),)) as server:
        transport = transport_to(server, timeout_ms=300)
        warm(transport)
        assert send(transport, 1)[0].status == 200


def test_a_handle_does_not_remember_the_status_before(transport_to: Made) -> None:
    """An answered request, then one on the same handle that is reset before any headers: that one is ambiguous."""
    with WireServer(lambda seen: (Reply(),) if seen.number % 2 else (Reset(),)) as server:
        transport = transport_to(server)
        for number in range(0, 20, 2):
            assert send(transport, 1, first=number)[0].status == 200
            (reset,) = send(transport, 1, first=number + 1)
            assert (reset.status, reset.no_answer) == (0, NoAnswer.UNANSWERED)


def test_a_refused_stream_is_refused(transport_to: Made) -> None:
    """RST_STREAM REFUSED_STREAM: certainly not processed. It comes back, for the caller to decide."""
    with WireServer(lambda seen: (Reset(ErrorCode.REFUSED_STREAM),) if seen.number == 3 else (Reply(),)) as server:
        answers = send(transport_to(server), 6)
        assert [answer.status for answer in answers].count(200) == 5
        (refused,) = [answer for answer in answers if answer.status == 0]
        assert refused.no_answer is NoAnswer.REFUSED
        assert_seen_once(server)


def test_goaway_below_everything_ends_all_unsent_again(transport_to: Made) -> None:
    """GOAWAY with last_stream_id 0: nothing answered, nothing repeated, and the next request has a new connection."""
    behaviour = nth((Reply(),), r21=(GoAway(0, reason=b'{"reason":"Shutdown"}'), Close()))
    with WireServer(behaviour) as server:
        transport = transport_to(server)
        warm(transport)
        answers = send(transport, 20)
        assert None not in outcomes(answers)
        assert_seen_once(server)
        assert warm(transport).connection == 2


def test_goaway_in_the_middle_lets_the_lower_streams_be_answered(transport_to: Made) -> None:
    """Streams up to last_stream_id are drained and answered; the higher ones come back; nothing is seen twice."""
    behaviour = nth((Reply(),), r21=(GoAway(21), ReplyAll(), Close()))
    with WireServer(behaviour) as server:
        transport = transport_to(server)
        warm(transport)
        answers = send(transport, 20)
        assert [answer.status for answer in answers] == [200] * 10 + [0] * 10
        assert_seen_once(server)


def test_goaway_with_everything_answered_loses_nothing(transport_to: Made) -> None:
    """A gateway that says goodbye and answers all it has read: all answered, later requests on a new connection."""
    behaviour = nth((Reply(),), r21=(GoAway(None), ReplyAll()))
    with WireServer(behaviour) as server:
        transport = transport_to(server)
        warm(transport)
        assert outcomes(send(transport, 20)) == {None}
        assert warm(transport).connection == 2
        assert_seen_once(server)


def test_goaway_with_a_straggler_does_not_hold_up_the_others(transport_to: Made) -> None:
    """One stream of a closing connection is never answered: new requests are moved to a fresh connection meanwhile."""
    clock = Clock()
    with WireServer(nth((Reply(),), r2=(GoAway(None),), r3=(Reply(),))) as server:
        transport = transport_to(server, clock, timeout_ms=60_000)
        warm(transport)
        transport.submit(request(1))
        transport.poll(0.1)
        transport.submit(request(2))
        answers: list[Answer] = []
        for _ in range(50):
            answers += transport.poll(0.02)
            clock.now += 0.3
        assert [(answer.ticket, answer.status) for answer in answers] == [(2, 200)]
        assert transport.in_flight == 1
        assert_seen_once(server)


# -- silence ------------------------------------------------------------------------------------------------------


def test_a_request_that_is_never_answered_times_out_as_ambiguous(transport_to: Made) -> None:
    """The deadline of the request fires; its neighbours are answered."""
    with WireServer(lambda seen: () if seen.number == 2 else (Reply(),)) as server:
        answers = send(transport_to(server, timeout_ms=200), 5)
        (silent,) = [answer for answer in answers if answer.status == 0]
        assert silent.no_answer is NoAnswer.UNANSWERED
        assert "no answer in time" in silent.detail
        assert not silent.connection_ended
        assert 0.15 < silent.latency_s < 2
        assert server.connections == 1


def unread_bytes(transport: Transport) -> int:
    """How much has arrived on the only connection and was not read."""
    assert isinstance(transport, Http2Transport)
    (session,) = transport._pools["gw"].sessions
    assert session.channel is not None
    unread = fcntl.ioctl(session.channel.fileno(), termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(unread, sys.byteorder)


def test_an_answer_that_came_while_nobody_looked_is_an_answer(transport_to: Made) -> None:
    """A loop that stood still past the deadline reads what lies in the socket before it gives anything up."""
    clock, count, size = Clock(), 100, 200
    reply = ReplyAll(Reply(body=b"x" * size))
    with WireServer(lambda seen: (reply,) if seen.number in (1, count + 1) else ()) as server:
        transport = transport_to(server, clock, max_connections=1)
        warm(transport)
        for number in range(count):
            transport.submit(request(number))
        answers = transport.poll(0)
        assert answers == []
        give_up = time.monotonic() + PATIENCE_S
        while unread_bytes(transport) < count * size:
            assert time.monotonic() < give_up
        clock.now += 60
        assert [answer.status for answer in transport.poll(0)] == [200] * count


def test_what_is_silent_is_given_up_however_busy_the_others_are(transport_to: Made) -> None:
    """Its time is its own: answers that keep coming to other requests do not extend it."""
    clock = Clock()
    with WireServer(lambda seen: () if seen.number == 2 else (Reply(),)) as server:
        transport = transport_to(server, clock, timeout_ms=5_000)
        warm(transport)
        transport.submit(request(0))
        for number in range(1, 10):
            clock.now += 0.5
            transport.submit(request(number))
            assert [answer.ticket for answer in collect(transport, 1)] == [number]
        clock.now += 0.6
        transport.submit(request(10))
        answers = {answer.ticket: answer for answer in collect(transport, 2)}
        assert (answers[0].no_answer, answers[10].status) == (NoAnswer.UNANSWERED, 200)


def test_a_slow_answer_keeps_none_of_the_requests_answered_behind_it(transport_to: Made) -> None:
    """While one request waits, those that were answered after it are freed: at 10,000 a second they are 80 MB."""

    class Ticket:
        """What a caller hangs on a request: in the worker a push, with its token and its texts."""

    with WireServer(lambda seen: () if seen.number == 1 else (Reply(),)) as server:
        transport = transport_to(server, timeout_ms=60_000)
        transport.submit(request(0))
        while not server.paths():
            transport.poll(0.1)
        alive: weakref.WeakSet[Ticket] = weakref.WeakSet()

        def ask(number: int) -> None:
            ticket = Ticket()
            alive.add(ticket)
            transport.submit(msgspec.structs.replace(request(number), ticket=ticket))

        for _ in range(40):
            for number in range(50):
                ask(number)
            collect(transport, 50)
        assert transport.in_flight == 1
        assert len(alive) < 500


def test_a_connection_gone_silent_is_given_up(transport_to: Made) -> None:
    """Several timeouts in a row with no answer between: the connection counts as dead, a fresh one takes over."""
    with WireServer(lambda seen: (Reply(),) if seen.connection > 1 or seen.number == 1 else ()) as server:
        transport = transport_to(server, timeout_ms=150)
        warm(transport)
        assert outcomes(send(transport, 6)) == {NoAnswer.UNANSWERED}
        assert warm(transport).connection == 2


def test_all_that_a_silent_server_took_is_given_up(transport_to: Made) -> None:
    """No more is taken than the server's limit allows: all of it went out, and may have been processed."""
    with WireServer(lambda seen: (Reply(),) if seen.number == 1 else (), max_concurrent_streams=6) as server:
        transport = transport_to(server, max_connections=1, timeout_ms=200)
        warm(transport)
        assert transport.room("gw") == 6
        for number in range(6):
            transport.submit(request(number))
        assert outcomes(collect(transport, 6)) == {NoAnswer.UNANSWERED}
        assert transport.in_flight == 0
        assert_seen_once(server)


# -- how many at once ---------------------------------------------------------------------------------------------


def test_one_request_alone_until_the_first_answer(transport_to: Made) -> None:
    """APNs: each fresh connection carries exactly one stream until its first answer, the later ones too."""
    with WireServer(always(Reply(delay_s=0.02))) as server:
        transport = transport_to(server, probe_first=True, max_connections=3, max_streams=20)
        assert transport.room("gw") == 1
        send(transport, 300)
        assert server.connections == 3
        assert server.peak_before_first_answer == {1: 1, 2: 1, 3: 1}
        assert max(server.peak_streams.values()) <= 20
        assert_seen_once(server)


def test_settings_rule_after_the_first_answer(transport_to: Made) -> None:
    """APNs starts with one stream and raises it to 500: never more in flight than SETTINGS say, and then many."""

    def behaviour(seen: Seen) -> tuple[Action, ...]:
        return (Settings(500), Reply()) if seen.number == 1 else (Reply(delay_s=0.2),)

    with WireServer(behaviour, max_concurrent_streams=1) as server:
        transport = transport_to(server, probe_first=True, max_connections=1, max_streams=400)
        send(transport, 900)
        assert server.violations == []
        assert server.peak_before_first_answer == {1: 1}
        assert 150 < server.peak_streams[1] <= 400
        assert server.peak_connections == 1


def test_a_low_settings_limit_is_obeyed(transport_to: Made) -> None:
    """The server allows three streams: the rest waits inside, unsent, and all are answered."""
    with WireServer(always(Reply(delay_s=0.002)), max_concurrent_streams=3) as server:
        answers = send(transport_to(server, max_connections=1, probe_first=True), 60)
        assert outcomes(answers) == {None}
        assert server.peak_streams == {1: 3}
        assert server.violations == []
        assert_seen_once(server)


def test_no_more_connections_than_latency_needs(transport_to: Made) -> None:
    """Few in flight fit on one connection; further ones open only when all are full."""
    with WireServer() as server:
        transport = transport_to(server, max_connections=4)
        for number in range(50):
            send(transport, 1, first=number)
        assert server.connections == 1


def test_without_room_nothing_is_taken(transport_to: Made) -> None:
    """`room` is the promise, `NoRoomError` the answer to asking for more; the error names no token."""
    with WireServer(always()) as server:
        transport = transport_to(server, max_connections=1, probe_first=True)
        transport.submit(request(1))
        assert (transport.room("gw"), transport.in_flight) == (0, 1)
        with pytest.raises(NoRoomError) as raised:
            transport.submit(request(2))
        assert TOKEN not in str(raised.value)


# -- replacing ----------------------------------------------------------------------------------------------------


def test_a_replaced_connection_drains_and_takes_nothing_new(transport_to: Made) -> None:
    """What is in flight is answered on the old one, what comes next goes to a fresh one, and the old one closes."""
    with WireServer(lambda seen: (Reply(delay_s=0.1 if seen.path.endswith("-1") else 0),)) as server:
        transport = transport_to(server, probe_first=True)
        old = warm(transport).connection
        transport.submit(request(1))
        transport.poll(0.01)
        transport.replace_connection("gw", old)
        transport.submit(request(2))
        by_ticket = {answer.ticket: answer.connection for answer in collect(transport, 2)}
        assert by_ticket == {1: old, 2: old + 1}
        assert [seen.connection for seen in server.seen] == [1, 1, 2]
        transport.replace_connection("gw", old)
        assert warm(transport).connection == old + 1


def test_closing_drops_what_is_in_flight(transport_to: Made) -> None:
    """After `close` nothing is in flight; closing twice is harmless."""
    with WireServer(nth((Reply(),))) as server:
        transport = transport_to(server)
        warm(transport)
        transport.submit(request(1))
        transport.poll(0.05)
        transport.close()
        assert transport.in_flight == 0
        transport.close()


# -- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [(Close(abort=True),), (Reset(),), (GoAway(0), Close()), ()], ids=str)
def test_no_token_is_in_any_text(transport_to: Made, actions: tuple[Action, ...]) -> None:
    """Details and reprs never hold the path, whatever goes wrong."""
    with WireServer(always(*actions)) as server:
        (answer,) = send(transport_to(server, timeout_ms=200), 1)
        assert TOKEN not in repr(answer) + answer.detail + repr(request(1))
        assert answer.detail
