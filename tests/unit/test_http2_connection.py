"""The state machine, frame by frame: what the protocol allows a server, and what a hostile one tries."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.gateway.http2 import frames
from notifier.gateway.http2.connection import ANSWER_LIMIT, CREDIT_BYTES, Connection
from notifier.gateway.http2.frames import ErrorCode
from notifier.gateway.http2.stream import Outcome, Stream
from notifier.model.exchange import Request
from tests.examples import examples

TOKEN = "device-token-that-nobody-may-read"
OK = b"\x88"
END = frames.END_HEADERS | frames.END_STREAM
MEGABYTE = 1024 * 1024


class Talk:
    """A connection whose server is this test."""

    def __init__(self, *, settings_first: tuple[tuple[int, int], ...] = ()) -> None:
        self.connection = Connection("gateway.example")
        self.ended: list[Stream] = []
        self.connection.receive(frames.settings(settings_first))
        self.sent()

    def ask(self, count: int = 1, body: bytes = b'{"message":{}}', *, written: bool = True) -> list[Stream]:
        """Submit requests; their frames go out if `written`."""
        asked: list[Stream] = []
        for _ in range(count):
            stream = Stream(Request(endpoint="gw", path=f"/{TOKEN}", headers=["x: y"], body=body, ticket=len(asked)))
            assert self.connection.submit(stream)
            asked.append(stream)
        if written:
            self.sent()
        return asked

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """The frames that the connection has to send, all of them."""
        data = b""
        while self.connection.has_data:
            data += self.connection.data_to_send()
        return list(frames.FrameReader().feed(data.removeprefix(frames.PREFACE)))

    def hears(self, *pieces: bytes) -> list[Stream]:
        """Bytes of the server's arrive; return the streams that ended by them."""
        ended = self.connection.receive(b"".join(pieces))
        self.ended += ended
        return ended


def head(stream_id: int, block: bytes = OK, flags: int = END) -> bytes:
    """HEADERS."""
    return frames.frame(frames.HEADERS, flags, stream_id, block)


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    """DATA."""
    return frames.frame(frames.DATA, flags, stream_id, payload)


def go_away(last: int, code: int = 0, reason: bytes = b"") -> bytes:
    """The server's GOAWAY."""
    return frames.frame(frames.GOAWAY, 0, 0, frames.TWO_WORDS.pack(last, code) + reason)


def resets(talk: Talk) -> list[tuple[int, int]]:
    """Stream and code of each RST_STREAM of ours."""
    return [(one, frames.WORD.unpack(payload)[0]) for kind, _, one, payload in talk.sent() if kind == frames.RST_STREAM]


# -- what a server may do -------------------------------------------------------------------------------------------


def test_we_begin_with_the_preface_and_our_settings() -> None:
    """No header table for answers, no push, a window for each stream that is as large as what we keep."""
    sent = Connection("gateway.example").data_to_send()
    assert sent.startswith(frames.PREFACE)
    first, second = frames.FrameReader().feed(sent.removeprefix(frames.PREFACE))
    assert dict(frames.settings_of(first[3])) == {1: 0, 2: 0, 4: ANSWER_LIMIT, 6: 16_384}
    assert second[:3] == (frames.WINDOW_UPDATE, 0, 0)


def test_nothing_is_opened_before_the_servers_settings() -> None:
    """Servers differ in what they take until then; afterwards the limit is theirs, also when it changes."""
    connection = Connection("gateway.example")
    assert connection.room == 0
    assert not connection.submit(Stream(Request(endpoint="gw", path="/", headers=[], body=b"", ticket=0)))
    connection.receive(frames.settings([(frames.MAX_CONCURRENT_STREAMS, 1)]))
    assert connection.room == 1
    connection.receive(frames.settings([(frames.MAX_CONCURRENT_STREAMS, 500)]))
    assert connection.room == 500


def test_informational_answers_come_before_the_answer_and_trailers_behind_it() -> None:
    """Neither is the answer."""
    talk = Talk()
    (stream,) = talk.ask()
    early, trailers = b"\x08\x03103", b"\x00\x01x\x01y"
    assert not talk.hears(head(1, early, frames.END_HEADERS), head(1, OK, frames.END_HEADERS), data(1, b"body"))
    assert talk.hears(head(1, trailers)) == [stream]
    assert (stream.outcome, stream.status, bytes(stream.body)) == (Outcome.ANSWERED, 200, b"body")


