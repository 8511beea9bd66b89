"""Caps against a real bucket and table: whom the final cut leaves out for them, what it counts, and who waits."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

from approval import request as rules
from approval.form import Form
from approval.request import PinnedAudience, State
from approval.store import AuditEntry, Store
from audiences.app import left_out
from audiences.build import Order, build
from audiences.cap_counting import CapCounter
from audiences.cap_locks import LEASE_MS, CapLocks, GroupLocked, LockLost
from audiences.caps import CapObjects, key_of
from audiences.cut import CutManifest, found_cut
from audiences.cut_rules import hash_of_user
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.manifest_format import NAME, folder_of
from audiences.run_cut import S3Cutter
from audiences.sources import local_files
from notifier.audience import FileCache, Suppression
from notifier.composition.library import S3Library
from notifier.lifecycle.admission import Admission
from notifier.lifecycle.admitted import NotAdmitted
from notifier.lifecycle.run_closing import is_counted_late
from notifier.model.campaign import Part
from notifier.model.campaign_reading import read_campaign
from notifier.model.caps import Cap, CapDefaults
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.run import Ending, Run, source_of
from notifier.stores.ledger import DynamoLedger
from notifier.stores.s3_results import S3Results
from schedules.rules import OccurrenceState
from tests.contract import test_firing_killed as firing
from tests.contract.moto_stores import Time, client_of, make_table, moto_server, new_name

USERS = 60
ZONES = (None, "Asia/Tokyo", "America/Los_Angeles", "UTC+05:30", "Mars/Base")
NOON = 1_795_003_200.0
"""2026-11-18T12:00:00Z: at this hour it is the 18th in all of these zones."""
DAY_S = 86_400.0
ONE_A_DAY = {"group": "marketing", "most": 1, "days": 1}


class Killed(BaseException):
    """The function is over, at any line."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


