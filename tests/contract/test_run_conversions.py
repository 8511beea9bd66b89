"""Conversions counted by the function: of files, of a stored query of DuckDB, and of one that a warehouse runs."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import duckdb
import msgspec
import pytest
from botocore.config import Config

from audiences.conversions import join, read_declaration
from audiences.engines.athena import Athena
from audiences.engines.port import EngineName, RemoteEngine
from audiences.faults import AudienceFault
from audiences.run_conversions import ConversionCounter
from audiences.warehouse import StillQuerying, Warehouses
from notifier.model.campaign import Campaign, Goal, Message, Variant
from notifier.model.conversion_counts import ConversionCounts
from notifier.model.goal_source import pinned, read_texts
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.run import Ending, Lane, LaneState, Run, state_key
from notifier.model.summary import summary_of
from notifier.preparation_items import conversions_id
from operations.cli.conversion_queries import ask_here, warehouses_of
from operations.cli.errors import CommandError
from operations.cli.goals import goal_of
from operations.cli.requests import workplace
from reporting.outcome import Outcome
from reporting.rows import objects_under
from sandbox.athena import Athena as Service
from sandbox.athena import AthenaServer, WorkGroup
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import KEYS, client_of, moto_server, new_name
from tests.made_run import MadeRun, make_run

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
CAMPAIGN = Campaign(
    "goal", Message(title="t", body="b"), (Variant("a", Decimal(80)),), Decimal(20), goal=Goal("opened", 72)
)
EVENTS = "SELECT user_id, 'opened' AS event, seen AS at FROM events WHERE seen >= $since"
NOTHING_SEEN = "SELECT user_id, seen AS at, 'opened' AS event FROM events WHERE seen < '2020-01-01'"
THROUGH = "SELECT max(seen) AS through FROM events"
NOTHING = Warehouses({})


@pytest.fixture(scope="module")
def run() -> Iterator[MadeRun]:
    """A run of 200 users that is over; `events` has a conversion of each, 50 at 10:00 and the others at 12:00."""
    with moto_server() as endpoint:
        client = client_of("s3", endpoint)
        bucket = new_name("goal")
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        made = make_run(client, bucket, CAMPAIGN, (list(users(Recipe(users=200))),), START.timestamp())
        yield made
        client.close()


@pytest.fixture(scope="module")
def table(run: MadeRun, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The prefix of the Parquet files with the events."""
    path = tmp_path_factory.mktemp("events") / "events.parquet"
    rows = [
        json.loads(line)
        for _, body in objects_under(run.client, run.bucket, f"rows/run_id={run.run_id}/")
        for line in gzip.decompress(body).splitlines()
    ]
    ids = sorted({row["user_id"] for row in rows})
    with duckdb.connect() as database:
        database.execute("CREATE TABLE e (user_id VARCHAR, seen TIMESTAMPTZ)")
        database.executemany(
            "INSERT INTO e VALUES (?, ?)",
            [(one, f"2026-11-21T{10 if n < 50 else 12}:00:00Z") for n, one in enumerate(ids)],
        )
        database.execute(f"COPY e TO '{path}'")
    run.client.upload_file(str(path), run.bucket, "standing/events/1.parquet")
    return "standing/events/"


def declare(run: MadeRun, **members: Any) -> None:
    """`conversions/opened.json`."""
    run.client.put_object(Bucket=run.bucket, Key="conversions/opened.json", Body=json.dumps(members).encode())


def store_query(run: MadeRun, name: str, sql: str, engine: str, tables: Mapping[str, Any], since: bool) -> None:
    """A stored query."""
    parameters = {"since": {"type": "date"}} if since else {}
    about = {"engine": engine, "owner": "a@b.de", "description": "d", "tables": tables, "parameters": parameters}
    about = {key: value for key, value in about.items() if value}
    run.client.put_object(Bucket=run.bucket, Key=f"queries/{name}.sql", Body=sql.encode())
    run.client.put_object(Bucket=run.bucket, Key=f"queries/{name}.json", Body=json.dumps(about).encode())


_asked = iter(range(1, 1000))


def order(run: MadeRun, after_h: int | None = None, queries: str = "") -> Preparation:
    """A count that is asked for."""
    request = {"run_id": run.run_id} | ({"after_h": after_h} if after_h is not None else {})
    name = conversions_id(run.run_id, next(_asked))
    state = PreparationState.PREPARING
    return Preparation(name, state, json.dumps(request), run.bucket, queries=queries, stage=Stage.CONVERSIONS)


def counted(run: MadeRun, tmp_path: Path, order: Preparation, warehouses: Warehouses = NOTHING) -> ConversionCounts:
    """What the function counts."""
    later = datetime(2026, 12, 24, tzinfo=UTC).timestamp()
    counter = ConversionCounter(run.client, run.bucket, {}, warehouses, lambda: later)
    key = counter(order, tmp_path / new_name("work"), lambda _what, _users: None)
    assert key == counter(order, tmp_path / new_name("work"), lambda _what, _users: None), "it is counted once"
    body = run.client.get_object(Bucket=run.bucket, Key=key)["Body"].read()

    return msgspec.json.decode(body, type=ConversionCounts)


