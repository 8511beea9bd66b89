"""Athena as an engine, against a stand-in that speaks its protocol and executes with DuckDB over a local bucket."""

import datetime as dt
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest

from audiences.engines import athena as engine
from audiences.engines.athena import Athena, ended_execution, execution_of
from audiences.engines.port import Attempt, Done, Place, Query, QueryFault, Running, Value, await_rows
from audiences.faults import AudienceFault
from sandbox.athena import Athena as Service
from sandbox.athena import AthenaServer, Execution, WorkGroup
from tests.contract.moto_stores import KEYS, client_of, moto_server

USERS = [
    (f"u{n}", "ios" if n % 2 else "android", f"token-{n}", ["Accessorize", "it's", "a\nb"][n % 3]) for n in range(30)
]
AUDIENCE = "0123456789abcdef0123"
FOLLOWS = "SELECT user_id, platform, token FROM users WHERE brand = $brand"
WORKGROUPS = {
    "audiences": WorkGroup(),
    "unlimited": WorkGroup(cutoff_bytes=None),
    "tiny": WorkGroup(cutoff_bytes=10),
    "off": WorkGroup(is_enabled=False),
}


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """moto's S3."""
    with moto_server() as url:
        yield client_of("s3", url)


class Stack:
    """A bucket with a table, the service over it, and the engine that asks it."""

    def __init__(self, s3: Any, directory: Path) -> None:
        self.s3, self.bucket = s3, f"b-{uuid4().hex}"
        s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        with duckdb.connect() as database:
            database.execute("CREATE TABLE users (user_id VARCHAR, platform VARCHAR, token VARCHAR, brand VARCHAR)")
            database.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", USERS)
            database.execute("ALTER TABLE users ADD COLUMN day DATE DEFAULT DATE '2026-11-21'")
            database.execute(f"COPY users TO '{directory / 'users.parquet'}'")
        s3.upload_file(str(directory / "users.parquet"), self.bucket, "warehouse/users/1.parquet")
        self.before: Callable[[Execution], None] = lambda _execution: None
        self.ended: list[Execution] = []
        tables = {"users": (self.bucket, "warehouse/users/")}
        self.s3_url = s3.meta.endpoint_url
        self.service = Service(s3, lambda: tables, WORKGROUPS, self._wait, self.ended.append)
        self.server = AthenaServer(self.service)
        self.client = client_of("athena", self.server.url)

    def _wait(self, execution: Execution) -> None:
        """What a test says by then: it may change `before` at any time."""
        self.before(execution)

    def engine(self, workgroup: str = "audiences") -> Athena:
        """The engine, with a workgroup."""
        return Athena(self.client, self.s3, workgroup, self.bucket)


