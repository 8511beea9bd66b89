"""The local Lambda and the local AWS, with tiny handlers: what Lambda promises and does to functions."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.deploy import Options
from sandbox.fork_server import FOLDER_VARIABLE
from sandbox.local_lambda.invocation import Delivery, Failure, Fault, FaultPlan, no_fault
from sandbox.stack import Sandbox
from sandbox.wait import wait_until

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  CaFile: { Type: String, Default: "" }
Globals:
  Function:
    CodeUri: code
    Timeout: 10
    MemorySize: 256
    Environment: { Variables: { TABLE: !Ref Table } }
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties: { BucketName: drop, VersioningConfiguration: { Status: Enabled } }
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{ AttributeName: pk, AttributeType: S }, { AttributeName: due_at, AttributeType: N }]
      KeySchema: [{ AttributeName: pk, KeyType: HASH }]
      GlobalSecondaryIndexes:
        - IndexName: due
          KeySchema: [{ AttributeName: pk, KeyType: HASH }, { AttributeName: due_at, KeyType: RANGE }]
          Projection: { ProjectionType: ALL }
      TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }
  Dead: { Type: AWS::SQS::Queue }
  Failed: { Type: AWS::SQS::Queue }
  Main:
    Type: AWS::Serverless::Function
    Properties:
      Handler: tiny.handler
      AutoPublishAlias: live
      Environment: { Variables: { CACHE_DIR: /tmp/cache, CA_FILE: !Ref CaFile } }
      DeadLetterQueue: { Type: SQS, TargetArn: !GetAtt Dead.Arn }
      Events:
        Drop:
          Type: S3
          Properties:
            Bucket: !Ref Bucket
            Events: s3:ObjectCreated:*
            Filter: { S3Key: { Rules: [{ Name: prefix, Value: in/ }, { Name: suffix, Value: .json }] } }
        Rule:
          Type: EventBridgeRule
          Properties: { Pattern: { source: [test] } }
  Short:
    Type: AWS::Serverless::Function
    Properties:
      Handler: tiny.handler
      Timeout: 1
      EventInvokeConfig:
        MaximumRetryAttempts: 1
        DestinationConfig: { OnFailure: { Type: SQS, Destination: !GetAtt Failed.Arn } }
  Looping: { Type: AWS::Serverless::Function, Properties: { Handler: tiny.handler, RecursiveLoop: Allow } }
  Broken: { Type: AWS::Serverless::Function, Properties: { Handler: absent.handler } }
  Ticking:
    Type: AWS::Serverless::Function
    Properties:
      Handler: tiny.handler
      Events: { Tick: { Type: Schedule, Properties: { Schedule: rate(1 minute) } } }
"""

HANDLER = """
import json, os, signal, sys, tempfile, time
import boto3

calls = 0
print("import", flush=True)

def note(event, context, **more):
    dynamo = boto3.client("dynamodb")
    item = {"pk": {"S": context.aws_request_id + os.urandom(4).hex()}, "event": {"S": json.dumps(event)},
            "at": {"S": context.function_name}}
    dynamo.put_item(TableName=os.environ["TABLE"], Item=item)

def handler(event, context):
    global calls
    calls += 1
    do = event.get("do", "note")
    if do == "echo":
        return {"pid": os.getpid(), "calls": calls, "event": event, "tmp": tempfile.gettempdir(),
                "version": context.function_version, "arn": context.invoked_function_arn,
                "left_ms": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb,
                "trace": os.environ["_X_AMZN_TRACE_ID"], "cache": os.environ.get("CACHE_DIR"),
                "ca": os.environ.get("CA_FILE")}
    if do == "wait":  # until the test opens the gate
        open(event["here"] + "/" + context.aws_request_id, "w").close()
        while not os.path.exists(event["gate"]):
            time.sleep(0.01)
        return os.getpid()
    note(event, context)
    if do == "raise":
        raise ValueError("no")
    if do == "hang":
        time.sleep(60)
    if do == "eat":
        hog = []
        while True:
            hog.append(bytearray(16 * 1024 * 1024))
    if do == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if do == "again" and event["left"] > 0:
        boto3.client("lambda").invoke(FunctionName=context.invoked_function_arn, InvocationType="Event",
                                      Payload=json.dumps({**event, "left": event["left"] - 1}))
"""


def write_project(folder: Path) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "tiny.py").write_text(HANDLER)
    path = folder / "template.yaml"
    path.write_text(TEMPLATE)
    return path


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("box")
    with Sandbox.start(
        folder / "state",
        write_project(folder / "project"),
        {"CaFile": "/tmp/my-ca.pem"},
        Options(schedules=False),
        retry_scale=0.001,
    ) as running:
        yield running


