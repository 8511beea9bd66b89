"""A run's preparation: what the worker, the sweeper and the audience function write, against a real table and bucket.

The audience function is killed at every call that it makes: whatever comes of it, there is one manifest in the end, one
lane that is awake, and nothing of two attempts is mixed.
"""

import importlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from audiences.app import S3Maker
from audiences.manifest_format import NAME, PREFIX, decode_manifest
from audiences.run_preparation import Lease, RunPreparation
from audiences.store import AttemptLost, PreparationStore
from notifier.dynamodb import Update
from notifier.model.preparation import MAX_ATTEMPTS, PREPARATION_LEASE_MS, Preparation, PreparationState, Stage
from notifier.model.run import PREPARING, Control, LaneState, Run, source_of
from notifier.preparation_items import preparation_key
from notifier.stores.ledger import DynamoLedger
from tests.contract.moto_stores import Time, client_of, lost_answer, make_table, moto_server, new_name

RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7, "AWS:ann")
BUCKET = "stack"
REQUEST = json.dumps({"files": ["audiences/x/"]})
LEASE_S = PREPARATION_LEASE_MS / 1000


class Killed(BaseException):
    """The function is over, at any line."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


@pytest.fixture
def time() -> Time:
    """The time."""
    return Time()


@pytest.fixture
def table(endpoint: str) -> tuple[Any, str]:
    """A client and a table of the test's own."""
    client, name = client_of("dynamodb", endpoint), new_name("ledger")
    make_table(client, name)
    return client, name


@pytest.fixture
def dynamo(table: tuple[Any, str], time: Time) -> DynamoLedger:
    """A ledger with a run whose lane rests for its preparation."""
    ledger = DynamoLedger(*table, time)
    ledger.open_run(RUN)
    lane = ledger.claim("r1", 0, "7", "w", time.ms + 900_000)
    ledger.ask_for_preparation("r1", REQUEST, BUCKET)
    ledger.release(lane, LaneState.RESTING, time.ms + 300_000, f"{PREPARING}the audience")
    return ledger


@pytest.fixture
def store(table: tuple[Any, str], time: Time) -> PreparationStore:
    """As the audience function has it."""
    return PreparationStore(*table, time)


def of(ledger: DynamoLedger) -> Preparation:
    """The run's preparation."""
    found = ledger.read_preparation("r1")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["dynamo", "memory"])
def test_it_is_asked_for_once(kind: str, request: pytest.FixtureRequest, time: Time) -> None:
    """A second claim finds the first one's, whatever has become of it; the sweeper finds it when it is due."""
    if kind == "dynamo":
        ledger = request.getfixturevalue("dynamo")
    else:
        ledger = importlib.import_module("tests.twins.ledger").MemoryLedger(time)
        ledger.open_run(RUN)
    first = ledger.ask_for_preparation("r1", REQUEST, BUCKET)
    assert ledger.ask_for_preparation("r1", "{}", "other") == first
    assert (first.state, first.attempts, first.request, first.bucket) == (PreparationState.ASKED, 0, REQUEST, BUCKET)
    assert list(ledger.due_preparations(time.ms)) == []
    time.s += 60
    [due] = ledger.due_preparations(time.ms)
    assert ledger.put_off_preparation(due, time.ms + 120_000)
    assert not ledger.put_off_preparation(due, time.ms + 120_000), "another sweep was faster"
    assert list(ledger.due_preparations(time.ms)) == []
    assert list(ledger.due(time.ms)) == [], "lanes have a partition of their own"
    ledger.end_preparation("r1")
    assert ledger.read_preparation("r1").due_at_ms is not None, "it is not over"
    ledger.cancel_preparation("r1")
    found = ledger.read_preparation("r1")
    assert (found.state, found.due_at_ms) == (PreparationState.CANCELLED, None)


