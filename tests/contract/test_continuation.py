"""Asking for the next hop: a real client against the local Lambda, whose versions come and go."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from notifier.events.continuation import LambdaContinuation
from sandbox.local_lambda.environment import Setup
from sandbox.local_lambda.http_api import LambdaApi
from sandbox.local_lambda.invocation import Delivery, Fault, Invocation
from sandbox.local_lambda.service import LocalLambda
from tests.contract.moto_stores import client_of

NAME = "worker"
ARN = f"arn:aws:lambda:eu-west-1:123456789012:function:{NAME}"


class Functions:
    """A function of two versions. `asked` is who was invoked with what; nothing is run."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.service = LocalLambda(folder, faults=self._note)
        setup = Setup(
            function=NAME,
            arn=ARN,
            version="",
            handler="x.y",
            code=folder,
            timeout_s=3,
            memory_mb=128,
            region="eu-west-1",
            variables={},
        )
        for _ in range(2):
            self.service.functions.deploy(setup, alias="live")

    def _note(self, invocation: Invocation) -> Fault:
        self.asked.append((invocation.version, json.loads(invocation.payload)))
        return Fault(delivery=Delivery.DROPPED)


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    """The function."""
    made = Functions(tmp_path)
    yield made
    made.service.stop()


@pytest.fixture
def continuation(functions: Functions) -> Iterator[LambdaContinuation]:
    """With a real client."""
    api = LambdaApi(functions.service)
    client = client_of("lambda", f"http://{api.address}")
    yield LambdaContinuation(client, f"{ARN}:live")
    client.close()
    api.stop()


def nudge(kind: str) -> dict[str, Any]:
    return {"notifier": kind, "run_id": "r1", "lane": 0}


def test_the_version_that_the_run_began_with(functions: Functions, continuation: LambdaContinuation) -> None:
    """As long as it is there, it is asked, whatever the alias points at."""
    assert continuation.nudge("r1", 0, "1") is True
    assert continuation.forward("r1", 0, "1") is True
    assert functions.asked == [("1", nudge("continue"))] * 2


def test_a_version_that_was_deleted(functions: Functions, continuation: LambdaContinuation) -> None:
    """The current one is asked in its place; the forward says no, and the worker that asked goes on itself."""
    functions.service.functions.delete_version(NAME, "1")
    assert continuation.forward("r1", 0, "1") is False
    assert functions.asked == []
    assert continuation.nudge("r1", 0, "1", "nudge") is False
    assert continuation.invoke(b'{"bucket": "b", "key": "k"}', "1") is False
    assert functions.asked == [("2", nudge("nudge")), ("2", {"bucket": "b", "key": "k"})]


def test_a_function_that_is_not_there_is_an_error(continuation: LambdaContinuation) -> None:
    """Nothing else could go on."""
    other = LambdaContinuation(continuation._client, "another:live")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        other.nudge("r1", 0, "1")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        other.nudge("r1", 0, "")