@pytest.fixture
def stack(s3: Any, tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own for each test."""
    made = Stack(s3, tmp_path)
    with made.server:
        yield made


def rows(stack: Stack, directory: Path, query: Query, attempt: int = 1) -> set[str]:
    """The user ids that a query finds."""
    files = await_rows(stack.engine(), query, Attempt(AUDIENCE, attempt), directory, time_s=30, poll_s=0.02)
    assert not any(file.ordered for file in files)
    with duckdb.connect() as database:
        found = database.execute(f"SELECT user_id FROM read_parquet({[str(file.path) for file in files]})").fetchall()  # noqa: S608
    return {user for (user,) in found}


def settled(stack: Stack, ticket: str) -> None:
    """Wait until the execution of a ticket has ended."""
    while stack.service.executions[execution_of(ticket)].state in ("QUEUED", "RUNNING"):
        time.sleep(0.01)


def test_rows_come_from_a_fresh_prefix(stack: Stack, tmp_path: Path) -> None:
    """Columns are asked for first, with LIMIT 0; then UNLOAD writes under the attempt's prefix; rows are fetched."""
    found = rows(stack, tmp_path / "rows", Query(FOLLOWS, {"brand": "Accessorize"}))
    assert found == {user for user, _, _, brand in USERS if brand == "Accessorize"}
    first, second = stack.service.executions.values()
    assert first.statement == f"SELECT * FROM (\n{FOLLOWS.replace('$brand', '?')}\n) LIMIT 0"  # noqa: S608
    assert first.scanned_bytes == 0
    assert (
        f"TO 's3://{stack.bucket}/audiences/queried/{AUDIENCE}/attempt=1/rows/' WITH (format = 'PARQUET'"
        in second.statement
    )
    assert first.literals == second.literals == ("'Accessorize'",)
    assert first.workgroup == "audiences"


VALUES: dict[str, tuple[str, Mapping[str, Value], Callable[[str], bool]]] = {
    "a quote": ("brand = $v", {"v": "it's"}, lambda brand: brand == "it's"),
    "an injection": ("brand = $v", {"v": "x' OR '1'='1"}, lambda _brand: False),
    "a comment": ("brand = $v OR brand = 'it''s'", {"v": "' --"}, lambda brand: brand == "it's"),
    "a line break": ("brand = $v", {"v": "a\nb"}, lambda brand: brand == "a\nb"),
    "a backslash": ("brand = $v", {"v": "\\' OR 1=1 --"}, lambda _brand: False),
    "a list": ("contains($v, brand)", {"v": ("it's", "a\nb")}, lambda brand: brand != "Accessorize"),
    "a date": ("day = $v", {"v": dt.date(2026, 11, 21)}, lambda _brand: True),
    "a number": ("$v < 2", {"v": Decimal("1.50")}, lambda _brand: True),
    "a truth value": ("$v", {"v": False}, lambda _brand: False),
    "twice, in order": (
        "(brand = $b OR brand = $a) AND brand <> $b",
        {"a": "it's", "b": "a\nb"},
        lambda brand: brand == "it's",
    ),
    "in a string and a comment": (
        "brand = $v -- $nothing ?\n AND '$v ?' = '$v ?' /* $x */",
        {"v": "it's"},
        lambda brand: brand == "it's",
    ),
}


@pytest.mark.parametrize("case", VALUES)
def test_parameters_are_values(stack: Stack, tmp_path: Path, case: str) -> None:
    """Each `$name` is a `?`, and its literal means the value: whatever quotes, comments and breaks it has."""
    where, values, wanted = VALUES[case]
    query = Query(f"SELECT user_id, platform, token FROM users WHERE {where}", values)  # noqa: S608
    expected = {user for user, _, _, brand in USERS if wanted(brand)}
    if expected:
        assert rows(stack, tmp_path / "rows", query) == expected
        return
    with pytest.raises(QueryFault, match="found nobody"):
        rows(stack, tmp_path / "rows", query)


def test_the_same_attempt_is_started_once(stack: Stack) -> None:
    """A token is made of the attempt: started again after a crash, Athena answers with what runs already."""
    query = Query(FOLLOWS, {"brand": "it's"})
    ticket = stack.engine().start(query, Attempt(AUDIENCE, 1))
    assert stack.engine().start(query, Attempt(AUDIENCE, 1)) == ticket
    settled(stack, ticket)
    second = stack.engine().look(query, ticket)
    assert isinstance(second, Running)
    assert stack.engine().look(query, ticket) == second
    assert len(stack.service.executions) == 2
    assert stack.engine().start(query, Attempt(AUDIENCE, 2)) != ticket
    settled(stack, second.ticket)
    assert isinstance(stack.engine().look(query, second.ticket), Done)


def test_cancel_stops_the_query(stack: Stack) -> None:
    """A cancelled run stops what still runs, and nothing is written afterwards."""
    may_run = threading.Event()
    stack.before = lambda _one: assert_set(may_run)
    query = Query(FOLLOWS, {"brand": "it's"})
    ticket = stack.engine().start(query, Attempt(AUDIENCE, 1))
    assert stack.engine().look(query, ticket) == Running(ticket)
    stack.engine().cancel(ticket)
    may_run.set()
    with pytest.raises(QueryFault, match="was cancelled in Athena"):
        stack.engine().look(query, ticket)
    assert [one.state for one in stack.ended] == ["CANCELLED"]


def assert_set(event: threading.Event) -> None:
    """Wait for it, and not for ever."""
    assert event.wait(20)


def test_waiting_for_too_long_stops_it(stack: Stack, tmp_path: Path) -> None:
    """The command line stops a query that it does not wait for any longer."""
    may_run = threading.Event()
    stack.before = lambda _one: assert_set(may_run)
    clock = iter(range(0, 1_000, 10))
    with pytest.raises(QueryFault, match="has not ended after 30 s"):
        await_rows(
            stack.engine(),
            Query(FOLLOWS, {"brand": "it's"}),
            Attempt(AUDIENCE, 1),
            tmp_path,
            time_s=30,
            sleep=lambda _s: None,
            now=lambda: float(next(clock)),
        )
    assert [one.state for one in stack.ended] == ["CANCELLED"]
    may_run.set()


FAULTS: dict[str, tuple[Query, str, str, Place | None]] = {
    "no limit": (Query(FOLLOWS, {"brand": "a"}), "unlimited", "has no limit of bytes for a query", None),
    "disabled": (Query(FOLLOWS, {"brand": "a"}), "off", "is disabled", None),
    "no workgroup": (Query(FOLLOWS, {"brand": "a"}), "other", "WorkGroup other is not found", None),
    "no value": (Query(FOLLOWS), "audiences", "no value for the parameter $brand", Place(1, 58)),
    "a long value": (Query(FOLLOWS, {"brand": "x" * 1_023}), "audiences", "has 1,025 characters as SQL", None),
    "two statements": (Query("SELECT 1;\nDROP TABLE users"), "audiences", "two statements", Place(1, 9)),
    "a bracket": (
        Query("SELECT 1) TO 's3://other/' WITH (format = 'JSON') --"),
        "audiences",
        "a ) without its (",
        Place(1, 9),
    ),
    "a comment without end": (Query("SELECT 1 /* "), "audiences", "has no end", None),
    "a string without end": (Query("SELECT 'a"), "audiences", "has no end", None),
    "not a SELECT": (Query("DROP TABLE users"), "audiences", "is not a SELECT", None),
    "a question mark": (
        Query("SELECT user_id FROM users WHERE brand = ?"),
        "audiences",
        "without a name",
        Place(1, 41),
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_before_it_starts(stack: Stack, case: str) -> None:
    """Nothing is started, and the message says what is wrong, and where."""
    query, workgroup, says, place = FAULTS[case]
    with pytest.raises(QueryFault) as fault:
        stack.engine(workgroup).start(query, Attempt(AUDIENCE, 1))
    assert says in fault.value.problem
    assert fault.value.mend
    assert fault.value.place == place
    assert not stack.service.executions


FAILS: dict[str, tuple[Query, str, str, Place | None]] = {
    "a missing column": (
        Query("SELECT user_id FROM users"),
        "audiences",
        "no column platform and no column token",
        None,
    ),
    "an unknown name": (
        Query("SELECT user_id,\n  $b || nope FROM users", {"b": "x"}),
        "audiences",
        'Referenced column "nope" not found',
        Place(2, 9),
    ),
    "too many bytes": (Query(FOLLOWS, {"brand": "a"}), "tiny", "Bytes scanned limit was exceeded", None),
}


@pytest.mark.parametrize("case", FAILS)
def test_faults_of_a_query(stack: Stack, tmp_path: Path, case: str) -> None:
    """Athena's own message, the place in the query as it was written, and what to do."""
    query, workgroup, says, place = FAILS[case]
    with pytest.raises(AudienceFault) as fault:
        await_rows(stack.engine(workgroup), query, Attempt(AUDIENCE, 1), tmp_path, time_s=30, poll_s=0.02)
    assert isinstance(fault.value, QueryFault)
    assert says in fault.value.problem
    assert fault.value.mend
    assert fault.value.place == place
    keys = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix="audiences/").get("KeyCount")
    assert not keys


def test_the_cost_is_the_limit(stack: Stack) -> None:
    """Athena does not say what a query reads: people are shown where it is stopped."""
    cost = stack.engine().cost(Query(FOLLOWS, {"brand": "a"}))
    assert cost.scanned_bytes is None
    assert cost.at_most_bytes == 10_000_000
    assert "stops it at 0.01 GB" in cost.sentence


def test_an_event_names_the_execution(stack: Stack) -> None:
    """EventBridge reports a state: only one that is an end names the execution of a ticket."""
    ticket = stack.engine().start(Query(FOLLOWS, {"brand": "a"}), Attempt(AUDIENCE, 1))
    detail = {"queryExecutionId": execution_of(ticket), "currentState": "SUCCEEDED", "previousState": "RUNNING"}
    event: dict[str, Any] = {"source": "aws.athena", "detail-type": "Athena Query State Change", "detail": detail}
    assert ended_execution(event) == execution_of(ticket)
    assert ended_execution(event | {"detail": detail | {"currentState": "RUNNING"}}) is None
    assert ended_execution({"source": "aws.s3", "detail": detail}) is None
    assert ended_execution({}) is None


def test_the_token_is_of_the_attempt(stack: Stack) -> None:
    """The token never changes between releases: an attempt begun by the release before is found by this one."""
    stack.engine().start(Query(FOLLOWS, {"brand": "a"}), Attempt(AUDIENCE, 3))
    assert list(stack.service._tokens) == [hashlib.sha256(f"{AUDIENCE}/3/columns".encode()).hexdigest()]
    assert engine.PREFIX == "audiences/queried/"


def test_the_command_line_asks_athena(stack: Stack, tmp_path: Path) -> None:
    """`notifier audience build --query NAME` of a query of Athena: its cost first, then an audience of its rows."""
    from typer.testing import CliRunner

    from operations.cli import app

    about = {"engine": "athena", "parameters": {"brand": {"type": "text"}}, "owner": "crm@example.com"}
    stack.s3.put_object(Bucket=stack.bucket, Key="queries/follows.sql", Body=FOLLOWS.encode())
    stack.s3.put_object(Bucket=stack.bucket, Key="queries/follows.json", Body=json.dumps(about).encode())
    environment = {
        "AWS_ENDPOINT_URL_ATHENA": stack.server.url,
        "AWS_ENDPOINT_URL_S3": stack.s3_url,
        "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": KEYS["region_name"],
        "COLUMNS": "200",
    }
    arguments = ["audience", "build", "--query", "follows", "--param", "brand=it's", "--from", f"s3://{stack.bucket}"]
    arguments += ["-o", str(tmp_path), "--json"]
    refused = CliRunner().invoke(app, arguments, env=environment)
    assert refused.exit_code == 2
    assert "Athena needs a workgroup" in refused.stderr
    made = CliRunner().invoke(app, [*arguments, "--workgroup", "audiences"], env=environment)
    assert made.exit_code == 0, made.stderr
    assert "stops it at 0.01 GB" in made.stderr
    manifest = json.loads(made.stdout)
    lines = (tmp_path / manifest["parts"][0]["key"]).read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["user_id"] for line in lines} == {user for user, _, _, brand in USERS if brand == "it's"}
    assert manifest["inputs"][0]["key"].startswith(f"audiences/queried/{manifest['id']}/attempt=")