class World:
    """A stack whose runs are cut one after the other, over one audience in parts of 500."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.time = Time()
        self.time.s = NOON
        self.s3, self.dynamodb = client_of("s3", endpoint), client_of("dynamodb", endpoint)
        self.bucket, self.table = new_name("bucket"), new_name("ledger")
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        make_table(self.dynamodb, self.table)
        self.folder = folder
        self.slept: list[float] = []
        self.manifest = self.prepare([f"u{n}" for n in range(USERS)])
        self.objects = CapObjects(self.s3, self.bucket, Limits(folder / "caps", 200))

    def prepare(self, user_ids: list[str]) -> str:
        """An audience of these users, each with the zone of its number; its manifest's key."""
        path = self.folder / "users.jsonl"
        rows = [{"user_id": name, "platform": "ios", "token": f"{n:064x}"} for n, name in enumerate(user_ids)]
        for row in rows:
            if (zone := zone_of(str(row["user_id"]))) is not None:
                row["timezone"] = zone
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        order = Order({"files": [str(len(user_ids))]}, local_files([str(path)]), max_users=500)
        prepared = build(order, Bucket(self.s3, self.bucket), Limits(self.folder / "prepare", 200))
        return folder_of(prepared.id) + NAME

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time.s += seconds

    @property
    def locks(self) -> CapLocks:
        """The stack's."""
        return CapLocks(self.dynamodb, self.table, self.time, self._sleep)

    def cutter(self, s3: Any = None) -> S3Cutter:
        """The audience function's."""
        return S3Cutter(s3 or self.s3, self.bucket, "suppression/", self.objects, self.locks, self.time)

    def begin(
        self, run_id: str, *caps: dict[str, Any], groups: tuple[str, ...] = ("marketing",), manifest: str = "",
        prepared: bool = True, holdout: dict[str, Any] | None = None, **campaign: Any,
    ) -> None:  # fmt: skip
        """What the worker stores as a run begins."""
        state = {
            "campaign": {"id": run_id, "message": {"title": "t"}, **campaign},
            "exclude": [],
            "prepared": (manifest or self.manifest) if prepared else "",
            "holdout": holdout or {},
            "caps": {"groups": list(groups), "caps": list(caps), "timezone": "Europe/London"},
        }
        key = f"state/run_id={run_id}/campaign.json"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(state).encode())

    def cut(self, run_id: str, *caps: dict[str, Any], **about: Any) -> CutManifest:
        """A run that begins, and its cut."""
        self.begin(run_id, *caps, **about)
        return self.cut_again(run_id)

    def cut_again(self, run_id: str, on_progress: Callable[..., object] = lambda *_: None) -> CutManifest:
        """The cut of a run that has begun."""
        asked = Preparation(run_id, PreparationState.PREPARING, "{}", self.bucket, stage=Stage.CUT)
        self.cutter()(asked, self.folder / "work", on_progress)
        found = found_cut(Bucket(self.s3, self.bucket), run_id)
        assert found is not None
        return found

    def keys(self, prefix: str) -> list[str]:
        """Keys under a prefix."""
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])]

    def counted(self) -> dict[str, set[int]]:
        """The objects under `caps/`, without the prefix: read as docs/caps.md says."""
        found = {}
        for key in self.keys("caps/"):
            path = self.folder / "counted.parquet"
            path.write_bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            rows = duckdb.read_parquet(str(path))
            assert (rows.columns, [str(kind) for kind in rows.types]) == (["user"], ["UBIGINT"])
            found[key.removeprefix("caps/")] = {user for (user,) in rows.fetchall()}
        return found

    def count_ended(self, run_id: str) -> None:
        """The run is over: it is counted as the audience function does it."""
        request = json.dumps({"began_at_ms": int(self.time.s * 1000)})
        asked = Preparation(f"caps-{run_id}", PreparationState.PREPARING, request, "", stage=Stage.CAPS)
        counter = CapCounter(self.s3, self.bucket, self.objects, self.locks)
        assert counter(asked, self.folder / "work", lambda *_: None)

    def settle(self, run_id: str, *rows: tuple[str, str | None], attempts: int = 1) -> None:
        """Rows of a run, of user ids and reasons, two in an object."""
        for n in range(0, len(rows), 2):
            lines = [
                json.dumps({"user_id": name, "reason": reason, "attempts": attempts}).encode()
                for name, reason in rows[n : n + 2]
            ]
            key = f"rows/run_id={run_id}/batch={n:08d}.json.gz"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=gzip.compress(b"\n".join(lines)))
        self.s3.put_object(Bucket=self.bucket, Key=f"rows/run_id={run_id}/_probe", Body=b"")


class Requests:
    """Requests of the approval pages that come to nothing, with all that they make on their way.

    An audience is prepared, how many the caps would leave out is estimated, every step is written.
    """

    def __init__(self, world: World) -> None:
        table = new_name("approval")
        make_table(world.dynamodb, table)
        self._world = world
        self._store = Store(world.dynamodb, table)

    def draft(self, id_: str, user_ids: list[str], *caps: dict[str, Any]) -> None:
        """One that its writer drops before anybody sees it."""
        self._asked(id_, user_ids, caps)
        now_ms = self._world.time.ms
        self._step(id_, rules.Step.WITHDRAWN, lambda request: rules.withdrawn(request, "ann@example.com", now_ms))
        assert self._store.request(id_).state is State.WITHDRAWN

    def rejected(self, id_: str, user_ids: list[str], *caps: dict[str, Any]) -> None:
        """One that an approver rejects."""
        manifest, now_ms = self._asked(id_, user_ids, caps), self._world.time.ms
        campaign = read_campaign({"id": id_, "message": {"title": "t"}, "caps": list(caps)})
        audience = PinnedAudience((Part(manifest),), manifest)
        self._step(
            id_,
            rules.Step.SUBMITTED,
            lambda one: rules.submitted(one, "ann@example.com", now_ms, campaign, audience, rules.Limits()),
        )
        self._step(id_, rules.Step.REJECTED, lambda one: rules.rejected(one, "bob@example.com", now_ms, "not today"))
        assert self._store.request(id_).state is State.REJECTED

    def _asked(self, id_: str, user_ids: list[str], caps: tuple[dict[str, Any], ...]) -> str:
        world = self._world
        request = rules.created(id_, "ann@example.com", world.time.ms, rules.Limits(), Form(name=id_))
        self._store.create(request, AuditEntry(rules.Step.CREATED, "ann@example.com", world.time.ms))
        manifest = world.prepare(user_ids)
        campaign = {"id": id_, "message": {"title": "t"}, "caps": list(caps)}
        found = left_out(world.cutter(), {"left_out": manifest, "campaign": campaign}, world.folder / "now")
        assert found["users"] == len(user_ids)
        return manifest

    def _step(self, id_: str, name: rules.Step, step: Callable[[rules.Request], rules.Request]) -> None:
        self._store.change(id_, step, AuditEntry(name, "ann@example.com", self._world.time.ms))


