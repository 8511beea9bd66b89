"""The final cut against a real bucket and table: whom it leaves out, the others' order, and what a crash leaves."""

import gzip
import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from audiences.app import left_out
from audiences.build import Order, build
from audiences.cap_locks import CapLocks
from audiences.caps import CapObjects
from audiences.cut import CutManifest, CutOrder, cut_folder, found_cut, make_cut
from audiences.cut_rules import PreparedUser, rules_of
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.faults import AudienceFault
from audiences.manifest_format import NAME, Manifest, folder_of
from audiences.run_cut import RulesNow, S3Cutter, in_windows
from audiences.run_preparation import RunPreparation
from audiences.sources import local_files
from audiences.store import PreparationStore
from notifier.audience import IdSet
from notifier.model.cut import Window
from notifier.model.holdout import Holdout
from notifier.model.local_time import LocalTime, UserTimes
from notifier.model.preparation import PREPARATION_LEASE_MS, PreparationState, Stage
from notifier.model.run import PREPARING, LaneState, Run, source_of
from notifier.stores.ledger import DynamoLedger
from tests.contract.moto_stores import Time, client_of, make_table, moto_server, new_name

RUN = Run("r1", source_of("drop", "batches/a.json", "v1", "e1"), 7, "AWS:ann")
LEASE_S = PREPARATION_LEASE_MS / 1000
USERS = 1_800
IN_PART = 500


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


class Stack:
    """A bucket with a prepared audience of 1,800 users, in parts of 500."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.s3 = client_of("s3", endpoint)
        self.bucket = new_name("bucket")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        self.destination = Bucket(self.s3, self.bucket)
        self.folder = folder
        path = folder / "users.jsonl"
        rows = [{"user_id": f"u{n}", "platform": "ios", "token": f"{n:064x}"} for n in range(USERS)]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        order = Order({"files": ["users.jsonl"]}, local_files([str(path)]), max_users=IN_PART)
        self.prepared: Manifest = build(order, self.destination, Limits(folder / "prepare", 200))
        self.manifest_key = folder_of(self.prepared.id) + NAME

    def order(self, **members: Any) -> CutOrder:
        """An order of the cut of run r1."""
        given: dict[str, Any] = {"attempt": 1, "prepared": self.manifest_key, "parts": self.prepared.parts}
        return CutOrder("r1", **(given | {"max_users": IN_PART} | members))

    def cut(self, **members: Any) -> CutManifest:
        """The cut of run r1."""
        return make_cut(self.order(**members), self.s3, self.destination, self.folder / "cut")

    def cutter(
        self, s3: Any, now: Callable[[], float], dynamodb: Any = None, table: str = "", sleep: Any = None
    ) -> S3Cutter:
        """What makes cuts. Without a table no run has a group."""
        objects = CapObjects(s3, self.bucket, Limits(self.folder / "caps", 200))
        return S3Cutter(s3, self.bucket, "suppression/", objects, CapLocks(dynamodb, table, now, sleep), now)

    @property
    def places(self) -> tuple[Any, Bucket, Path]:
        """Where a cut reads and writes."""
        return self.s3, self.destination, self.folder / "cut"

    def users_of(self, parts: Sequence[Any]) -> list[str]:
        """The user ids of some parts."""
        return [json.loads(line)["user_id"] for part in parts for line in self.body(part.key).splitlines()]

    def body(self, key: str) -> bytes:
        """An object."""
        found: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return found

    def keys(self, prefix: str) -> list[str]:
        """Keys under a prefix."""
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])]

    def excluded(self) -> dict[str, str]:
        """Who is listed under `excluded/`, and why."""
        lines = gzip.decompress(self.body("excluded/run_id=r1/cut.json.gz")).splitlines()
        found = [json.loads(line) for line in lines]
        assert all(one["record"] is None and one["run_id"] == "r1" for one in found)
        assert len({one["user_id"] for one in found}) == len(found)
        return {one["user_id"]: one["reason"] for one in found}

    def begin(self, *, exclude: Sequence[str] = (), suppress: Sequence[str] = (), legal: bool = False) -> None:
        """What the worker stores as the run begins, and the standing suppression."""
        self.s3.put_object(Bucket=self.bucket, Key="lists/x.json", Body=json.dumps(list(exclude)).encode())
        head = self.s3.head_object(Bucket=self.bucket, Key="lists/x.json")
        size, etag = head["ContentLength"], head["ETag"].strip('"')
        listed = {"bucket": self.bucket, "key": "lists/x.json", "version_id": None, "etag": etag, "size": size}
        campaign = {"id": "c", "message": {"title": "t"}, "legal": legal}
        state = {"campaign": campaign, "exclude": [listed] if exclude else [], "prepared": self.manifest_key}
        self.s3.put_object(Bucket=self.bucket, Key="state/run_id=r1/campaign.json", Body=json.dumps(state).encode())
        if suppress:
            body = json.dumps(list(suppress)).encode()
            self.s3.put_object(Bucket=self.bucket, Key="suppression/a.json", Body=body)


@pytest.fixture
def stack(endpoint: str, tmp_path: Path) -> Stack:
    """A stack of the test's own."""
    return Stack(endpoint, tmp_path)


