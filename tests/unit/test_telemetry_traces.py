"""Traces with the X-Ray SDK, and each of its traps. A UDP listener takes the daemon's place."""

import ast
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from notifier.telemetry import NO_TRACE, BatchSpan, CallKind, GatewayCall, Tracing, span, start_tracing, traced
from notifier.telemetry.budget import Budget
from notifier.telemetry.xray import HEADER
from sandbox.xray import DATAGRAM_MAX_BYTES, TRACE_MAX_BYTES, Daemon
from tests.xray_daemon import documents, header, invocation, named


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon


class Raw:
    """The body of an answer, as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body

    def read(self, *_: Any, **__: Any) -> bytes:
        body, self._body = self._body, b""
        return body


class Aws:
    """AWS clients whose requests never leave: each is answered from here, and its headers are kept."""

    def __init__(self, status: int = 200, body: bytes = b"{}") -> None:
        self._status = status
        self._body = body
        self.headers: list[Any] = []

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        client = boto3.client(service, region_name="eu-west-1", **keys)  # type: ignore[call-overload]
        client.meta.events.register("before-send", self._answer)
        return client

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        self.headers.append(request.headers)
        return AWSResponse(request.url, self._status, {}, Raw(self._body))  # type: ignore[arg-type]


def a_piece(name: str = "batch 0", metadata: str = "", calls: tuple[GatewayCall, ...] = ()) -> BatchSpan:
    return BatchSpan(name, 10.0, 11.0, "first", calls, {"answers": 500, "text": metadata})


def a_call(node: str = "FCM", status: int = 200, kind: CallKind = CallKind.FINE) -> GatewayCall:
    return GatewayCall(node, "https://fcm.example.com", 10.0, 10.5, status, kind, None, "slowest")


# --------------------------------------------------------------------------------- off


@pytest.mark.parametrize("head", ["", "Root=1-6b000000-0;Parent=ab;Sampled=0", "Sampled=1", "nonsense"])
def test_nothing_is_recorded_without_a_sampled_header(daemon: Daemon, head: str) -> None:
    """No header, one that is not sampled, or half of one: the invocation runs, and nothing is sent."""
    with invocation(daemon, head) as trace, span(trace, "work"):
        assert trace is NO_TRACE
    with invocation(daemon, header()):
        pass
    assert [document.name for document in documents(daemon)] == ["worker"]


def test_without_a_daemon_the_sdk_is_not_even_imported() -> None:
    """Outside Lambda, or with TRACE_SAMPLE=0, tracing costs no import."""
    import subprocess
    import sys

    code = (
        "import sys; from notifier.telemetry import start_tracing;"
        "start_tracing('', 100); start_tracing('127.0.0.1:2000', 0);"
        "sys.exit('aws_xray_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def importers_of(name: str) -> set[str]:
    """The modules that ship and import a package or module, wherever in their code."""
    root = Path(__file__).resolve().parents[2]
    return {
        str(path.relative_to(root))
        for package in ("notifier", "approval")
        for path in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(name))
        or (isinstance(node, ast.Import) and any(imported.name.startswith(name) for imported in node.names))
    }


def test_one_module_knows_the_sdk() -> None:
    """The SDK is maintained no further: what replaces it is written into one module, which one other module starts."""
    assert importers_of("aws_xray_sdk") == {"notifier/telemetry/xray.py"}
    assert importers_of("notifier.telemetry.xray") == {"notifier/telemetry/start.py"}


def test_the_decorator_is_free_when_off() -> None:
    """Without a trace a traced function is called as it is: its result and its exception are its own."""

    @traced("work")
    def work(n: int) -> int:
        return 1 // n

    assert Tracing.current is NO_TRACE
    assert work(1) == 1
    with pytest.raises(ZeroDivisionError):
        work(0)


def test_a_trace_is_chosen_whole(daemon: Daemon) -> None:
    """TRACE_SAMPLE is decided by the trace's id: every hop of a chain is recorded, or none."""
    roots = [f"1-6b000000-{n:024x}" for n in range(200)]
    chosen = {root for root in roots if is_recorded(daemon, root)}
    assert 10 <= len(chosen) <= 90
    assert all(is_recorded(daemon, root) is (root in chosen) for root in roots[:20])


