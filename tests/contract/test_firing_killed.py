"""A firing from the clock to the batch file, killed after each write that the two functions on the way make.

The tick and the audience function are the deployed ones, over a real table and bucket: definition and copy, occurrence
and clock, preparation and its parts, the question to approvers, their decision, the approval, the batch file, the
history. Whatever is killed, doubled or set back, and whatever is edited meanwhile: one run, of the approved bytes.
What comes after the batch file (admission, final cut, nudges) is killed in test_final_cut and test_worker_simulation.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from audiences.app import S3Maker
from audiences.run_preparation import RunPreparation
from audiences.store import PreparationStore
from notifier.model.preparation import Stage
from notifier.model.run import source_of
from notifier.stores.ledger import DynamoLedger
from schedules.control import Control
from schedules.definition import key_of
from schedules.documents import BucketTexts, Documents
from schedules.drops import Drops
from schedules.firing import Tick
from schedules.occurrence_steps import Occurrences
from schedules.rules import OccurrenceState
from schedules.stack import Stack
from schedules.store import ScheduleStore
from tests.contract.moto_stores import Time, client_of, make_table, moto_server, new_name

NAME, STAMP = "nudge", "2026-12-01T0900"
KEY = f"batches/schedules/{NAME}/{NAME}-{STAMP}.json"
TABLE_WRITES, BUCKET_WRITES = ("PutItem", "UpdateItem", "DeleteItem"), ("PutObject", "CopyObject", "DeleteObject")


class Killed(BaseException):
    """The function is over, at any line."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


def definition(title: str = "Approved") -> bytes:
    """A schedule whose audience is larger than it may be without a decision."""
    rhythm = {
        "when": {"cron": "0 9 * * *", "timezone": "UTC"},
        "starts": "2026-12-01",
        "ends": "2027-02-01",
        "limits": {"max_users": 5},
    }
    campaign = {"message": {"title": title}, "control_percent": 10}
    return json.dumps(
        {"schedule": rhythm, "audience": {"files": ["standing/users.jsonl"]}, "campaign": campaign}
    ).encode()


class World:
    """A stack with RequireApproval and one approved schedule, two minutes before its time."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.time = Time()
        self.time.s = datetime(2026, 12, 1, 8, 58, tzinfo=UTC).timestamp()
        self.folder = folder
        self.s3, self.dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
        self.bucket, self.table = new_name("bucket"), new_name("ledger")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        make_table(self.dynamodb, self.table)
        users = [{"user_id": f"u{n}", "platform": "ios", "token": f"{n:064x}"} for n in range(8)]
        body = "\n".join(map(json.dumps, users)).encode()
        self.s3.put_object(Bucket=self.bucket, Key="standing/users.jsonl", Body=body)
        self.s3.put_object(Bucket=self.bucket, Key=key_of(NAME), Body=definition())
        self.ledger = DynamoLedger(self.dynamodb, self.table, self.time)
        self.store = ScheduleStore(self.dynamodb, self.table, self.time)
        self.documents = Documents(BucketTexts(self.s3, self.bucket), needs_approval=True)
        self.approved = self.documents.read(NAME).hash
        self.store.approve(NAME, self.approved, "ann@example.com")
        self.invoked: list[str] = []
        self.questions: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.counts = True
        self.on_write: Callable[[], object] = lambda: None
        self.invoke: Callable[[Callable[[], None]], object] = lambda function: function()
        for client, names in ((self.dynamodb, TABLE_WRITES), (self.s3, BUCKET_WRITES)):
            for name in names:
                service = client.meta.service_model.service_name
                client.meta.events.register(f"after-call.{service}.{name}", lambda model, **_: self.wrote(model.name))

    def wrote(self, name: str) -> None:
        """A write of one of the functions was done. A lease that is renewed meanwhile is none of them."""
        if self.counts and current_thread() is main_thread():
            self.writes.append(name)
            self.on_write()

    # -- the functions ------------------------------------------------------------------------------------------------

    def stack(self) -> Stack:
        """What a tick reads and writes of the rest."""

        def invoke(preparation: str) -> None:
            self.invoked.append(preparation)
            self.wrote("Invoke")

        return Stack(self.dynamodb, self.table, self.s3, self.bucket, invoke, self.time)

    def tick(self) -> None:
        """A minute's tick, in a new process."""

        def ask(question: dict[str, Any]) -> None:
            self.questions.append(question)
            self.wrote("PutEvents")

        store = ScheduleStore(self.dynamodb, self.table, self.time)
        occurrences = Occurrences(store, self.stack(), Drops(self.s3, self.bucket), self.time)
        documents = Documents(BucketTexts(self.s3, self.bucket), needs_approval=True)
        Tick(
            store, documents, occurrences, self.time, lambda *_, **__: None, needs_approval=True, ask=ask,
            on_error=_raise,
        ).run()  # fmt: skip

    def audiences(self) -> None:
        """The audience function, for what it was invoked for, and for what the sweeper finds."""
        due = list(self.ledger.due_preparations(self.time.ms))
        asked = [one.run_id for one in due if self.ledger.put_off_preparation(one, self.time.ms + 120_000)]
        invoked, self.invoked = {*self.invoked, *asked}, []
        make = S3Maker(self.s3, self.bucket, {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "STORAGE_MB": "512"})
        store = PreparationStore(self.dynamodb, self.table, self.time)
        function = RunPreparation(store, {Stage.PREPARE: make}, lambda *_: None, self.folder / "work")
        for preparation in sorted(invoked):
            function.handle(preparation, "")

    def decide(self) -> None:
        """An approver decides as soon as something is to be decided."""
        waits = [one for one in self.store.history(NAME) if one.state is OccurrenceState.NEEDS_REVIEW]
        for one in waits:
            if not one.decision:
                self.do("decide", occurrence=one.stamp, decision="approve", by="bob@example.com")

    def do(self, action: str, **about: Any) -> None:
        """What a person asks for: not a write that is counted."""
        self.counts = False
        control = Control(self.store, self.documents, self.stack(), self.time)
        control.carry_out({"action": action, "schedule": NAME, **about})
        self.counts = True

    # -- time ---------------------------------------------------------------------------------------------------------

    def minutes(self, count: int, after: Callable[[], object] = lambda: None) -> None:
        """So many minutes, each with a tick. What is killed is over; `after` happens then."""
        for _ in range(count):
            for function in (self.tick, self.audiences, self.decide):
                try:
                    self.invoke(function)
                except Killed:
                    after()
            self.time.s += 60

    def check(self) -> None:
        """One run, of what was approved, and one line of history."""
        versions = self.s3.list_object_versions(Bucket=self.bucket, Prefix="batches/").get("Versions", ())
        [version] = versions
        assert version["Key"] == KEY
        found = self.s3.get_object(Bucket=self.bucket, Key=KEY)
        body = found["Body"].read()
        campaign = json.loads(body)["campaign"]
        assert (campaign["id"], campaign["message"]["title"]) == (f"{NAME}-{STAMP}", "Approved")
        approval = self.ledger.approval(self.bucket, KEY)
        assert approval is not None
        assert (approval.sha256, approval.by) == (sha256(body).hexdigest(), "bob@example.com")
        [line] = self.store.history(NAME)
        assert (line.stamp, line.state, line.hash, line.users) == (STAMP, OccurrenceState.RUN, self.approved, 8)
        assert line.run_id == source_of(self.bucket, KEY, found["VersionId"], found["ETag"]).run_id
        clock = self.store.read(NAME)
        assert clock is not None
        assert (clock.hash, clock.last, clock.next) == (self.approved, STAMP, "2026-12-02T0900")
        asked = {(one["schedule"], one["occurrence"]) for one in self.questions if "occurrence" in one}
        assert asked == {(NAME, STAMP)}


