"""Real clients against moto's server, an answer lost on the way, and a clock that a test moves."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from notifier.ledger import DUE_INDEX

START_S = 1_795_000_000.0


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
    """moto's server on a free port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def client_of(service: str, endpoint: str) -> Any:
    """A client with botocore's standard retries, which trusts nothing of the machine's own configuration."""
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}, s3={"addressing_style": "path"}),
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