def test_one_attempt_at_a_time(dynamo: DynamoLedger, store: PreparationStore, time: Time) -> None:
    """A second claim is refused while the first one's lease lasts; then it takes over, and the first writes no more."""
    first = store.claim(of(dynamo), "a")
    assert first is not None
    assert (first.state, first.attempts, first.owner) == (PreparationState.PREPARING, 1, "a")
    assert store.claim(of(dynamo), "b") is None
    time.s += 30
    store.renew("r1", "a", "reading")
    assert of(dynamo).words == "preparing: reading"
    time.s += LEASE_S - 1
    assert store.claim(of(dynamo), "b") is None
    time.s += 2
    [due] = dynamo.due_preparations(time.ms)
    assert due.attempts == 1
    second = store.claim(of(dynamo), "b")
    assert second is not None
    assert second.attempts == 2
    late: tuple[Callable[[], None], ...] = (
        lambda: store.renew("r1", "a", "late"),
        lambda: store.end("r1", "a", manifest="m"),
        lambda: store.put_back("r1", "a", "x"),
    )
    for write in late:
        with pytest.raises(AttemptLost):
            write()
    store.end("r1", "b", manifest="m2")
    assert (of(dynamo).state, of(dynamo).manifest) == (PreparationState.PREPARED, "m2")


def test_both_read_before_either_claims(dynamo: DynamoLedger, store: PreparationStore) -> None:
    """A doubled invocation: one of the two gets it."""
    before = of(dynamo)
    assert [store.claim(before, owner) is not None for owner in ("a", "b")] == [True, False]


def test_an_answer_that_was_lost(dynamo: DynamoLedger, store: PreparationStore, table: tuple[Any, str]) -> None:
    """botocore repeats the write and is refused: it is recognised as done."""
    client, _ = table
    with lost_answer(client, "dynamodb.UpdateItem") as lost:
        assert store.claim(of(dynamo), "a") is not None
        assert lost() == 1
    with lost_answer(client, "dynamodb.UpdateItem") as lost:
        store.end("r1", "a", manifest="m")
        assert lost() == 1
    assert of(dynamo).manifest == "m"


def test_three_attempts_and_no_more(dynamo: DynamoLedger, store: PreparationStore, time: Time) -> None:
    """The third one that is killed ends it, with what failed last and what to change."""
    for n in range(MAX_ATTEMPTS):
        assert store.claim(of(dynamo), f"o{n}") is not None
        assert not store.give_up(of(dynamo))
        time.s += LEASE_S + 1
    assert store.claim(of(dynamo), "o4") is None
    assert store.give_up(of(dynamo))
    assert of(dynamo).state is PreparationState.FAILED
    assert "AudienceMemoryMb" in of(dynamo).reason


def test_only_a_lane_that_rests_for_it_is_woken(dynamo: DynamoLedger, store: PreparationStore, time: Time) -> None:
    """Not one that an operator has paused, nor one that rests for another reason."""
    dynamo.set_control("r1", Control.PAUSE, "ann")
    assert store.wake_lane("r1") is None
    dynamo.set_control("r1", Control.GO, "ann")
    lane = dynamo.claim("r1", 0, "7", "w2", time.ms + 900_000)
    assert store.wake_lane("r1") is None, "it is worked on"
    dynamo.release(lane, LaneState.RESTING, time.ms + 300_000, "not before tomorrow")
    assert store.wake_lane("r1") is None
    time.s += 301
    lane = dynamo.claim("r1", 0, "7", "w3", time.ms + 900_000)
    dynamo.release(lane, LaneState.RESTING, time.ms + 300_000, f"{PREPARING}x")
    assert store.wake_lane("r1") == "7"
    found = dynamo.read_lane("r1")
    assert found is not None
    assert (found.state, found.due_at_ms) == (LaneState.READY, time.ms)


def test_while_all_is_held(dynamo: DynamoLedger, store: PreparationStore, tmp_path: Path) -> None:
    """No attempt begins, and none is counted; the preparation stays due for the sweep after the release."""
    before = of(dynamo)
    dynamo.set_hold("ann", "wrong prices")
    outcome = RunPreparation(store, {}, lambda *_: None, tmp_path).handle("r1", "worker")
    assert (outcome.status, outcome.run_id, "wrong prices" in (outcome.reason or "")) == ("held", "r1", True)
    assert of(dynamo) == before
    assert before.due_at_ms is not None