def in_order(numbers: Sequence[int]) -> list[str]:
    """Users as they are ordered: by the first 8 bytes of the SHA-256 of the id, then the id."""
    users = [f"u{n}" for n in numbers]
    return sorted(users, key=lambda user: (hashlib.sha256(user.encode()).digest()[:8], user.encode()))


def test_whom_it_leaves_out(stack: Stack) -> None:
    """Against a computation by hand: the exclude list comes first, the order stays, parts are full, reasons add up."""
    chance = random.Random(5)
    exclude = {n for n in range(USERS) if chance.random() < 0.2}
    suppressed = {n for n in range(USERS) if chance.random() < 0.3}
    rules = rules_of(IdSet(f"u{n}" for n in exclude), IdSet(f"u{n}" for n in suppressed))
    cut = stack.cut(rules=rules)
    staying = [n for n in range(USERS) if n not in exclude | suppressed]
    assert stack.users_of(cut.parts) == in_order(staying)
    assert stack.excluded() == {f"u{n}": "suppressed" for n in suppressed} | {f"u{n}": "exclude" for n in exclude}
    assert cut.excluded_by == {"exclude": len(exclude), "suppressed": len(suppressed - exclude)}
    assert cut.users == len(staying)
    assert [part.users for part in cut.parts[:-1]] == [IN_PART] * (len(cut.parts) - 1)
    assert [part.first_record for part in cut.parts] == [n * IN_PART for n in range(len(cut.parts))]
    for part in cut.parts:
        body = stack.body(part.key)
        assert hashlib.sha256(body).hexdigest() == part.sha256
        first = json.loads(body.splitlines()[0])["user_id"]
        assert part.first_hash == hashlib.sha256(first.encode()).hexdigest()[:16] == part.batches[0]


def test_nothing_is_written_where_nobody_is_left_out(stack: Stack) -> None:
    """The prepared parts are used as they are; so are those before the first user who is left out."""
    cut = stack.cut(rules=rules_of(IdSet(["nobody"]), IdSet()))
    assert cut.parts == stack.prepared.parts
    assert (cut.users, cut.excluded_by, cut.excluded) == (USERS, {}, None)
    assert stack.keys("audiences/cut/") == [cut_folder("r1") + NAME]
    assert stack.keys("excluded/") == []


