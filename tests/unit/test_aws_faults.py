"""Faults injected into the local AWS: which calls are struck, and what becomes of them."""

import io
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from sandbox.aws_faults import FAULTS_PATH, AwsRule, Does, Injector


class Line:
    """A connection that remembers whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def shutdown(self, how: int) -> None:
        """Closed."""
        self.is_closed = True


class Aws:
    """A local AWS that counts what it did; `kill` notes who was killed, and when."""

    def __init__(self, *rules: AwsRule) -> None:
        self.done = 0
        self.killed: list[tuple[str, int]] = []
        self.status = ""
        self.line = Line()
        self._injector = Injector(self._answer, lambda name: self.killed.append((name, self.done)))
        self._call("PUT", FAULTS_PATH, msgspec.json.encode(list(rules)))

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.done += 1
        start_response("200 OK", [("Content-Length", "8")])
        return [b"12345678"]

    def _call(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        self.line = Line()
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "werkzeug.socket": self.line,
            **headers,
        }
        return b"".join(self._injector(environ, self._note_status))

    def _note_status(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status = status

    def s3(
        self, method: str = "GET", path: str = "/bucket/rows/1", agent: str = "exec-env/AWS_Lambda_python3.14"
    ) -> bytes:
        """A call as a function makes it."""
        return self._call(
            method, path, HTTP_USER_AGENT=agent, HTTP_AUTHORIZATION="AWS4 Credential=a/20261121/eu/s3/aws4_request"
        )

    def dynamodb(self, operation: str, body: object) -> bytes:
        """A call as a function makes it."""
        return self._call(
            "POST",
            "/",
            json.dumps(body).encode(),
            HTTP_USER_AGENT="exec-env/AWS_Lambda_python3.14",
            HTTP_AUTHORIZATION="AWS4 Credential=a/20261121/eu/dynamodb/aws4_request",
            HTTP_X_AMZ_TARGET=f"DynamoDB_20120810.{operation}",
        )

    @property
    def struck(self) -> list[int]:
        """How often each rule has struck."""
        counts: list[int] = json.loads(self._call("GET", FAULTS_PATH))
        return counts


def test_a_refusal_does_nothing() -> None:
    """The function sees the error; moto never sees the call."""
    aws = Aws(AwsRule("s3", Does.REFUSE, "GET", status=503, code="SlowDown"))
    assert b"<Code>SlowDown</Code>" in aws.s3()
    assert (aws.status, aws.done) == ("503 Refused", 0)
    assert aws.s3() == b"12345678"
    assert aws.struck == [1]


def test_a_lost_answer_is_done() -> None:
    """And the connection is closed without it."""
    aws = Aws(AwsRule("s3", Does.LOSE, "PUT"))
    assert aws.s3("PUT") == b""
    assert aws.line.is_closed
    assert aws.done == 1


def test_a_dropped_call_is_not_done() -> None:
    """The connection is closed."""
    aws = Aws(AwsRule("s3", Does.DROP))
    aws.s3()
    assert aws.line.is_closed
    assert aws.done == 0


@pytest.mark.parametrize(("does", "done"), [(Does.KILL_BEFORE, 0), (Does.KILL_AFTER, 1)])
def test_a_kill_at_exactly_one_call(does: Does, done: int) -> None:
    """Before the call is done, or after; no answer comes."""
    aws = Aws(AwsRule("dynamodb", does, "UpdateItem", where="#cursor = :cursor"))
    aws.dynamodb("UpdateItem", {"UpdateExpression": "SET holder = :holder"})
    aws.dynamodb("GetItem", {"Key": "#cursor = :cursor"})
    assert aws.killed == []
    aws.dynamodb("UpdateItem", {"UpdateExpression": "SET #cursor = :cursor"})
    assert aws.killed == [("WorkerFunction", 2 + done)]
    assert aws.line.is_closed


def test_a_cut_body_is_shorter_than_promised() -> None:
    """Its half, then the end of the connection."""
    aws = Aws(AwsRule("s3", Does.CUT))
    assert aws.s3() == b"1234"
    assert aws.line.is_closed


def test_which_calls() -> None:
    """Some are let through, then every second one is struck, three times in all."""
    aws = Aws(AwsRule("s3", Does.REFUSE, skip=2, every=2, times=3, status=500))
    statuses = []
    for _ in range(12):
        aws.s3()
        statuses.append(aws.status[:3])
    assert statuses == ["200", "200", "500", "200", "500", "200", "500", *["200"] * 5]


def test_a_share_is_chance_with_a_fixed_seed() -> None:
    """The same calls are struck each time."""

    def struck() -> list[int]:
        aws = Aws(AwsRule("s3", Does.REFUSE, times=0, share=0.3))
        for _ in range(200):
            aws.s3()
        return aws.struck

    assert struck() == struck()
    assert 40 < struck()[0] < 80


def test_only_functions_are_struck() -> None:
    """A client that is no function of the stack gets what there is."""
    aws = Aws(AwsRule("s3", Does.REFUSE, times=0))
    assert aws.s3(agent="Boto3/1.44") == b"12345678"
    assert aws.struck == [0]
