"""Erasing users from a stack: nobody is left in any version of any object, and the runs' proofs hold."""

import gzip
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from msgspec.structs import replace

from audiences.caps import CapObjects
from audiences.cut_rules import hash_of_user
from audiences.database import Limits
from audiences.store import PreparationStore
from notifier.audience.pin import pin_parts
from notifier.decision_items import DecisionState
from notifier.model.run import Ending, Run, source_of
from notifier.preparation_items import COUNT, conversions_id, preparation_key
from notifier.stores.ledger import DynamoLedger
from privacy.erase import Erased, erase
from privacy.places import MADE_HERE, PREFIXES, TABLES
from privacy.run_eraser import IN_THIS_MOMENT
from privacy.runs import read_open
from privacy.stack import Stack
from privacy.under_way import WITH_AUDIENCE
from privacy.waiting import waited_for
from privacy.whom import suppress
from reporting.proof.audit import audit
from reporting.proof.erased import PREFIX, Tombstone
from sandbox import intrinsics
from schedules.rules import OccurrenceState
from schedules.stack import Stack as Around
from schedules.store import ScheduleItem, ScheduleState, ScheduleStore
from schedules.tested import TestsOfStack
from schedules.winner_store import DecisionStore
from tests.contract.moto_stores import client_of, make_table, moto_server, new_name
from tests.contract.test_audit import CAMPAIGN, PEOPLE
from tests.documents import ROOT
from tests.made_run import MadeRun, make_run

