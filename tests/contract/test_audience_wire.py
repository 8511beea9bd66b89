"""S3 bodies that stall, break off and end early: a small server of our own, because moto's does none of it."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from notifier.audience import (
    AudienceChanged,
    AudienceDenied,
    AudienceStream,
    AudienceUnreachable,
    PinnedObject,
    pin,
    pin_parts,
)
from notifier.audience.ranges import ATTEMPTS, check_unchanged, read_ranges
from notifier.model.campaign import Part
from tests.contract.audience_s3 import BUCKET, as_list, read_all, s3_client, users

ETAG = "0123456789abcdef"
Fault = Callable[[BaseHTTPRequestHandler, bytes], None]


class Server(ThreadingHTTPServer):
    """Answers ranged GETs of one object. `faults` are used up one a request; then it behaves."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are what this is for."""

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def pinned(self) -> PinnedObject:
        """Its one object."""
        return PinnedObject(BUCKET, "users.json", None, ETAG, len(self.body))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The range asked for, or the next fault."""
        asked = self.headers.get("Range", "")
        self.server.requests.append(asked)
        start, _, end = asked.removeprefix("bytes=").partition("-")
        body = self.server.body[int(start or 0) : int(end or -2) + 1]
        fault = self.server.faults.pop(0) if self.server.faults else whole
        fault(self, body)

    def do_HEAD(self) -> None:
        """What a GET of all would say, without the body."""
        self.server.requests.append("HEAD")
        fault = self.server.faults.pop(0) if self.server.faults else found
        fault(self, b"")

    def begin(self, length: int, status: int = 206, etag: str = ETAG) -> None:
        """Status and headers of an answer."""
        start, _, end = self.headers.get("Range", "bytes=0-0").removeprefix("bytes=").partition("-")
        self.send_response(status)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.server.body)}")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def whole(handler: Any, body: bytes) -> None:
    """The body as it should be."""
    handler.begin(len(body))
    handler.wfile.write(body)


def found(handler: Any, _: bytes) -> None:
    """The whole object's headers."""
    handler.begin(len(handler.server.body), 200)


def stalled(handler: Any, body: bytes) -> None:
    """Half of the body, then nothing more while the client waits."""
    handler.begin(len(body))
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.server.released.wait(10)
    handler.close_connection = True


def cut(handler: Any, body: bytes) -> None:
    """Half of the body, then the connection closes."""
    handler.begin(len(body))
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def hung_up(handler: Any, _: bytes) -> None:
    """No answer at all."""
    handler.close_connection = True