def test_parts_before_the_first_who_is_left_out_are_kept(stack: Stack) -> None:
    """Only what follows is written again."""
    last = in_order(range(USERS))[-1]
    cut = stack.cut(rules=rules_of(IdSet(), IdSet([last])))
    assert cut.parts[:3] == stack.prepared.parts[:3]
    assert cut.parts[3].key.startswith("audiences/cut/run_id=r1/attempt=1/window=000/")
    assert stack.users_of(cut.parts) == in_order(range(USERS))[:-1]
    assert cut.parts[3].first_record == 1_500


@pytest.mark.parametrize("counts", [False, True])
def test_a_part_of_which_nobody_stays(stack: Stack, counts: bool) -> None:
    """Those behind it are written again, from record 0 on, though nobody of them is left out; with caps and without."""
    first, others = in_order(range(USERS))[:IN_PART], in_order(range(USERS))[IN_PART:]
    day_of = (lambda _: date(2026, 11, 28)) if counts else None
    write = lambda _users, path: path.write_bytes(b"counted")  # noqa: E731
    cut = stack.cut(rules=rules_of(IdSet(first), IdSet()), day_of=day_of, write_users=write)
    assert stack.users_of(cut.parts) == others
    assert [part.first_record for part in cut.parts] == [0, 500, 1_000]
    assert cut.excluded_by == {"exclude": IN_PART}


def test_whom_it_would_leave_out_now(stack: Stack, tmp_path: Path) -> None:
    """What approvers see: at most N, and how many of them would be left out; nothing is written."""
    stack.begin(exclude=["u1", "u2", "nobody"], suppress=["u2", "u3", "u4", "u5"])
    before = stack.keys("")
    cutter = stack.cutter(stack.s3, lambda: 1_800_000_000.0)
    asked = {"left_out": stack.manifest_key, "exclude": [{"key": "lists/x.json"}], "bucket": stack.bucket}
    found = left_out(cutter, asked, tmp_path / "work", {})
    as_of = {"as_of": "2027-01-15T08:00:00+00:00", "looked_at": USERS}
    assert found == {"users": USERS, "left_out": {"exclude": 2, "suppressed": 3}} | as_of
    assert left_out(cutter, asked | {"legal": True}, tmp_path / "work", {})["left_out"] == {"exclude": 2}
    assert left_out(cutter, asked | {"exclude": []}, tmp_path / "work", {})["left_out"] == {"suppressed": 4}
    assert left_out(cutter, {"left_out": stack.manifest_key, "legal": True}, tmp_path, {})["left_out"] == {}
    assert stack.keys("") == before
    assert not list((tmp_path / "work").rglob("*.jsonl"))
    for wrong in ({"left_out": "state/x"}, {"left_out": "audiences/prepared/x"}, asked | {"exclude": [{"key": "no"}]}):
        assert list(left_out(cutter, wrong, tmp_path / "work", {})) == ["fault"]


def test_whom_it_would_leave_out_of_many(stack: Stack, tmp_path: Path) -> None:
    """The holdout too, after the lists and not of an essential campaign; of many users the first are a sample."""
    stack.begin(exclude=[], suppress=["u2", "u3"])
    cutter = stack.cutter(stack.s3, lambda: 1_800_000_000.0)
    asked = {"left_out": stack.manifest_key, "bucket": stack.bucket}
    environment = {"HOLDOUT_PERCENT": "10", "HOLDOUT_VERSION": "2"}
    holdout = Holdout(1_000, "2")
    held_out = {user for user in map("u{}".format, range(USERS)) if user in holdout}
    found = left_out(cutter, asked, tmp_path, environment)
    assert found["left_out"] == {"holdout": len(held_out - {"u2", "u3"}), "suppressed": 2}
    essential = {"campaign": {"id": "c", "message": {"title": "t", "body": "b"}, "essential": True}}
    assert left_out(cutter, asked | essential, tmp_path, environment)["left_out"] == {"suppressed": 2}
    few = cutter.left_out_now(stack.manifest_key, (), RulesNow(True, holdout), tmp_path, enough=10)
    in_first = len(held_out & set(in_order(range(USERS))[:IN_PART]))
    assert (few.users, few.looked_at, few.left_out) == (USERS, IN_PART, {"holdout": round(in_first * USERS / IN_PART)})