def is_recorded(daemon: Daemon, root: str) -> bool:
    with invocation(daemon, header(root), sample=25) as trace:
        return trace.active


# --------------------------------------------------------------------------------- the invocation's own part


def test_annotations_hang_on_a_part_of_our_own(daemon: Daemon) -> None:
    """Lambda's segment of the function takes no annotations: a part that covers the invocation has them."""
    with invocation(daemon, header(parent="00000000000000aa")) as trace:
        trace.annotate(run="r1", campaign="c1", hop=2, cold_start=True)
    [document] = documents(daemon)
    assert document.parent_id == "00000000000000aa"
    assert document.detail["annotations"] == {"run": "r1", "campaign": "c1", "hop": 2, "cold_start": True}


def test_each_hop_of_a_warm_chain_hangs_under_its_own_invocation(daemon: Daemon) -> None:
    """All hops of a chain share a trace id; the SDK would hang every later one under the first one's segment."""
    root = "1-6b000000-00000000000000000000abcd"
    for number in (1, 2):
        with invocation(daemon, header(root, f"{number:016x}")) as trace, span(trace, "send"):
            trace.annotate(hop=number)
    found = documents(daemon, 2)
    hops = {document.detail["annotations"]["hop"]: document for document in found if document.name == "worker"}
    assert {number: document.parent_id for number, document in hops.items()} == {1: f"{1:016x}", 2: f"{2:016x}"}
    assert {document.parent_id for document in found if document.name == "send"} == {hops[1].id, hops[2].id}


def test_threads_of_a_warm_environment_hang_under_the_hop_that_works(daemon: Daemon) -> None:
    """A thread keeps its own context: what it does in the second hop belongs to the second hop."""
    root = "1-6b000000-00000000000000000000beef"
    client = Aws().client("dynamodb")
    with ThreadPoolExecutor(1) as pool:
        for _ in (1, 2):
            with invocation(daemon, header(root)):
                pool.submit(client.list_tables).result()
    found = documents(daemon, 2)
    parents = {document.parent_id for document in found if document.name == "dynamodb"}
    assert parents == {document.id for document in found if document.name == "worker"}


def test_an_exception_marks_the_invocation(daemon: Daemon) -> None:
    """What leaves the handler is a fault of the part that covers it, with the exception in it."""
    with pytest.raises(ValueError, match="broken"), invocation(daemon, header()):
        raise ValueError("broken")
    [document] = documents(daemon)
    assert document.fault
    assert document.detail["cause"]["exceptions"][0]["message"] == "broken"


def test_an_answer_may_be_a_fault(daemon: Daemon) -> None:
    """Lambda says 200 whatever is answered: we mark a run that stopped, for `service() { fault }`."""
    with invocation(daemon, header()) as trace:
        trace.fault("credentials_refused: UNAUTHENTICATED")
    [document] = documents(daemon)
    assert document.fault
    assert document.detail["annotations"]["reason"] == "credentials_refused: UNAUTHENTICATED"


def test_traced_functions_nest(daemon: Daemon) -> None:
    """A traced function that calls another is its parent; the exception of the inner one marks both."""

    @traced("inner")
    def inner() -> None:
        raise KeyError("gone")

    @traced("outer")
    def outer() -> None:
        inner()

    with invocation(daemon, header()), pytest.raises(KeyError):
        outer()
    found = documents(daemon)
    assert named(found, "inner").parent_id == named(found, "outer").id
    assert named(found, "outer").parent_id == named(found, "worker").id
    assert (named(found, "inner").fault, named(found, "outer").fault, named(found, "worker").fault) == (
        True,
        True,
        False,
    )


