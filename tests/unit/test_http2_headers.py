"""The header blocks we send, decoded by the `hpack` library as the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import hpack
import pytest
from hpack.hpack import decode_integer
from hyperframe.frame import Frame, HeadersFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.gateway.http2.answer_head import MalformedHead, retry_after_of, status_of
from notifier.gateway.http2.connection import Connection
from notifier.gateway.http2.frames import PREFACE
from notifier.gateway.http2.headers import HeaderEncoder
from notifier.gateway.http2.stream import Stream
from notifier.model.exchange import Request
from tests.examples import examples

AUTHORITY = "gateway.example:443"
TOKEN = "device-token-that-nobody-may-read"
SECRET = "authorization: bearer " + "s" * 200
CONSTANT = (
    "apns-topic: com.example.app",
    "apns-push-type: alert",
    "apns-priority: 10",
    "content-type: application/json",
)
VALUES = st.text("abcdefghij0123456789-./", max_size=40)
LINES = st.one_of(
    st.sampled_from([*CONSTANT, SECRET, "authorization: bearer renewed", "Apns-Collapse-Id: x"]),
    VALUES.map("apns-id: {}".format),
    VALUES.map("apns-expiration: {}".format),
    VALUES.map("x-any: {}".format),
)
SIZES = st.sampled_from([0, 1, 60, 200, 1_000, 4_096, 65_536])
STEPS = st.lists(
    st.one_of(st.tuples(st.sampled_from(["/shared", f"/3/{TOKEN}"]), st.lists(LINES, max_size=6)), SIZES), max_size=12
)


def fields(path: str, lines: list[str]) -> list[tuple[str, str]]:
    """What a server should see."""
    given_lines = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", AUTHORITY), (":path", path)]
    return [*pseudo, *given_lines, ("user-agent", "notifier")]


def seen(decoded: Iterable[tuple[object, ...]]) -> list[tuple[str, str]]:
    """What it saw."""
    return [(str(name), str(value)) for name, value in decoded]


def apns_lines(number: int) -> list[str]:
    """A push's headers, with its own id."""
    return [SECRET, f"apns-id: {number:036d}", *CONSTANT]


@settings(max_examples=examples(150), deadline=None)
@given(STEPS, st.booleans())
def test_the_server_decodes_what_was_meant(steps: list[int | tuple[str, list[str]]], path_is_shared: bool) -> None:
    """Whatever the headers and the server's table sizes: each block decodes to its request, secrets never indexed.

    A path may hold a token unless all have the same.
    """
    encoder, decoder = HeaderEncoder(AUTHORITY, path_is_shared=path_is_shared), hpack.Decoder()
    for step in steps:
        if isinstance(step, int):
            encoder.resize(step)
            decoder.max_allowed_table_size = step
            continue
        path, lines = ("/shared", step[1]) if path_is_shared else step
        for _ in range(2):
            block = encoder.encode(path, lines)
            decoded = decoder.decode(block)
            assert seen(decoded) == fields(path, lines)
            for field in decoded:
                is_path = str(field[0]) == ":path" and not path_is_shared
                is_secret = str(field[0]) == "authorization" or is_path
                assert isinstance(field, hpack.NeverIndexedHeaderTuple) == is_secret
        assert not any(TOKEN in str(entry) or "bearer" in str(entry) for entry in decoder.header_table.dynamic_entries)


def test_a_constant_header_costs_one_byte_after_the_first_request() -> None:
    """Method, scheme, authority, four constants and the agent: a byte each; an id costs its value and three bytes."""
    encoder = HeaderEncoder(AUTHORITY)
    encoder.encode("/3/device/a", apns_lines(1))
    path, secret, identity = len("/3/device/a") + 2, len(encoder.encode("/", [SECRET])) - 3 - 3 - 1, 36 + 3
    assert len(encoder.encode("/3/device/b", apns_lines(2))) == 3 + path + secret + identity + len(CONSTANT) + 1


def sent_blocks(requests: Iterable[Request]) -> list[bytes]:
    """The header blocks of requests on one connection, cut out of its bytes by `hyperframe`, h2's frames."""
    connection = Connection(AUTHORITY)
    connection.receive(SettingsFrame(0).serialize())
    for request in requests:
        assert connection.submit(Stream(request))
    left, blocks = memoryview(connection.data_to_send(100_000))[len(PREFACE) :], []
    while left:
        frame, size = Frame.parse_frame_header(left[:9])
        frame.parse_body(left[9 : 9 + size])
        left = left[9 + size :]
        if isinstance(frame, HeadersFrame):
            blocks.append(bytes(frame.data))
    return blocks


