"""Commands over runs by the command line: a run that cannot be read or reached keeps no other from its command."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from notifier.model.audience_faults import AudienceChanged, AudienceDenied
from notifier.model.run import COMMANDS, REFUSED, Control, Run, source_of
from operations.cli import runs
from operations.cli.cloud import Cloud
from operations.cli.deployment import Deployment
from operations.cli.errors import CommandError, ExitCode
from tests.contract.moto_stores import KEYS, client_of, make_table, moto_server, new_name

KEY = "batches/night.json"


class Stack(Cloud):
    """A stack whose control function does its work, but for the runs that are `out_of_reach`."""

    out_of_reach: frozenset[str] = frozenset()
    has_room = True
    is_behind_a_proxy = False
    nudged = 0

    def control(self, event: Mapping[str, Any], *, wait: bool = True) -> dict[str, Any]:
        """What the function would answer."""
        run_id = event["run_id"]
        if self.is_behind_a_proxy and run_id == "r1":
            raise ResponseParserError("Unable to parse response: a proxy's page")
        if not self.has_room:
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        if run_id in self.out_of_reach:
            raise CommandError(ExitCode.UNREACHABLE, "the control function failed: Task timed out", "look at its logs")
        lanes = self.ledger.control_run(run_id, COMMANDS[event["action"]], event["by"])
        if not lanes:
            return {"status": "refused", "run_id": run_id, "reason": REFUSED}
        return {"status": lanes[0].status, "run_id": run_id}

    def nudge(self, bucket: str, key: str, version_id: str | None) -> None:
        """Count what would start the worker."""
        self.nudged += 1


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """DynamoDB and S3."""
    with moto_server() as url:
        yield url


@pytest.fixture
def stack(endpoint: str) -> Iterator[Stack]:
    """Three runs that go."""
    dynamodb = client_of("dynamodb", endpoint)
    keys = {"access_key_id": KEYS["aws_access_key_id"], "secret_access_key": KEYS["aws_secret_access_key"]}
    place = Deployment(
        new_name("b"), new_name("commands"), "worker", "control", KEYS["region_name"], endpoint_url=endpoint, **keys
    )
    make_table(dynamodb, place.table)
    made = Stack(place)
    for n in range(3):
        made.ledger.open_run(Run(f"r{n}", source_of("b", f"batches/{n}.json", "v1", "e1"), n))
    yield made
    dynamodb.close()


def test_one_run_out_of_reach_is_no_end_of_the_list(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are paused, each answer is printed, and the exit code says that one was not."""
    stack.out_of_reach = frozenset({"r1"})
    with pytest.raises(typer.Exit) as ended:
        runs._control(stack, "pause", runs.alive(stack), "ann", as_json=False)
    assert ended.value.exit_code == ExitCode.UNREACHABLE
    printed = " ".join(capsys.readouterr().out.split())
    assert "run r1: pause is NOT noted: the control function failed" in printed
    assert printed.count("pause is noted") == 2
    assert [stack.ledger.lanes_of(f"r{n}")[0].control for n in range(3)] == [Control.PAUSE, Control.GO, Control.PAUSE]
    with pytest.raises(typer.Exit):
        runs._control(stack, "cancel", ["r0", "r1"], "ann", as_json=True)
    assert [answer["status"] for answer in json.loads(capsys.readouterr().out)] == ["running", "failed"]
    with pytest.raises(CommandError, match="Task timed out"):
        runs._control(stack, "pause", ["r1"], "ann", as_json=False)
    stack.out_of_reach, stack.is_behind_a_proxy = frozenset(), True
    with pytest.raises(typer.Exit):
        runs._control(stack, "cancel", ["r0", "r1", "r2"], "ann", as_json=False)
    assert [stack.ledger.lanes_of(f"r{n}")[0].control.value for n in range(3)] == ["cancel", "go", "cancel"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AudienceDenied("S3 denies it: allow s3:GetObject"), ExitCode.UNREACHABLE),
        (AudienceChanged("it was replaced"), ExitCode.NOT_FOUND),
    ],
)
def test_an_object_that_cannot_be_read_is_said_in_words(error: Exception, code: ExitCode) -> None:
    """`start s3://…` reads its campaign first."""

    def read() -> Any:
        raise error

    with pytest.raises(CommandError, match=str(error)) as refused:
        runs._checked("s3://b/batches/x.json", read)
    assert refused.value.code == code