def test_too_late_for_many(stack: Stack) -> None:
    """Without `if_past` the cut fails and says how many; written down, they are left out before any arm."""
    noon = datetime(2026, 12, 1, 12, 30, tzinfo=UTC).timestamp()
    unsaid, skipped = LocalTime("09:00", "UTC"), LocalTime("09:00", "UTC", if_past="skip")
    day = date(2026, 12, 1)
    with pytest.raises(AudienceFault, match=r"too late for 1,800 of 1,800 users \(100%\)") as late:
        make_cut(in_windows(stack.order(), UserTimes(unsaid, day, None, noon), unsaid), *stack.places)
    assert "if_past" in late.value.mend
    assert stack.keys("audiences/cut/") == []
    # A suppressed user is not late: the first reason counts.
    order = stack.order(rules=rules_of(IdSet(), IdSet(["u7"])), attempt=2)
    cut = make_cut(in_windows(order, UserTimes(skipped, day, None, noon), skipped), *stack.places)
    assert cut.excluded_by == {"suppressed": 1, "too_late": USERS - 1}
    assert (cut.users, cut.parts, cut.timezone_assumed) == (0, (), 0)


def test_who_would_be_late_now(stack: Stack, tmp_path: Path) -> None:
    """Approvers see it with the other reasons: by the campaign that they decide on, if its run began now."""
    cutter = stack.cutter(stack.s3, lambda: 1_796_130_000.0)
    campaign = {"id": "c", "message": {"title": "t"}}
    local_time = {"at": "09:00", "fallback_timezone": "UTC", "date": "2026-12-01"}
    asked = {"left_out": stack.manifest_key, "legal": True}
    late = left_out(cutter, asked | {"campaign": campaign | {"local_time": local_time}}, tmp_path / "a")
    assert late["left_out"] == {"too_late": USERS}
    fine = left_out(
        cutter, asked | {"campaign": campaign | {"local_time": local_time | {"date": "2026-12-02"}}}, tmp_path
    )
    assert fine["left_out"] == {}


def test_a_window_of_the_users_time(stack: Stack) -> None:
    """Users without a time zone have the campaign's, and are counted; the window has its times in the manifest."""
    local_time, day = LocalTime("09:00", "Asia/Kathmandu"), date(2026, 12, 1)
    order = in_windows(stack.order(), UserTimes(local_time, day, None, 0), local_time)
    cut = make_cut(order, *stack.places)
    [window] = [one for one in cut.windows if one.users]
    assert (window.not_before, window.not_after) == ("2026-12-01T03:15:00+00:00", "2026-12-01T06:15:00+00:00")
    assert (window.users, cut.timezone_assumed) == (USERS, USERS)
    assert stack.users_of(cut.parts) == in_order(range(USERS))


def test_windows_are_lanes(stack: Stack) -> None:
    """Ordered by window first; each window's parts begin at a multiple of 500, and two windows share no batch."""

    def window_of(user: PreparedUser) -> int:
        return (0, 2)[int(user.user_id[1:]) % 3 == 0]

    windows = tuple(Window(n, 0, 0, 0, f"2026-12-01T0{n}:00:00Z") for n in range(3))
    cut = stack.cut(windows=windows, window_of=window_of)
    assert [(one.first_part, one.parts, one.users) for one in cut.windows] == [(0, 3, 1_200), (3, 0, 0), (3, 2, 600)]
    assert [one.not_before for one in cut.windows] == [one.not_before for one in windows]
    assert [part.first_record for part in cut.parts] == [0, 500, 1_000, 1_500, 2_000]
    assert stack.users_of(cut.parts[:3]) == in_order([n for n in range(USERS) if n % 3])
    assert stack.users_of(cut.parts[3:]) == in_order([n for n in range(USERS) if n % 3 == 0])