def refused(world: World, run_id: str, *stack: Cap, **campaign: Any) -> str:
    """A batch file that the notifier's own admission refuses, and all that its end does; returns why.

    Args:
        stack: the caps that the stack sets.
    """
    ledger, results = DynamoLedger(world.dynamodb, world.table, world.time), S3Results(world.s3, world.bucket)
    body = {"campaign": {"id": run_id, "message": {"title": "t"}, **campaign}, "users": [{"user_id": "u1"}]}
    key = f"batches/{run_id}.json"
    put = world.s3.put_object(Bucket=world.bucket, Key=key, Body=json.dumps(body).encode())
    source = source_of(world.bucket, key, put.get("VersionId"), put["ETag"])
    suppression = Suppression(world.s3, world.bucket, "suppression/")
    library = S3Library(world.s3, FileCache(world.folder / "cache", 1_000_000), world.bucket, suppression)
    defaults = CapDefaults(stack, "Europe/London")
    admission = Admission(
        library, results, ledger, lambda _: (), rehearse=False, may_prepare=True, cap_defaults=lambda: defaults
    )
    run = ledger.open_run(Run(source.run_id, source, world.time.ms))
    with pytest.raises(NotAdmitted) as why:
        admission.open(run)
    found = ledger.read_run(run.run_id)
    assert found is not None
    assert not is_counted_late(found, Ending.FAILED)
    # Even if it were asked for.
    world.count_ended(run.run_id)
    return str(why.value)


@pytest.fixture
def world(endpoint: str, tmp_path: Path) -> World:
    """A stack of the test's own."""
    return World(endpoint, tmp_path)


def zone_of(name: str) -> str | None:
    """The zone that a user writes down."""
    return ZONES[int(name[1:]) % len(ZONES)]


def hashed(*numbers: int) -> set[int]:
    """The hashes of users, as docs/caps.md says."""
    return {int(sha256(f"u{n}".encode()).hexdigest()[:16], 16) for n in numbers}


def test_the_objects_on_the_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/caps.md shows vectors of the hash, DuckDB's words for it, and a query over the objects: all are right."""
    page = (Path(__file__).parents[2] / "docs" / "caps.md").read_text(encoding="utf-8")
    vectors = re.findall(r"^\| `([^`]+)` \| (\d+) \|$", page, re.MULTILINE)
    assert len(vectors) == 3
    [expression] = re.findall(r"^DuckDB: `(.+?)`\.", page, re.MULTILINE)
    for user_id, number in vectors:
        assert int(sha256(user_id.encode()).hexdigest()[:16], 16) == hash_of_user(user_id) == int(number)
        sql = f"SELECT {expression} FROM (SELECT ? AS user_id)"  # noqa: S608 - of our own page
        assert duckdb.execute(sql, [user_id]).fetchall() == [(int(number),)]
    world.cut("a1")
    world.cut("a2", groups=("marketing", "news"))
    world.counted()
    for name in world.keys("caps/"):
        path = world.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        world.s3.download_file(world.bucket, name, str(path))
    monkeypatch.chdir(world.folder)
    [query] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    found = {(group, str(day), runs) for group, day, runs in duckdb.execute(query).fetchall()}
    assert found == {("marketing", "2026-11-18", 2), ("news", "2026-11-18", 1)}


