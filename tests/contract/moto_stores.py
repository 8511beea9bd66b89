"""Real clients against an AWS-like server, an answer lost on the way, and a clock that a test moves.

The server is moto's, started here; or any that speaks the protocol, where `CONTRACT_S3` or `CONTRACT_DYNAMODB` gives
its URL. It must accept the access key and the secret of `KEYS`. Tables and buckets have new names in every run.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

from notifier.stores.ledger import DUE_INDEX
from sandbox.moto_server import serving

START_S = 1_795_000_000.0
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
FOREIGN = {"s3": "CONTRACT_S3", "dynamodb": "CONTRACT_DYNAMODB"}
"""The variable that names another server, by service."""


class Time:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.s = START_S

    def __call__(self) -> float:
        return self.s

    @property
    def ms(self) -> int:
        """The same in milliseconds."""
        return int(self.s * 1000)


@contextmanager
def moto_server() -> Iterator[str]:
    """moto's backends on a free port."""
    with serving() as endpoint:
        yield endpoint


@contextmanager
def server_for(service: str) -> Iterator[str]:
    """The URL of the server that the environment names for a service, else of moto's."""
    named = os.environ.get(FOREIGN[service])
    if named:
        yield named
        return
    with moto_server() as endpoint:
        yield endpoint


def new_name(prefix: str) -> str:
    """A table's or bucket's name that no other run has used: a server of other make keeps them."""
    return f"{prefix}-{uuid4().hex[:12]}"


USER_AGENT = "tests"
"""botocore puts its own together for each request, from forty parts: a tenth of a client's processor time."""
_SESSION = boto3.session.Session()
"""One for all clients: each session reads the description of a service again, 20 to 80 ms of JSON."""


def client_of(service: str, endpoint: str) -> Any:
    """A client with botocore's standard retries, which trusts nothing of the machine's own configuration."""
    return _SESSION.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        **KEYS,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 3},
            s3={"addressing_style": "path"},
            user_agent=USER_AGENT,
        ),
    )


def make_table(client: Any, name: str) -> None:
    """A table as the template makes it."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
            {"AttributeName": "due", "AttributeType": "S"},
            {"AttributeName": "due_at", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": DUE_INDEX,
                "KeySchema": [
                    {"AttributeName": "due", "KeyType": "HASH"},
                    {"AttributeName": "due_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


@contextmanager
def lost_answer(client: Any, operation: str) -> Iterator[Callable[[], int]]:
    """The next answer to `operation` (`dynamodb.UpdateItem`) is lost after it was done: botocore asks again.

    Gives a function that says how many answers were lost.
    """
    lost = 0

    def lose(response: Any, **_: Any) -> float | None:
        nonlocal lost
        if lost or response is None or response[0].status_code >= 300:
            return None
        lost += 1
        return 0.0

    event = f"needs-retry.{operation}"
    client.meta.events.register_first(event, lose)
    try:
        yield lambda: lost
    finally:
        client.meta.events.unregister(event, lose)