def _raise(error: Exception) -> None:
    raise error


WRITES = 20
"""Of a whole firing: test_the_kills_cover_every_write says so."""
CLOCK_WRITTEN = 2
"""The number of the write that notes in the schedule's clock which text is approved."""
MINUTES = 16
IN_THE_GATE = {3: "set back", 18: "edited"}
"""The occurrence is there and the clock not moved on; a batch file that is not noted."""


def at_write(world: World, number: int, happens: Callable[[], object]) -> None:
    """Something happens right after the write with this number, from 0 on."""

    def on_write() -> None:
        if len(world.writes) == number + 1:
            happens()

    world.on_write = on_write


def kill() -> None:
    """The function is over."""
    raise Killed


def edit(world: World) -> None:
    """A person writes another text on the pages, and has the approved one go on meanwhile."""
    clock, text = world.store.read(NAME), definition("Edited")
    assert clock is not None
    assert clock.hash == world.approved
    before = sha256(definition()).hexdigest()
    world.do("save", text=text.decode(), before=before, keep=True, by="eve@example.com")
    assert world.s3.get_object(Bucket=world.bucket, Key=key_of(NAME))["Body"].read() == text


def set_back(world: World) -> None:
    """The machine's clock is a quarter of an hour behind for three ticks."""
    world.time.s -= 900
    world.minutes(3)
    world.time.s += 720


HAPPENINGS: dict[str, Callable[[World], object]] = {"": lambda _: None, "edited": edit, "set back": set_back}


@pytest.mark.parametrize(
    ("number", "happening"),
    [
        pytest.param(n, name, marks=() if IN_THE_GATE.get(n) == name else pytest.mark.slow)
        for n in range(WRITES)
        for name in HAPPENINGS
        # Before its clock has the approved text, a schedule cannot be edited with the approved one going on.
        if name != "edited" or n >= CLOCK_WRITTEN
    ],
)
def test_killed_after_each_write(endpoint: str, tmp_path: Path, number: int, happening: str) -> None:
    """The next ticks do the rest, also where the definition was edited or the clock set back in that moment."""
    world = World(endpoint, tmp_path)
    at_write(world, number, kill)
    world.minutes(MINUTES, lambda: HAPPENINGS[happening](world))
    assert len(world.writes) > number
    world.check()


@pytest.mark.parametrize("number", [pytest.param(n, marks=() if n == 4 else pytest.mark.slow) for n in range(WRITES)])
def test_doubled(endpoint: str, tmp_path: Path, number: int) -> None:
    """One that is stalled after a write for four minutes, and then goes on by what it has read before."""
    world, stalled = World(endpoint, tmp_path), list[greenlet]()
    hub = getcurrent()

    def invoke(function: Callable[[], None]) -> None:
        one = greenlet(function)
        one.switch()
        if not one.dead:
            stalled.append(one)

    world.invoke = invoke
    at_write(world, number, hub.switch)
    world.minutes(4)
    while not stalled:
        world.minutes(1)
    world.minutes(4)
    stalled.pop().switch()
    world.minutes(MINUTES - 4)
    world.check()


def test_the_kills_cover_every_write(endpoint: str, tmp_path: Path) -> None:
    """A firing that is not killed makes as many writes as are tried above."""
    world = World(endpoint, tmp_path)
    world.minutes(MINUTES)
    world.check()
    assert len(world.writes) == WRITES, world.writes