def test_whoever_has_had_enough_is_left_out(world: World) -> None:
    """The second run of a day leaves out all that the first has, with their reason; the next day nobody."""
    few = world.prepare([f"u{n}" for n in range(10)])
    first = world.cut("a1", ONE_A_DAY, manifest=few)
    second = world.cut("a2", ONE_A_DAY)
    assert (first.users, second.users) == (10, USERS - 10)
    assert second.excluded_by == {"capped": 10}
    lines = gzip.decompress(
        world.s3.get_object(Bucket=world.bucket, Key="excluded/run_id=a2/cut.json.gz")["Body"].read()
    )
    listed = {one["user_id"]: one["reason"] for one in map(json.loads, lines.splitlines())}
    assert listed == {f"u{n}": "capped" for n in range(10)}
    assert world.counted() == {
        "group=marketing/day=2026-11-18/run_id=a1.parquet": hashed(*range(10)),
        "group=marketing/day=2026-11-18/run_id=a2.parquet": hashed(*range(10, USERS)),
    }
    world.time.s += DAY_S
    assert world.cut("a3", ONE_A_DAY).excluded_by == {}


def test_days_in_a_row(world: World) -> None:
    """Two in three days: on the third one, of whom was reached on the first and the second; then one has passed."""
    cap = {"group": "marketing", "most": 2, "days": 3}
    found = []
    for day in range(5):
        found.append(world.cut(f"a{day}", cap).excluded_by)
        world.time.s += DAY_S
    assert found == [{}, {}, {"capped": USERS}, {}, {}]


def test_local_days(world: World) -> None:
    """At 23:30 in London it is tomorrow in Tokyo: users count on their own day, those without a zone on London's."""
    world.time.s = NOON + 11.5 * 3_600
    world.cut("a1", ONE_A_DAY)
    by_zone: dict[str | None, set[int]] = {zone: set() for zone in ZONES}
    for n in range(USERS):
        by_zone[zone_of(f"u{n}")] |= hashed(n)
    today = by_zone[None] | by_zone["Mars/Base"] | by_zone["America/Los_Angeles"]
    tomorrow = by_zone["Asia/Tokyo"] | by_zone["UTC+05:30"]
    assert world.counted() == {
        "group=marketing/day=2026-11-18/run_id=a1.parquet": today,
        "group=marketing/day=2026-11-19/run_id=a1.parquet": tomorrow,
    }
    # An hour later it is the next day in London, too, and in Los Angeles it is not.
    world.time.s += 3_600
    second = world.cut("a2", ONE_A_DAY)
    assert second.excluded_by == {"capped": len(tomorrow) + len(by_zone["America/Los_Angeles"])}


def test_later_days_count_too(world: World) -> None:
    """Whoever is planned for tomorrow has the cap of two days used up today: no two of the days may hold both."""
    cap = {"group": "marketing", "most": 1, "days": 2}
    world.cut("a1", cap, not_before="2026-11-19T12:00:00Z")
    assert world.cut("a2", cap).excluded_by == {"capped": USERS}
    assert world.cut("a3", ONE_A_DAY).excluded_by == {}


def test_groups(world: World) -> None:
    """A run counts in each of its groups, and a cap looks at its own group alone."""
    world.cut("a1", groups=("news", "sales"))
    assert sorted(world.counted()) == [f"group={name}/day=2026-11-18/run_id=a1.parquet" for name in ("news", "sales")]
    assert world.cut("a2", ONE_A_DAY).excluded_by == {}
    assert world.cut("a3", ONE_A_DAY | {"group": "sales"}, groups=("sales",)).excluded_by == {"capped": USERS}