# --------------------------------------------------------------------------------- calls to AWS

REFUSALS = [
    ("dynamodb", 400, b'{"__type":"x#ConditionalCheckFailedException","message":"no"}'),
    ("s3", 412, b"<Error><Code>PreconditionFailed</Code></Error>"),
    ("s3", 304, b""),
]


def call(client: Any, service: str) -> None:
    if service == "dynamodb":
        client.put_item(TableName="t", Item={"pk": {"S": "x"}}, ConditionExpression="attribute_not_exists(pk)")
    else:
        client.get_object(Bucket="b", Key="k", IfNoneMatch='"x"')


@pytest.mark.parametrize(("service", "status", "body"), REFUSALS)
def test_expected_refusals_do_not_paint_it_red(daemon: Daemon, service: str, status: int, body: bytes) -> None:
    """A failed condition, 412 and 304 are answers: the SDK would mark them as error and fault."""
    client = Aws(status, body).client(service)
    with invocation(daemon, header()), pytest.raises(ClientError):
        call(client, service)
    document = named(documents(daemon), service)
    assert not document.failed
    assert "cause" not in document.detail
    assert document.status == status


def test_other_refusals_do(daemon: Daemon) -> None:
    """An unexpected refusal stays a fault, with its cause."""
    client = Aws(400, b'{"__type":"x#AccessDeniedException","message":"not you"}').client("dynamodb")
    with invocation(daemon, header()), pytest.raises(ClientError):
        call(client, "dynamodb")
    document = named(documents(daemon), "dynamodb")
    assert document.fault
    assert "not you" in document.detail["cause"]["exceptions"][0]["message"]


def test_the_next_hop_is_in_the_same_trace(daemon: Daemon) -> None:
    """An invocation that is asked for carries this trace's id, and Lambda's lineage, by which it counts loops."""
    aws = Aws(202, b"")
    with invocation(daemon, header("1-6b000000-000000000000000000000777", lineage="1a2b:3")):
        aws.client("lambda").invoke(FunctionName="f", InvocationType="Event")
    fields = dict(field.split("=", 1) for field in text(aws.headers[0][HEADER]).split(";"))
    assert fields["Root"] == "1-6b000000-000000000000000000000777"
    assert fields["Sampled"] == "1"
    assert fields["Lineage"] == "1a2b:3"
    assert fields["Parent"] == named(documents(daemon), "lambda").id


def test_a_chain_that_grows_too_long_goes_on_in_another_trace(daemon: Daemon) -> None:
    """A trace holds 500 KB. The next hop gets a new id, which this trace names; the lineage stays."""
    aws = Aws(202, b"")
    with invocation(daemon, header("1-6b000000-000000000000000000000888", lineage="1a2b:3")) as trace:
        trace.start_new_trace()
        aws.client("lambda").invoke(FunctionName="f", InvocationType="Event")
    fields = dict(field.split("=", 1) for field in text(aws.headers[0][HEADER]).split(";"))
    root = named(documents(daemon), "worker").detail["annotations"]["continued_in"]
    assert (fields["Root"], fields["Sampled"], fields["Lineage"]) == (root, "1", "1a2b:3")
    assert root != "1-6b000000-000000000000000000000888"


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# --------------------------------------------------------------------------------- batches


def test_what_overlaps_is_written_down_when_it_is_over(daemon: Daemon) -> None:
    """Batches overlap. The SDK would hang one under the other and raise AlreadyEndedException into the sender."""
    with invocation(daemon, header()) as trace, span(trace, "send"):
        for number in range(3):
            assert trace.batch(BatchSpan(f"batch {number}", 10.0 + number, 14.0, "first", (a_call(),), {}))
    found = documents(daemon)
    pieces = [document for document in found if document.name.startswith("batch")]
    assert {document.parent_id for document in pieces} == {named(found, "send").id}
    assert sorted((document.began_s, document.ended_s) for document in pieces) == [
        (10.0, 14.0),
        (11.0, 14.0),
        (12.0, 14.0),
    ]
    remotes = [document for document in found if document.namespace == "remote"]
    assert {document.parent_id for document in remotes} == {document.id for document in pieces}