def test_padding_priority_and_continuation_are_read() -> None:
    """A head in three frames, padded, with the deprecated priority; a padded body."""
    talk = Talk()
    (stream,) = talk.ask()
    first = b"\x03" + bytes(5) + b"\x08" + bytes(3)
    talk.hears(frames.frame(frames.HEADERS, frames.PADDED | frames.HAS_PRIORITY, 1, first))
    talk.hears(frames.frame(frames.CONTINUATION, 0, 1, b"\x034"))
    talk.hears(frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, b"10"))
    talk.hears(data(1, b"\x02ab\0\0", frames.PADDED | frames.END_STREAM))
    assert (stream.status, bytes(stream.body)) == (410, b"ab")


def test_an_answer_before_the_body_is_sent_ends_the_request() -> None:
    """The window is shut, the answer is complete: it counts, and our half of the stream is closed."""
    talk = Talk(settings_first=((frames.INITIAL_WINDOW_SIZE, 3),))
    (stream,) = talk.ask()
    assert talk.hears(head(1, b"\x08\x03413")) == [stream]
    assert (stream.outcome, stream.status) == (Outcome.ANSWERED, 413)
    assert resets(talk) == [(1, ErrorCode.CANCEL)]
    assert talk.hears(frames.reset(1, ErrorCode.NO_ERROR), frames.window_update(1, 100)) == []
    assert talk.sent() == []


def test_what_the_server_says_of_streams_that_have_ended_is_ignored() -> None:
    """Frames that were on their way when we gave up the stream."""
    talk = Talk()
    (stream,) = talk.ask()
    talk.connection.cancel(stream, "no answer in time")
    assert talk.hears(head(1, OK, frames.END_HEADERS), data(1, b"late", frames.END_STREAM)) == []
    assert not talk.connection.ended
    assert stream.outcome is Outcome.UNANSWERED


def test_goaway_twice_is_a_graceful_shutdown() -> None:
    """The first says that no stream should be opened, the second which ones were read; those are still answered."""
    talk = Talk()
    first, second, third = talk.ask(3)
    assert talk.hears(go_away(2**31 - 1)) == []
    assert (talk.connection.room, talk.connection.draining) == (0, True)
    assert talk.hears(go_away(3, reason=b'{"reason":"Shutdown"}')) == [third]
    assert (third.outcome, third.of_connection) == (Outcome.REFUSED, True)
    assert "NO_ERROR, Shutdown" in third.detail
    assert talk.hears(head(1), head(3)) == [first, second]
    assert talk.connection.open == 0


def test_what_waits_for_the_socket_was_never_sent() -> None:
    """The end of a connection: not a byte, not all of it, all of it without an answer, a status."""
    talk = Talk()
    answered, whole = talk.ask(2)
    (partly,) = talk.ask(body=b"x" * 1_000, written=False)
    talk.connection.data_to_send(500)
    (never,) = talk.ask(written=False)
    talk.hears(head(1, OK, frames.END_HEADERS))
    lost = talk.connection.lost("the server closed the connection")
    assert lost == [answered, whole, partly, never]
    kinds = [Outcome.ANSWERED, Outcome.UNANSWERED, Outcome.REFUSED, Outcome.UNSENT]
    assert [stream.outcome for stream in lost] == kinds
    assert talk.sent() == []


def test_goaway_gives_back_what_was_never_sent() -> None:
    """What still waits for the socket can go to another connection."""
    talk = Talk()
    (written,) = talk.ask()
    (waiting,) = talk.ask(written=False)
    assert talk.hears(go_away(0)) == [written, waiting]
    assert [written.outcome, waiting.outcome] == [Outcome.REFUSED, Outcome.UNSENT]


