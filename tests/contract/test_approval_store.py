"""The approval app's table and bucket, against moto's server."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from approval import request as rules
from approval.access import Access, LinkData
from approval.files import Files, OtherContent
from approval.form import Form
from approval.request import Limits, Refused, Request, Step
from approval.runs import Runs
from approval.store import AuditEntry, Conflict, NoSuchRequest, Store, TestDevice
from notifier.dynamodb import Update
from notifier.hold_item import HOLD_KEY
from notifier.model.account import Account
from notifier.model.campaign import Part
from notifier.model.cursor import Cursor
from notifier.model.run import source_of
from notifier.model.span import spans_of
from tests.approval_site import BUCKET, LEDGER, TABLE, World, moto_server

ANN = "ann@example.com"
LIMITS = Limits()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


@pytest.fixture
def store(world: World) -> Store:
    return Store(world.client("dynamodb"), TABLE)


@pytest.fixture
def access(world: World) -> Access:
    return Access(world.client("dynamodb"), TABLE)


def entry(step: Step = Step.CHANGED, at_ms: int = 1) -> AuditEntry:
    return AuditEntry(step, ANN, at_ms)


def kept(store: Store, id_: str = "r1", at_ms: int = 0) -> Request:
    request = rules.created(id_, ANN, at_ms, LIMITS, Form(name=f"c-{id_}"))
    store.create(request, entry(Step.CREATED))
    return request


def test_a_request_is_read_back(store: Store) -> None:
    """As it was written; another is not there."""
    assert kept(store) == store.request("r1")
    with pytest.raises(NoSuchRequest):
        store.request("r2")


def test_an_id_is_used_once(store: Store) -> None:
    """A second request of the same id is not written over the first."""
    kept(store)
    with pytest.raises(Conflict):
        kept(store)


def test_a_step_and_its_audit_entry_are_written_together(store: Store) -> None:
    """And the list shows the newest state of each request, newest request first."""
    kept(store, "r1", 1)
    kept(store, "r2", 2)
    before, after = store.change("r1", lambda r: rules.changed(r, ANN, 5, Form(name="new")), entry(at_ms=5))
    assert (before.version, after.version) == (0, 1)
    assert [e.step for e in store.audit("r1")] == [Step.CREATED, Step.CHANGED]
    assert [(s.id, s.title) for s in store.listed()] == [("r2", "c-r2"), ("r1", "new")]


def test_no_step_is_missing_from_a_long_trail(world: World) -> None:
    """DynamoDB answers in pages: all are read, and so is the whole list."""

    class Short:
        """A client whose pages hold two items."""

        def query(self, **question: Any) -> Any:
            return dynamodb.query(**{**question, "Limit": min(2, question.get("Limit", 2))})

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

    dynamodb = world.client("dynamodb")
    store = Store(Short(), TABLE)
    for n in range(5):
        kept(store, f"r{n}", n)
        store.note("r0", entry(Step.TESTED, at_ms=10 + n))
    assert [e.at_ms for e in store.audit("r0")] == [1, 10, 11, 12, 13, 14]
    assert [s.id for s in store.listed()] == ["r4", "r3", "r2", "r1", "r0"]
    assert [s.id for s in store.listed(3)] == ["r4", "r3", "r2"]


def test_a_step_that_changes_nothing_writes_nothing(store: Store) -> None:
    """No entry in the audit trail either."""
    kept(store)
    before, after = store.change("r1", lambda r: r, entry())
    assert before is after
    assert len(store.audit("r1")) == 1


def test_of_two_at_once_the_second_sees_what_the_first_did(store: Store) -> None:
    """Its step is made again, from the request as it is then."""
    kept(store)
    seen = []

    def slow(request: Request) -> Request:
        seen.append(request.version)
        if len(seen) == 1:
            store.change("r1", lambda r: rules.changed(r, ANN, 2, Form(name="first")), entry())
        return rules.changed(request, ANN, 3, Form(name="second"))

    _, after = store.change("r1", slow, entry())
    assert seen == [0, 1]
    assert (after.version, store.request("r1").form.name) == (2, "second")


def test_a_link_is_used_by_one(access: Access) -> None:
    """However many press the button at the same instant."""
    access.keep_link("secret", LinkData(ANN, "/requests"), 100)
    assert access.link("secret", 99) == LinkData(ANN, "/requests")
    barrier, got = threading.Barrier(4), []

    def use() -> None:
        barrier.wait()
        got.append(access.use_link("secret", 99))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [link for link in got if link] == [LinkData(ANN, "/requests")]
    assert access.link("secret", 99) is None


def test_a_link_is_over_at_its_time(access: Access) -> None:
    """Even while DynamoDB has not removed the item yet."""
    access.keep_link("secret", LinkData(ANN, "/"), 100)
    assert access.link("secret", 100) is None
    assert access.use_link("secret", 100) is None


def test_secrets_are_kept_hashed(access: Access, world: World) -> None:
    """Reading the table lets no one sign in."""
    access.keep_link("link-secret", LinkData(ANN, "/"), 100)
    access.keep_session("session-secret", ANN, 100)
    whole = str(world.client("dynamodb").scan(TableName=TABLE)["Items"])
    assert "link-secret" not in whole
    assert "session-secret" not in whole


def test_sessions_end(access: Access) -> None:
    """By time, or by signing out."""
    access.keep_session("s", ANN, 100)
    assert access.session("s", 99) == ANN
    assert access.session("s", 100) is None
    access.end_session("s")
    assert access.session("s", 99) is None


def test_limits_count_in_windows(access: Access) -> None:
    """The next window counts from zero."""
    assert [access.is_within("x", "who", 2, 60, now) for now in (0, 1, 59, 60)] == [True, True, False, True]


def test_devices_are_ones_own(store: Store) -> None:
    """Another user neither sees nor removes them."""
    store.add_device(ANN, TestDevice("d1", "phone", "ios", "t" * 64))
    assert store.devices("bob@example.com") == []
    store.remove_device("bob@example.com", "d1")
    assert [device.id for device in store.devices(ANN)] == ["d1"]
    assert "tttt" not in repr(store.devices(ANN))


def test_test_numbers_are_given_once(store: Store) -> None:
    """Also to two testers."""
    assert [store.next_test_number("r1", 3), store.next_test_number("r1", 2)] == [1, 4]


@pytest.fixture
def files(world: World) -> Files:
    return Files(world.client("s3"), BUCKET)


def test_what_has_changed(files: Files, world: World) -> None:
    """A key that has another object now, or none, is named; a pinned version counts until it is gone itself."""
    key = world.put_audience("a.json", b"[1]")
    other = world.put_audience("b.json", b"[2]")
    heads = {one: world.client("s3").head_object(Bucket=BUCKET, Key=one) for one in (key, other)}
    parts = tuple(Part(one, BUCKET, head["VersionId"], head["ETag"].strip('"')) for one, head in heads.items())
    assert files.changed_parts(parts) == files.replaced_parts(parts) == ()
    world.put_audience("a.json", b"[3]")
    world.client("s3").delete_object(Bucket=BUCKET, Key=other)
    assert files.replaced_parts(parts) == (key, other)
    assert files.changed_parts(parts) == ()
    unversioned = tuple(Part(part.key, part.bucket, None, part.etag) for part in parts)
    assert files.changed_parts(unversioned) == (key, other)
    world.client("s3").delete_object(Bucket=BUCKET, Key=other, VersionId=parts[1].version_id)
    assert files.changed_parts(parts) == (other,)


def test_a_batch_file_is_written_once(files: Files) -> None:
    """Writing it again finds the same run; other content is never written over it."""
    first = files.write_once("batches/r1.json", b"{}", {"content-hash": "h1"}, 1)
    again = files.write_once("batches/r1.json", b"{}", {"content-hash": "h1"}, 2)
    assert (again.run_id, again.version_id, again.etag) == (first.run_id, first.version_id, first.etag)
    assert first.run_id == source_of(BUCKET, "batches/r1.json", first.version_id, first.etag).run_id
    with pytest.raises(OtherContent):
        files.write_once("batches/r1.json", b"[]", {"content-hash": "h2"}, 3)


def test_rows_of_a_run_that_has_none_yet(files: Files) -> None:
    """Are not there, which is no error."""
    assert files.rows("unknown") is None


@pytest.fixture
def runs(world: World) -> Runs:
    return Runs(world.client("dynamodb"), LEDGER, world.control, "control")


def test_a_run_as_the_ledger_tells_it(runs: Runs, world: World) -> None:
    """With its account; None before the notifier knows it."""
    assert runs.run("R") is None
    account = Account(users=3)
    account.arm("a").accepted = 2
    world.lane("R", account=msgspec.json.encode(account).decode(), control="pause", control_by=ANN, control_at_ms=5)
    seen = runs.run("R")
    assert seen is not None
    assert (seen.status, seen.account.users, seen.control, seen.control_by, seen.is_over) == (
        "running",
        3,
        "pause",
        ANN,
        False,
    )
    world.lane("R", ending="completed", state="done")
    done = runs.run("R")
    assert done is not None
    assert (done.status, done.is_over) == ("completed", True)


def test_a_run_of_several_lanes(runs: Runs, world: World) -> None:
    """One run to the page, with the lane that has the least of its own behind it, as long as one sends."""
    spans = spans_of([0, 1_000, 2_000], 3_000, 3)
    for number, record in enumerate((900, 1_100, 2_400)):
        account = msgspec.json.encode(Account(users=record - 1_000 * number)).decode()
        span, cursor = msgspec.json.encode(spans[number]).decode(), Cursor(record=record, part=number).encode()
        command = {"control": "pause", "control_by": ANN} if number == 2 else {"control": "go"}
        world.lane("R", number, account=account, span=span, cursor=cursor, **command)
    seen = runs.run("R")
    assert seen is not None
    assert (seen.status, seen.account.users, seen.lanes, seen.slowest_lane) == ("running", 1_400, 3, 1)
    assert (seen.control, seen.control_by) == ("pause", ANN)
    for number in range(3):
        world.lane("R", number, state="done", ending="completed", span=msgspec.json.encode(spans[number]).decode())
    done = runs.run("R")
    assert done is not None
    assert (done.status, done.lanes, done.slowest_lane) == ("completed", 3, None)


def test_lanes_of_a_newer_release(runs: Runs, world: World) -> None:
    """A cursor that this release cannot read costs the name of the slowest lane, and not the page."""
    for number in range(2):
        world.lane("R", number, span='{"first":0,"end":5,"part":0,"end_part":1,"lanes":2}', cursor='{"version":9}')
    seen = runs.run("R")
    assert seen is not None
    assert (seen.status, seen.lanes, seen.slowest_lane) == ("running", 2, None)


def test_a_release_that_was_refused(runs: Runs, world: World) -> None:
    """Where another person has released it, that is what was wanted; where it is held all the same it is said."""
    world.control.answer = {"status": "refused", "reason": "nothing is held"}
    world.control.refuses_with = "TooManyRequestsException"
    runs.set_hold(ANN, "the wrong text", 5)
    world.control.refuses_with, invoke = "", world.control.invoke

    def again(**request: Any) -> Any:
        """Before the function looks, it is released by a second person, and held by a third."""
        runs._client.update_item(**{"TableName": LEDGER, "Key": HOLD_KEY, **Update().set(since_ms=9).arguments()})
        return invoke(**request)

    world.control.invoke = again  # type: ignore[method-assign]
    with pytest.raises(Refused, match="on hold once more"):
        runs.release_hold("bob@example.com", 10)

    def released(**request: Any) -> Any:
        runs._client.update_item(**{"TableName": LEDGER, "Key": HOLD_KEY, **Update().remove("since_ms").arguments()})
        return invoke(**request)

    world.control.invoke = released  # type: ignore[method-assign]
    runs.release_hold("bob@example.com", 11)
    assert runs.hold() is None


def test_an_approval_is_never_replaced(runs: Runs, world: World) -> None:
    """What is approved under a key cannot become something else."""
    runs.record_approval(BUCKET, "batches/r1.json", b"1", "r1", [ANN], 9_999_999_999)
    runs.record_approval(BUCKET, "batches/r1.json", b"1", "r1", [ANN], 9_999_999_999)
    runs.record_approval(BUCKET, "batches/r1.json", b"2", "r1", [ANN], 9_999_999_999)
    item = world.client("dynamodb").get_item(
        TableName=LEDGER, Key={"pk": {"S": f"approved#{BUCKET}/batches/r1.json"}, "sk": {"S": "approved"}}
    )["Item"]
    assert item["sha256"]["S"] == sha256(b"1").hexdigest()