# ------------------------------------------------------------------------------------- leased, killed, doubled


class Runner:
    """A run whose cut was asked for, and the audience function, which may be over at any call.

    Args:
        dies_at: the number of the call before which it is over; None: it lives.
    """

    def __init__(self, endpoint: str, stack: Stack, time: Time) -> None:
        self.calls = 0
        self.dies_at: int | None = None
        self.nudged: list[str] = []
        self._time = time
        clients = client_of("s3", endpoint), client_of("dynamodb", endpoint)
        table = new_name("ledger")
        make_table(client_of("dynamodb", endpoint), table)
        self.ledger = DynamoLedger(client_of("dynamodb", endpoint), table, time)
        self.store = PreparationStore(clients[1], table, time)
        self.ledger.open_run(RUN)
        lane = self.ledger.claim("r1", 0, "7", "w", time.ms + 900_000)
        self.ledger.ask_for_preparation("r1", "{}", stack.bucket)
        claimed = self.store.claim(self.preparation, "p")
        assert claimed is not None
        self.store.end("r1", "p", manifest=stack.manifest_key)
        self.ledger.end_preparation("r1")
        asked = self.ledger.ask_for_cut("r1")
        assert (asked.stage, asked.state, asked.attempts) == (Stage.CUT, PreparationState.ASKED, 0)
        self.ledger.release(lane, LaneState.RESTING, time.ms + 300_000, asked.words)
        for client in clients:
            client.meta.events.register("before-call.*", lambda **_: self._call())
        cutter = stack.cutter(clients[0], time, clients[1], table)
        self.function = RunPreparation(self.store, {Stage.CUT: cutter}, self._nudge, stack.folder / "work")

    def _call(self) -> None:
        self.calls += 1
        # A thread that reads a list cannot end its process here: that dies at its own next call.
        is_main = threading.current_thread() is threading.main_thread()
        if self.dies_at is not None and self.calls > self.dies_at and is_main:
            raise Killed

    def _nudge(self, worker: str, run_id: str, version: str) -> None:
        self.nudged.append(run_id)

    @property
    def preparation(self) -> Any:
        """As it is."""
        return self.ledger.read_preparation("r1")

    def invoke(self) -> str | None:
        """One invocation; a killed one is over."""
        try:
            return self.function.handle("r1", "worker").status
        except Killed:
            return None

    def sweep(self) -> None:
        """As the sweeper does: a minute later, for each preparation that is due."""
        self._time.s += LEASE_S + 1
        for due in self.ledger.due_preparations(self._time.ms):
            assert self.ledger.put_off_preparation(due, self._time.ms + 120_000)
            self.invoke()


CALLS = 28
"""So many calls an attempt makes; a test says so."""
IN_THE_GATE = (13, 23, 25)
"""A part, the manifest, and the end before the wake. The others are tried by `pytest -m slow`."""


@pytest.mark.parametrize(
    "dies_at", [n if n in IN_THE_GATE else pytest.param(n, marks=pytest.mark.slow) for n in range(CALLS)]
)
def test_killed_before_each_call(endpoint: str, stack: Stack, time: Time, dies_at: int) -> None:
    """Another attempt takes it up: one manifest, one list, of the same users, whatever was suppressed in between."""
    stack.begin(exclude=["u1"], suppress=["u2", "u3"])
    runner = Runner(endpoint, stack, time)
    runner.calls, runner.dies_at = 0, dies_at
    runner.invoke()
    runner.dies_at = None
    # Meanwhile the world goes on: only an attempt that has written no manifest sees this.
    stack.begin(exclude=["u1"], suppress=["u2", "u3", "u4"])
    for _ in range(2):
        runner.sweep()
    assert (runner.preparation.state, runner.preparation.stage) == (PreparationState.PREPARED, Stage.CUT)
    assert runner.preparation.manifest == cut_folder("r1") + NAME
    check_one_cut(stack)
    lane = runner.ledger.read_lane("r1")
    assert lane is not None
    assert lane.state is LaneState.READY
    assert set(runner.nudged) <= {"r1"}