def test_a_cancelled_run_stops_its_attempt(dynamo: DynamoLedger, store: PreparationStore) -> None:
    """At its next renewal."""
    store.claim(of(dynamo), "a")
    dynamo.cancel_preparation("r1")
    lease = Lease(store, "r1", "a", every_s=0.01)
    with lease:
        lease._thread.join(10)
    with pytest.raises(AttemptLost):
        lease.progress("writing", 5)
    with pytest.raises(AttemptLost):
        store.end("r1", "a", manifest="m")


# ------------------------------------------------------------------------------------------- killed at each step


class Function:
    """The audience function over real clients, of which one call may be the last.

    Args:
        dies_at: the number of the call, from 0, before or after which it is over; None: it lives.
    """

    def __init__(self, endpoint: str, table: str, bucket: str, work: Path, time: Time) -> None:
        self.calls = 0
        self.nudged: list[tuple[str, str, str]] = []
        s3, dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
        self.clients = (s3, dynamodb)
        self.dies_at: int | None = None
        self.before = True
        for client in self.clients:
            client.meta.events.register("before-call.*", lambda **_: self._call(before=True))
            client.meta.events.register("after-call.*", lambda **_: self._call(before=False))
        make = S3Maker(s3, bucket, {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "STORAGE_MB": "512"})
        self.run = RunPreparation(PreparationStore(dynamodb, table, time), {Stage.PREPARE: make}, self._nudge, work)

    def _call(self, *, before: bool) -> None:
        if before:
            self.calls += 1
        if self.calls - 1 == self.dies_at and before == self.before:
            raise Killed

    def _nudge(self, worker: str, run_id: str, version: str) -> None:
        self.nudged.append((worker, run_id, version))

    def invoke(self) -> None:
        """One invocation; a killed one is over."""
        try:
            self.run.handle("r1", "worker")
        except Killed:
            pass


def clean_bucket(s3: Any, name: str) -> None:
    """A versioned bucket with one file of flat rows: 30 users of two devices."""
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    rows = [{"user_id": f"u{n}", "platform": "android", "token": f"{n}:{k}"} for k in range(2) for n in range(30)]
    s3.put_object(Bucket=name, Key="audiences/x/a.jsonl", Body="\n".join(map(json.dumps, rows)).encode())


def read_from(table: tuple[Any, str], bucket: str) -> None:
    """The run's batch file is in this bucket."""
    client, name = table
    update = Update().set(bucket=bucket).arguments()
    client.update_item(TableName=name, Key=preparation_key("r1"), **update)


def calls_of_a_whole_attempt() -> int:
    """So many calls an attempt makes; the parameters below cover them all, and the last test says so."""
    return 14


# Killed before a call, the function leaves what it leaves when killed after the call that precedes it: nothing between
# them is kept. So the gate tries every sixth "after", the last one, behind which the lane is awake, and the first
# "before"; `make deep` tries all.
LAST = calls_of_a_whole_attempt() - 1
IN_THE_GATE = {(0, True), (LAST, False), *((number, False) for number in range(0, LAST, 6))}
KILLS = [
    pytest.param(number, before, marks=() if (number, before) in IN_THE_GATE else pytest.mark.slow)
    for before in (False, True)
    for number in range(calls_of_a_whole_attempt())
]


