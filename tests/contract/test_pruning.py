"""Which versions of the worker are deleted: real clients, the local Lambda, moto's table."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from notifier.entries.pruning import Pruner
from notifier.model.run import Control, Ending, Run, source_of
from notifier.stores.ledger import DynamoLedger
from sandbox.local_lambda.environment import Setup
from sandbox.local_lambda.http_api import LambdaApi
from sandbox.local_lambda.service import LocalLambda
from tests.contract.moto_stores import client_of, make_table, new_name, server_for

DAY_S = 86_400.0
NAME = "worker"


class Time:
    """Now, moved on by hand: the local Lambda dates its versions by the machine's clock."""

    def __init__(self) -> None:
        self.s = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Any]:
    """A Lambda client, and a function of nine versions whose alias points at the newest."""
    service = LocalLambda(tmp_path)
    setup = Setup(
        function=NAME,
        arn=f"arn:aws:lambda:eu-west-1:123456789012:function:{NAME}",
        version="",
        handler="x.y",
        code=tmp_path,
        timeout_s=3,
        memory_mb=128,
        region="eu-west-1",
        variables={},
    )
    for _ in range(9):
        service.functions.deploy(setup, alias="live")
    api = LambdaApi(service)
    client = client_of("lambda", f"http://{api.address}")
    yield client
    client.close()
    api.stop()
    service.stop()


@pytest.fixture(scope="module")
def items() -> Iterator[Any]:
    """A DynamoDB client."""
    with server_for("dynamodb") as endpoint:
        client = client_of("dynamodb", endpoint)
        yield client
        client.close()


@pytest.fixture
def table(items: Any) -> str:
    """An empty ledger's table."""
    name = new_name("pruned")
    make_table(items, name)
    return name


def pruner_of(functions: Any, items: Any, table: str, time: Time) -> Pruner:
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{NAME}:live"
    return Pruner(functions, items, arn, table, time)


def versions(functions: Any) -> set[str]:
    return {version["Version"] for version in functions.list_versions_by_function(FunctionName=NAME)["Versions"]}


def run_on(ledger: DynamoLedger, name: str, version: str) -> Run:
    run = Run(name, source_of("drop", f"batches/{name}.json", "v", "e"), 1)
    ledger.open_run(run)
    ledger.claim(name, 0, version, "holder", 1)
    return run


def test_versions_that_nobody_needs_are_deleted(functions: Any, items: Any, table: str) -> None:
    """Kept are the newest three, the alias's, and those of runs that are not done, waiting for an operator included."""
    time = Time()
    ledger = DynamoLedger(items, table, time)
    run_on(ledger, "running", "2")
    run_on(ledger, "waiting", "4")
    ledger.set_control("waiting", Control.PAUSE, "ann")
    run_on(ledger, "over", "5")
    done = ledger.read_lane("over")
    assert done is not None
    ledger.finish(done, Ending.COMPLETED, None)
    time.s += 2 * DAY_S
    deleted = pruner_of(functions, items, table, time).prune()
    assert set(deleted) == {"1", "3", "5", "6"}
    assert versions(functions) == {"2", "4", "7", "8", "9"}


def test_a_version_of_today_is_kept(functions: Any, items: Any, table: str) -> None:
    """Lambda may still hold events for it."""
    assert pruner_of(functions, items, table, Time()).prune() == ()
    assert len(versions(functions)) == 9


def test_it_is_done_once_a_day(functions: Any, items: Any, table: str) -> None:
    """1,440 sweeps a day list the versions once; the next day it is done again."""
    time = Time()
    time.s += 2 * DAY_S
    pruner = pruner_of(functions, items, table, time)
    assert len(pruner.prune_daily()) == 6
    functions.get_paginator = None  # a second look would fail
    assert pruner.prune_daily() == ()
    time.s += DAY_S
    with pytest.raises(TypeError):
        pruner.prune_daily()


def test_numbers_are_not_used_again_and_the_alias_is_safe(functions: Any) -> None:
    """As on Lambda: a deleted version does not come back, and the one that an alias names cannot be deleted."""
    with pytest.raises(ClientError, match="ResourceConflict"):
        functions.delete_function(FunctionName=NAME, Qualifier="9")
    functions.delete_function(FunctionName=NAME, Qualifier="3")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        functions.delete_function(FunctionName=NAME, Qualifier="3")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        functions.invoke(FunctionName=NAME, Qualifier="3")