def check_one_cut(stack: Stack) -> None:
    """One manifest, whose parts are there and of one attempt or prepared; those left out are in its list alone."""
    assert [key for key in stack.keys("audiences/cut/") if key.endswith(NAME)] == [cut_folder("r1") + NAME]
    cut = found_cut(stack.destination, "r1")
    assert cut is not None
    attempts = {part.key.split("/")[3] for part in cut.parts if part.key.startswith("audiences/cut/")}
    assert attempts == {f"attempt={cut.attempt}"}
    assert stack.keys("excluded/") == ["excluded/run_id=r1/cut.json.gz"]
    left_out = stack.excluded()
    assert sorted([*stack.users_of(cut.parts), *left_out]) == sorted(f"u{n}" for n in range(USERS))
    assert sum(cut.excluded_by.values()) == len(left_out) == USERS - cut.users


def test_the_kills_cover_a_whole_attempt(endpoint: str, stack: Stack, time: Time) -> None:
    """An attempt that lives makes as many calls as are tried above, and a doubled nudge finds that it is over."""
    stack.begin(exclude=["u1"], suppress=["u2", "u3"])
    runner = Runner(endpoint, stack, time)
    runner.calls = 0
    assert runner.invoke() == "prepared"
    assert runner.calls == CALLS
    assert stack.excluded() == {"u1": "exclude", "u2": "suppressed", "u3": "suppressed"}
    assert runner.invoke() == "prepared"
    assert runner.ledger.ask_for_cut("r1").state is PreparationState.PREPARED, "it is asked for once"
    check_one_cut(stack)


def test_two_attempts_with_other_lists(stack: Stack) -> None:
    """The slower one takes over what the faster one has cut, with its list, although it read another suppression."""
    fast = stack.order(attempt=1, rules=rules_of(IdSet(), IdSet(["u1"])))
    overtaken = False

    def overtake(_what: str, _users: int) -> None:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            make_cut(fast, stack.s3, stack.destination, stack.folder / "fast")

    slow = stack.order(attempt=2, rules=rules_of(IdSet(), IdSet(["u1", "u2"])))
    cut = make_cut(slow, stack.s3, stack.destination, stack.folder / "slow", overtake)
    assert overtaken
    assert (cut.attempt, cut.excluded_by) == (1, {"suppressed": 1})
    check_one_cut(stack)


def test_legal_messages_reach_the_suppressed(endpoint: str, stack: Stack, time: Time) -> None:
    """The exclude list counts for them, the standing suppression does not."""
    stack.begin(exclude=["u1"], suppress=["u2"], legal=True)
    assert Runner(endpoint, stack, time).invoke() == "prepared"
    assert stack.excluded() == {"u1": "exclude"}


def test_suppression_that_cannot_be_read(endpoint: str, stack: Stack, time: Time) -> None:
    """The run waits, however often it is tried, and is never cut without; then it goes on by itself."""
    stack.begin(suppress=["u2"])
    stack.s3.put_object(Bucket=stack.bucket, Key="suppression/b.json", Body=b'[{"no": "id"}]')
    runner = Runner(endpoint, stack, time)
    runner.invoke()
    for _ in range(5):
        assert (runner.preparation.state, runner.preparation.attempts) == (PreparationState.PREPARING, 0)
        assert "cannot be read" in runner.preparation.words
        assert runner.preparation.words.startswith(PREPARING)
        runner.sweep()
    assert found_cut(stack.destination, "r1") is None
    stack.s3.delete_object(Bucket=stack.bucket, Key="suppression/b.json")
    runner.sweep()
    assert stack.excluded() == {"u2": "suppressed"}