@pytest.fixture
def faults(box: Sandbox) -> Iterator[Callable[[FaultPlan], None]]:
    """Sets the fault plan for the running test."""

    def use(plan: FaultPlan) -> None:
        box.lambda_.faults = plan

    yield use
    box.lambda_.faults = no_fault


def name_of(box: Sandbox, logical_id: str) -> str:
    return box.function(logical_id).name


def call(box: Sandbox, logical_id: str, event: dict[str, Any], qualifier: str = "") -> Any:
    answer = box.lambda_.invoke(name_of(box, logical_id), json.dumps(event).encode(), qualifier)
    assert not answer.failure, answer
    return json.loads(answer.payload)


def notes(box: Sandbox) -> list[dict[str, Any]]:
    """The events that handlers have noted in the table."""
    items = box.client("dynamodb").scan(TableName=box.table, ConsistentRead=True)["Items"]
    return [json.loads(item["event"]["S"]) for item in items]


def noted(box: Sandbox, mark: str) -> int:
    return sum(1 for event in notes(box) if event.get("mark") == mark)


def later(box: Sandbox, logical_id: str, event: dict[str, Any]) -> None:
    """Invokes asynchronously and waits until everything about it is over."""
    box.lambda_.invoke_later(name_of(box, logical_id), json.dumps(event).encode())
    assert box.lambda_.wait_idle(20)


def receive(box: Sandbox, logical_id: str) -> list[dict[str, Any]]:
    url = box.stack.context.queue_url(box.stack.queue(logical_id).name)
    sqs = box.client("sqs")
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return messages


def test_an_idle_environment_is_used_again(box: Sandbox) -> None:
    """The second invocation finds the process of the first, warm."""
    first = call(box, "Main", {"do": "echo"})
    second = call(box, "Main", {"do": "echo"})
    assert second["pid"] == first["pid"]
    assert second["calls"] == first["calls"] + 1


def test_invocations_at_the_same_time_get_environments_of_their_own(box: Sandbox, tmp_path: Path) -> None:
    """Three invocations that overlap run in three processes."""
    gate = tmp_path / "gate"
    here = tmp_path / "here"
    here.mkdir()
    pids: list[int] = []
    event = {"do": "wait", "gate": str(gate), "here": str(here)}
    threads = [threading.Thread(target=lambda: pids.append(call(box, "Main", event))) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(list(here.iterdir())) == 3, 15, "three environments")
    assert box.lambda_.figures(name_of(box, "Main")).in_flight == 3
    gate.touch()
    for thread in threads:
        thread.join(10)
    assert len(set(pids)) == 3


def test_the_context_and_the_environment_are_lambdas(box: Sandbox) -> None:
    """Version, ARN with qualifier, deadline, memory, trace header, and a /tmp of its own."""
    seen = call(box, "Main", {"do": "echo"}, "live")
    assert seen["version"] == "1"
    assert seen["arn"] == box.function("Main").arn + ":live"
    assert 5_000 < seen["left_ms"] <= 10_000
    assert int(seen["memory"]) == 256
    assert seen["trace"].startswith("Root=1-")
    assert seen["cache"] == seen["tmp"] + "/cache"
    assert seen["ca"] == "/tmp/my-ca.pem"
    assert call(box, "Looping", {"do": "echo"})["tmp"] != seen["tmp"]