@pytest.mark.parametrize(("dies_at", "before"), KILLS)
def test_killed_at_each_call(
    endpoint: str, table: tuple[Any, str], dynamo: DynamoLedger, time: Time, tmp_path: Path, dies_at: int, before: bool
) -> None:
    """The sweeper asks again: in the end one manifest, whose parts are all of one attempt, and the lane is awake."""
    bucket = new_name("bucket")
    function = Function(endpoint, table[1], bucket, tmp_path / "work", time)
    s3, _ = function.clients
    clean_bucket(s3, bucket)
    read_from(table, bucket)
    function.calls, function.dies_at, function.before = 0, dies_at, before
    function.invoke()
    function.dies_at = None
    for _ in range(3):
        # As the sweeper does: a minute later, for each preparation that is due.
        time.s += LEASE_S + 1
        for due in dynamo.due_preparations(time.ms):
            assert dynamo.put_off_preparation(due, time.ms + 120_000)
            function.invoke()
    assert of(dynamo).state is PreparationState.PREPARED
    manifest = only_manifest(s3, bucket)
    assert of(dynamo).manifest == f"{PREFIX}{manifest.id}/{NAME}"
    assert (manifest.counts.users, manifest.counts.device_count) == (30, 60)
    assert {part.key.split("/")[3] for part in manifest.parts} == {f"attempt={manifest.attempt}"}
    for part in manifest.parts:
        body = s3.get_object(Bucket=bucket, Key=part.key, VersionId=part.version_id)["Body"].read()
        assert len(body.splitlines()) == part.users
    lane = dynamo.read_lane("r1")
    assert lane is not None
    # Nudged, or found by the sweeper: killed between the two, nothing else wakes it.
    assert (lane.state, lane.due_at_ms is not None and lane.due_at_ms <= time.ms) == (LaneState.READY, True)
    assert {run_id for _, run_id, _ in function.nudged} <= {"r1"}


def test_the_kills_cover_a_whole_attempt(
    endpoint: str, table: tuple[Any, str], dynamo: DynamoLedger, time: Time, tmp_path: Path
) -> None:
    """An attempt that lives makes as many calls as are tried above."""
    bucket = new_name("bucket")
    function = Function(endpoint, table[1], bucket, tmp_path / "work", time)
    clean_bucket(function.clients[0], bucket)
    read_from(table, bucket)
    function.calls = 0
    function.invoke()
    assert of(dynamo).state is PreparationState.PREPARED
    assert function.calls == calls_of_a_whole_attempt()


def only_manifest(s3: Any, bucket: str) -> Any:
    """The one manifest of a bucket, which was written once."""
    versions = s3.list_object_versions(Bucket=bucket, Prefix=PREFIX)["Versions"]
    [found] = [one for one in versions if one["Key"].endswith(NAME)]
    return decode_manifest(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())


QUERY = {
    # At work for longer than it takes until it is looked at.
    "sql": "SELECT user_id, platform, token FROM people WHERE (SELECT sum(hash(range)) FROM range(100000000)) > 0",
    "engine": "duckdb",
    "tables": {"people": ["audiences/x/*.jsonl"]},
}