def test_rehearsals_are_judged_and_not_counted(world: World) -> None:
    """A run without a group (a rehearsal) shows whom the caps leave out, and no other run is capped for it."""
    assert world.cut("a1", ONE_A_DAY, groups=()).excluded_by == {}
    assert world.counted() == {}
    world.cut("a2", ONE_A_DAY)
    assert world.cut("a3", ONE_A_DAY, groups=()).excluded_by == {"capped": USERS}


def test_a_request_that_comes_to_nothing_counts_nobody(world: World) -> None:
    """A dropped draft and a rejected request, prepared and estimated, write no object; the next cut keeps all."""
    everybody, requests = [f"u{n}" for n in range(USERS)], Requests(world)
    requests.draft("d1", everybody, ONE_A_DAY)
    requests.rejected("d2", everybody, ONE_A_DAY)
    assert world.keys("caps/") == []
    found = world.cut("a1", ONE_A_DAY)
    assert (found.users, found.excluded_by) == (USERS, {})
    # The same users once more: it was not for want of a cap.
    assert world.cut("a2", ONE_A_DAY).excluded_by == {"capped": USERS}


def test_a_refused_run_counts_nobody(world: World) -> None:
    """Whatever it is refused for: its campaign, its caps, its records. The next cut keeps all."""
    assert "broken campaign" in refused(world, "r1", control_percent=101)
    assert "not_approved" in refused(world, "r2", Cap("marketing", 1, 1), caps=[ONE_A_DAY | {"most": 5}])
    assert "no_valid_device" in refused(world, "r3")
    assert world.keys("caps/") == []
    assert world.cut("a1", ONE_A_DAY).excluded_by == {}


def test_an_occurrence_that_is_not_decided_counts_nobody(endpoint: str, world: World) -> None:
    """Prepared, and waiting for a decision that never comes: until it expires, and after that, nobody is counted."""
    stack = firing.World(endpoint, world.folder)
    stack.decide = lambda: None  # type: ignore[method-assign]
    world.bucket, world.time = stack.bucket, stack.time
    world.objects = CapObjects(world.s3, stack.bucket, Limits(world.folder / "caps", 200))
    stack.minutes(firing.MINUTES)
    [line] = stack.store.history(firing.NAME)
    assert (line.state, line.users) == (OccurrenceState.NEEDS_REVIEW, 8)
    assert world.keys("caps/") == []
    few = world.prepare([f"u{n}" for n in range(line.users)])
    assert world.cut("a1", ONE_A_DAY, manifest=few).excluded_by == {}
    stack.time.s += DAY_S
    stack.minutes(2)
    [line, *_] = [one for one in stack.store.history(firing.NAME) if one.stamp == firing.STAMP]
    assert line.state is OccurrenceState.EXPIRED
    assert [key for key in world.keys("caps/") if "run_id=a1" not in key] == []
    assert world.cut("a2", ONE_A_DAY, manifest=few).excluded_by == {}


def test_a_repeated_cut_counts_nobody_twice(world: World) -> None:
    """Another attempt is not capped by the object of the one before, and takes its place, also on another day."""
    world.time.s = NOON + 11.9 * 3_600
    world.begin("a1", ONE_A_DAY)
    deaths = 0

    def die(what: str, users: int) -> None:
        nonlocal deaths
        if what == "the final cut":
            deaths += 1
            raise Killed

    with pytest.raises(Killed):
        world.cut_again("a1", die)
    assert (deaths, world.counted()) == (1, {})
    world.cut_again("a1")
    before = world.counted()
    # As an attempt leaves it that is killed between its count and its manifest.
    world.s3.delete_object(Bucket=world.bucket, Key="audiences/cut/run_id=a1/_manifest.json")
    world.time.s += 3_600
    again = world.cut_again("a1")
    assert (again.users, again.excluded_by) == (USERS, {})
    after = world.counted()
    assert set.union(*after.values()) == set.union(*before.values())
    assert sum(map(len, after.values())) == USERS
    # A cut that is there is only counted again, without a lock.
    world.s3.delete_object(Bucket=world.bucket, Key="caps/group=marketing/day=2026-11-19/run_id=a1.parquet")
    with world.locks.held(("marketing",), "another"):
        world.cut_again("a1")
    assert world.counted() == after