def bytes_by_field(decoder: hpack.Decoder, block: bytes) -> dict[str, int]:
    """How many bytes each field takes: names by `hpack`, lengths by a walk over its representations (RFC 7541, 6)."""
    at, sizes = 0, []
    while at < len(block):
        begin, first = at, block[at]
        bits = 7 if first & 0x80 else 6 if first & 0x40 else 4
        index, used = decode_integer(block[at:], bits)
        at += used
        for _ in range(0 if bits == 7 else 1 if index else 2):  # the strings behind it: value, or name and value
            length, used = decode_integer(block[at:], 7)
            at += used + length
        sizes.append(at - begin)
    return dict(zip((str(field[0]) for field in decoder.decode(block)), sizes, strict=True))


def test_on_the_wire_each_constant_header_is_one_byte() -> None:
    """From the second request of a connection on, as others decode its bytes; path, secret and id are sent whole."""
    requests = [
        Request(endpoint="apns", path=f"/3/device/{n:064x}", headers=apns_lines(n), body=b"{}", ticket=n)
        for n in range(3)
    ]
    decoder = hpack.Decoder()
    _, *later = [bytes_by_field(decoder, block) for block in sent_blocks(requests)]
    assert len(later) == 2
    for sizes in later:
        whole = {name: sizes.pop(name) for name in (":path", "authorization", "apns-id")}
        assert set(sizes.values()) == {1}
        assert {":method", ":scheme", ":authority", "apns-topic", "content-type", "user-agent"} <= sizes.keys()
        # Not in Huffman's code: it would save 34 of these bytes, for 5 us (tests/bench/results/http2.md).
        assert (whole[":path"], whole["apns-id"]) == (len("/3/device/") + 64 + 2, 36 + 3)


def test_a_shared_path_and_the_same_headers_cost_a_byte_each() -> None:
    """FCM: everything but the credentials is named by index."""
    encoder, lines = HeaderEncoder(AUTHORITY, path_is_shared=True), ["content-type: application/json"]
    first = encoder.encode("/v1/projects/p/messages:send", lines)
    assert len(first) > 60
    assert len(encoder.encode("/v1/projects/p/messages:send", lines)) == 6


def test_a_full_table_keeps_what_it_has() -> None:
    """More constants than the server has room for: the first are named by index for ever, the others sent whole."""
    encoder, decoder = HeaderEncoder(AUTHORITY), hpack.Decoder()
    sizes = []
    for number in range(300):
        lines = [CONSTANT[0], f"x-{number}: {'v' * 100}"]
        block = encoder.encode("/", lines)
        assert seen(decoder.decode(block)) == fields("/", lines)
        sizes.append(len(block))
    assert sizes[-1] == sizes[-2]
    assert len(encoder.encode("/", [CONSTANT[0]])) == 3 + 3 + 1 + 1


def test_credentials_that_were_renewed_are_forgotten() -> None:
    """Only the newest are kept, however often they change."""
    encoder = HeaderEncoder(AUTHORITY)
    for number in range(50):
        encoder.encode("/", [f"authorization: bearer {number}"])
    kept = [line for line in encoder._literals if line.startswith("authorization")]
    assert kept == ["authorization: bearer 49"]


# -- the server's ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("sensitive", [False, True])
def test_every_status_is_read_in_every_form(huffman: bool, sensitive: bool) -> None:
    """Indexed, literal, in Huffman's code, behind a confirmation of the table's size."""
    for status in range(100, 600):
        encoder = hpack.Encoder()
        encoder.header_table_size = 0
        block = encoder.encode([(":status", str(status), sensitive), ("retry-after", "30")], huffman=huffman)
        assert block[0] == 0x20
        assert status_of(block) == status_of(block[1:]) == status
        assert retry_after_of(block) == "30"


def test_a_status_with_its_name_spelled_out_is_read() -> None:
    """No server does so; it is allowed."""
    assert status_of(b"\x00\x07:status\x03418\x5f\x04text") == 418


@given(st.binary(max_size=60))
def test_bytes_that_are_no_head_are_malformed_and_nothing_else(block: bytes) -> None:
    """No other exception than the one that the connection expects."""
    for read in (status_of, retry_after_of):
        with contextlib.suppress(MalformedHead):
            read(block)