def test_a_hanging_function_is_killed_retried_and_recorded(box: Sandbox) -> None:
    """Kill at the timeout, one retry as configured, then the invocation record goes to the on-failure queue."""
    began = time.monotonic()
    later(box, "Short", {"do": "hang", "mark": "hang"})
    assert time.monotonic() - began >= 2
    assert noted(box, "hang") == 2
    (message,) = receive(box, "Failed")
    record = json.loads(message["Body"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["requestPayload"]["mark"] == "hang"
    assert "timed out after 1.00 seconds" in record["responsePayload"]["errorMessage"]
    assert box.lambda_.figures(name_of(box, "Short")).timeouts == 2


def test_a_function_over_its_memory_is_killed(box: Sandbox) -> None:
    """More resident memory than the function has is the end of its process, as on Lambda."""
    answer = box.lambda_.invoke(name_of(box, "Main"), b'{"do": "eat"}')
    assert answer.failure is Failure.MEMORY
    assert answer.error_type == "Runtime.OutOfMemory"
    figures = box.lambda_.figures(name_of(box, "Main"))
    assert figures.memory_kills == 1
    assert figures.peak_rss_mb > 256
    assert figures.cpu_s > 0


def test_a_crashing_function_is_retried_twice_and_ends_as_dead_letter(box: Sandbox) -> None:
    """A segmentation fault is a function error; the event itself goes to the dead-letter queue."""
    later(box, "Main", {"do": "crash", "mark": "crash"})
    assert noted(box, "crash") == 3
    (message,) = receive(box, "Dead")
    assert json.loads(message["Body"]) == {"do": "crash", "mark": "crash"}
    assert message["MessageAttributes"]["ErrorCode"]["StringValue"] == "200"
    assert "exited" in message["MessageAttributes"]["ErrorMessage"]["StringValue"]


def test_a_raising_handler_keeps_its_environment(box: Sandbox) -> None:
    """An exception is answered with type and text; the process lives on."""
    pid = call(box, "Looping", {"do": "echo"})["pid"]
    answer = box.lambda_.invoke(name_of(box, "Looping"), b'{"do": "raise"}')
    assert answer.failure is Failure.HANDLER
    assert json.loads(answer.payload)["errorType"] == "ValueError"
    assert call(box, "Looping", {"do": "echo"})["pid"] == pid


def test_a_module_that_cannot_be_imported_is_an_error_of_the_invocation(box: Sandbox) -> None:
    """What went wrong is in the answer."""
    answer = box.lambda_.invoke(name_of(box, "Broken"))
    assert answer.failure is Failure.INIT
    assert answer.error_type == "Runtime.ImportModuleError"


def test_a_chain_of_invocations_is_stopped_after_sixteen(box: Sandbox) -> None:
    """Without RecursiveLoop: Allow, the seventeenth goes to the dead-letter queue."""
    later(box, "Main", {"do": "again", "left": 30})
    assert sum(1 for event in notes(box) if event.get("do") == "again" and event["left"] > 0) == 16
    assert box.lambda_.figures(name_of(box, "Main")).loops_stopped == 1
    assert len(receive(box, "Dead")) == 1


def test_a_chain_that_is_allowed_to_loop_runs_on(box: Sandbox) -> None:
    """With RecursiveLoop: Allow all twenty run, and the empty event after them."""
    before = box.lambda_.figures(name_of(box, "Looping")).invocations
    later(box, "Looping", {"do": "again", "left": 20})
    assert box.lambda_.figures(name_of(box, "Looping")).invocations - before == 21


def test_an_object_in_s3_reaches_the_function_as_a_real_event(box: Sandbox) -> None:
    """With version id, ETag, size, sequencer and the key URL-encoded; other keys invoke nothing."""
    s3 = box.client("s3")
    s3.put_object(Bucket=box.bucket, Key="elsewhere/file.json", Body=b"{}")
    s3.put_object(Bucket=box.bucket, Key="in/file.txt", Body=b"{}")
    put = s3.put_object(Bucket=box.bucket, Key="in/täglich = 1+1.json", Body=b"[1]")
    assert box.lambda_.wait_idle(15)
    (record,) = [event["Records"][0] for event in notes(box) if "Records" in event]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["bucket"]["name"] == box.bucket
    thing = record["s3"]["object"]
    assert thing["key"] == "in/t%C3%A4glich+%3D+1%2B1.json"
    assert thing["versionId"] == put["VersionId"]
    assert thing["eTag"] == put["ETag"].strip('"')
    assert thing["size"] == 3
    assert int(thing["sequencer"], 16) > 0


def test_event_bridge_rules_reach_functions_and_events_are_recorded(box: Sandbox) -> None:
    """What matches a rule invokes its function; everything that was put can be read back."""
    entry = {"Source": "test", "DetailType": "RunEnded", "Detail": '{"mark": "bridge"}'}
    box.client("events").put_events(Entries=[entry, {**entry, "Source": "other"}])
    assert box.lambda_.wait_idle(15)
    (event,) = [event for event in notes(box) if event.get("source") == "test"]
    assert event["detail"] == {"mark": "bridge"}
    assert event["detail-type"] == "RunEnded"
    assert [item.source for item in box.aws.recorded_events()] == ["test", "other"]


def test_boto3_invokes_through_the_address_of_the_local_aws(box: Sandbox) -> None:
    """RequestResponse gives result, version and FunctionError; Event gives 202; unknown ones are not found."""
    client = box.client("lambda")
    good = client.invoke(FunctionName=name_of(box, "Main"), Qualifier="live", Payload=b'{"do": "echo"}')
    assert good["StatusCode"] == 200
    assert good["ExecutedVersion"] == "1"
    assert json.loads(good["Payload"].read())["arn"].endswith(":live")
    bad = client.invoke(FunctionName=box.function("Looping").arn, Payload=b'{"do": "raise"}')
    assert bad["FunctionError"] == "Unhandled"
    event = client.invoke(FunctionName=name_of(box, "Main"), InvocationType="Event", Payload=b'{"do": "echo"}')
    assert event["StatusCode"] == 202
    assert box.lambda_.wait_idle(15)
    for name, qualifier in (("absent", "live"), (name_of(box, "Main"), "absent")):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName=name, Qualifier=qualifier)


def test_payloads_over_the_limits_are_refused(box: Sandbox) -> None:
    """1 MB for an event, 6 MB for a call."""
    client = box.client("lambda")
    two_mb = json.dumps({"do": "echo", "fill": "x" * 2 * 1024 * 1024}).encode()
    assert client.invoke(FunctionName=name_of(box, "Main"), Payload=two_mb)["StatusCode"] == 200
    with pytest.raises(ClientError, match="RequestTooLarge"):
        client.invoke(FunctionName=name_of(box, "Main"), InvocationType="Event", Payload=two_mb)
    with pytest.raises(ClientError, match="RequestTooLarge"):
        client.invoke(FunctionName=name_of(box, "Main"), Payload=two_mb * 4)


def test_faults_can_be_ordered(box: Sandbox, faults: Callable[[FaultPlan], None]) -> None:
    """An event dropped, run twice, refused, or its process killed on the way."""
    faults(lambda _: Fault(Delivery.DROPPED))
    later(box, "Looping", {"mark": "dropped"})
    faults(lambda _: Fault(Delivery.TWICE))
    later(box, "Looping", {"mark": "twice"})
    assert (noted(box, "dropped"), noted(box, "twice")) == (0, 2)
    faults(lambda _: Fault(kill_after_s=0.2))
    killed = box.lambda_.invoke(name_of(box, "Looping"), b'{"do": "hang"}')
    assert killed.failure is Failure.EXIT
    faults(lambda _: Fault(Delivery.REFUSED))
    with pytest.raises(ClientError, match="A scenario refuses this call"):
        box.client("lambda").invoke(FunctionName=name_of(box, "Looping"), Payload=b"{}")


def test_the_log_reads_like_cloudwatch(box: Sandbox) -> None:
    """START, what the function printed, END and REPORT with memory and duration."""
    answer = box.lambda_.invoke(name_of(box, "Ticking"), b'{"do": "echo"}')
    assert not answer.failure
    lines = box.lambda_.log_lines(name_of(box, "Ticking"), 10)
    assert lines[0].startswith("START RequestId: ")
    assert lines[1] == "import"
    assert lines[-1].startswith("REPORT RequestId: ")
    assert "Init Duration: " in lines[-1]
    assert "Max Memory Used: " in lines[-1]


def test_the_table_has_its_index_and_time_to_live(box: Sandbox) -> None:
    """moto's CloudFormation drops the time to live; the deployer does not."""
    dynamo = box.client("dynamodb")
    described = dynamo.describe_table(TableName=box.table)["Table"]
    assert [index["IndexName"] for index in described["GlobalSecondaryIndexes"]] == ["due"]
    ttl = dynamo.describe_time_to_live(TableName=box.table)["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "expires_at")


def test_two_sandboxes_never_meet_and_leave_nothing_behind(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same template, same names: other processes, other data; schedules tick; every process ends with the sandbox.

    The second one's processes begin with an interpreter of their own, as everywhere but in tests.
    """
    monkeypatch.delenv(FOLDER_VARIABLE)
    template = write_project(tmp_path / "project")
    with Sandbox.start(tmp_path / "state", template, options=Options(schedule_every_s=1.0)) as other:
        assert other.endpoint_url != box.endpoint_url
        assert other.bucket == box.bucket
        mine = call(other, "Main", {"do": "echo"})
        assert mine["pid"] != call(box, "Main", {"do": "echo"})["pid"]
        wait_until(lambda: any(one.get("detail-type") == "Scheduled Event" for one in notes(other)), 15, "the schedule")
        assert not any(event.get("detail-type") == "Scheduled Event" for event in notes(box))
        with pytest.raises(RuntimeError, match="another sandbox"):
            Sandbox.start(tmp_path / "state", template)
    assert not other.aws.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(mine["pid"], 0)
    assert not (tmp_path / "state" / "environments").exists()


def test_an_interpreter_that_cannot_be_started_is_a_failed_invocation(tmp_path: Path) -> None:
    """As is any process that ends before it has asked for work; nothing stays in flight."""
    template = write_project(tmp_path / "project")
    with Sandbox.start(
        tmp_path / "state", template, options=Options(schedules=False, interpreter="/absent/python")
    ) as other:
        answer = other.lambda_.invoke(name_of(other, "Main"))
        assert answer.failure is Failure.EXIT
        assert other.lambda_.figures(name_of(other, "Main")).in_flight == 0
        assert any("not started" in line for line in other.lambda_.log_lines(name_of(other, "Main")))