def test_one_cut_at_a_time(world: World) -> None:
    """Another run waits for a group's lock, then is postponed; attempts at one run share it; a dead one's lapses."""
    world.begin("a2", ONE_A_DAY)
    with world.locks.held(("marketing",), "a1") as held:
        with pytest.raises(GroupLocked, match="another run of the group marketing"):
            world.cut_again("a2")
        assert sum(world.slept) == 20
        world.cut("a1", ONE_A_DAY)
        with pytest.raises(LockLost, match="marketing"):
            held.renew(at_once=True)  # the other attempt of the same run has given it up
    assert world.cut_again("a2").excluded_by == {"capped": USERS}
    dead = world.locks.held(("marketing",), "a3")
    dead.__enter__()  # and no more: it was killed
    with pytest.raises(GroupLocked):
        world.cut("a4", ONE_A_DAY)
    world.time.s += LEASE_MS / 1000
    world.cut_again("a4")


def test_locks_are_all_or_none(world: World) -> None:
    """Whoever does not get the second lock gives the first one up."""
    with world.locks.held(("news",), "a1"):
        with pytest.raises(GroupLocked):
            world.cut("a2", groups=("marketing", "news"))
        with world.locks.held(("marketing",), "a3"):
            pass


def test_a_slow_cut_counts_nothing_once_its_lock_is_lost(world: World) -> None:
    """It is made again: another run may have been cut meanwhile."""
    world.begin("a1", ONE_A_DAY)

    def lose(what: str, users: int) -> None:
        if what == "the final cut" and world.time.s == NOON:
            world.time.s += LEASE_MS / 1000 + 1
            world.cut("a2", ONE_A_DAY)

    with pytest.raises(LockLost):
        world.cut_again("a1", lose)
    assert [name for name in world.counted() if "a1" in name] == []
    assert world.cut_again("a1").excluded_by == {"capped": USERS}


def test_a_run_that_ends_early_gives_back_whom_it_did_not_reach(world: World) -> None:
    """Who was asked or held stays; who has no row, or was never asked, may get the next campaign."""
    world.cut("a1", ONE_A_DAY)
    world.settle(
        "a1", ("u1", None), ("u2", "Unregistered"), ("u3", "too_late"), ("u4", "too_large"), ("stranger", None)
    )
    for _ in range(2):
        world.count_ended("a1")
    assert world.counted() == {"group=marketing/day=2026-11-18/run_id=a1.parquet": hashed(1, 2)}
    assert world.cut("a2", ONE_A_DAY).excluded_by == {"capped": 2}


def test_plain_files_count_after_the_send(world: World) -> None:
    """They had no cut: their rows say whom they reached, on the day of the run in the stack's zone."""
    world.begin("a1", prepared=False, not_before="2026-11-19T00:30:00+01:00")
    world.time.s = NOON + 11.6 * 3_600  # 23:36 in London
    world.settle("a1", *((f"u{n}", None) for n in range(7)))
    world.count_ended("a1")
    assert world.counted() == {"group=marketing/day=2026-11-18/run_id=a1.parquet": hashed(*range(7))}
    assert world.cut("a2", ONE_A_DAY).users == USERS - 7 + len(
        [n for n in range(7) if zone_of(f"u{n}") in ZONES[1:4:2]]
    )


@pytest.mark.parametrize(("attempts", "counted"), [(0, 0), (2, 1)])
def test_quiet_hours_before_the_first_request_count_nobody(world: World, attempts: int, counted: int) -> None:
    """Their push was dropped: nobody has had it. After a request the phone may have shown it."""
    world.begin("a1", prepared=False)
    world.settle("a1", ("u1", "quiet"), attempts=attempts)
    world.count_ended("a1")
    assert sum(map(len, world.counted().values())) == counted