def test_what_goaway_gave_back_is_not_sent_any_further() -> None:
    """Most of its body was held back; another connection has it now, and this one's window opens."""
    talk = Talk()
    talk.ask(body=b"x" * (frames.DEFAULT_WINDOW - 3))
    (stream,) = talk.ask(written=False)
    talk.hears(go_away(0))
    stream.outcome = None
    talk.hears(frames.window_update(0, 1_000))
    bodies = [payload for kind, _, _, payload in talk.sent() if kind == frames.DATA]
    assert b"".join(bodies) == stream.request.body[:3]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (ErrorCode.REFUSED_STREAM, Outcome.REFUSED),
        (ErrorCode.NO_ERROR, Outcome.UNANSWERED),
        (ErrorCode.CANCEL, Outcome.UNANSWERED),
        (ErrorCode.ENHANCE_YOUR_CALM, Outcome.UNANSWERED),
        (0xFFFF, Outcome.UNANSWERED),
    ],
)
def test_a_reset_stream_was_not_processed_only_if_it_was_refused(code: int, outcome: Outcome) -> None:
    """Every other code says nothing about that; behind a status the status counts."""
    talk = Talk()
    plain, begun = talk.ask(2)
    reset = frames.frame(frames.RST_STREAM, 0, 1, frames.WORD.pack(code))
    later = frames.frame(frames.RST_STREAM, 0, 3, frames.WORD.pack(code))
    talk.hears(reset, head(3, OK, frames.END_HEADERS), later)
    assert (plain.outcome, begun.outcome, begun.status) == (outcome, Outcome.ANSWERED, 200)
    assert not plain.of_connection
    assert not talk.connection.ended


def test_a_large_head_of_ours_goes_out_in_several_frames() -> None:
    """HEADERS and CONTINUATION, with nothing between them."""
    talk = Talk()
    stream = Stream(Request(endpoint="gw", path="/", headers=["x: " + "v" * 40_000], body=b"b", ticket=0))
    talk.connection.submit(stream)
    sent = [(kind, flags) for kind, flags, _, _ in talk.sent()]
    middle = [(frames.CONTINUATION, 0), (frames.CONTINUATION, frames.END_HEADERS)]
    assert sent == [(frames.HEADERS, 0), *middle, (frames.DATA, frames.END_STREAM)]


def test_ping_and_settings_are_acknowledged() -> None:
    """With the same eight bytes; acknowledgements of ours are not."""
    talk = Talk()
    talk.connection.ping()
    assert [kind for kind, *_ in talk.sent()] == [frames.PING]
    talk.hears(frames.ping(b"12345678"), frames.settings([]), frames.SETTINGS_ACK, frames.ping(b"notifier", ack=True))
    assert talk.sent() == [(frames.PING, frames.ACK, 0, b"12345678"), (frames.SETTINGS, frames.ACK, 0, b"")]


def test_the_connections_window_is_renewed_rarely() -> None:
    """One WINDOW_UPDATE for half of the window, whatever streams the bytes belonged to."""
    talk = Talk()
    updates = []
    for _ in range(3 * CREDIT_BYTES // 16_384):
        talk.ask()
        stream_id = talk.connection._next_id - 2
        talk.hears(head(stream_id, OK, frames.END_HEADERS), data(stream_id, b"x" * 16_384, frames.END_STREAM))
        updates += [frame for frame in talk.sent() if frame[0] == frames.WINDOW_UPDATE]
    assert len(updates) == 3
    assert {frame[2] for frame in updates} == {0}


# -- what ends a stream, or the connection ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        (data(1, b"before the head"),),
        (head(1, b"\x08\x03103"),),
        (head(1, OK, frames.END_HEADERS), head(1, OK, frames.END_HEADERS)),
    ],
    ids=["no head", "only informational", "trailers without an end"],
)
def test_a_malformed_answer_ends_its_stream_alone(pieces: tuple[bytes, ...]) -> None:
    """RST_STREAM; the others go on."""
    talk = Talk()
    broken, other = talk.ask(2)
    assert talk.hears(*pieces) == [broken]
    assert broken.outcome is (Outcome.ANSWERED if broken.status else Outcome.UNANSWERED)
    assert resets(talk) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert talk.hears(head(3)) == [other]