def processes_of_queries() -> list[int]:
    """The processes in which this one runs queries."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"audiences.engines.child" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("killed", ["the function", "the query's process"])
def test_killed_inside_a_query(
    endpoint: str, table: tuple[Any, str], dynamo: DynamoLedger, time: Time, tmp_path: Path, killed: str
) -> None:
    """By the next attempt, or within this one, the query runs again: one manifest, of one attempt, no process left."""
    bucket = new_name("bucket")
    s3 = client_of("s3", endpoint)
    clean_bucket(s3, bucket)
    client, name = table
    changes = Update().set(bucket=bucket, request=json.dumps(QUERY)).arguments()
    client.update_item(TableName=name, Key=preparation_key("r1"), **changes)
    make = S3Maker(s3, bucket, {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "STORAGE_MB": "512"})
    kills: list[int] = []

    def kill() -> None:
        # Reported again and again while a query is at work, and before that once, without a process.
        if kills or not (at_work := processes_of_queries()):
            return
        kills.extend(at_work)
        if killed == "the function":
            raise Killed
        os.kill(kills[0], signal.SIGSEGV)

    def making(preparation: Preparation, work: Path, on_progress: Callable[[str, int], object]) -> str:
        def progress(what: str, users: int) -> None:
            kill()
            on_progress(what, users)

        return make(preparation, work, progress)

    run = RunPreparation(PreparationStore(*table, time), {Stage.PREPARE: making}, lambda *_: None, tmp_path)
    with suppress(Killed):
        run.handle("r1", "worker")
    assert len(kills) == 1
    assert processes_of_queries() == []
    if killed == "the function":
        assert of(dynamo).state is PreparationState.PREPARING
        time.s += LEASE_S + 1
        assert run.handle("r1", "worker").status == "prepared"
    found = of(dynamo)
    assert (found.state, found.attempts) == (PreparationState.PREPARED, 2 if killed == "the function" else 1)
    manifest = only_manifest(s3, bucket)
    assert (manifest.counts.users, manifest.counts.device_count) == (30, 60)
    assert {part.key.split("/")[3] for part in manifest.parts} == {f"attempt={manifest.attempt}"}


def test_an_attempt_that_outlives_its_lease(
    endpoint: str, table: tuple[Any, str], dynamo: DynamoLedger, time: Time, tmp_path: Path
) -> None:
    """The slow one goes on beside its successor: one manifest, of one of them, and the slow one writes no end."""
    bucket = new_name("bucket")
    s3 = client_of("s3", endpoint)
    clean_bucket(s3, bucket)
    read_from(table, bucket)
    store = PreparationStore(*table, time)
    make = S3Maker(s3, bucket, {})
    nudged: list[str] = []

    def slow(preparation: Preparation, work: Path, on_progress: Callable[[str, int], object]) -> str:
        time.s += LEASE_S + 1
        fast.handle("r1", "worker")
        return make(preparation, work, on_progress)

    def note(*about: str) -> None:
        nudged.append(about[1])

    fast = RunPreparation(store, {Stage.PREPARE: make}, note, tmp_path / "fast")
    outcome = RunPreparation(store, {Stage.PREPARE: slow}, note, tmp_path / "slow").handle("r1", "w")
    assert outcome.status == "lost"
    assert nudged == ["r1"]
    assert of(dynamo).state is PreparationState.PREPARED
    only_manifest(s3, bucket)


def test_what_the_author_must_change_fails_at_once(
    dynamo: DynamoLedger, store: PreparationStore, table: tuple[Any, str], endpoint: str, tmp_path: Path
) -> None:
    """No other attempt could do better: it fails with the reason, and the lane is awake to say so."""
    s3, bucket = client_of("s3", endpoint), new_name("bucket")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    read_from(table, bucket)
    run = RunPreparation(store, {Stage.PREPARE: S3Maker(s3, bucket, {})}, lambda *_: None, tmp_path / "work")
    outcome = run.handle("r1", "worker")
    assert (outcome.status, of(dynamo).attempts) == ("failed", 1)
    assert of(dynamo).reason == "audiences/x/: no object has such a key (check the name; a prefix ends in /)"
    lane = dynamo.read_lane("r1")
    assert lane is not None
    assert lane.state is LaneState.READY


def test_what_may_be_better_in_a_minute_is_tried_again(
    dynamo: DynamoLedger, store: PreparationStore, time: Time, tmp_path: Path
) -> None:
    """Three times in all; then the run fails with what failed last."""

    def fails(*_: object) -> str:
        raise OSError("S3 does not answer")

    run = RunPreparation(store, {Stage.PREPARE: fails}, lambda *_: None, tmp_path / "work")
    for n in range(MAX_ATTEMPTS - 1):
        with pytest.raises(OSError, match="S3"):
            run.handle("r1", "worker")
        assert (of(dynamo).state, of(dynamo).attempts) == (PreparationState.PREPARING, n + 1)
        time.s += LEASE_S + 1
        assert [one.run_id for one in dynamo.due_preparations(time.ms)] == ["r1"]
    assert run.handle("r1", "worker").status == "failed"
    assert of(dynamo).reason == "after 3 attempts: S3 does not answer"