@pytest.mark.parametrize(
    ("status", "kind", "marks"),
    [
        (200, CallKind.FINE, (False, False, False)),
        (404, CallKind.FINE, (False, False, False)),
        (503, CallKind.FAULT, (True, False, False)),
        (0, CallKind.FAULT, (True, False, False)),
        (401, CallKind.ERROR, (False, True, False)),
        (429, CallKind.THROTTLED, (False, True, True)),
    ],
)
def test_gateways_are_remote_nodes_with_status(
    daemon: Daemon, status: int, kind: CallKind, marks: tuple[bool, bool, bool]
) -> None:
    """A request to FCM or APNs is marked by what it means: a dead token is a fine answer, none at all is a fault."""
    with invocation(daemon, header()) as trace:
        trace.batch(a_piece(calls=(a_call("APNs", status, kind),)))
    document = named(documents(daemon), "APNs")
    assert (document.fault, document.error, document.throttle) == marks
    assert document.namespace == "remote"
    assert document.status == (status or None)


def test_threads_may_record_while_another_part_is_open(daemon: Daemon) -> None:
    """Settlements run in threads: nothing is raised into them, and they do not end up in each other."""
    client = Aws().client("dynamodb")
    gate = threading.Barrier(4)

    def settle() -> None:
        gate.wait()
        for _ in range(20):
            client.list_tables()

    with invocation(daemon, header()) as trace, span(trace, "send"), ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(settle) for _ in range(4)]:
            task.result()
    found = documents(daemon)
    root = named(found, "worker")
    assert {document.parent_id for document in found if document.name == "dynamodb"} == {root.id}


# --------------------------------------------------------------------------------- how much


def test_no_datagram_is_too_large(daemon: Daemon) -> None:
    """The daemon drops what is over 64 KB without a word: a long document loses what is long about it."""
    with invocation(daemon, header()) as trace:
        trace.note("long", "x" * 200_000)
    [document] = documents(daemon)
    assert document.name == "worker"
    assert max(daemon.datagrams) < DATAGRAM_MAX_BYTES


def test_a_hop_writes_no_more_than_its_share(daemon: Daemon) -> None:
    """Thousands of batches and calls: what is sent stays under an eighth of what a trace holds, for eight hops."""
    client = Aws().client("dynamodb")
    with invocation(daemon, header()) as trace:
        kept = sum(trace.batch(a_piece(f"batch {n}", "x" * 500, (a_call(), a_call("APNs")))) for n in range(300))
        for _ in range(300):
            client.list_tables()
    found = documents(daemon)
    assert 5 < kept < 40
    assert sum(daemon.datagrams) < TRACE_MAX_BYTES / 8
    counted = named(found, "worker").detail["metadata"]["notifier"]["documents"]
    assert counted["left_out"] > 500


def test_the_slow_and_the_failing_are_kept() -> None:
    """The first few calls are kept, then those that fail or are slower than all before, and a thinning sample."""
    budget = Budget(1_000, 1_000_000)
    for _ in range(100):
        budget.take("dynamodb", 100, 0.005)
    assert budget.documents == 6 + 4  # the first six, then the 8th, 16th, 32nd and 64th
    assert budget.take("dynamodb", 100, 2.0)
    assert not budget.take("dynamodb", 100, 1.0)
    assert budget.take("dynamodb", 100, 0.005, faulty=True)


def test_a_daemon_that_is_gone_harms_nobody() -> None:
    """Nothing listens on the port: the invocation does not notice."""
    with Daemon() as gone:
        address = gone.address
    tracing = start_tracing(address, 100)
    for _ in range(3):
        with tracing.invocation(header(), "worker") as trace:
            trace.batch(a_piece())
    tracing.close()