def short(handler: Any, body: bytes) -> None:
    """A body that is complete by its own length, and shorter than the range."""
    handler.begin(len(body) // 2)
    handler.wfile.write(body[: len(body) // 2])


def slow_down(handler: Any, _: bytes) -> None:
    """503, as S3 says it is busy."""
    answer = b"<Error><Code>SlowDown</Code></Error>"
    handler.begin(len(answer), 503)
    handler.wfile.write(answer)


def forbidden(handler: Any, _: bytes) -> None:
    """403."""
    answer = b"<Error><Code>AccessDenied</Code></Error>"
    handler.begin(len(answer), 403)
    handler.wfile.write(answer)


def refusing(status: int, code: str, message: str = "") -> Fault:
    """A refusal: HEAD gets its status and nothing else."""

    def refuse(handler: Any, _: bytes) -> None:
        answer = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        handler.begin(0 if handler.command == "HEAD" else len(answer), status)
        if handler.command != "HEAD":
            handler.wfile.write(answer)

    return refuse


def of_another(handler: Any, body: bytes) -> None:
    """An answer that ignored the condition."""
    handler.begin(len(body), etag="another")
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    """The server, running."""
    server = Server(as_list(users(2000)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def s3(server: Server) -> Iterator[Any]:
    """A client that gives up on a silent socket soon."""
    client = s3_client(server.endpoint, read_timeout=0.2, connect_timeout=2)
    yield client
    client.close()


@pytest.mark.parametrize("fault", [stalled, cut, hung_up, short, slow_down])
def test_a_broken_range_is_asked_for_again_from_where_it_broke(server: Server, s3: Any, fault: Fault) -> None:
    """Twice in a row and once more later: the bytes come out whole, and those that arrived are not asked for again."""
    server.faults = [fault, fault, whole, fault]
    rests: list[float] = []
    pieces = list(read_ranges(s3, server.pinned, 0, rests.append, range_bytes=200_000))
    assert b"".join(pieces) == server.body
    assert len(rests) == 3
    assert all(0 < delay_s <= 5 for delay_s in rests)
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in server.requests]
    assert starts == sorted(starts)
    if fault in (cut, short):
        assert len(set(starts)) == len(starts)


def test_a_stream_survives_every_fault(server: Server, s3: Any) -> None:
    """The records are those of the file."""
    server.faults = [cut, stalled, hung_up, short, slow_down]
    stream = AudienceStream(s3, (server.pinned,), pause=lambda _: None)
    assert read_all(stream, 500) == users(2000)
    stream.close(5)


def test_taking_never_waits_for_the_network(server: Server, s3: Any) -> None:
    """While the body stalls `take` gives what is there, and then nothing."""
    server.faults = [stalled] * ATTEMPTS
    blocked = threading.Event()
    stream = AudienceStream(s3, (server.pinned,), pause=lambda _: blocked.wait(10))
    taken: list[object] = []
    while not taken:
        stream.wait(10)
        taken = stream.take(10_000)
    assert 0 < len(taken) < 2000
    while more := stream.take(10_000):
        taken += more
    assert stream.take(10) == []
    assert not stream.ended
    assert stream.position().record == len(taken)
    server.faults.clear()
    blocked.set()
    assert taken + read_all(stream, 500) == users(2000)
    stream.close(5)


def test_attempts_are_bounded(server: Server, s3: Any) -> None:
    """After six attempts it is given up, and not slept after the last."""
    server.faults = [hung_up] * 50
    rests: list[float] = []
    with pytest.raises(AudienceUnreachable, match="6 attempts failed"):
        list(read_ranges(s3, server.pinned, 0, rests.append))
    assert (len(server.requests), len(rests)) == (ATTEMPTS, ATTEMPTS - 1)


def test_a_refusal_is_not_repeated(server: Server, s3: Any) -> None:
    """403 does not pass by itself."""
    server.faults = [forbidden]
    with pytest.raises(AudienceUnreachable, match="AccessDenied"):
        list(read_ranges(s3, server.pinned, 0, lambda _: None))
    assert len(server.requests) == 1


def test_an_answer_with_another_etag_is_not_believed(server: Server, s3: Any) -> None:
    """Even from an S3 that overlooked the condition."""
    server.faults = [of_another]
    with pytest.raises(AudienceChanged):
        list(read_ranges(s3, server.pinned, 0, lambda _: None))


def test_asking_whether_it_changed_is_repeated_too(server: Server, s3: Any) -> None:
    """A connection that broke says nothing about the object."""
    server.faults = [hung_up, slow_down]
    check_unchanged(s3, server.pinned, lambda _: None)
    assert len(server.requests) == 3
    server.faults = [of_another]
    with pytest.raises(AudienceChanged):
        check_unchanged(s3, server.pinned, lambda _: None)


@pytest.mark.parametrize(
    ("refusal", "version_id", "kind", "words"),
    [
        (refusing(403, "AccessDenied", "Access Denied"), None, AudienceDenied, "AudienceBucketArns"),
        (refusing(403, "AccessDenied", "may not perform: kms:Decrypt"), None, AudienceDenied, "name the key in the"),
        (refusing(400, "KMS.DisabledException"), None, AudienceDenied, "enable it"),
        (refusing(400, "InvalidRequest", "a form of Server Side Encryption"), None, AudienceDenied, "SSE-KMS"),
        (refusing(301, "PermanentRedirect"), None, AudienceDenied, "in another region"),
        (refusing(400, "InvalidArgument", "Invalid version id specified"), "x y", AudienceChanged, "version_id 'x y'"),
        (refusing(404, "NoSuchVersion"), "v1", AudienceChanged, "it has no version_id 'v1'"),
        (refusing(404, "NoSuchBucket"), None, AudienceChanged, "there is no such bucket"),
        (refusing(405, "MethodNotAllowed"), "v1", AudienceChanged, "delete marker"),
        (refusing(503, "SlowDown"), None, AudienceUnreachable, "S3 answered 503"),
        (hung_up, None, AudienceUnreachable, "S3 does not answer"),
    ],
)
def test_a_part_that_cannot_be_pinned_is_named_with_what_to_do(
    server: Server, s3: Any, refusal: Fault, version_id: str | None, kind: type[Exception], words: str
) -> None:
    """HEAD returns only a status: a GET asks S3 for the reason, and the error has it with the part's index."""
    server.faults = [refusal] * 4  # botocore asks again in another region after a 301
    with pytest.raises(kind) as raised:
        pin_parts(s3, [Part("users.json", version_id=version_id)], BUCKET, "exclude")
    assert type(raised.value) is kind
    assert str(raised.value).startswith(f"exclude.parts[0]: s3://{BUCKET}/users.json: ")
    assert words in str(raised.value)


def test_a_part_that_only_looks_readable_is_refused_before_anything_is_sent(server: Server, s3: Any) -> None:
    """S3 answers HEAD where the object's KMS key may not be used: of every part one byte is read."""
    server.faults = [found, refusing(403, "AccessDenied", "may not perform: kms:Decrypt")]
    with pytest.raises(AudienceDenied, match=r"audience\.parts\[0\]: .*KmsKeyArns"):
        pin_parts(s3, [Part("users.json")], BUCKET)
    assert server.requests == ["HEAD", "bytes=0-0"]


def test_a_head_that_is_refused_once_is_believed(server: Server, s3: Any) -> None:
    """If the GET succeeds there is no better reason: the error has the HEAD's own status."""
    server.faults = [refusing(403, "AccessDenied")]
    with pytest.raises(AudienceDenied, match=r"\(403\)"):
        pin(s3, BUCKET, "users.json")


@pytest.mark.parametrize("bucket", ["s3://audience", "a b", "arn:aws:s3:::audience", "x" * 300])
def test_a_bucket_that_can_have_no_such_name(s3: Any, bucket: str) -> None:
    """A URL or an ARN instead of a bucket's name is named in the error, whether S3 refuses it or its client."""
    with pytest.raises((AudienceChanged, AudienceUnreachable)) as raised:
        pin(s3, bucket, "users.json")
    assert "can have this name" in str(raised.value)
    assert "regex" not in str(raised.value)