def test_the_estimate_knows_the_caps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What approvers see before a run begins, by the campaign's caps or the stack's; nothing is written."""
    monkeypatch.setenv("DEFAULT_TIMEZONE", "Europe/London")
    world.cut("a1", manifest=world.prepare([f"u{n}" for n in range(10)]))
    before = world.counted()
    campaign = {"id": "c", "message": {"title": "t"}}
    asked = {"left_out": world.manifest, "campaign": campaign | {"caps": [ONE_A_DAY]}}
    with world.locks.held(("marketing",), "a1"):
        assert left_out(world.cutter(), asked, world.folder / "now")["left_out"] == {"capped": 10}
        assert left_out(world.cutter(), asked | {"campaign": campaign}, world.folder / "now")["left_out"] == {}
    monkeypatch.setenv("DEFAULT_CAPS", "marketing:1/7")
    found = left_out(world.cutter(), asked | {"campaign": campaign}, world.folder / "now")
    assert (found["users"], found["left_out"]) == (USERS, {"capped": 10})
    essential = campaign | {"essential": True}
    assert left_out(world.cutter(), asked | {"campaign": essential}, world.folder / "now")["left_out"] == {}
    assert list(left_out(world.cutter(), asked | {"campaign": {}}, world.folder / "now")) == ["fault"]
    assert world.counted() == before


def test_a_run_is_entered_for_its_count_once(world: World) -> None:
    """The sweeper finds it, as every other preparation; it has no lane to wake."""
    ledger = DynamoLedger(world.dynamodb, world.table, world.time)
    ledger.open_run(Run("a1", source_of("drop", "batches/a.json", "v1", "e1"), 7))
    ledger.note_opened("a1", "cut")
    found = ledger.read_run("a1")
    assert found is not None
    assert (found.counted_by, Ending.COMPLETED) == ("cut", Ending.COMPLETED)
    assert ledger.ask_for_count("a1", 5) == ledger.ask_for_count("a1", 6) == "caps-a1"
    world.time.s += 60
    [due] = ledger.due_preparations(world.time.ms)
    assert (due.run_id, due.stage, due.request) == ("caps-a1", Stage.CAPS, '{"began_at_ms":5}')


def test_how_many_campaigns_they_have_had_this_week(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By user, of every group, a run of two groups once; neither older ones nor those still to come. Joined in SQL."""
    monkeypatch.setenv("DEFAULT_TIMEZONE", "Europe/London")
    campaign = {"id": "c", "message": {"title": "t"}}

    def reached(**more: Any) -> Any:
        asked = {"left_out": world.manifest, "campaign": campaign | more}
        return left_out(world.cutter(), asked, world.folder / "now").get("reached")

    def count(run_id: str, users: range, *, days: int = 0, group: str = "marketing") -> None:
        path = world.folder / "counted.parquet"
        world.objects.write((hash_of_user(f"u{n}") for n in users), path)
        day = datetime.fromtimestamp(NOON, UTC).date() - timedelta(days=days)
        world.objects.put(key_of(group, day, run_id), path)

    assert reached() == {"1": 0, "2": 0, "3": 0}
    count("a1", range(40))
    count("a2", range(30), days=6)
    count("a3", range(20), days=3, group="news")
    count("a3", range(20), days=3, group="sales")
    count("a4", range(10), days=1)
    count("old", range(USERS), days=7)
    count("planned", range(USERS), days=-1)
    count("others", range(USERS, USERS + 50))
    assert reached() == {"1": 10, "2": 10, "3": 20}
    # With a rule that looks at more of a user than the id, as well as without any rule.
    assert reached(caps=[{"group": "marketing", "most": 3, "days": 2}]) == {"1": 10, "2": 10, "3": 20}
    assert not (world.folder / "now" / "reached").exists()
    monkeypatch.setattr("audiences.reached.MAX_BYTES", 10)
    assert reached() is None
    monkeypatch.delenv("DEFAULT_TIMEZONE")
    assert reached() is None
