"""A run whose query a warehouse runs: started, left without waiting, and gone on with when its end is reported.

The ledger's table and the bucket are moto's; Athena is the stand-in that executes with DuckDB.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
import duckdb
import pytest
from botocore.config import Config

from audiences.app import S3Maker
from audiences.engines.athena import Athena
from audiences.engines.port import EngineName, RemoteEngine
from audiences.manifest_format import NAME, PREFIX, decode_manifest
from audiences.run_preparation import Outcome, RunPreparation
from audiences.store import LOOK_AGAIN_MS, PreparationStore
from audiences.warehouse import TIME_S, Warehouses
from notifier.dynamodb import Update
from notifier.model.preparation import PREPARATION_LEASE_MS, Preparation, PreparationState, Stage
from notifier.model.run import PREPARING, LaneState, Run, source_of
from notifier.preparation_items import preparation_key
from notifier.stores.ledger import DynamoLedger
from sandbox.athena import Athena as Service
from sandbox.athena import AthenaServer, Execution, WorkGroup
from tests.contract.moto_stores import KEYS, Time, client_of, make_table, moto_server, new_name

RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7, "AWS:ann")
FOLLOWS = "SELECT user_id, platform, token FROM users WHERE brand = $brand"
BRANDS = ["Accessorize", "it's"]
GROUPS = {"audiences": WorkGroup(), "tiny": WorkGroup(cutoff_bytes=10)}
ENVIRONMENT = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "STORAGE_MB": "512"}


ONCE = Config(retries={"total_max_attempts": 1})


class Killed(BaseException):
    """The function is over, at any line."""


@pytest.fixture(scope="module")
def clients() -> Iterator[Mapping[str, Any]]:
    """Clients of an AWS, made once: each takes half a second. The function has clients of its own."""
    with moto_server() as url:
        yield {
            "s3": client_of("s3", url),
            "dynamodb": client_of("dynamodb", url),
            "function's s3": client_of("s3", url),
            "function's dynamodb": client_of("dynamodb", url),
            "session": botocore.session.get_session(),
        }


class Stack:
    """A ledger with a run whose lane rests for its preparation, a bucket with a table, Athena over it, the function."""

    def __init__(self, clients: Mapping[str, Any], directory: Path) -> None:
        self.time, self.work = Time(), directory / "work"
        self.s3, self.dynamodb = clients["s3"], clients["dynamodb"]
        self.function_s3, self.function_dynamodb = clients["function's s3"], clients["function's dynamodb"]
        self.bucket, self.table = new_name("bucket"), new_name("ledger")
        make_table(self.dynamodb, self.table)
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        columns = "'u' || i AS user_id, 'ios' AS platform, 't' || i AS token, $1[1 + i % 2] AS brand"
        users = f"SELECT {columns} FROM range(30) AS t(i)"  # noqa: S608
        with duckdb.connect() as database:
            database.execute(f"COPY ({users}) TO '{directory / 'users.parquet'}'", [BRANDS])
        self.s3.upload_file(str(directory / "users.parquet"), self.bucket, "standing/users/1.parquet")
        self.ended: list[str] = []
        self.may_run = threading.Event()
        self.may_run.set()
        catalogue = {"users": (self.bucket, "standing/users/")}
        self.service = Service(self.s3, lambda: catalogue, GROUPS, self._wait, lambda one: self.ended.append(one.id))
        self.server = AthenaServer(self.service)
        self.athena = clients["session"].create_client("athena", endpoint_url=self.server.url, config=ONCE, **KEYS)
        self.ledger = DynamoLedger(self.dynamodb, self.table, self.time)
        self.nudged: list[tuple[str, str, str]] = []
        self.on_call: Callable[[], object] = lambda: None
        for client in (self.function_s3, self.function_dynamodb, self.athena):
            for moment in ("before-call.*", "after-call.*"):
                client.meta.events.register(moment, lambda **_: self.on_call())

    def _wait(self, _execution: Execution) -> None:
        assert self.may_run.wait(20)

    def open(self, *sql: str, brand: str = "it's", run: Run = RUN) -> None:
        """A run that asks for the users of these queries."""
        sources = [{"sql": one, "engine": "athena", "parameters": {"brand": brand}} for one in sql or (FOLLOWS,)]
        request = sources[0] if len(sources) == 1 else {"any": sources}
        self.ledger.open_run(run)
        lane = self.ledger.claim(run.run_id, 0, "7", "w", self.time.ms + 900_000)
        self.ledger.ask_for_preparation(run.run_id, json.dumps(request), self.bucket)
        self.ledger.release(lane, LaneState.RESTING, self.time.ms + 300_000, f"{PREPARING}the audience")

    def function(self, group: str = "audiences", on_call: Callable[[], object] = lambda: None) -> RunPreparation:
        """The audience function. `on_call` is called around each call that it makes."""
        self.on_call = on_call
        warehouses = self.warehouses(group)
        make = S3Maker(self.function_s3, self.bucket, ENVIRONMENT, warehouses, self.time)
        store = PreparationStore(self.function_dynamodb, self.table, self.time)
        return RunPreparation(store, {Stage.PREPARE: make}, self._nudge, self.work, warehouses.stop)

    def warehouses(self, group: str = "audiences") -> Warehouses:
        """Athena, with a workgroup."""
        engines: dict[EngineName, Callable[[], RemoteEngine]] = {}
        if group:
            engines["athena"] = lambda: Athena(self.athena, self.function_s3, group, self.bucket)
        store = PreparationStore(self.function_dynamodb, self.table, self.time)
        return Warehouses(engines, store.last_scan, store.note_scan)

    def _nudge(self, worker: str, run_id: str, version: str) -> None:
        self.nudged.append((worker, run_id, version))

    def settle(self) -> None:
        """Wait until Athena runs nothing."""
        self.service.join()

    def reported(self, function: RunPreparation | None = None) -> list[Outcome]:
        """What the function does with the report of each end that it has not had yet."""
        self.settle()
        ended, self.ended = self.ended, []
        return [(function or self.function()).handle_end_of_query(one) for one in ended]

    def swept(self) -> list[str]:
        """The sweeper's minute: the function is asked for each preparation that is due."""
        self.settle()
        self.time.s += max(LOOK_AGAIN_MS, PREPARATION_LEASE_MS) / 1000 + 1
        due = list(self.ledger.due_preparations(self.time.ms))
        for one in due:
            assert self.ledger.put_off_preparation(one, self.time.ms + 120_000)
        return [self.function().handle(one.run_id, "worker").status for one in due]

    def preparation(self, run_id: str = "r1") -> Preparation:
        """The run's."""
        found = self.ledger.read_preparation(run_id)
        assert found is not None
        return found

    def users(self) -> set[str]:
        """The users of the one audience that is prepared."""
        keys = [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX).get("Contents", ())]
        [key] = [key for key in keys if key.endswith(NAME)]
        manifest = decode_manifest(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        lines = [
            line
            for part in manifest.parts
            for line in self.s3.get_object(Bucket=self.bucket, Key=part.key)["Body"].read().splitlines()
        ]
        return {json.loads(line)["user_id"] for line in lines}


@pytest.fixture
def stack(clients: Mapping[str, Any], tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own for each test."""
    made = Stack(clients, tmp_path)
    with made.server:
        yield made
        made.may_run.set()


def of_brand(brand: str) -> set[str]:
    """The users whom the query finds."""
    return {f"u{n}" for n in range(30) if BRANDS[n % 2] == brand}


def test_it_ends_without_waiting_and_goes_on_when_told(stack: Stack) -> None:
    """The item carries the query; nobody waits; ends are reported, the last one leads to the manifest and the nudge."""
    stack.may_run.clear()
    stack.open()
    assert stack.function().handle("r1", "worker").status == "querying"
    left = stack.preparation()
    assert (left.state, left.attempts, left.lease_until_ms) == (PreparationState.PREPARING, 0, 0)
    assert left.words == (
        "preparing: Athena runs audience.sql (Athena does not say before it runs; "
        "the workgroup audiences stops it at 0.01 GB)"
    )
    assert stack.function().handle("r1", "worker").status == "querying", "asked again, it looks, and leaves again"
    assert len(stack.service.executions) == 1
    stack.may_run.set()
    assert [one.status for one in stack.reported()] == ["querying"], "the columns are known: the rows are asked for"
    assert [one.status for one in stack.reported()] == ["prepared"]
    assert stack.nudged == [("worker", "r1", "7")], "whoever tells of an end does not know the worker: the item does"
    assert stack.users() == of_brand("it's")
    assert (stack.preparation().state, stack.preparation().attempts) == (PreparationState.PREPARED, 1)
    lane = stack.ledger.read_lane("r1")
    assert lane is not None
    assert lane.state is LaneState.READY


def test_an_end_that_is_not_told_is_found(stack: Stack) -> None:
    """EventBridge may lose one: the sweeper's minute looks. It may tell of one twice: nothing comes of the second."""
    stack.open()
    stack.function().handle("r1", "worker")
    assert stack.swept() == ["querying"]
    assert stack.swept() == ["prepared"]
    assert stack.users() == of_brand("it's")
    assert {one.status for one in stack.reported()} == {"prepared"}
    assert len(stack.service.executions) == 2


def test_others_queries_are_not_ours(stack: Stack) -> None:
    """The workgroup may be asked by others, too."""
    stack.open()
    outcome = stack.function().handle_end_of_query("11111111-2222-3333-4444-555555555555")
    assert (outcome.status, outcome.reason) == ("ignored", "no run has asked for this query")


CALLS = 37
"""So many calls the three invocations make, each of which may be the last; a test below says so."""
SOME = range(5, 2 * CALLS, 32)
KILLED = [pytest.param(n, marks=() if n in SOME else pytest.mark.slow) for n in range(2 * CALLS)]


@pytest.mark.parametrize("dies_at", KILLED)
def test_killed_at_any_call(stack: Stack, dies_at: int) -> None:
    """Killed before or after a call: each statement is started once, paid once, and one audience comes of it."""
    stack.open()
    calls = iter(range(1_000))

    def on_call() -> None:
        if next(calls) == dies_at:
            raise Killed

    function = stack.function(on_call=on_call)
    steps: list[Callable[[], object]] = [
        partial(function.handle, "r1", "worker"),
        *[partial(stack.reported, function)] * 2,
    ]
    for step in steps:
        try:
            step()
        except Killed:
            break
    for _ in range(4):
        stack.swept()
    assert stack.preparation().state is PreparationState.PREPARED
    assert len(stack.service.executions) == 2
    assert stack.users() == of_brand("it's")


def test_the_kills_cover_a_whole_run(stack: Stack) -> None:
    """A run that lives makes as many calls as are tried above."""
    stack.open()
    calls: list[None] = []
    function = stack.function(on_call=lambda: calls.append(None))
    function.handle("r1", "worker")
    stack.reported(function)
    stack.reported(function)
    assert len(calls) == 2 * CALLS


def test_a_cancelled_run_stops_its_query(stack: Stack) -> None:
    """The sweeper's next minute has it stopped, and then nothing of it is due."""
    stack.may_run.clear()
    stack.open()
    stack.function().handle("r1", "worker")
    stack.ledger.cancel_preparation("r1")
    [due] = stack.ledger.due_preparations(stack.time.ms)
    assert stack.function().handle(due.run_id, "worker").status == "cancelled"
    assert [one.state for one in stack.service.executions.values()] == ["CANCELLED"]
    assert list(stack.ledger.due_preparations(stack.time.ms + 900_000)) == []
    assert stack.preparation().queries == ""
    stack.may_run.set()
    assert {one.status for one in stack.reported()} == {"cancelled"}


def test_cancelled_while_it_is_started(stack: Stack) -> None:
    """The attempt that cannot write any more stops what it has just started."""
    stack.may_run.clear()
    stack.open()
    make = S3Maker(stack.s3, stack.bucket, ENVIRONMENT, stack.warehouses(), stack.time)

    def cancelled_meanwhile(*about: Any) -> str:
        try:
            return make(*about)
        finally:
            stack.ledger.cancel_preparation("r1")

    store = PreparationStore(stack.dynamodb, stack.table, stack.time)
    run = RunPreparation(store, {Stage.PREPARE: cancelled_meanwhile}, stack._nudge, stack.work, stack.warehouses().stop)
    assert run.handle("r1", "worker").status == "lost"
    assert [one.state for one in stack.service.executions.values()] == ["CANCELLED"]


REFUSED: dict[str, tuple[str, str, str]] = {
    "an unknown name": (
        "SELECT user_id, platform, token,\n  nope FROM users WHERE brand = $brand",
        "audiences",
        'audience.sql, line 2, column 3: Athena: SYNTAX_ERROR: Referenced column "nope" not found',
    ),
    "a missing column": ("SELECT user_id FROM users WHERE brand = $brand", "audiences", "no column platform"),
    "nobody": (FOLLOWS + " AND user_id = 'x'", "audiences", "audience.sql: found nobody: the result has no rows"),
    "too many bytes": (FOLLOWS, "tiny", "Athena: Bytes scanned limit was exceeded (read less, by partitions"),
    "not a SELECT": ("DROP TABLE users -- $brand", "audiences", "audience.sql: is not a SELECT (write one SELECT"),
    "no workgroup": (FOLLOWS, "", "this stack does not ask Athena (set the stack's parameter AthenaWorkGroup)"),
    "another workgroup": (FOLLOWS, "gone", "WorkGroup gone is not found"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_athena_refuses_fails_the_run(stack: Stack, case: str) -> None:
    """With Athena's own message, the place in the SQL, and what to do; the lane is awake to say so."""
    sql, group, words = REFUSED[case]
    stack.open(sql)
    stack.function(group).handle("r1", "worker")
    for _ in range(2):
        stack.reported(stack.function(group))
    found = stack.preparation()
    assert (found.state, found.attempts) == (PreparationState.FAILED, 1)
    assert words in found.reason
    assert found.reason.endswith(")"), "what to do is said, too"
    lane = stack.ledger.read_lane("r1")
    assert lane is not None
    assert lane.state is LaneState.READY


def test_one_that_fails_stops_the_others(stack: Stack) -> None:
    """Nothing is read any more for an audience that nobody gets."""
    stack.may_run.clear()
    stack.open(FOLLOWS, "SELECT user_id FROM users; SELECT $brand")
    assert stack.function().handle("r1", "worker").status == "failed"
    assert [one.state for one in stack.service.executions.values()] == ["CANCELLED"]


def test_several_queries_of_one_run(stack: Stack) -> None:
    """Each is started, they run side by side, and the audience is made when the last has ended."""
    stack.open(FOLLOWS, FOLLOWS.replace("= $brand", "<> $brand"))
    assert stack.function().handle("r1", "worker").status == "querying"
    for _ in range(3):
        stack.reported()
    assert stack.users() == of_brand("it's") | of_brand("Accessorize")
    assert len(stack.service.executions) == 4


def test_it_is_stopped_after_an_hour(stack: Stack) -> None:
    """A query that does not end is not asked about for ever."""
    stack.may_run.clear()
    stack.open()
    stack.function().handle("r1", "worker")
    stack.time.s += TIME_S + 1
    assert stack.function().handle("r1", "worker").status == "failed"
    assert "has not ended after 60 minutes, and was stopped" in stack.preparation().reason
    assert [one.state for one in stack.service.executions.values()] == ["CANCELLED"]


def test_a_warehouse_that_does_not_answer_is_asked_again(stack: Stack) -> None:
    """Throttled when it looks: it looks again later, however often, and has not failed."""
    stack.open()
    stack.function().handle("r1", "worker")
    answer, throttled = stack.service.answer, b'{"__type": "TooManyRequestsException", "Message": "Rate exceeded"}'
    stack.service.answer = lambda *_: (400, throttled)  # type: ignore[method-assign]
    for _ in range(4):
        assert stack.swept() == ["querying"]
    assert "Athena asks to wait: Rate exceeded" in stack.preparation().progress
    stack.service.answer = answer  # type: ignore[method-assign]
    assert [*stack.swept(), *stack.swept()] == ["querying", "prepared"]


def test_the_same_is_not_asked_twice_in_a_quarter_of_an_hour(stack: Stack) -> None:
    """The same text and values: the audience that is there is taken. Other values, or later, are asked for again."""
    stack.open()
    stack.function().handle("r1", "worker")
    stack.reported()
    stack.reported()
    second = Run("r2", source_of("drop", "batches/b.json", "v1", "e1"), 7, "AWS:ann")
    stack.open(run=second)
    assert stack.function().handle("r2", "worker").status == "prepared"
    assert len(stack.service.executions) == 2
    third = Run("r3", source_of("drop", "batches/c.json", "v1", "e1"), 7, "AWS:ann")
    stack.open(run=third, brand="Accessorize")
    assert stack.function().handle("r3", "worker").status == "querying"
    scanned = max(one.scanned_bytes for one in stack.service.executions.values())
    assert scanned > 0
    assert stack.preparation("r3").words.endswith(f"; it scanned {scanned / 1e9:,.2f} GB when it ran last)")
    stack.time.s += 16 * 60
    fourth = Run("r4", source_of("drop", "batches/d.json", "v1", "e1"), 7, "AWS:ann")
    stack.open(run=fourth)
    assert stack.function().handle("r4", "worker").status == "querying"


def test_an_item_without_queries_is_as_before(stack: Stack) -> None:
    """What is kept of queries is added to the item: it may be missing."""
    stack.open()
    update = Update().remove("queries", "worker").arguments()
    stack.dynamodb.update_item(TableName=stack.table, Key=preparation_key("r1"), **update)
    assert stack.function().handle("r1", "worker").status == "querying"