def wrong(kind: int, stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    """Any frame."""
    return frames.frame(kind, flags, stream_id, payload)


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        (head(1, b"\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
        (head(1, b"\x61\x01x"), ErrorCode.COMPRESSION_ERROR),
        (head(1, b"\x8d\xbe"), ErrorCode.COMPRESSION_ERROR),
        (head(2), ErrorCode.PROTOCOL_ERROR),
        (head(99), ErrorCode.PROTOCOL_ERROR),
        (data(99, b""), ErrorCode.PROTOCOL_ERROR),
        (data(0, b""), ErrorCode.PROTOCOL_ERROR),
        (data(1, b"\x09a", frames.PADDED), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.HEADERS, 1, b"", END | frames.PADDED), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.PUSH_PROMISE, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.CONTINUATION, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (head(1, OK, 0) + frames.ping(bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.SETTINGS, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.SETTINGS, 0, bytes(6), frames.ACK), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.SETTINGS, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.settings([(frames.ENABLE_PUSH, 1)]), ErrorCode.PROTOCOL_ERROR),
        (frames.settings([(frames.INITIAL_WINDOW_SIZE, 2**31)]), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.settings([(frames.MAX_FRAME_SIZE, 1)]), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.PING, 0, b""), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.PING, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.GOAWAY, 0, b""), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.GOAWAY, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.RST_STREAM, 1, b""), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.RST_STREAM, 9, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (wrong(frames.PRIORITY, 1, b""), ErrorCode.FRAME_SIZE_ERROR),
        (wrong(frames.WINDOW_UPDATE, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frames.window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
        (wrong(frames.DATA, 1, bytes(16_385)), ErrorCode.FRAME_SIZE_ERROR),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_a_broken_protocol_ends_the_connection_with_goaway(piece: bytes, code: ErrorCode) -> None:
    """All that was asked may have been processed; the reason is in words, and the server gets the code."""
    talk = Talk()
    asked = talk.ask(2)
    assert sorted(one.id for one in talk.hears(piece)) == [1, 3]
    assert talk.connection.ended.startswith("the server broke HTTP/2: ")
    assert {one.outcome for one in asked} <= {Outcome.UNANSWERED, Outcome.ANSWERED}
    assert all(one.of_connection for one in asked if one.outcome is Outcome.UNANSWERED)
    ((kind, _, _, payload),) = talk.sent()
    assert (kind, frames.TWO_WORDS.unpack(payload)) == (frames.GOAWAY, (0, code))
    assert talk.hears(head(1), head(3)) == []


def test_a_first_frame_that_is_not_settings_ends_the_connection() -> None:
    """E.g. a server of another protocol."""
    connection = Connection("gateway.example")
    connection.receive(frames.ping(bytes(8)))
    assert "SETTINGS" in connection.ended


def test_a_status_that_came_before_the_connection_broke_counts() -> None:
    """The head cannot be decoded to its end: the status in it is the answer, and the connection ends."""
    talk = Talk()
    refused, other = talk.ask(2)
    talk.hears(head(1, b"\x8d\x7f\xff\xff\xff\xff\xff"))
    assert (refused.outcome, refused.status) == (Outcome.ANSWERED, 404)
    assert other.outcome is Outcome.UNANSWERED
    assert talk.connection.ended


# -- a hostile server ------------------------------------------------------------------------------------------------


def peak_bytes() -> int:
    """The largest size of all that was allocated since `tracemalloc.start`."""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_headers_without_an_end_end_the_connection() -> None:
    """By their number of frames, or by their bytes."""
    for fragment in (b"", bytes(16_384)):
        talk = Talk()
        talk.ask()
        tracemalloc.start()
        talk.hears(head(1, OK, 0))
        for _ in range(1_000):
            talk.hears(wrong(frames.CONTINUATION, 1, fragment))
        assert peak_bytes() < MEGABYTE
        assert "headers without an end" in talk.connection.ended


def test_a_head_above_the_limit_still_has_its_status() -> None:
    """What is too much is dropped: no list of headers is made of it."""
    talk = Talk()
    (stream,) = talk.ask()
    tracemalloc.start()
    talk.hears(head(1, b"\x8d" + b"\x82" * 16_000, 0))
    talk.hears(*[wrong(frames.CONTINUATION, 1, b"\x82" * 16_000)] * 8)
    assert talk.hears(wrong(frames.CONTINUATION, 1, b"", frames.END_HEADERS)) == []
    assert talk.hears(data(1, b"", frames.END_STREAM)) == [stream]
    assert (stream.status, peak_bytes() < MEGABYTE) == (404, True)


@pytest.mark.parametrize(
    "frame", [frames.ping(b"12345678"), frames.settings([]), frames.settings([(4, 1), (1, 0), (1, 4096)])]
)
def test_a_flood_that_wants_acknowledgements_and_reads_none_ends_the_connection(frame: bytes) -> None:
    """What waits to be sent stays small."""
    talk = Talk()
    talk.ask()
    tracemalloc.start()
    for _ in range(20):
        talk.hears(frame * 1_000)
    assert "flood" in talk.connection.ended
    assert peak_bytes() < MEGABYTE


def test_a_flood_that_reads_its_acknowledgements_costs_no_memory() -> None:
    """Nothing of it is kept."""
    talk = Talk()
    tracemalloc.start()
    for _ in range(80):
        talk.hears(frames.ping(b"12345678") * 500, frames.settings([(frames.INITIAL_WINDOW_SIZE, 1)]) * 400)
        talk.sent()
    assert not talk.connection.ended
    # All acknowledgements together are 970 kB.
    assert peak_bytes() < MEGABYTE // 4


def test_resets_of_everything_end_each_request_once() -> None:
    """As fast as requests are made."""
    talk = Talk(settings_first=((frames.MAX_CONCURRENT_STREAMS, 100),))
    for turn in range(50):
        talk.ask(100)
        first = 1 + turn * 200
        talk.hears(*(frames.reset(one, ErrorCode.REFUSED_STREAM) for one in range(first, first + 200, 2)))
    assert len(talk.ended) == 5_000
    assert {stream.outcome for stream in talk.ended} == {Outcome.REFUSED}
    assert not talk.connection.ended


def test_tiny_windows_do_not_pile_up_frames() -> None:
    """One byte more for each of a thousand bodies, again and again, and nothing is read: what waits stays bounded."""
    talk = Talk(settings_first=((frames.INITIAL_WINDOW_SIZE, 0),))
    talk.ask(1_000, body=b"x" * 4_000)
    talk.connection.receive(frames.window_update(0, 2**30))
    tracemalloc.start()
    for size in range(1, 900):
        talk.hears(frames.settings([(frames.INITIAL_WINDOW_SIZE, size)]))
    assert peak_bytes() < MEGABYTE


def test_an_answer_without_an_end_is_cut_off() -> None:
    """A gigabyte: the first bytes are kept, the stream is reset, and what comes all the same is dropped."""
    talk = Talk()
    (stream,) = talk.ask()
    tracemalloc.start()
    ended = talk.hears(head(1, b"\x8e", frames.END_HEADERS))
    piece = data(1, b"x" * 16_000) * 64
    for _ in range(1_000):
        ended += talk.hears(piece)
        talk.sent()
    assert ended == [stream]
    assert (stream.status, len(stream.body)) == (500, ANSWER_LIMIT)
    assert peak_bytes() < 3 * MEGABYTE
    assert talk.connection.open == 0


def test_an_answer_in_single_bytes_is_whole() -> None:
    """One byte a frame, one byte a read."""
    talk = Talk()
    (stream,) = talk.ask()
    text = b'{"reason":"BadDeviceToken"}'
    parts = [data(1, bytes([one])) for one in text]
    for one in b"".join((head(1, b"\x8c", frames.END_HEADERS), *parts, data(1, b"", frames.END_STREAM))):
        talk.hears(bytes([one]))
    assert (stream.status, bytes(stream.body)) == (400, text)


FRAMES = st.tuples(
    st.sampled_from([*range(10), 0xBE]),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 3, 3, 5, 2, 99]),
    st.one_of(st.sampled_from([OK, b"\x8d", bytes(4), bytes(8), b"\0\0\0\1", b"\0\4\0\0\0\1"]), st.binary(max_size=20)),
)


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(FRAMES, max_size=12), st.integers(1, 50), st.binary(max_size=20))
def test_whatever_a_server_sends_each_request_ends_once(
    said: list[tuple[int, int, int, bytes]], size: int, garbage: bytes
) -> None:
    """Any frames with any flags, cut anywhere, then bytes of any kind: no exception, and no token in any text."""
    talk = Talk()
    asked = talk.ask(3)
    heard = b"".join(frames.frame(kind, flags, one, payload) for kind, flags, one, payload in said) + garbage
    for at in range(0, len(heard), size):
        talk.hears(heard[at : at + size])
    talk.ended += talk.connection.lost("the server closed the connection")
    assert Counter(one.id for one in talk.ended) == {1: 1, 3: 1, 5: 1}
    assert all(one.outcome is not None for one in asked)
    assert TOKEN not in "".join(repr(one) + one.detail for one in asked) + talk.connection.ended