@pytest.mark.parametrize("change", [{"account": {"S": "{"}}, {"version": {"N": "99"}}])
def test_a_run_that_cannot_be_read_is_among_all(stack: Stack, change: dict[str, Any]) -> None:
    """Damaged, or of a newer release that was rolled back: it may be sending."""
    client, table = stack.client("dynamodb"), stack.deployment.table
    key = {"pk": {"S": "run#r0"}, "sk": {"S": "lane#0000"}}
    item = client.get_item(TableName=table, Key=key)["Item"]
    client.put_item(TableName=table, Item=item | {"pk": {"S": "run#odd"}} | change)
    assert runs.alive(stack) == ["odd", "r0", "r1", "r2"]
    stack.ledger.control_run("r2", Control.PAUSE, "ann")
    assert runs.alive(stack) == ["odd", "r0", "r1"]
    # Its object is not nudged with words that nobody understands.
    with pytest.raises(CommandError, match="run odd of this file: this release cannot read the run"):
        runs._check_is_new(stack, "odd")


def test_all_are_paused_by_the_ledger_but_one_that_is_damaged(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Where Lambda has no room, the command line writes to the ledger, and has to read the lanes itself."""
    client, table = stack.client("dynamodb"), stack.deployment.table
    item = client.get_item(TableName=table, Key={"pk": {"S": "run#r0"}, "sk": {"S": "lane#0000"}})["Item"]
    client.put_item(TableName=table, Item=item | {"pk": {"S": "run#odd"}, "account": {"S": "{"}})
    stack.has_room = False
    with pytest.raises(typer.Exit) as ended:
        runs._control(stack, "pause", runs.alive(stack), "ann", as_json=True)
    assert ended.value.exit_code == ExitCode.UNREACHABLE
    answers = {answer["run_id"]: answer for answer in json.loads(capsys.readouterr().out)}
    assert answers.pop("odd")["reason"] == "this release cannot read the run"
    assert [answer["control"] for answer in answers.values()] == ["pause"] * 3
    # Refused, it is said why, and nothing of the inside.
    refused = {"status": "refused", "run_id": "odd", "reason": "it is refused"}
    assert "this release cannot read the run" in runs._said(stack, "pause", refused)["reason"]


def test_an_object_whose_run_is_over_is_not_started(stack: Stack) -> None:
    """The worker would do nothing, and "started" would be believed."""
    s3, bucket = stack.client("s3"), stack.deployment.bucket
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": KEYS["region_name"]})
    etag = s3.put_object(Bucket=bucket, Key=KEY, Body=b"{}")["ETag"]
    source = source_of(bucket, KEY, None, etag)
    runs._check_is_new(stack, source.run_id)
    stack.ledger.open_run(Run(source.run_id, source, 1))
    runs._check_is_new(stack, source.run_id)
    stack.ledger.control_run(source.run_id, Control.PAUSE, "ann")
    with pytest.raises(CommandError, match="is paused") as refused:
        runs._check_is_new(stack, source.run_id)
    assert refused.value.mend == f"notifier resume {source.run_id}"
    client, table = stack.client("dynamodb"), stack.deployment.table
    key = {"pk": {"S": f"run#{source.run_id}"}, "sk": {"S": "lane#0000"}}
    item = client.get_item(TableName=table, Key=key)["Item"]
    client.put_item(TableName=table, Item=item | {"state": {"S": "done"}, "ending": {"S": "cancelled"}})
    with pytest.raises(CommandError, match="of this file is over, cancelled"):
        runs._check_is_new(stack, source.run_id)


def test_why_a_command_is_refused(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Cancelled, over, or unknown: each is said, and only of an unknown one that there is none."""

    def said(command: str, run_id: str) -> tuple[int, str]:
        with pytest.raises(typer.Exit) as ended:
            runs._control(stack, command, [run_id], "ann", as_json=False)
        return ended.value.exit_code, " ".join(capsys.readouterr().out.split())

    runs._control(stack, "cancel", ["r0"], "ann", as_json=False)
    capsys.readouterr()
    words = "run r0: it is cancelled, and ends within a minute: nothing takes that back"
    assert said("resume", "r0") == (ExitCode.NOT_FINE, words)
    client, table = stack.client("dynamodb"), stack.deployment.table
    item = client.get_item(TableName=table, Key={"pk": {"S": "run#r0"}, "sk": {"S": "lane#0000"}})["Item"]
    client.put_item(TableName=table, Item=item | {"state": {"S": "done"}, "ending": {"S": "cancelled"}})
    assert said("pause", "r0") == (ExitCode.NOT_FINE, "run r0: it is over (cancelled): there is nothing to pause")
    assert said("pause", "r9") == (ExitCode.NOT_FOUND, "run r9: there is no such run")