def conversions(found: ConversionCounts) -> int:
    """Of all arms."""
    return sum(arm.conversions for arm in found.arms)


QUERY = {"name": "opened", "parameters": {"since": "$from"}}


def test_a_stored_query_and_the_hour_of_a_decision(run: MadeRun, table: str, tmp_path: Path) -> None:
    """Its rows are the conversions, the other one says through when; an hour cuts them off."""
    store_query(run, "opened", EVENTS, "duckdb", {"events": [table]}, since=True)
    store_query(run, "through", THROUGH, "duckdb", {"events": [table]}, since=False)
    declare(run, query=QUERY, complete={"query": {"name": "through"}})
    approve(run)
    everything = counted(run, tmp_path, order(run))
    assert (conversions(everything), everything.until, everything.changed) == (200, None, "")
    assert everything.complete_through == "2026-11-21T12:00:00+00:00"
    early = counted(run, tmp_path, order(run, after_h=2))
    assert conversions(early) == 50
    assert early.until is not None
    assert early.until.startswith("2026-11-21T11:0")


def approve(run: MadeRun) -> None:
    """The campaign that the run began with has the hashes of its goal's source as it is now."""

    def read(key: str) -> bytes:
        body: bytes = run.client.get_object(Bucket=run.bucket, Key=key)["Body"].read()
        return body

    key = state_key(run.run_id, "campaign")
    began = msgspec.json.decode(read(key))
    goal = pinned(Goal("opened", 72), read_texts("opened", read))
    began["campaign"]["goal"] = msgspec.to_builtins(goal)
    run.client.put_object(Bucket=run.bucket, Key=key, Body=msgspec.json.encode(began))


def test_another_source_than_approved(run: MadeRun, table: str, tmp_path: Path) -> None:
    """It is counted all the same, for a person to look at; and the counts say that it is another one."""
    store_query(run, "opened", EVENTS, "duckdb", {"events": [table]}, since=True)
    run.client.put_object(Bucket=run.bucket, Key="standing/through", Body=b"2026-11-22T00:00:00Z")
    declare(run, query=QUERY, complete={"marker": "standing/through"})
    approve(run)
    store_query(run, "opened", EVENTS + " ", "duckdb", {"events": [table]}, since=True)
    found = counted(run, tmp_path, order(run))
    assert (conversions(found), found.changed) == (
        200, "a query that conversions/opened.json names is another than the one approved",
    )  # fmt: skip


def test_a_warehouse_is_not_waited_for(run: MadeRun, table: str, tmp_path: Path) -> None:
    """Athena runs the query while no function does; asked again with the tickets, its rows are counted."""
    store_query(run, "opened", EVENTS, "athena", {}, since=True)
    run.client.put_object(Bucket=run.bucket, Key="standing/through", Body=b"2026-11-22T00:00:00Z")
    declare(run, query=QUERY, complete={"marker": "standing/through"})
    service = Service(run.client, lambda: {"events": (run.bucket, table)}, {"g": WorkGroup()}, lambda _: None)
    with AthenaServer(service) as server:
        config = Config(retries={"total_max_attempts": 1})
        session: Any = botocore.session.get_session()
        client = session.create_client("athena", endpoint_url=server.url, config=config, **KEYS)
        engines: dict[EngineName, Callable[[], RemoteEngine]] = {
            "athena": lambda: Athena(client, run.client, "g", run.bucket)
        }
        approve(run)
        store_query(run, "opened", EVENTS + " ", "athena", {}, since=True)
        one = order(run)
        for _ in range(2):  # the query is checked, then it runs
            with pytest.raises(StillQuerying) as waiting:
                counted(run, tmp_path, one, Warehouses(engines))
            service.join()
            one = msgspec.structs.replace(one, queries=waiting.value.queries.encode())
            # What runs is the edited query, though the approved one is there again when it has ended.
            store_query(run, "opened", EVENTS, "athena", {}, since=True)
        found = counted(run, tmp_path, one, Warehouses(engines))
    assert (conversions(found), found.changed[:7]) == (200, "a query")
    assert found.complete_through == "2026-11-22T00:00:00+00:00"


def test_other_ids_are_logged_for_an_alarm(run: MadeRun, tmp_path: Path) -> None:
    """The share of converting users who are in no row, as a metric and without an id; of a few users nothing."""
    run.client.put_object(Bucket=run.bucket, Key="standing/through", Body=b"2026-11-22T00:00:00Z")
    lines: list[str] = []
    for number in (99, 150):
        rows = "".join(f"other-{n},opened,2026-11-21T10:00:00Z\n" for n in range(number))
        run.client.put_object(Bucket=run.bucket, Key="standing/e", Body=f"user_id,event,at\n{rows}".encode())
        declare(run, files=["standing/e"], complete={"marker": "standing/through"})
        counter = ConversionCounter(
            run.client, run.bucket, {"STACK": "s"}, NOTHING, lambda: START.timestamp() + 86_400, lines.append
        )
        counter(order(run), tmp_path / new_name("work"), lambda _what, _users: None)
    [line] = map(json.loads, lines)
    assert (line["UnknownConversionPercent"], line["unknown"], line["Stack"], line["goal"]) == (100, 150, "s", "opened")
    assert "other-" not in lines[0]