GONE = {"user-1-000000003", "user-1-000000004", "user-1-000000400", "user-1-000001299", "rows"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server for S3 and DynamoDB."""
    with moto_server() as url:
        yield url


@pytest.fixture
def stack(endpoint: str) -> Stack:
    """An empty stack."""
    s3, dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
    bucket, table = new_name("erase"), new_name("erase")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    make_table(dynamodb, table)
    return Stack(s3, dynamodb, bucket, table, "suppression/")


def made(stack: Stack, id_: str = "audited", **changes: Any) -> MadeRun:
    """A run in two parts."""
    people = changes.pop("people", PEOPLE)
    campaign = msgspec.structs.replace(CAMPAIGN, id=id_)
    parts = (people[: len(people) // 2], people[len(people) // 2 :])
    return make_run(stack.s3, stack.bucket, campaign, parts, time.time(), **changes)


def erased(stack: Stack, *user_ids: str, in_hours: int = 0) -> Erased:
    """What came of erasing them, now or later."""
    now = datetime.now(UTC) + timedelta(hours=in_hours)
    return erase(stack, suppress(stack.s3, stack.bucket, stack.suppression, user_ids, now), "ann", now)


def left(stack: Stack, user_ids: set[str]) -> list[str]:
    """The keys of all versions that have one of the ids, in any form."""
    needles = {one: re.compile(rb'"' + one + rb'"|^' + one + rb"\b", re.MULTILINE) for one in map(str.encode, user_ids)}
    found = []
    for one in stack.s3.list_object_versions(Bucket=stack.bucket).get("Versions", ()):
        body = stack.s3.get_object(Bucket=stack.bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
        text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        if any(one in text and needle.search(text) for one, needle in needles.items()):
            found.append(one["Key"])
    return found


def put(stack: Stack, key: str, body: bytes) -> None:
    """An object that nobody has pinned."""
    stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=body)


@pytest.mark.parametrize("ending", [pytest.param(Ending.COMPLETED, marks=pytest.mark.slow), Ending.CANCELLED])
def test_nobody_is_left_and_the_run_is_proved(stack: Stack, ending: Ending) -> None:
    """Of a run that completed, and of one that was ended early with devices that were put off."""
    run = made(stack, ending=ending, suppressed=["user-1-000000005"], exclude=["user-1-000000006"])
    gone = {f"user-1-{n:09d}" for n in range(1, 120)} | GONE
    assert left(stack, gone)
    found = erased(stack, *gone)
    assert found.is_done, found
    assert not left(stack, gone)
    proof = audit(stack.s3, stack.bucket, run.run_id)
    assert proof.in_words == f"proved, {found.runs[run.run_id]} erased", proof
    assert found.runs[run.run_id] in range(len(gone) - 3, len(gone) + 1)


def test_a_second_erasure_and_a_repeated_one(stack: Stack) -> None:
    """Tombstones add up; erasing once more finds nobody, and what is left of the other users is as it was."""
    run = made(stack)
    assert erased(stack, "user-1-000000003").is_done
    assert erased(stack, "user-1-000000400", "rows").is_done
    assert erased(stack).runs == {}
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 3 erased"
    assert not left(stack, {"user-1-000000003", "user-1-000000400", "rows"})
    assert left(stack, {"user-1-000000007"})


def test_an_open_run_keeps_its_files(stack: Stack) -> None:
    """They are named, and nothing of them changes; when the run has ended, the next pass needs no id."""
    run = made(stack)
    DynamoLedger(stack.dynamodb, stack.table, time.time).open_run(Run(run.run_id, run.source, 1))
    key = f"summaries/run_id={run.run_id}/summary.json"
    summary = stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
    stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    before = left(stack, GONE)
    found = erased(stack, *GONE)
    assert not found.is_done
    assert found.runs == {}
    assert set(found.waiting) == set(before)
    assert left(stack, GONE) == before

    put(stack, key, summary)
    assert erased(stack).is_done
    assert not left(stack, GONE)
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == f"proved, {len(GONE)} erased"


def test_while_an_audience_is_prepared_every_file_waits(stack: Stack) -> None:
    """What a run has not begun with yet is not known: any file may be its audience."""
    DynamoLedger(stack.dynamodb, stack.table, time.time).open_run(
        Run("0" * 20, source_of(stack.bucket, "batches/x.json", "v", "e"), 1)
    )
    put(stack, "audiences/a.jsonl", b'{"user_id": "rows"}\n')
    assert list(erased(stack, "rows").waiting) == ["audiences/a.jsonl"]
    assert left(stack, {"rows"})


def a_file(stack: Stack, key: str = "standing/a.jsonl") -> dict[str, str]:
    """A file of a user who is erased and one who is not; as a batch file pins it."""
    body = b'{"user_id": "rows", "platform": "ios", "token": "a"}\n{"user_id": "b", "platform": "ios", "token": "b"}\n'
    answer = stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=body)
    return {"key": key, "version_id": answer["VersionId"], "etag": answer["ETag"].strip('"')}


def is_there(stack: Stack, part: dict[str, str]) -> bool:
    """Whether a run that has pinned it finds it."""
    try:
        stack.s3.head_object(Bucket=stack.bucket, Key=part["key"], VersionId=part["version_id"])
    except stack.s3.exceptions.ClientError:
        return False
    return True


def dropped(stack: Stack, body: bytes, key: str = "batches/x.json") -> Run:
    """A batch file of which the worker has not heard yet, and the run that it will be."""
    answer = stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=body)
    source = source_of(stack.bucket, key, answer["VersionId"], answer["ETag"])
    return Run(source.run_id, source, 1)


def ledger_of(stack: Stack) -> DynamoLedger:
    """The worker's."""
    return DynamoLedger(stack.dynamodb, stack.table, time.time)


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_run_that_begins_during_an_erasure(stack: Stack, monkeypatch: pytest.MonkeyPatch, has_begun: bool) -> None:
    """It has pinned what the erasure has read and rewritten: that version stays until it has ended, and is named."""
    part, real = a_file(stack), stack.s3.put_object

    def meanwhile(**given: Any) -> Any:
        if given["Key"] == part["key"]:
            monkeypatch.undo()
            file = {"campaign": {"id": "x"}, "audience": {"parts": [part]}}
            run = dropped(stack, msgspec.json.encode(file))
            if has_begun:
                ledger_of(stack).open_run(run)
        return real(**given)

    monkeypatch.setattr(stack.s3, "put_object", meanwhile)
    found = erased(stack, "rows")
    assert is_there(stack, part)
    assert list(found.waiting) == [part["key"]]
    assert found.left == {}
    # Others find the file without the user.
    now = stack.s3.get_object(Bucket=stack.bucket, Key=part["key"])["Body"].read()
    assert b"rows" not in now


def test_a_run_that_begins_while_versions_are_deleted(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes minutes: it is looked for again and again."""
    parts = [a_file(stack, f"standing/{name}.jsonl") for name in "abc"]
    real = stack.s3.delete_object

    def meanwhile(**given: Any) -> Any:
        if given["Key"] == parts[0]["key"]:
            ledger_of(stack).open_run(
                dropped(stack, msgspec.json.encode({"campaign": {"id": "x"}, "audience": {"parts": [parts[2]]}}))
            )
        return real(**given)

    monkeypatch.setattr(stack.s3, "delete_object", meanwhile)
    monkeypatch.setattr("privacy.erase.LOOK_AGAIN_S", 0)
    found = erased(stack, "rows")
    # Of a run without anything under state/ each file may be its audience.
    assert [is_there(stack, part) for part in parts] == [False, True, True]
    assert list(found.waiting) == ["standing/b.jsonl", "standing/c.jsonl"]


@pytest.mark.parametrize(
    ("audience", "waits"),
    [
        ({"parts": ["the part"]}, True),
        ({"files": ["standing/"]}, True),
        ({"all": [{"files": ["standing/*.jsonl"]}]}, True),
        ({"query": {"name": "q"}}, True),
        ({"files": ["audiences/other/"]}, False),
    ],
)
def test_a_batch_file_whose_run_has_not_begun(stack: Stack, audience: dict[str, Any], waits: bool) -> None:
    """Its event may be late, throttled or a dead letter: it and what it names are left, for as long as one lasts."""
    part = a_file(stack)
    if "parts" in audience:
        audience = {"parts": [part]}
    campaign = {"id": "x", "goal": {"name": "bought", "query": "bought"}}
    dropped(stack, msgspec.json.encode({"campaign": campaign, "audience": audience}))
    users = msgspec.json.encode({"campaign": {"id": "y"}, "users": [{"user_id": "rows"}]})
    run = dropped(stack, users, "batches/y.JSON")
    # No name of a batch file, so that nothing is ever heard of it.
    put(stack, "batches/notes.jsonl", b'{"user_id": "rows"}\n')
    found = erased(stack, "rows")
    assert is_there(stack, part) is waits
    assert found.waiting["batches/y.JSON"] == "until the run of batches/y.JSON, which has not begun, has ended"
    assert (part["key"] in found.waiting) is waits
    if "query" not in audience:
        assert run.run_id in found.waits_for
        assert set(found.waiting) <= {"batches/y.JSON", part["key"]}
    assert erased(stack, in_hours=49).is_done
    assert not left(stack, {"rows"})


@pytest.mark.parametrize(("before", "user_id", "others_wait"), [(b"\xef\xbb\xbf", "u1", False), (b"", "\\ud800", True)])
def test_a_batch_file_that_the_worker_reads_otherwise(
    stack: Stack, before: bytes, user_id: str, others_wait: bool
) -> None:
    """With a mark in front, or a user id that is no text: what it names is needed by its run all the same."""
    part, other = a_file(stack), a_file(stack, "standing/other.jsonl")
    named = msgspec.json.encode({"campaign": {"id": "x", "exclude": {"parts": [part]}}}).removesuffix(b"}")
    dropped(stack, before + named + b', "users": [{"user_id": "' + user_id.encode() + b'"}]}')
    erased(stack, "rows")
    assert is_there(stack, part)
    assert is_there(stack, other) is others_wait


def test_a_test_whose_winner_is_not_decided(stack: Stack) -> None:
    """The remainder is sent to the very parts of the test: until then they stay. Then the run is erased, and proved."""
    run = made(stack)
    ledger = ledger_of(stack)
    ledger.open_run(Run(run.run_id, run.source, 1))
    ledger.await_decision(run.run_id, 3_600_000)
    found = erased(stack, "rows", "user-1-000000003")
    tests = TestsOfStack(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    test = tests.test(run.run_id)
    assert test is not None
    for part in test.parts:
        assert pin_parts(stack.s3, (part,), stack.bucket, "audience")
    assert set(found.waiting.values()) == {f"until the winner of the test {run.run_id} is decided"}
    assert (found.left, found.runs) == ({}, {})
    decisions = DecisionStore(stack.dynamodb, stack.table, time.time)
    decision = decisions.read(run.run_id)
    assert decision is not None
    assert decisions.change(decision, replace(decision, state=DecisionState.OVER, due_at_ms=0))
    assert erased(stack).is_done
    assert not left(stack, {"rows", "user-1-000000003"})
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 2 erased"


def test_a_test_that_nobody_decided_in_time(stack: Stack) -> None:
    """What it began with has expired, so that nothing can follow: nothing waits for it."""
    run = made(stack)
    ledger_of(stack).await_decision(run.run_id, 3_600_000)
    stack.s3.delete_object(Bucket=stack.bucket, Key=f"state/run_id={run.run_id}/campaign.json")
    assert erased(stack, "rows").waiting == {}


def prepared(stack: Stack, name: str) -> str:
    """What the audience function has prepared. Returns a part's key."""
    folder = "audiences/prepared/4711/"
    part = a_file(stack, f"{folder}attempt=1/part-00000.jsonl")
    manifest = {"version": 1, "id": "4711", "parts": [part | {"bucket": stack.bucket, "bytes": 9}]}
    put(stack, f"{folder}_manifest.json", msgspec.json.encode(manifest))
    store = PreparationStore(stack.dynamodb, stack.table, time.time)
    before = store.read(name)
    assert before is not None
    assert store.claim(before, "me")
    store.end(name, "me", manifest=f"{folder}_manifest.json")
    return part["key"]


def test_an_occurrence_that_waits_for_an_approver(stack: Stack) -> None:
    """Its audience is prepared: it stays until it is decided whether that is sent. Others are prepared again."""
    around = Around(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    name = "occurrence:daily:2026-12-01T0900:1"
    around.ask(name, {"files": ["standing/x.jsonl"]})
    part = prepared(stack, name)
    schedules = ScheduleStore(stack.dynamodb, stack.table, time.time)
    clock = ScheduleItem("daily", ScheduleState.ACTIVE, "h", next="2026-12-01T0900", next_at_ms=1)
    schedules.put_occurrence(clock)
    due = schedules.read_occurrence("daily", "2026-12-01T0900")
    assert due is not None
    review = replace(due, state=OccurrenceState.NEEDS_REVIEW, attempt=1, review_until_ms=9, due_at_ms=9)
    assert schedules.change(due, review)
    found = erased(stack, "rows")
    assert found.waiting == {part: "until it is decided whether the schedule daily of 2026-12-01T0900 is sent"}
    sent = around.prepared(name)
    assert sent is not None
    assert sent.audience is not None
    assert schedules.change(review, replace(review, state=OccurrenceState.REJECTED))
    assert erased(stack).is_done
    assert not left(stack, {"rows"})
    assert {OccurrenceState.PREPARING, OccurrenceState.NEEDS_REVIEW} == set(WITH_AUDIENCE)


@pytest.mark.parametrize("is_claimed", [False, True])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("occurrence:n:2026-12-01T0900:1", "the audience of the schedule n of 2026-12-01T0900"),
        (
            "occurrence:n:preview-0123456789ab-2026-12-01T0900-1963000",  # schedules.overview
            "the audience of a preview of the schedule n",
        ),
        ("occurrence:", "the audience of a preview of the schedule "),
        ("form-0123456789", "what the pages have asked for (form-0123456789)"),
        ("conversions-0123-4", "what the pages have asked for (conversions-0123-4)"),
    ],
)
def test_what_is_prepared_and_no_run_yet(stack: Stack, name: str, words: str, is_claimed: bool) -> None:
    """Any file may be read for it, and what it has read is written at its end: all of them wait."""
    a_file(stack)
    around = Around(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    around.ask(name, {"files": ["standing/a.jsonl"]})
    store = PreparationStore(stack.dynamodb, stack.table, time.time)
    if is_claimed:
        before = store.read(name)
        assert before is not None
        assert store.claim(before, "me")
    found = erased(stack, "rows")
    assert found.waiting == {"standing/a.jsonl": f"until {words} is prepared"}
    assert found.waits_for == (name,)
    prepared(stack, name) if not is_claimed else store.end(name, "me", reason="no such table")
    assert erased(stack).is_done
    assert not left(stack, {"rows"})


@pytest.mark.parametrize(
    ("declared", "waits"),
    [
        ({"files": ["standing/bought/{date}.jsonl"], "complete": {"marker": "standing/bought/through"}}, "bought/1"),
        ({"files": ["s3://other/standing/{date}/"], "complete": {"marker": "standing/through"}}, ""),
        ({"query": {"name": "bought"}, "complete": {"marker": "standing/through"}}, "bought/1 other"),
        (None, "bought/1 other"),
    ],
)
def test_conversions_being_counted(stack: Stack, declared: dict[str, Any] | None, waits: str) -> None:
    """Only what the goal's declaration names waits for them; a query may read anything."""
    run = made(stack)
    state = f"state/run_id={run.run_id}/campaign.json"
    value = msgspec.json.decode(stack.s3.get_object(Bucket=stack.bucket, Key=state)["Body"].read())
    value["campaign"]["goal"] = {"name": "bought", "window_h": 24}
    put(stack, state, msgspec.json.encode(value))
    if declared is not None:
        put(stack, "conversions/bought.json", msgspec.json.encode(declared))
    for name in ("bought/1", "other"):
        a_file(stack, f"standing/{name}.jsonl")
    around = Around(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    name = conversions_id(run.run_id, 1)
    around.ask(name, {"run_id": run.run_id})
    found = erased(stack, "rows")
    assert [key for key in found.waiting if key.startswith("standing/")] == [
        f"standing/{name}.jsonl" for name in waits.split()
    ]
    assert found.waits_for == ((name,) if waits else ())
    stack.dynamodb.delete_item(TableName=stack.table, Key=preparation_key(name))
    assert erased(stack).is_done
    assert not left(stack, {"rows"})


def test_a_run_whose_users_are_being_counted(stack: Stack, tmp_path: Path) -> None:
    """Its rows are read, and its count written, at once: neither is erased before that is over."""
    run = made(stack)
    count(stack, caps_key(run.run_id), tmp_path, "rows", "b")
    around = Around(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    around.ask(f"{COUNT}{run.run_id}", {"began_at_ms": 1})
    found = erased(stack, "rows")
    assert f"until the users of run {run.run_id} are counted for caps" in found.waiting.values()
    assert hash_of_user("rows") in counted(stack, caps_key(run.run_id), tmp_path)
    prepared(stack, f"{COUNT}{run.run_id}")
    assert erased(stack).is_done
    assert counted(stack, caps_key(run.run_id), tmp_path) == {hash_of_user("b")}
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 1 erased"


@pytest.mark.parametrize("is_long", [True, False])
@pytest.mark.parametrize("kind", ["preparing", "counted", "test", "occurrence"])
def test_what_ends_during_an_erasure(stack: Stack, monkeypatch: pytest.MonkeyPatch, kind: str, is_long: bool) -> None:
    """It is under way at the first look, and over before anything is deleted: its files wait, or are erased at once."""
    around = Around(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    name = "occurrence:n:2026-12-01T0900:1"
    pk, sk = f"run#{name}", "preparation"
    if kind in ("preparing", "occurrence"):
        a_file(stack)
        around.ask(name, {"files": ["standing/a.jsonl"]})
    if kind == "occurrence":
        prepared(stack, name)
        schedules = ScheduleStore(stack.dynamodb, stack.table, time.time)
        schedules.put_occurrence(ScheduleItem("n", ScheduleState.ACTIVE, "h", next="2026-12-01T0900", next_at_ms=1))
        due = schedules.read_occurrence("n", "2026-12-01T0900")
        assert due is not None
        assert schedules.change(due, replace(due, state=OccurrenceState.NEEDS_REVIEW, attempt=1))
        pk, sk = "schedule#n", "occurrence#2026-12-01T0900"
    if kind in ("counted", "test"):
        run = made(stack)
        ledger_of(stack).open_run(Run(run.run_id, run.source, 1))
        if kind == "counted":
            name, pk = f"caps:{run.run_id}", f"run#{COUNT}{run.run_id}"
            around.ask(f"{COUNT}{run.run_id}", {"began_at_ms": 1})
        else:
            name, pk, sk = f"decision:{run.run_id}", f"decision#{run.run_id}", "decision"
            ledger_of(stack).await_decision(run.run_id, 3_600_000)

    def end(*given: Any) -> Any:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        answer = stack.dynamodb.delete_item(TableName=stack.table, Key=key, ReturnValues="ALL_OLD")
        ended.append("Attributes" in answer)
        return read_open(*given)

    ended: list[bool] = []
    monkeypatch.setattr("privacy.erase.read_open", end)
    monkeypatch.setattr("privacy.erase.AGAIN_S", 0 if is_long else 60)
    found = erased(stack, "rows")
    assert ended[0]
    if is_long:
        assert (found.left, found.waits_for) == ({}, (name,))
        assert found.waiting
        assert waited_for(stack.s3, stack.bucket) == {name}
        found = erased(stack)
    assert found.is_done, found
    assert not left(stack, {"rows"})
    assert waited_for(stack.s3, stack.bucket) == frozenset()


def test_what_begins_and_ends_while_versions_are_deleted(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one look between leaves to it, and the last one finds nothing that needs it, waits as well."""
    parts = [a_file(stack, f"standing/{name}.jsonl") for name in "abc"]
    around = Around(stack.dynamodb, stack.table, stack.s3, stack.bucket, lambda _: None, time.time)
    name, looks = "form-0123456789", list[int]()

    def look(*given: Any) -> Any:
        looks.append(1)
        if len(looks) == 2:
            around.ask(name, {"files": ["standing/"]})
        if len(looks) == 3:
            key = {"pk": {"S": f"run#{name}"}, "sk": {"S": "preparation"}}
            stack.dynamodb.delete_item(TableName=stack.table, Key=key)
        return read_open(*given)

    monkeypatch.setattr("privacy.erase.read_open", look)
    monkeypatch.setattr("privacy.erase.LOOK_AGAIN_S", 0)
    monkeypatch.setattr("privacy.erase.AGAIN_S", 0)
    found = erased(stack, "rows")
    assert [is_there(stack, part) for part in parts] == [True, False, False]
    assert (found.left, list(found.waiting), found.waits_for) == ({}, ["standing/a.jsonl"], (name,))
    assert erased(stack).is_done
    assert not left(stack, {"rows"})


@pytest.mark.parametrize("is_in_ledger", [True, False])
def test_a_run_whose_summary_has_expired(stack: Stack, is_in_ledger: bool) -> None:
    """It was closed, or nothing of it but its rows is left: it is over, and nothing waits for it for ever."""
    run = made(stack)
    if is_in_ledger:
        ledger_of(stack).open_run(Run(run.run_id, run.source, 1))
        ledger_of(stack).close_run(run.run_id, ())
    for key in (f"summaries/run_id={run.run_id}/summary.json", f"state/run_id={run.run_id}/campaign.json"):
        listed = stack.s3.list_object_versions(Bucket=stack.bucket, Prefix=key)["Versions"]
        for one in listed:
            stack.s3.delete_object(Bucket=stack.bucket, Key=key, VersionId=one["VersionId"])
    a_file(stack)
    found = erased(stack, "rows", in_hours=0 if is_in_ledger else 49)
    assert (found.waiting, found.is_done) == ({}, True), found
    assert not left(stack, {"rows"})


def test_files_that_no_run_pinned(stack: Stack) -> None:
    """They lose the user, in each form, older versions too; the others stay; a manifest loses its sample."""
    for body in (b'{"user_id": "rows"}\n', b'{"USER_ID": "rows"}\n{"user_id": "b"}\n'):
        put(stack, "audiences/a.jsonl", body)
    put(stack, "audiences/b.json", b'{"users": [{"user_id": "b"}, {"user_id": "rows"}]}')
    put(stack, "standing/c.csv.gz", gzip.compress(b"User_Id,x\nrows,1\nb,2\n"))
    put(stack, "suppression/d.json", b'["rows", "b"]')
    put(stack, "audiences/prepared/p/a/_manifest.json", b'{"counts": {"samples": [{"user_id": "rows"}]}}')
    put(stack, "audiences/queried/q.jsonl", b'{"user_id": "rows"}\n')
    put(stack, "standing/events/complete_through", b"2026-11-28T09:00:00Z")  # docs/conversions.md
    put(stack, "standing/notes.txt", rb"C:\temp")
    assert erased(stack, "rows").is_done
    assert not left(stack, {"rows"})
    assert len(left(stack, {"b"})) == 4
    assert not stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix="audiences/queried/").get("Contents")


@pytest.mark.parametrize("mistyped", ['["' + '", "'.join(f"u-{n}" for n in range(99)) + '"]', "?", "--", "🙂🙃"])
def test_a_mistyped_id_spoils_no_later_erasure(stack: Stack, mistyped: str) -> None:
    """A whole list taken for one id, or an id of no letter: what has nobody is neither named nor deleted for it."""
    put(stack, "standing/n.jsonl", b'{"n": 1}\n')
    put(stack, "standing/note", b"a note")
    put(stack, "audiences/queried/note", b"nobody in it")
    for gone in (mistyped, "other"):
        found = erased(stack, gone)
        assert (found.left, found.objects) == ({}, 0)
    lists = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix="suppression/_erased/")["Contents"]
    kept = [stack.s3.get_object(Bucket=stack.bucket, Key=one["Key"])["Body"].read().decode() for one in lists]
    # Nor is it kept in the clear.
    assert not [text for text in kept if f":{mistyped}" in text]


def test_a_list_of_a_shape_that_is_no_more(stack: Stack) -> None:
    """As the first lists with shapes had it for some ids: it means nothing, and nothing is read wrongly for it."""
    assert erased(stack, "other").is_done
    put(stack, "suppression/_erased/older.json", b'["hmac-sha256:' + b"0" * 64 + b'", "id-shape:?"]')
    put(stack, "standing/n.jsonl", b'{"n": 1}\n')
    assert erased(stack).is_done


def test_what_was_made_here_and_cannot_be_read_is_deleted_on_suspicion(stack: Stack) -> None:
    """And nothing else: docs/audit.md names these folders, each of them."""
    for folder in (*MADE_HERE, "audiences/own/"):
        put(stack, f"{folder}a.txt", b"Of rows, by hand.")
        put(stack, f"{folder}b.txt", b"Of b, by hand.")
        put(stack, f"{folder}c.jsonl", b'{"customer": "rows"}\n')
    found = erased(stack, "rows")
    there = {one["Key"] for one in stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix="audiences/")["Contents"]}
    folders = {*MADE_HERE, "audiences/own/"}
    kept = {f"{folder}{name}" for folder in folders for name in ("b.txt", "c.jsonl")} | {"audiences/own/a.txt"}
    assert there == kept
    assert set(found.left) == {key for key in kept if not key.endswith("b.txt")}
    said = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8").partition("cannot read (a Parquet file")[2]
    assert set(MADE_HERE) == set(re.findall(r"`(audiences/[a-z_]+/)`", said.partition(")")[0]))


def test_older_versions_that_are_only_suspected_are_named(stack: Stack) -> None:
    """None is deleted on doubt, a word or a damaged file; each is named with its id, and to delete it is enough."""
    bodies = {
        "standing/a.csv": (b"name\nrows\n", b"name\n\\u0072ows\n"),
        "standing/README": (b"The rows are ids.",),
        "standing/b.parquet": (b"PAR1 and no more",),
        "standing/c.jsonl": (b'{"customer_id": "rows"}\n',),
    }
    for key, older in bodies.items():
        for body in older:
            put(stack, key, body)
        put(stack, key, b"done")
    found = erased(stack, "rows")
    listed = stack.s3.list_object_versions(Bucket=stack.bucket, Prefix="standing/")["Versions"]
    old = {f"{one['Key']}, older version {one['VersionId']}": one for one in listed if not one["IsLatest"]}
    assert len(old) == 5
    assert set(found.left) == set(old)
    for one in old.values():
        stack.s3.delete_object(Bucket=stack.bucket, Key=one["Key"], VersionId=one["VersionId"])
    assert erased(stack).is_done


def test_who_is_only_suspected_is_not_counted_as_erased(stack: Stack) -> None:
    """A record that names its user in another way stays, and is named once; the run's proof counts who was erased."""
    run = made(stack, people=(*PEOPLE[:200], {"customer_id": "zz", "token": "x"}))
    part = run.admitted.parts[1].key
    found = erased(stack, "zz")
    assert (found.runs, found.objects, list(found.left)) == ({}, 0, [part])
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved"
    found = erased(stack, "user-1-000000003")
    assert found.runs == {run.run_id: 1}
    assert list(found.left) == [part]
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 1 erased"


def test_a_file_that_a_run_pinned_and_nobody_can_read(stack: Stack) -> None:
    """It is named once where it may have the user, and not at all where it has nobody."""
    run = made(stack, people=PEOPLE[:100], exclude=["b"])
    pinned = run.admitted.exclude[0]
    for body, names in ((b"name\nc\n", []), (b"name\nrows\n", [pinned.key])):
        put(stack, pinned.key, body)
        exclude = [msgspec.structs.replace(pinned, version_id=None)]
        state = f"state/run_id={run.run_id}/campaign.json"
        value = msgspec.json.decode(stack.s3.get_object(Bucket=stack.bucket, Key=state)["Body"].read())
        put(stack, state, msgspec.json.encode(value | {"exclude": exclude}))
        assert list(erased(stack, "rows").left) == names


def test_an_older_version_that_is_deleted_is_not_left(stack: Stack) -> None:
    """It has a record of the user, and one that is only suspected: both are gone with it, and nobody is left."""
    put(stack, "standing/a.jsonl", b'{"user_id": "rows"}\n{"customer": "rows"}\n')
    put(stack, "standing/a.jsonl", b'{"user_id": "b"}\n')
    found = erased(stack, "rows")
    assert (found.is_done, found.left, found.objects) == (True, {}, 1)
    assert not left(stack, {"rows"})


def caps_key(run_id: str, group: str = "marketing") -> str:
    """Where a run counts."""
    return f"caps/group={group}/day=2026-11-28/run_id={run_id}.parquet"


def count(stack: Stack, key: str, tmp_path: Path, *user_ids: str) -> None:
    """Users who are counted for caps, as the audience function writes them."""
    path = tmp_path / "counted.parquet"
    objects = CapObjects(stack.s3, stack.bucket, Limits(tmp_path, 400, 1, 1000))
    objects.write((hash_of_user(user_id) for user_id in user_ids), path)
    objects.put(key, path)


def counted(stack: Stack, key: str, tmp_path: Path) -> set[int]:
    """Of the object as it is now, read as docs/caps.md says."""
    path = tmp_path / "read.parquet"
    path.write_bytes(stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read())
    rows = duckdb.read_parquet(str(path))
    assert list(zip(rows.columns, map(str, rows.types), strict=True)) == [("user", "UBIGINT")]
    return {user for (user,) in rows.fetchall()}


def hashes_left(stack: Stack, tmp_path: Path, *user_ids: str) -> list[str]:
    """The Parquet objects, in any version, that count one of them."""
    found = []
    for one in stack.s3.list_object_versions(Bucket=stack.bucket).get("Versions", ()):
        if one["Key"].endswith(".parquet"):
            body = stack.s3.get_object(Bucket=stack.bucket, Key=one["Key"], VersionId=one["VersionId"])["Body"].read()
            (tmp_path / "any.parquet").write_bytes(body)
            users = {user for (user,) in duckdb.read_parquet(str(tmp_path / "any.parquet")).fetchall()}
            if users & {hash_of_user(user_id) for user_id in user_ids}:
                found.append(one["Key"])
    return found


def test_what_caps_are_counted_by(stack: Stack, tmp_path: Path) -> None:
    """Erased users are in no version of what any run counts, others are; a tombstone has it, and the run is proved."""
    run = made(stack)
    keys = [caps_key(run.run_id), caps_key(run.run_id, "news"), caps_key("f" * 20)]
    for key in (*keys, keys[0], f"audiences/cut/run_id={run.run_id}/1/caps/day=2026-11-28.parquet"):
        count(stack, key, tmp_path, "rows", "user-1-000000003", "user-1-000000007")
    found = erased(stack, "rows", "user-1-000000003", "lone \ud800")
    assert found.is_done, found
    assert not hashes_left(stack, tmp_path, "rows", "user-1-000000003")
    assert [counted(stack, key, tmp_path) for key in keys] == [{hash_of_user("user-1-000000007")}] * 3
    tombstones = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix=f"{PREFIX}run_id={run.run_id}/")["Contents"]
    [name] = [one["Key"] for one in tombstones if one["Key"].endswith("-caps.json")]
    body = stack.s3.get_object(Bucket=stack.bucket, Key=name)["Body"].read()
    tombstone = msgspec.json.decode(body, type=Tombstone)
    assert sorted((one.key, one.records) for one in tombstone.objects) == sorted((key, 2) for key in keys[:2])
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 2 erased"
    before = counted(stack, keys[0], tmp_path)
    assert erased(stack).is_done
    assert counted(stack, keys[0], tmp_path) == before


@pytest.mark.parametrize("key", ["audiences/a.jsonl", "standing/a.jsonl"])
def test_who_is_only_suspected_is_taken_out_of_caps(stack: Stack, tmp_path: Path, key: str) -> None:
    """By an erasure that knows hashes alone, wherever in the bucket the record is; its own file stays and is named."""
    erased(stack, "zz", "yy", "user-1-000000003")
    run = made(stack)
    cut = f"audiences/cut/run_id={run.run_id}/1/caps/day=2026-11-28.parquet"
    for where in (caps_key(run.run_id), cut):
        count(stack, where, tmp_path, "zz", "yy", "user-1-000000003", "user-1-000000007")
    put(stack, f"audiences/cut/run_id={run.run_id}/1/_manifest.json", b"{}")
    put(stack, key, b'{"customer_id": "zz", "friend": "yy"}\n')
    assert list(erased(stack).left) == [key]
    assert not hashes_left(stack, tmp_path, "zz", "yy", "user-1-000000003")
    assert counted(stack, caps_key(run.run_id), tmp_path) == {hash_of_user("user-1-000000007")}
    tombstones = stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix=f"{PREFIX}run_id={run.run_id}/")["Contents"]
    assert sum(one["Key"].endswith("-caps.json") for one in tombstones) == 2
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == "proved, 1 erased"


def test_damaged_results_and_caps_are_named(stack: Stack, tmp_path: Path) -> None:
    """An erasure does all else, and says which cannot be read."""
    run = made(stack)
    count(stack, caps_key(run.run_id), tmp_path, *(f"u-{n}" for n in range(5_000)))
    body = stack.s3.get_object(Bucket=stack.bucket, Key=caps_key(run.run_id))["Body"].read()
    cut = f"audiences/cut/run_id={run.run_id}/1/caps/day=2026-11-28.parquet"
    invalid = f"invalid/run_id={run.run_id}/x.jsonl.gz"
    for key in (caps_key(run.run_id), cut, caps_key("f" * 20)):
        put(stack, key, body[:4] + b"\xff" * 20_000 + body[20_004:])
    put(stack, invalid, gzip.compress(b'{"user_id": "b"}\n{"user_id": "rows", '))
    found = erased(stack, "rows")
    assert {key for key in found.left if "older version" not in key} == {
        caps_key(run.run_id), cut, caps_key("f" * 20), invalid,
    }  # fmt: skip
    assert found.runs == {run.run_id: 1}
    assert set(left(stack, {"rows"})) <= {invalid}


def test_an_open_run_counts_on(stack: Stack, tmp_path: Path) -> None:
    """Until it is over what it counts waits; then its own rows give the ids again, and the next pass needs none."""
    run = made(stack)
    DynamoLedger(stack.dynamodb, stack.table, time.time).open_run(Run(run.run_id, run.source, 1))
    key = f"summaries/run_id={run.run_id}/summary.json"
    summary = stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
    stack.s3.delete_object(Bucket=stack.bucket, Key=key)
    count(stack, caps_key(run.run_id), tmp_path, "rows", "user-1-000000007")
    assert caps_key(run.run_id) in erased(stack, "rows").waiting
    assert hash_of_user("rows") in counted(stack, caps_key(run.run_id), tmp_path)
    put(stack, key, summary)
    assert erased(stack).is_done
    assert counted(stack, caps_key(run.run_id), tmp_path) == {hash_of_user("user-1-000000007")}


def test_what_was_counted_in_this_moment_stays(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has ended early counts again while its object is rewritten: that one is kept, and named."""
    key, real = caps_key("f" * 20), stack.s3.put_object
    count(stack, key, tmp_path, "rows", "b", "c")

    def meanwhile(**given: Any) -> Any:
        if given["Key"] == key:
            monkeypatch.undo()
            count(stack, key, tmp_path, "rows", "b")
        return real(**given)

    monkeypatch.setattr(stack.s3, "put_object", meanwhile)
    now, older = sorted(erased(stack, "rows").left)
    assert now == key
    assert older.startswith(f"{key}, older version ")
    assert counted(stack, key, tmp_path) == {hash_of_user("rows"), hash_of_user("b")}
    assert erased(stack, "rows").is_done
    assert counted(stack, key, tmp_path) == {hash_of_user("b")}


@pytest.mark.parametrize(
    ("key", "newer"),
    [
        ("suppression/list.json", b'["rows", "b", "new"]'),
        ("standing/a.jsonl", b'{"user_id": "new"}\n'),
        ("audiences/prepared/p/a/_manifest.json", b'{"counts": {"samples": [{"user_id": "new"}]}}'),
    ],
)
@pytest.mark.parametrize("moment", ["get_object", "put_object"])
def test_a_newer_list_stays(stack: Stack, monkeypatch: pytest.MonkeyPatch, key: str, newer: bytes, moment: str) -> None:
    """A newer one is put there while the older one is read, or rewritten: it loses the users, and nothing else."""
    samples = b'{"counts": {"samples": [{"user_id": "rows"}, {"user_id": "b"}]}}'
    put(stack, key, samples if key.endswith("_manifest.json") else b'["rows", "b"]')
    real = getattr(stack.s3, moment)

    def meanwhile(**given: Any) -> Any:
        if given["Key"] == key:
            monkeypatch.undo()
            put(stack, key, newer)
        return real(**given)

    monkeypatch.setattr(stack.s3, moment, meanwhile)
    assert erased(stack, "rows").is_done
    body = stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()
    assert b"new" in body
    assert not left(stack, {"rows"})


@pytest.mark.parametrize("n", [1_000, 2_030])
def test_a_file_with_much_metadata(stack: Stack, n: int) -> None:
    """S3 takes 2 KB of it: what an erasure says takes the place of the rest where there is no room for both."""
    key = "standing/a.jsonl"
    stack.s3.put_object(Bucket=stack.bucket, Key=key, Body=b'{"user_id": "rows"}\n', Metadata={"by": "x" * n})
    assert erased(stack, "rows").is_done
    metadata = stack.s3.head_object(Bucket=stack.bucket, Key=key)["Metadata"]
    assert ("by" in metadata, metadata["erased-records"]) == (n == 1_000, "1")
    assert not left(stack, {"rows"})


def test_a_list_that_is_always_written(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and what stands there is what was written last; a deleted one stays deleted."""
    key, gone, real = "suppression/list.json", "standing/gone.jsonl", stack.s3.put_object
    put(stack, key, b'["rows", "b"]')
    put(stack, gone, b'{"user_id": "rows"}\n{"user_id": "b"}\n')
    count = 0

    def meanwhile(**given: Any) -> Any:
        nonlocal count
        if given["Key"] == key:
            count += 1
            real(Bucket=stack.bucket, Key=key, Body=f'["rows", "n{count}"]'.encode())
        if given["Key"] == gone:
            stack.s3.delete_object(Bucket=stack.bucket, Key=gone)
        return real(**given)

    monkeypatch.setattr(stack.s3, "put_object", meanwhile)
    found = erased(stack, "rows")
    monkeypatch.undo()
    assert found.left == {key: IN_THIS_MOMENT}
    assert stack.s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read() == f'["rows", "n{count}"]'.encode()
    assert not stack.s3.list_objects_v2(Bucket=stack.bucket, Prefix=gone).get("Contents")
    assert erased(stack).is_done
    assert not left(stack, {"rows"})


def test_a_test_push_that_is_written_meanwhile(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages write of it in this moment stays; the sample user goes."""
    table = new_name("erase")
    make_table(stack.dynamodb, table)

    def keep(status: str, sample: str = "rows") -> None:
        data = msgspec.json.encode({"sample": sample, "status": status}).decode()
        item = {"pk": {"S": "request#1"}, "sk": {"S": "test#000001"}, "data": {"S": data}}
        stack.dynamodb.put_item(TableName=table, Item=item)

    real = stack.dynamodb.update_item

    def meanwhile(**given: Any) -> Any:
        monkeypatch.undo()
        keep("sent")
        return real(**given)

    keep("asked")
    monkeypatch.setattr(stack.dynamodb, "update_item", meanwhile)
    assert erased(msgspec.structs.replace(stack, approval_table=table), "rows").tests == 1
    [item] = stack.dynamodb.scan(TableName=table)["Items"]
    assert msgspec.json.decode(item["data"]["S"]) == {"sample": "", "status": "sent"}


def test_nothing_is_put_under_batches(stack: Stack) -> None:
    """A batch file with its users in it is replaced elsewhere: under batches/ it would start a run."""
    put(stack, "batches/x.json", b'{"campaign": {"id": "x"}, "users": [{"user_id": "rows"}]}')
    assert erased(stack, "rows", in_hours=49).is_done
    assert not stack.s3.list_object_versions(Bucket=stack.bucket, Prefix="batches/").get("Versions")


def test_a_crash_before_the_tombstone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next pass finds what was replaced already, writes the tombstone from it, and the run is proved."""
    run = made(stack)
    real = stack.s3.put_object

    def crashing(**given: Any) -> Any:
        if given["Key"].startswith(PREFIX):
            raise KeyboardInterrupt
        return real(**given)

    monkeypatch.setattr(stack.s3, "put_object", crashing)
    with pytest.raises(KeyboardInterrupt):
        erased(stack, *GONE)
    monkeypatch.undo()
    assert erased(stack).is_done
    assert not left(stack, GONE)
    assert audit(stack.s3, stack.bucket, run.run_id).in_words == f"proved, {len(GONE)} erased"


def test_every_prefix_and_table_of_the_template() -> None:
    """Nothing that the stack keeps is forgotten: a new prefix or table must be entered, with what becomes of users."""
    resources = intrinsics.load(ROOT / "template.yaml")["Resources"]
    rules = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    kept = [
        rule["Prefix"]
        for rule in rules
        if rule.get("Prefix", {"Ref": "SuppressionPrefix"}) != {"Ref": "SuppressionPrefix"}
    ]
    assert not [prefix for prefix in kept if not prefix.startswith(tuple(PREFIXES))]
    text = (ROOT / "template.yaml").read_text()
    written = set(re.findall(r"AWS::Region\}/([a-z-]+/)", text))
    assert written <= PREFIXES.keys(), written - PREFIXES.keys()
    assert {name for name, one in resources.items() if one["Type"] == "AWS::DynamoDB::Table"} == TABLES.keys()
