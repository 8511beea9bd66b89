"""Pause, resume and cancel while Lambda has no room for the control function; who gave the command, who approved."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from approval.runs import Runs
from notifier.entries.control import ControlService
from notifier.model.log import Action
from notifier.model.run import Control, LaneState, Run, source_of
from notifier.model.summary import summary_of
from notifier.stores.ledger import DynamoLedger
from operations.cli.cloud import Cloud
from operations.cli.deployment import Deployment
from reporting.page import people_in
from tests.contract.moto_stores import Time, client_of, make_table, new_name, server_for
from tests.twins.hop_factory import TwinLog

RUN = Run("r" * 20, source_of("b", "batches/day-2.json", "v", "e"), 1, "AROA:marketing")


class Busy:
    """Lambda whose concurrency is all taken."""

    def __init__(self, code: str) -> None:
        self._code = code

    def invoke(self, **_: Any) -> None:
        raise ClientError({"Error": {"Code": self._code, "Message": "Rate Exceeded."}}, "Invoke")


class Bucket:
    """S3 with one object."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def get_object(self, **_: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._body)}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with server_for("dynamodb") as url:
        yield url


class World:
    """The command line over a real table and a Lambda that refuses."""

    def __init__(self, endpoint: str, code: str = "TooManyRequestsException") -> None:
        self.time = Time()
        dynamodb = client_of("dynamodb", endpoint)
        table = new_name("ledger")
        make_table(dynamodb, table)
        self.ledger = DynamoLedger(dynamodb, table, self.time)
        self.cloud = Cloud(Deployment("b", table, "worker", "control"), self.time)
        self.cloud._clients |= {"dynamodb": dynamodb, "lambda": Busy(code)}
        self.ledger.open_run(RUN)


def test_a_throttled_command_is_written_to_the_ledger(endpoint: str) -> None:
    """The run is paused, with who and when; resumed it is due at once, so that the next sweep goes on with it."""
    world = World(endpoint)
    answer = world.cloud.command("pause", RUN.run_id, "ann")
    assert (answer["status"], answer["control"], answer["by_ledger"]) == ("paused", "pause", True)
    lane = world.ledger.read_lane(RUN.run_id)
    assert lane is not None
    assert (lane.control, lane.control_by, lane.control_at_ms) == (Control.PAUSE, "ann", world.time.ms)
    assert world.cloud.command("resume", RUN.run_id, "ann")["status"] == "running"
    assert [(found.run_id, found.state) for found in world.ledger.due(world.time.ms)] == [(RUN.run_id, LaneState.READY)]
    assert world.cloud.command("cancel", "x" * 20, "ann")["status"] == "refused"


def test_another_refusal_is_no_reason_to_write(endpoint: str) -> None:
    """Who may not invoke the control function does not pause runs by the table instead."""
    world = World(endpoint, "AccessDeniedException")
    with pytest.raises(ClientError):
        world.cloud.command("pause", RUN.run_id, "ann")
    lane = world.ledger.read_lane(RUN.run_id)
    assert lane is not None
    assert lane.control is Control.GO


def test_who_paused_which_file(endpoint: str) -> None:
    """The log line, the answer, the summary and the report's rows say who, and the file's key."""
    world = World(endpoint)
    log: Any = TwinLog()
    process: Any = world
    answer = ControlService(process, log).handle({"action": "pause", "run_id": RUN.run_id, "by": "ann"})
    assert answer["by"] == "ann"
    [fields] = [fields for action, fields in log.lines if action is Action.CONTROLLED]
    assert (fields["by"], fields["file"]) == ("ann", "s3://b/batches/day-2.json")
    lane = world.ledger.read_lane(RUN.run_id)
    assert lane is not None
    summary = summary_of(RUN, lane, "b", "bob@example.com")
    assert (summary.control, summary.control_by, summary.control_at_ms) == ("pause", "ann", world.time.ms)
    shown = dict(people_in(summary))
    assert (shown["approved by"], shown["file put by"]) == ("bob@example.com", "AROA:marketing")
    assert shown["last command"].startswith("paused by ann, 2026-")
    assert dict(people_in(summary_of(RUN, lane.__class__(RUN.run_id), "b"))) == {"file put by": "AROA:marketing"}


def test_who_approved_exactly_these_bytes(endpoint: str) -> None:
    """The approvers of the run's file; nobody where other bytes are under its key, or none was asked."""
    world = World(endpoint)
    world.cloud._clients |= {"s3": Bucket(b"approved")}
    assert world.cloud.approved_by(RUN) == ""
    runs = Runs(client_of("dynamodb", endpoint), world.cloud.deployment.table, None, "")
    runs.record_approval(
        RUN.source.bucket, RUN.source.key, b"approved", "q1", ["bob@example.com", "cat@example.com"], 1
    )
    assert world.cloud.approved_by(RUN) == "bob@example.com, cat@example.com"
    world.cloud._clients |= {"s3": Bucket(b"others")}
    assert world.cloud.approved_by(RUN) == ""