class Cloud:
    """As much of the command line's cloud as a report asks."""

    def __init__(self, run: MadeRun, athena: Any = None, workgroup: str = "") -> None:
        self.deployment = SimpleNamespace(bucket=run.bucket, worker="worker")
        variables = {"worker": {"AUDIENCE_FUNCTION": "audiences"}, "audiences": {"ATHENA_WORKGROUP": workgroup}}
        functions = SimpleNamespace(
            get_function_configuration=lambda FunctionName: {"Environment": {"Variables": variables[FunctionName]}}  # noqa: N803
        )
        self._clients = {"s3": run.client, "lambda": functions, "athena": athena}

    def client(self, service: str) -> Any:
        """One of them."""
        return self._clients[service]

    def report(self, run: MadeRun) -> Outcome:
        """What `notifier report` says of the goal."""
        lane = Lane(run.run_id, state=LaneState.DONE, ending=Ending.COMPLETED, account=run.account)
        summary = summary_of(Run(run.run_id, run.source, 7), lane, run.bucket)
        assert CAMPAIGN.goal is not None
        return goal_of(self, summary, CAMPAIGN, CAMPAIGN.goal)  # type: ignore[arg-type]


def test_a_report_runs_a_query_of_duckdb(run: MadeRun, table: str) -> None:
    """`notifier report`: the same figures as the function's, without it."""
    store_query(run, "opened", EVENTS, "duckdb", {"events": [table]}, since=True)
    store_query(run, "through", THROUGH, "duckdb", {"events": [table]}, since=False)
    declare(run, query=QUERY, complete={"query": {"name": "through"}})
    found = Cloud(run).report(run)
    assert sum(arm.conversions for arm in found.comparison.arms) == 200


def test_a_report_waits_for_athena(run: MadeRun, table: str) -> None:
    """In the workgroup that the stack's audience function names; where there is none, that is what it says."""
    store_query(run, "opened", EVENTS, "athena", {}, since=True)
    run.client.put_object(Bucket=run.bucket, Key="standing/through", Body=b"2026-11-22T00:00:00Z")
    declare(run, query=QUERY, complete={"marker": "standing/through"})
    service = Service(run.client, lambda: {"events": (run.bucket, table)}, {"g": WorkGroup()}, lambda _: None)
    with AthenaServer(service) as server:
        config = Config(retries={"total_max_attempts": 1})
        session: Any = botocore.session.get_session()
        client = session.create_client("athena", endpoint_url=server.url, config=config, **KEYS)
        cloud: Any = Cloud(run, client, "g")
        declared = read_declaration(
            run.client.get_object(Bucket=run.bucket, Key="conversions/opened.json")["Body"].read(), "c"
        )
        with workplace(None) as limits:
            ask = ask_here(run.client, run.bucket, warehouses_of(cloud), limits, lambda _: service.join())
            goal, now = CAMPAIGN.goal, datetime(2026, 12, 24, tzinfo=UTC)
            assert goal is not None
            found = join(run.client, run.bucket, run.run_id, goal, declared, now, limits, ask)
    assert conversions(found) == 200
    with pytest.raises(CommandError) as raised:
        Cloud(run).report(run)
    assert "AthenaWorkGroup" in raised.value.problem + raised.value.mend


def test_a_query_that_finds_nothing(run: MadeRun, table: str, tmp_path: Path) -> None:
    """Nobody has converted, and nothing says yet that they are complete: no fault."""
    for name in ("opened", "through"):
        store_query(run, name, NOTHING_SEEN, "duckdb", {"events": [table]}, since=False)
    declare(run, query={"name": "opened"}, complete={"query": {"name": "through"}})
    found = counted(run, tmp_path, order(run))
    assert (conversions(found), found.complete_through) == (0, None)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"files": ["rows/"], "complete": {"marker": "standing/m"}}, "an audience is made of objects under"),
        ({"files": ["standing/e"], "complete": {"marker": "state/m"}}, "an audience is made of objects under"),
        ({"complete": {"marker": "standing/m"}}, "files and query: one of the two"),
        ({"files": ["standing/e"], "query": QUERY, "complete": {"marker": "standing/m"}}, "files and query: one"),
        ({"files": ["standing/e"], "complete": {}}, "complete.marker and complete.query: one of the two"),
    ],
)
def test_what_is_refused(run: MadeRun, tmp_path: Path, members: dict[str, Any], words: str) -> None:
    """A declaration reads what audiences may read, and says one thing."""
    declare(run, **members)
    with pytest.raises(AudienceFault, match=words):
        counted(run, tmp_path, order(run))
