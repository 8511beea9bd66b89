"""The tick against a real table, and against the table in memory that the sandbox plays with: one contract.

A tick is killed before and after each of its writes, doubled, and left out for days: there is one run per occurrence,
of the definition by which it was fired, always.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from audiences.warehouse import TIME_S
from sandbox.schedule_twins import Clock, FolderTexts, PlayedStore
from schedules.batch import PREFIX
from schedules.control import Control, Refused
from schedules.definition import DatedDrops, key_of
from schedules.documents import Documents
from schedules.drops import Drops, NotReady
from schedules.firing import Tick
from schedules.occurrence_steps import MADE_WITHIN_S, Occurrences, Prepared
from schedules.overview import Overview
from schedules.rules import OccurrenceState
from schedules.store import OccurrenceItem, ScheduleItem, ScheduleState, ScheduleStore
from tests.contract.moto_stores import client_of, make_table, new_name, server_for

NAME = "nudge"
START = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
WRITES = ("enter", "adopt", "move_on", "put_occurrence", "put_missed", "change")
DAY_S = 86_400.0


class Killed(BaseException):
    """The function is over, at any line."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with server_for("dynamodb") as url:
        yield url


def maker_of(kind: str, endpoint: str) -> Callable[[Clock], ScheduleStore]:
    """Makes an empty store."""

    def make(clock: Clock) -> ScheduleStore:
        if kind == "memory":
            return PlayedStore(clock)
        client, table = client_of("dynamodb", endpoint), new_name("schedules")
        make_table(client, table)
        return ScheduleStore(client, table, clock)

    return make


@pytest.fixture(params=["table", "memory"])
def make_store(request: pytest.FixtureRequest, endpoint: str) -> Callable[[Clock], ScheduleStore]:
    """Makes an empty store: of DynamoDB, or its twin."""
    return maker_of(request.param, endpoint)


class MostlyInMemory:
    """Rules of schedules. What they ask of the store is tried on the table by the other classes; deep has both."""

    @pytest.fixture(params=[pytest.param("table", marks=pytest.mark.slow), "memory"])
    def make_store(self, request: pytest.FixtureRequest, endpoint: str) -> Callable[[Clock], ScheduleStore]:
        """Makes an empty store."""
        return maker_of(request.param, endpoint)


QUERY = {"queries/q.sql": b"SELECT 1 AS user_id", "queries/q.json": b"{}"}
HOURLY: dict[str, Any] = {
    "schedule": {"when": {"cron": "0 * * * *", "timezone": "UTC"}, "limits": {"max_users": 1000}},
    "audience": {"query": {"name": "q", "parameters": {"since": "$previous"}}},
    "campaign": {"message": {"title": "Hi"}},
}


def definition(**changes: Any) -> bytes:
    """A schedule that is due at 09:00 each day."""
    decoded: dict[str, Any] = {
        "schedule": {"when": {"cron": "0 9 * * *", "timezone": "UTC"}, "limits": {"max_users": 1000}},
        "audience": {"files": ["standing/users.jsonl"]},
        "campaign": {"message": {"title": "Hi"}, "control_percent": 10},
    }
    decoded["schedule"] |= changes
    return json.dumps(decoded).encode()


class Around:
    """A stack whose audiences have as many users as a test says, and whose runs end when it says."""

    def __init__(self) -> None:
        self.users = 100
        self.fault = ""
        self.manifest = "m"
        self.is_prepared = True
        self.runs_go_on = False
        self.runs_begin = True
        self.asked: dict[str, Mapping[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.approved: dict[str, str] = {}
        self.approvers: dict[str, str] = {}
        self.ready: set[tuple[str, str]] = set()

    def ask(self, preparation: str, request: Mapping[str, Any]) -> None:
        """Note the request."""
        self.asked.setdefault(preparation, request)

    def prepared(self, preparation: str) -> Prepared | None:
        """As the test says."""
        if preparation not in self.asked or not self.is_prepared:
            return None
        return (
            Prepared(fault=self.fault)
            if self.fault
            else Prepared(self.users, self.users, self.manifest, {"parts": [{"key": "p"}]})
        )

    def first_requests_over(self, run_id: str) -> bool:
        """As the test says."""
        return self.runs_begin and not self.runs_go_on

    def has_begun(self, run_id: str) -> bool:
        """As the test says."""
        return self.runs_begin

    def first_users(self, prepared: Prepared, count: int) -> list[bytes]:
        """Two users, each with a device."""
        users = [{"user_id": f"u{n}", "devices": [{"platform": "ios", "token": "secret-token"}]} for n in range(2)]
        return [json.dumps(user).encode() for user in users][:count]

    def completed(self, run_id: str) -> bool:
        """As the test says."""
        return not self.runs_go_on

    def write_batch_file(self, key: str, body: bytes, sha256_hex: str, approved_by: str) -> str:
        """As S3 does with If-None-Match: the first one stays."""
        self.approved.setdefault(key, sha256_hex)
        self.approvers.setdefault(key, approved_by)
        self.files.setdefault(key, body)
        return f"run of {key}"

    def declared_ready(self, name: str, day: str) -> bool:
        """Whether a person has said so."""
        return (name, day) in self.ready

    def declare_ready(self, name: str, day: str, by: str) -> None:
        """A person says so."""
        self.ready.add((name, day))


class ManyRows(Drops):
    """Drops that are complete, by whose manifest they have so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__(None, "")  # type: ignore[arg-type]
        self._rows = rows

    def request(self, drops: DatedDrops, day: str, *, declared_ready: bool) -> dict[str, Any]:
        """One file."""
        return {"parts": [{"key": drops.prefix + day}]}

    def expected_rows(self, drops: DatedDrops, day: str) -> int | None:
        """As the test says."""
        return self._rows


class NeverReady(Drops):
    """Drops whose writer never comes to an end."""

    def __init__(self) -> None:
        super().__init__(None, "")  # type: ignore[arg-type]

    def request(self, drops: DatedDrops, day: str, *, declared_ready: bool) -> dict[str, Any]:
        """None yet."""
        raise NotReady(f"{drops.prefix.replace('$day', day)}{drops.ready} is not there")


class World:
    """A stack with one schedule, a clock, and ticks."""

    def __init__(self, make_store: Callable[[Clock], ScheduleStore], *, needs_approval: bool = False) -> None:
        self.clock = Clock(START)
        self.store = make_store(self.clock)
        self.texts = FolderTexts(Path("nowhere"), {key_of(NAME): definition()})
        self.around = Around()
        self.needs_approval = needs_approval
        self.alarms: list[str] = []
        self.drops = Drops(None, "")  # type: ignore[arg-type]
        self.was_held: Callable[[int], bool] = lambda _at_ms: False
        self.quiet_hours = ""

    def tick(self, store: Any = None, held: str = "") -> dict[str, int]:
        """One tick, as a new process."""
        store = store or self.store
        documents = Documents(self.texts, needs_approval=self.needs_approval)
        occurrences = Occurrences(store, self.around, self.drops, self.clock, self.was_held, self.quiet_hours)

        def log(action: str, *, alarms: bool = False, **about: Any) -> None:
            if alarms:
                self.alarms.append(about.get("state", action))

        return Tick(
            store, documents, occurrences, self.clock, log, held=lambda: held, needs_approval=self.needs_approval
        ).run()

    def until(self, end: datetime) -> None:
        """Tick now, and often after 09:00: at most other minutes nothing is due."""
        self.tick()
        first = int(self.clock.s // 60)
        for minute in range(first + 1, int(end.timestamp() // 60) + 1):
            of_day = minute % (24 * 60)
            if (
                minute - first < 4
                or of_day % 180 == 0
                or 0 <= of_day - 540 <= 3
                # As often as it takes to be no outage.
                or (0 <= of_day - 540 <= 125 and of_day % 5 == 0)
                or of_day - 540 in (61, 63, 121)
            ):
                self.clock.s = minute * 60.0
                self.tick()

    def do(self, action: str, **about: str) -> dict[str, Any]:
        """What a person asks for."""
        documents = Documents(self.texts, needs_approval=self.needs_approval)
        control = Control(self.store, documents, self.around, self.clock)
        return control.carry_out({"action": action, "schedule": NAME, "by": "ann", **about})

    def item(self) -> ScheduleItem:
        """The schedule as the store has it."""
        found = self.store.read(NAME)
        assert found is not None
        return found

    def states(self) -> dict[str, str]:
        """What has become of each occurrence."""
        return {one.stamp: one.state.value for one in reversed(self.store.history(NAME))}


@pytest.fixture
def world(make_store: Callable[[Clock], ScheduleStore]) -> World:
    """A stack."""
    return World(make_store)


def at(text: str) -> datetime:
    """An instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Dying:
    """A store whose k-th write is the last thing that the process does: before it, or after it."""

    def __init__(self, store: ScheduleStore, writes: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, writes, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in WRITES:
            return found

        def write(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Killed
            answer = found(*given, **named)
            if self._left == 0:
                raise Killed
            return answer

        return write


class TestFiring:
    """A definition, its clock, and one run for each occurrence."""

    def test_each_day(self, world: World) -> None:
        """Each day at 09:00 one batch file is written, with the day's id."""
        world.until(at("2026-12-03T12:00"))
        assert world.states() == {"2026-12-01T0900": "run", "2026-12-02T0900": "run", "2026-12-03T0900": "run"}
        assert sorted(world.around.files) == [f"{PREFIX}{NAME}/{NAME}-2026-12-0{n}T0900.json" for n in (1, 2, 3)]
        assert world.alarms == []

    def test_not_before_its_time(self, world: World) -> None:
        """Nothing of the past is made up for when a schedule is new."""
        world.clock.s = at("2026-12-01T09:00:01").timestamp()
        world.tick()
        world.tick()
        assert world.states() == {}

    @pytest.mark.parametrize("after", [False, True])
    # `make deep` kills the two functions together at each write, in test_firing_killed, of which the gate tries a few;
    # here it is the tick alone, on twins too.
    @pytest.mark.parametrize(
        "writes", [n if n in (2, 5, 7) else pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8)]
    )
    def test_killed(self, world: World, writes: int, after: bool) -> None:
        """Killed at any write, the next ticks do the rest: one run, of one batch file."""
        dying = Dying(world.store, writes, after=after)
        for minute in ("08:00", "08:01", "09:00", "09:01", "09:02", "09:03"):
            world.clock.s = at(f"2026-12-01T{minute}").timestamp()
            try:
                world.tick(dying)
            except Killed:
                dying = Dying(world.store, 10**9, after=after)
        world.until(at("2026-12-01T09:20"))
        assert world.states() == {"2026-12-01T0900": "run"}
        assert len(world.around.files) == 1

    def test_doubled(self, world: World) -> None:
        """Two ticks at the same time: the second finds what the first has read changed."""
        world.tick()
        world.clock.s = at("2026-12-01T09:00").timestamp()
        due = list(world.store.due_schedules(int(world.clock.s * 1000)))
        world.tick()
        for item in due:  # read before the other tick has fired it
            world.store.put_occurrence(item)
            assert not world.store.move_on(item, None)
        world.until(at("2026-12-01T09:10"))
        assert world.states() == {"2026-12-01T0900": "run"}
        assert len(world.around.asked) == 1

    def test_clock_set_back(self, world: World) -> None:
        """A machine whose clock is set back fires nothing twice."""
        world.until(at("2026-12-01T09:10"))
        world.clock.s = at("2026-12-01T08:55").timestamp()
        world.until(at("2026-12-01T09:10"))
        assert len(world.around.files) == 1

    def test_edited_in_between(self, world: World) -> None:
        """An occurrence goes by the definition by which it was fired, whatever is edited before it is sent."""
        world.tick()
        world.around.is_prepared = False
        world.clock.s = at("2026-12-01T09:00").timestamp()
        world.tick()
        edited = json.loads(definition())
        edited["campaign"]["message"]["title"] = "Edited"
        world.texts.put(key_of(NAME), json.dumps(edited).encode())
        world.clock.s += 60
        world.tick()
        world.around.is_prepared = True
        world.until(at("2026-12-01T09:10"))
        world.until(at("2026-12-02T09:10"))
        titles = [json.loads(body)["campaign"]["message"]["title"] for body in world.around.files.values()]
        assert titles == ["Hi", "Edited"]


def titled(title: str, **changes: Any) -> bytes:
    """The same with another text."""
    decoded = json.loads(definition(**changes))
    decoded["campaign"]["message"]["title"] = title
    return json.dumps(decoded).encode()


class TestEditedWhileATimeIsDue(MostlyInMemory):
    """In the minute before a time, in an outage or in a hold. No time is lost without a word."""

    def edited(self, world: World, text: bytes, looked_at: str, store: Any = None) -> None:
        """At 08:59:30, seen by the tick at so late a time, and by those after it."""
        world.until(at("2026-12-01T08:59"))
        world.texts.put(key_of(NAME), text)
        world.clock.s = at(looked_at).timestamp()
        world.tick(store)
        for _ in range(3):
            world.clock.s += 60
            world.tick()

    def titles(self, world: World) -> list[str]:
        """What was sent."""
        return [json.loads(body)["campaign"]["message"]["title"] for body in world.around.files.values()]

    @pytest.mark.parametrize("looked_at", ["2026-12-01T09:00:05", "2026-12-01T09:40:00"])
    def test_the_same_time(self, world: World, looked_at: str) -> None:
        """The time is the edit's, too: it goes by the edit, once; "hold, correct, release" sends what was corrected."""
        self.edited(world, titled("Corrected"), looked_at)
        world.until(at("2026-12-02T09:10"))
        assert world.states() == {"2026-12-01T0900": "run", "2026-12-02T0900": "run"}
        assert (self.titles(world), world.alarms) == (["Corrected", "Corrected"], [])

    def test_too_old(self, world: World) -> None:
        """As any other that was due in an outage."""
        self.edited(world, titled("Corrected"), "2026-12-01T11:00:00")
        assert (world.states(), world.alarms) == ({"2026-12-01T0900": "missed"}, ["missed"])

    def test_only_the_latest(self, world: World) -> None:
        """Of several that the edit has, too; none is made up for that was not due before it."""
        hourly, half = ({"cron": f"{minutes} * * * *", "timezone": "UTC"} for minutes in ("0", "*/30"))
        world.texts.put(key_of(NAME), definition(when=hourly))
        self.edited(world, titled("Corrected", when=half), "2026-12-01T11:35:00")
        assert world.states() == {"2026-12-01T0900": "missed", "2026-12-01T1000": "missed", "2026-12-01T1100": "run"}
        assert world.item().next == "2026-12-01T1200"

    @pytest.mark.parametrize("looked_at", ["2026-12-01T09:00:05", "2026-12-01T09:40:00"])
    def test_another_time(self, world: World, looked_at: str) -> None:
        """The edit has it not: it is missed, in the list and by an alarm, and never goes by the text before."""
        self.edited(world, titled("Later", when={"cron": "0 10 * * *", "timezone": "UTC"}), looked_at)
        world.until(at("2026-12-01T10:05"))
        assert world.states() == {"2026-12-01T0900": "missed", "2026-12-01T1000": "run"}
        found = world.store.history(NAME)[1]
        assert found.reason == "the schedule was edited before it was fired, and the edit has no such time"
        assert (self.titles(world), world.alarms) == (["Later"], ["missed"])
        assert list(world.store.due_occurrences(10**15)) == []

    def test_the_same_minute_in_another_zone(self, world: World) -> None:
        """It is still to come: it fires then, under the same id."""
        self.edited(world, titled("Later", when={"cron": "0 9 * * *", "timezone": "Etc/GMT+1"}), "2026-12-01T09:00:05")
        assert (world.states(), world.item().next) == ({}, "2026-12-01T0900")
        world.until(at("2026-12-01T10:10"))
        assert (world.states(), self.titles(world), world.alarms) == ({"2026-12-01T0900": "run"}, ["Later"], [])

    def test_what_goes_on_is_edited(self, make_store: Callable[[Clock], ScheduleStore]) -> None:
        """What was kept in force until its edit is approved: approved in that minute, the time is the edit's."""
        world = World(make_store, needs_approval=True)
        for title, seen in (("Hi", "2026-12-01T08:01:00"), ("Corrected", "2026-12-01T09:00:05")):
            world.texts.put(key_of(NAME), titled(title, ends="2026-12-31"))
            world.tick()
            if title == "Corrected":
                world.do("keep")
                world.tick()
            world.do("approve", hash=Documents(world.texts).read(NAME).hash)
            world.clock.s = at(seen).timestamp()
            world.tick()
        world.until(at("2026-12-01T09:10"))
        assert (world.states(), self.titles(world)) == ({"2026-12-01T0900": "run"}, ["Corrected"])

    def test_of_very_many(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """The latest are listed, and an alarm says from when on others were due."""
        monkeypatch.setattr("schedules.firing.MOST_FIRED", 2)
        world.texts.put(key_of(NAME), definition(when={"cron": "0 * * * *", "timezone": "UTC"}))
        self.edited(world, titled("Corrected", when={"cron": "0 * * * *", "timezone": "UTC"}), "2026-12-01T12:10:00")
        assert world.states() == {"2026-12-01T1100": "missed", "2026-12-01T1200": "run"}
        assert world.alarms == ["missed", "missed"]

    def test_a_copy_that_was_changed(self, world: World) -> None:
        """What was in force cannot be read: the time on its clock is the edit's all the same."""
        world.tick()
        world.texts.put(next(iter(world.texts.keys("schedules/approved/"))), b"{}")
        self.edited(world, titled("Corrected"), "2026-12-01T09:00:05")
        assert (world.states(), self.titles(world)) == ({"2026-12-01T0900": "run"}, ["Corrected"])

    @pytest.mark.parametrize("cron", ["0 9 * * *", "0 10 * * *"])
    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("writes", [1, 2, 3])
    def test_killed(self, world: World, cron: str, writes: int, after: bool) -> None:
        """Killed at any write, the next tick does the rest."""
        text = titled("Corrected", when={"cron": cron, "timezone": "UTC"})
        dying = Dying(world.store, writes, after=after)
        try:
            self.edited(world, text, "2026-12-01T09:00:05", dying)
        except Killed:
            world.clock.s += 60
        world.until(at("2026-12-01T10:10"))
        moved = cron != "0 9 * * *"
        assert world.states() == (
            {"2026-12-01T0900": "missed", "2026-12-01T1000": "run"} if moved else {"2026-12-01T0900": "run"}
        )
        assert self.titles(world) == ["Corrected"]


class TestOutages:
    """Time in which nothing ticks."""

    def test_within_catch_up(self, world: World) -> None:
        """After an outage that is not too long the latest occurrence still fires."""
        world.tick()
        world.clock.s = at("2026-12-01T09:50").timestamp()
        world.until(at("2026-12-01T10:00"))
        assert world.states() == {"2026-12-01T0900": "run"}

    def test_too_old(self, world: World) -> None:
        """One that is older than catch_up_s is missed, written down and alarmed."""
        world.tick()
        world.clock.s = at("2026-12-01T10:01").timestamp()
        world.until(at("2026-12-01T10:05"))
        assert world.states() == {"2026-12-01T0900": "missed"}
        assert world.alarms == ["missed"]

    def test_only_the_latest(self, world: World) -> None:
        """Of several only the latest fires."""
        world.texts.put(key_of(NAME), definition(when={"cron": "0 * * * *", "timezone": "UTC"}, catch_up_s=86_400))
        world.tick()
        world.clock.s = at("2026-12-01T12:30").timestamp()
        world.until(at("2026-12-01T12:40"))
        assert world.states() == {
            "2026-12-01T0900": "missed", "2026-12-01T1000": "missed", "2026-12-01T1100": "missed",
            "2026-12-01T1200": "run",
        }  # fmt: skip

    def test_hold(self, world: World) -> None:
        """While everything is on hold nothing fires, not even what is due."""
        world.tick()
        world.clock.s = at("2026-12-01T09:00").timestamp()
        assert world.tick(held="an incident")["fired"] == 0
        world.until(at("2026-12-01T09:10"))
        assert world.states() == {"2026-12-01T0900": "run"}

    def test_too_old_after_a_hold(self, world: World) -> None:
        """What was due in a hold, and is too old when it is released, is said to have been on hold, and not missed."""
        world.tick()
        world.was_held = lambda at_ms: at_ms == int(at("2026-12-01T09:00").timestamp() * 1000)
        world.clock.s = at("2026-12-02T09:00").timestamp()
        world.until(at("2026-12-02T09:05"))
        assert world.states() == {"2026-12-01T0900": "on_hold", "2026-12-02T0900": "run"}
        assert world.alarms == ["on_hold"]

    @pytest.mark.parametrize("action", ["decide", "approve", "now"])
    def test_nothing_is_decided(self, world: World, action: str) -> None:
        """While everything is on hold a person may pause a schedule, and decide nothing."""
        world.tick()
        stack: Any = world.around
        held = Control(world.store, Documents(world.texts), stack, world.clock, lambda: "held by ann: wrong prices")
        with pytest.raises(Refused, match="wrong prices"):
            held.carry_out({"action": action, "schedule": NAME, "by": "bob", "day": "2026-12-01"})
        assert held.carry_out({"action": "pause", "schedule": NAME, "by": "bob"})["state"] == "paused"


class TestOutcomes(MostlyInMemory):
    """What becomes of an occurrence that is not sent at once."""

    def test_empty(self, world: World) -> None:
        """The first empty one is quiet, the second one alarms."""
        world.around.users = 0
        world.until(at("2026-12-01T09:10"))
        assert (world.states(), world.alarms) == ({"2026-12-01T0900": "empty"}, [])
        world.until(at("2026-12-02T09:10"))
        assert world.alarms == ["empty"]

    def test_failed(self, world: World) -> None:
        """An audience that cannot be made is asked for again until catch_up_s is over; then it failed, with why."""
        world.around.fault = "queries/x.sql: no such table"
        world.until(at("2026-12-01T10:05"))
        found = world.store.history(NAME)[0]
        assert (found.state, found.reason) == (OccurrenceState.FAILED, "queries/x.sql: no such table")
        assert world.alarms == ["failed"]
        assert found.attempt > 3

    def test_repaired(self, world: World) -> None:
        """An engine that comes back in time is used."""
        world.around.fault = "away"
        world.until(at("2026-12-01T09:30"))
        world.around.fault = ""
        world.until(at("2026-12-01T09:40"))
        assert world.states() == {"2026-12-01T0900": "run"}

    @pytest.mark.parametrize(
        ("cron", "ready_by", "waits", "fails"),
        [
            ("0 9 * * *", "11:30", "2026-12-01T11:30", "2026-12-01T11:31"),  # longer than catch_up_s
            ("0 9 * * *", "09:20", "2026-12-01T09:20", "2026-12-01T09:21"),
            ("0 9 * * *", "", "2026-12-01T10:00", "2026-12-01T10:01"),  # catch_up_s
            ("0 23 * * *", "01:00", "2026-12-02T01:00", "2026-12-02T01:01"),  # of the next night
        ],
    )
    def test_files_are_waited_for_until_ready_by(
        self, world: World, cron: str, ready_by: str, waits: str, fails: str
    ) -> None:
        """By the schedule's clock, after midnight that of the next night; in that minute it is still waited for."""
        audience = {"prefix": "audiences/x/$day/", "ready": "_SUCCESS"} | ({"ready_by": ready_by} if ready_by else {})
        text = json.loads(definition(when={"cron": cron, "timezone": "UTC"})) | {"audience": audience}
        world.texts.put(key_of(NAME), json.dumps(text).encode())
        late = NeverReady()
        world.drops = late
        world.tick()
        world.clock.s = at("2026-12-01T09:00" if cron.startswith("0 9") else "2026-12-01T23:00").timestamp()
        while world.clock.s < at(waits).timestamp():
            world.tick()
            world.clock.s += 600
        world.clock.s = at(waits).timestamp()
        world.tick()
        assert list(world.states().values()) == ["waiting"]
        world.clock.s = at(fails).timestamp()
        world.tick()
        [found] = world.store.history(NAME)
        assert (found.state, found.reason) == (
            OccurrenceState.FAILED, "not ready in time: audiences/x/2026-12-01/_SUCCESS is not there"
        )  # fmt: skip

    def test_rows_are_missing(self, world: World) -> None:
        """A manifest that names more rows than were read: it is asked again, then it failed."""
        audience = {"prefix": "audiences/x/$day/", "ready": "manifest.json"}
        world.texts.put(key_of(NAME), json.dumps(json.loads(definition()) | {"audience": audience}).encode())
        world.drops = ManyRows(101)
        world.until(at("2026-12-01T10:05"))
        found = world.store.history(NAME)[0]
        assert found.state is OccurrenceState.FAILED
        assert found.reason == "100 rows were read, and manifest.json of 2026-12-01 says 101 rows"

    def test_rows_are_waited_for_until_ready_by(self, world: World) -> None:
        """What is complete only after catch_up_s is asked for again, as files that come then are; then it failed."""
        audience = {"prefix": "audiences/x/$day/", "ready": "manifest.json", "ready_by": "11:30"}
        world.texts.put(key_of(NAME), json.dumps(json.loads(definition()) | {"audience": audience}).encode())
        world.drops = NeverReady()
        world.until(at("2026-12-01T10:30"))
        world.drops = ManyRows(101)
        while world.clock.s < at("2026-12-01T11:29").timestamp():
            world.clock.s += 60
            world.tick()
        [found] = world.store.history(NAME)
        assert found.state in (OccurrenceState.WAITING, OccurrenceState.PREPARING)
        assert found.attempt > 9
        while world.clock.s < at("2026-12-01T11:33").timestamp():
            world.clock.s += 60
            world.tick()
        [found] = world.store.history(NAME)
        assert (found.state, found.reason) == (
            OccurrenceState.FAILED, "100 rows were read, and manifest.json of 2026-12-01 says 101 rows"
        )  # fmt: skip

    def test_rows_come_before_ready_by(self, world: World) -> None:
        """All there after catch_up_s, and before `ready_by`: it is sent."""
        audience = {"prefix": "audiences/x/$day/", "ready": "manifest.json", "ready_by": "11:30"}
        world.texts.put(key_of(NAME), json.dumps(json.loads(definition()) | {"audience": audience}).encode())
        world.drops = ManyRows(101)
        world.until(at("2026-12-01T10:40"))
        world.drops = ManyRows(100)
        world.until(at("2026-12-01T10:50"))
        assert world.states() == {"2026-12-01T0900": "run"}

    def test_rows_are_all_there(self, world: World) -> None:
        """As many as it names."""
        audience = {"prefix": "audiences/x/$day/", "ready": "manifest.json"}
        world.texts.put(key_of(NAME), json.dumps(json.loads(definition()) | {"audience": audience}).encode())
        world.drops = ManyRows(100)
        world.until(at("2026-12-01T09:10"))
        assert world.states() == {"2026-12-01T0900": "run"}

    def test_review_approved(self, world: World) -> None:
        """Over the limit an approver decides, and the decision is in the approval of the batch file."""
        world.around.users = 5000
        world.until(at("2026-12-01T09:10"))
        assert world.states() == {"2026-12-01T0900": "needs_review"}
        assert world.alarms == ["needs_review"]
        assert world.store.decide(NAME, "2026-12-01T0900", "approve", "ann@example.com")
        assert not world.store.decide(NAME, "2026-12-01T0900", "reject", "bob@example.com")
        world.until(at("2026-12-01T09:20"))
        assert world.states() == {"2026-12-01T0900": "run"}

    def test_review_rejected(self, world: World) -> None:
        """A rejected one is not sent."""
        world.around.users = 5000
        world.until(at("2026-12-01T09:10"))
        assert world.store.decide(NAME, "2026-12-01T0900", "reject", "ann@example.com")
        world.until(at("2026-12-01T09:20"))
        assert (world.states(), world.around.files) == ({"2026-12-01T0900": "rejected"}, {})
        assert world.alarms == ["needs_review", "rejected"]

    def test_review_of_an_audience_that_is_gone(self, world: World) -> None:
        """It expires after two days, and an erasure deletes it: approved after that it failed, and says so."""
        world.around.users = 5000
        world.until(at("2026-12-01T09:10"))
        world.do("decide", occurrence="2026-12-01T0900", decision="approve")
        world.around.fault = "its prepared audience is gone"
        world.until(at("2026-12-01T09:20"))
        found = world.store.history(NAME)[0]
        assert (found.state, found.reason) == (OccurrenceState.FAILED, "its prepared audience is gone")
        assert world.around.files == {}

    def test_review_expires(self, world: World) -> None:
        """One that nobody decides on expires, and cannot be decided on any more."""
        world.around.users = 5000
        world.until(at("2026-12-01T11:30"))
        assert world.states() == {"2026-12-01T0900": "expired"}
        assert world.alarms == ["needs_review", "expired"]
        assert not world.store.decide(NAME, "2026-12-01T0900", "approve", "ann@example.com")

    @pytest.mark.parametrize("own", [True, False])
    def test_no_review_ends_in_quiet_hours(self, world: World, own: bool) -> None:
        """Ten hours from 09:00 would end in the evening's quiet hours: it can be decided on until the next morning."""
        decoded = json.loads(definition(limits={"max_users": 1000, "decide_within_s": 36_000}))
        if own:
            decoded["campaign"]["quiet"] = {"from": "18:00", "to": "08:00"}
        else:
            world.quiet_hours = "18:00-08:00"
        world.texts.put(key_of(NAME), json.dumps(decoded).encode())
        world.around.users = 5000
        world.until(at("2026-12-02T08:55"))
        assert world.states() == {"2026-12-01T0900": "needs_review"}
        found = world.store.history(NAME)[0]
        # An hour of the ten was in them.
        assert datetime.fromtimestamp(found.review_until_ms / 1000, UTC) == at("2026-12-02T09:01")
        assert world.store.decide(NAME, "2026-12-01T0900", "approve", "ann@example.com")
        world.until(at("2026-12-02T08:59"))
        assert world.states()["2026-12-01T0900"] == "run"

    def test_nobody_vouches_for_what_nobody_has_approved(self, world: World) -> None:
        """Without an approval of its definition the worker decides on each file, also after a review of its count."""
        world.around.users = 5000
        world.until(at("2026-12-01T09:10"))
        world.do("decide", occurrence="2026-12-01T0900", decision="approve")
        world.until(at("2026-12-01T09:20"))
        world.do("approve", hash=world.item().hash)
        world.around.users = 1000
        world.until(at("2026-12-02T09:10"))
        assert list(world.states().values()) == ["run", "run"]
        assert list(world.around.approvers.values()) == ["", "ann"]

    def test_change(self, world: World) -> None:
        """A count that is far from those before needs a look, decided on or not."""
        for users, day in ((100, 1), (110, 2), (90, 3), (400, 4)):
            world.around.users = users
            world.until(at(f"2026-12-0{day}T09:10"))
        assert world.states()["2026-12-04T0900"] == "needs_review"

    @pytest.mark.parametrize("overlap", ["skip", "wait"])
    def test_a_run_that_never_began(self, world: World, overlap: str) -> None:
        """Its event was given up, or its lanes have expired: it may begin for two days, then nothing waits for it."""
        by_three = {"cron": "0 */3 * * *", "timezone": "UTC"}
        world.texts.put(key_of(NAME), definition(when=by_three, overlap=overlap))
        world.until(at("2026-12-01T09:02"))
        world.around.runs_begin = False
        for hour in range(12, 63, 3):
            # Until nothing waits any more, as often as it takes to be no outage.
            for minute in (0, 1, 2, *range(5, 70, 5)):
                world.clock.s = at("2026-12-01T00:00").timestamp() + hour * 3600 + minute * 60
                world.tick()
        states = list(world.states().values())
        assert states[0] == "run"
        # 48 hours after 09:00 it is not quite two days old: the one that waits has its turn a minute later.
        assert states[1:16] == ["skipped"] * 15
        assert states[16:] == (["run", "skipped"] if overlap == "wait" else ["skipped", "run"])

    @pytest.mark.parametrize(("overlap", "state"), [("skip", "skipped"), ("wait", "waiting")])
    def test_overlap(self, world: World, overlap: str, state: str) -> None:
        """While the run before is making first requests the next one waits, or is left out."""
        world.texts.put(key_of(NAME), definition(overlap=overlap))
        world.until(at("2026-12-01T09:10"))
        world.around.runs_go_on = True
        world.until(at("2026-12-02T09:10"))
        assert world.states()["2026-12-02T0900"] == state
        assert world.alarms == (["skipped"] if state == "skipped" else [])
        world.around.runs_go_on = False
        world.until(at("2026-12-02T09:20"))
        assert world.states()["2026-12-02T0900"] == {"skipped": "skipped", "waiting": "run"}[state]


class TestAge(MostlyInMemory):
    """However far an occurrence is: it is not begun long after its time, nor right before the next one."""

    def ticks(self, world: World, begin: str, end: str, held: str = "") -> None:
        """One each minute."""
        world.clock.s = at(begin).timestamp()
        while world.clock.s <= at(end).timestamp():
            world.tick(held=held)
            world.clock.s += 60

    def hold(self, world: World, begin: str, end: str) -> None:
        """Everything is on hold; the next tick is the first one after it."""
        first, last = (at(text).timestamp() * 1000 for text in (begin, end))
        world.was_held = lambda at_ms: first <= at_ms < last
        world.clock.s = first / 1000
        assert world.tick(held="an incident")["steps"] == 0
        world.clock.s = last / 1000

    @pytest.mark.parametrize("state", ["on_hold", "missed"])
    def test_prepared_before_a_hold_or_an_outage(self, world: World, state: str) -> None:
        """Two days later, three minutes before the next time, it is not sent."""
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:01")
        assert world.states() == {"2026-12-01T0900": "preparing"}
        world.around.is_prepared = True
        if state == "on_hold":
            self.hold(world, "2026-12-01T09:01:10", "2026-12-03T08:57")
        self.ticks(world, "2026-12-03T08:57", "2026-12-03T09:05")
        assert world.states() == {"2026-12-01T0900": state, "2026-12-02T0900": state, "2026-12-03T0900": "run"}
        assert world.alarms == [state, state]
        assert world.store.history(NAME)[2].reason == "it was due 47 h 57 min ago, and a later one is due, too"

    def test_prepared_before_a_short_hold(self, world: World) -> None:
        """It is sent: it is the latest, and not too old."""
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:01")
        world.around.is_prepared = True
        self.hold(world, "2026-12-01T09:01:10", "2026-12-01T09:50")
        self.ticks(world, "2026-12-01T09:50", "2026-12-01T09:52")
        assert (world.states(), world.alarms) == ({"2026-12-01T0900": "run"}, [])

    def test_the_run_before_goes_on_all_day(self, world: World) -> None:
        """It waits until it is too old, and not until right before the next time."""
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:05")
        world.around.runs_go_on = True
        self.ticks(world, "2026-12-02T08:58", "2026-12-02T10:00")
        assert world.states()["2026-12-02T0900"] == "waiting"
        self.ticks(world, "2026-12-02T10:01", "2026-12-02T10:01")
        found = world.store.history(NAME)[0]
        assert (found.state, world.alarms) == (OccurrenceState.SKIPPED, ["skipped"])
        assert found.reason == (
            "the run of 2026-12-01T0900 is still making its first requests: it was due 1 h 1 min ago, and "
            "schedule.catch_up_s is 3,600"
        )

    def test_the_run_before_may_begin_for_two_days(self, world: World) -> None:
        """So late its event may come: what is sent before that might come with it."""
        world.texts.put(key_of(NAME), definition(overlap="wait"))
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:05")
        world.around.runs_begin = False
        for day, state in (("2026-12-02", "skipped"), ("2026-12-03", "run")):
            self.ticks(world, f"{day}T08:58", f"{day}T10:02")
            assert world.states()[f"{day}T0900"] == state

    def test_nothing_is_caught_up(self, world: World) -> None:
        """With catch_up_s 0 a time goes its way of several minutes: that is no delay."""
        world.texts.put(key_of(NAME), definition(catch_up_s=0))
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:20")
        world.around.is_prepared = True
        self.ticks(world, "2026-12-01T09:21", "2026-12-01T09:22")
        assert world.states() == {"2026-12-01T0900": "run"}

    def test_an_audience_that_is_never_made(self, world: World) -> None:
        """It failed after two hours."""
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T11:00")
        assert world.states() == {"2026-12-01T0900": "preparing"}
        self.ticks(world, "2026-12-01T11:01", "2026-12-01T11:02")
        found = world.store.history(NAME)[0]
        assert found.state is OccurrenceState.FAILED
        assert found.reason == "its audience was asked for 2 h 1 min ago, and is not made"

    @pytest.mark.parametrize("cron", ["0 9 * * *", "0 9,10 * * *"])
    @pytest.mark.parametrize(("not_yet", "made"), [("10:04", "10:05"), ("11:00", "11:01")])
    def test_an_audience_that_takes_over_an_hour(self, world: World, cron: str, not_yet: str, made: str) -> None:
        """It is sent: so long a query may take. One that is there is, however long it took."""
        assert MADE_WITHIN_S >= TIME_S + 1800
        world.texts.put(key_of(NAME), definition(when={"cron": cron, "timezone": "UTC"}))
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", f"2026-12-01T{not_yet}")
        world.around.is_prepared = True
        self.ticks(world, f"2026-12-01T{made}", f"2026-12-01T{made}")
        assert set(world.states().values()) == {"run"}
        assert world.alarms == []

    def test_an_audience_that_cannot_be_looked_at(self, world: World) -> None:
        """Where asking how it stands always raises, it is missed once it is too old."""

        def denied(_preparation: str) -> None:
            raise OSError("DynamoDB answered AccessDenied")

        world.around.prepared = denied  # type: ignore[method-assign,assignment]
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T10:10")
        assert world.states() == {"2026-12-01T0900": "missed"}

    def test_an_audience_that_takes_until_the_next_time(self, world: World) -> None:
        """However late a time may be: after two hours the next one takes its place."""
        hourly = {"cron": "0 * * * *", "timezone": "UTC"}
        world.texts.put(key_of(NAME), definition(when=hourly, catch_up_s=86_400))
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T11:00")
        assert world.states()["2026-12-01T0900"] == "preparing"
        self.ticks(world, "2026-12-01T11:01", "2026-12-01T11:02")
        assert list(world.states().values()) == ["skipped", "preparing", "preparing"]

    def test_slower_than_its_times(self, world: World) -> None:
        """Audiences that take longer than from one time to the next are all sent: else none ever were."""
        world.texts.put(key_of(NAME), definition(when={"cron": "*/5 * * * *", "timezone": "UTC"}))
        world.around.is_prepared = False
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:06")
        world.around.is_prepared = True
        self.ticks(world, "2026-12-01T09:07", "2026-12-01T09:09")
        assert world.states() == {"2026-12-01T0900": "run", "2026-12-01T0905": "run"}

    def test_a_fault_until_the_next_time(self, world: World) -> None:
        """It is asked again no more once the next one is."""
        hourly = {"cron": "0 * * * *", "timezone": "UTC"}
        world.texts.put(key_of(NAME), definition(when=hourly, catch_up_s=86_400))
        world.around.fault = "away"
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T10:03")
        later, first = world.store.history(NAME)
        assert (first.state, first.reason) == (OccurrenceState.FAILED, "away")
        assert later.state in (OccurrenceState.WAITING, OccurrenceState.PREPARING)

    def test_a_step_that_always_fails(self, world: World) -> None:
        """An approved one that cannot be sent does not stay so for ever."""
        world.around.users = 5000
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:05")
        world.do("decide", occurrence="2026-12-01T0900", decision="approve")

        def denied(_preparation: str) -> None:
            raise OSError("S3 answered AccessDenied")

        world.around.prepared = denied  # type: ignore[method-assign,assignment]
        self.ticks(world, "2026-12-01T09:06", "2026-12-01T10:10")
        assert world.states() == {"2026-12-01T0900": "missed"}
        assert "trouble" in world.alarms

    def test_approved_before_a_hold(self, world: World) -> None:
        """It was approved for that moment: two days later it is not sent."""
        world.around.users = 5000
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:05")
        world.do("decide", occurrence="2026-12-01T0900", decision="approve")
        self.hold(world, "2026-12-01T09:06:10", "2026-12-03T08:57")
        self.ticks(world, "2026-12-03T08:57", "2026-12-03T08:58")
        found = world.store.history(NAME, limit=9)[-1]
        assert found.state is OccurrenceState.ON_HOLD
        assert found.reason.startswith("ann approved it 47 h 51 min ago, and schedule.catch_up_s is 3,600")

    def test_a_hold_takes_nothing_of_the_time_to_decide(self, world: World) -> None:
        """Two hours to decide, of which a hold of three takes none; and it may be decided on after it."""
        world.around.users = 5000
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:31")
        self.hold(world, "2026-12-01T09:31:10", "2026-12-01T12:31")
        self.ticks(world, "2026-12-01T12:31", "2026-12-01T12:32")
        found = world.store.history(NAME)[0]
        assert found.state is OccurrenceState.NEEDS_REVIEW
        # Prepared at 09:01: at 09:32 there were 89 minutes left.
        assert datetime.fromtimestamp(found.review_until_ms / 1000, UTC) == at("2026-12-01T14:00")
        world.do("decide", occurrence="2026-12-01T0900", decision="approve")
        self.ticks(world, "2026-12-01T12:33", "2026-12-01T12:33")
        assert world.states() == {"2026-12-01T0900": "run"}

    @pytest.mark.parametrize(
        ("begin", "end", "until"),
        [
            ("2026-12-01T22:00:10", "2026-12-01T22:10", "2026-12-02T09:31"),  # at night, which does not count
            ("2026-12-01T20:50:10", "2026-12-01T20:55", "2026-12-02T09:35"),  # by day
            ("2026-12-01T22:00:10", "2026-12-02T08:20", "2026-12-02T09:51"),  # of which 20 minutes are by day
            ("2026-12-01T20:50:10", "2026-12-03T22:00", "2026-12-04T09:40"),  # 91 minutes, and nine before 21:00
        ],
    )
    def test_a_hold_at_night(self, world: World, begin: str, end: str, until: str) -> None:
        """Of the time to decide the night is left out once: what was left by day is left by day after a hold."""
        world.quiet_hours = "21:00-08:00"
        daily = {"cron": "30 20 * * *", "timezone": "UTC"}
        world.texts.put(key_of(NAME), definition(when=daily, limits={"max_users": 1000, "decide_within_s": 7200}))
        world.around.users = 5000
        self.ticks(world, "2026-12-01T20:28", begin[:16])
        self.hold(world, begin, end)
        self.ticks(world, end, end)
        found = world.store.history(NAME, limit=9)[-1]
        assert (found.stamp, found.state) == ("2026-12-01T2030", OccurrenceState.NEEDS_REVIEW)
        assert datetime.fromtimestamp(found.review_until_ms / 1000, UTC) == at(until)

    def test_a_hold_revives_nothing(self, world: World) -> None:
        """What nobody decided on before it has expired, and an outage is no hold."""
        world.around.users = 5000
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:31")
        self.ticks(world, "2026-12-01T12:31", "2026-12-01T12:31")
        assert world.states() == {"2026-12-01T0900": "expired"}

    @pytest.mark.parametrize(("released", "state"), [("11:29", "run"), ("11:32", "on_hold")])
    def test_files_may_come_later(self, world: World, released: str, state: str) -> None:
        """With `ready_by` that is how late a time may be begun."""
        audience = {"prefix": "audiences/x/$day/", "ready": "manifest.json", "ready_by": "11:30"}
        world.texts.put(key_of(NAME), json.dumps(json.loads(definition()) | {"audience": audience}).encode())
        world.drops = NeverReady()
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:05")
        self.hold(world, "2026-12-01T09:05:10", f"2026-12-01T{released}")
        world.drops = ManyRows(100)
        self.ticks(world, f"2026-12-01T{released}", "2026-12-01T11:33")
        assert world.states() == {"2026-12-01T0900": state}
        assert state == "run" or world.store.history(NAME)[0].reason.endswith("and audience.ready_by is 11:30")

    def test_out_of_turn_for_a_day_before(self, world: World) -> None:
        """It waits for the run before it as any other: of those that were due it is the latest."""
        self.ticks(world, "2026-12-01T08:58", "2026-12-01T09:05")
        self.ticks(world, "2026-12-02T08:58", "2026-12-02T09:05")
        world.around.runs_go_on = True
        world.do("now", day="2026-12-01")
        self.ticks(world, "2026-12-02T09:06", "2026-12-02T09:10")
        assert world.states()["2026-12-01T0906"] == "waiting"


def test_the_items_of_a_schedule(endpoint: str) -> None:
    """They never expire, and are due in partitions of their own: releases that know lanes only find none of them."""
    client, table = client_of("dynamodb", endpoint), new_name("schedules")
    make_table(client, table)
    world = World(lambda clock: ScheduleStore(client, table, clock))
    world.around.users = 5000
    world.until(at("2026-12-01T09:10"))
    items = client.scan(TableName=table)["Items"]
    assert {item["sk"]["S"]: item["due"]["S"] for item in items if "due" in item} == {
        "schedule": "schedule", "occurrence#2026-12-01T0900": "occurrence"
    }  # fmt: skip
    assert not [item for item in items if "expires_at" in item]


@pytest.mark.parametrize("write", ["adopt", "move on"])
@pytest.mark.parametrize("said", [{"keeps_old": True}, {"kept_for": "e2"}])
def test_what_is_said_of_an_edit_is_not_written_over(
    make_store: Callable[[Clock], ScheduleStore], said: dict[str, Any], write: str
) -> None:
    """By a tick that has read before it was said; nor is what was taken back said again."""
    store = make_store(Clock(START))
    before = ScheduleItem(NAME, ScheduleState.ACTIVE, hash="e1", next="2026-12-01T0900", next_at_ms=1)
    store.enter(before)
    after = msgspec.structs.replace(before, **said)

    def written(read: ScheduleItem) -> bool:
        if write == "move on":
            return store.move_on(read, None)
        return store.adopt(read, msgspec.structs.replace(read, state=ScheduleState.UNAPPROVED))

    assert store.adopt(before, after)
    assert not written(before)
    assert store.read(NAME) == after
    assert store.adopt(after, before)
    assert not written(after)
    assert written(before)


def test_an_item_of_the_release_before_is_written(endpoint: str) -> None:
    """It has neither of what is said of an edit, which is the same as nothing said."""
    client, table = client_of("dynamodb", endpoint), new_name("schedules")
    make_table(client, table)
    store = ScheduleStore(client, table, Clock(START))
    store.enter(ScheduleItem(NAME, ScheduleState.ACTIVE, hash="e1", next="2026-12-01T0900"))
    key = {"pk": {"S": f"schedule#{NAME}"}, "sk": {"S": "schedule"}}
    client.update_item(TableName=table, Key=key, UpdateExpression="REMOVE keeps_old, kept_for")
    before = store.read(NAME)
    assert before is not None
    assert store.adopt(before, msgspec.structs.replace(before, keeps_old=True, kept_for="e2"))


def test_who_wrote_a_file(make_store: Callable[[Clock], ScheduleStore]) -> None:
    """The first who did, whatever else the definition names; nobody, where it came by another way."""
    store = make_store(Clock(START))
    store.edited(NAME, "f1", "ann@example.com")
    store.edited(NAME, "f1", "bob@example.com")
    assert store.edited_by(NAME, "f1") == "ann@example.com"
    assert store.edited_by(NAME, "f2") == store.edited_by("other", "f1") == ""


def test_who_wrote_it_before_authors_were_known_by_the_file(endpoint: str) -> None:
    """They were entered by the definition: who wrote an edit that still waits does not approve it."""
    client, table = client_of("dynamodb", endpoint), new_name("schedules")
    make_table(client, table)
    world = World(lambda clock: ScheduleStore(client, table, clock), needs_approval=True)
    world.texts.put(key_of(NAME), definition(ends="2026-12-31"))
    world.tick()
    digest = Documents(world.texts).read(NAME).hash
    item = {"pk": f"schedule#{NAME}", "sk": f"edit#{digest}", "by": "ann@example.com"}
    client.put_item(TableName=table, Item={name: {"S": value} for name, value in item.items()})
    # Written again as it was it is not another's.
    text = definition(ends="2026-12-31").decode()
    world.do("save", text=text, before=sha256(text.encode()).hexdigest(), by="bob@example.com")
    with pytest.raises(Refused, match="you wrote it"):
        world.do("approve", hash=digest, by="ann@example.com")
    assert world.store.edited_by(NAME, "f1", "h2") == ""
    shown = Overview(world.store, Documents(world.texts), world.around, world.clock).answer(
        {"action": "show", "schedule": NAME}
    )
    assert (shown or {})["edited_by"] == "ann@example.com"


def test_who_approved_what_unseen(make_store: Callable[[Clock], ScheduleStore]) -> None:
    """Each person's first approval, with the texts that they had not looked at; none of them for who looked at all."""
    store = make_store(Clock(START))
    assert store.approve(NAME, "h1", "cat@example.com", 2, "short, long (de)") == ("cat@example.com",)
    store.approve(NAME, "h1", "Cat@example.com", 2)
    assert store.approve(NAME, "h1", "bob@example.com", 2) == ("bob@example.com", "cat@example.com")
    assert store.unseen_by(NAME, "h1") == {"bob@example.com": "", "cat@example.com": "short, long (de)"}
    assert store.approved_by(NAME, "h1") == "bob@example.com, cat@example.com"
    assert store.unseen_by(NAME, "h2") == {}


class TestDefinitions(MostlyInMemory):
    """What is in force."""

    def test_approvals_are_required_from_now_on(self, world: World) -> None:
        """What was adopted before fires no more until it is approved: its runs would be refused."""
        world.texts.put(key_of(NAME), definition(ends="2027-02-01", starts="2026-12-01"))
        world.until(at("2026-12-01T09:10"))
        world.needs_approval = True
        world.until(at("2026-12-02T09:10"))
        assert list(world.states()) == ["2026-12-01T0900"]
        assert world.item().state is ScheduleState.UNAPPROVED
        assert "nobody has approved" in world.item().reason
        world.do("approve", hash=world.item().hash)
        world.until(at("2026-12-03T09:10"))
        assert list(world.states()) == ["2026-12-01T0900", "2026-12-03T0900"]
        assert world.around.approvers.popitem()[1] == "ann"

    def test_from_the_last_firing_on(self, world: World) -> None:
        """An edit takes effect after the later of now and the last firing, also by a clock that was set back."""
        world.until(at("2026-12-01T09:10"))
        world.clock.s = at("2026-12-01T08:50").timestamp()
        world.texts.put(key_of(NAME), definition(when={"cron": "*/30 * * * *", "timezone": "UTC"}))
        world.tick()
        assert world.item().next == "2026-12-01T0930"

    def test_broken(self, world: World) -> None:
        """A broken edit stops it, with the reason; the corrected one goes on without what was due meanwhile."""
        world.tick()
        world.texts.put(key_of(NAME), b"{")
        world.until(at("2026-12-01T09:10"))
        found = world.store.read(NAME)
        assert found is not None
        assert found.state is ScheduleState.BROKEN
        assert "is not JSON" in found.reason
        world.texts.put(key_of(NAME), definition())
        world.until(at("2026-12-02T09:10"))
        assert world.states() == {"2026-12-02T0900": "run"}

    def test_unapproved(self, make_store: Callable[[Clock], ScheduleStore]) -> None:
        """With RequireApproval nothing fires before exactly these bytes are approved."""
        world = World(make_store, needs_approval=True)
        world.texts.put(key_of(NAME), definition(ends="2026-12-31"))
        world.until(at("2026-12-01T09:10"))
        assert world.states() == {}
        digest = Documents(world.texts).read(NAME).hash
        world.store.approve(NAME, digest, "ann@example.com")
        world.until(at("2026-12-02T09:10"))
        assert world.states() == {"2026-12-02T0900": "run"}

    def test_an_edited_query(self, world: World) -> None:
        """A query is a part of the definition: its edit alone is taken up, for the times after it."""
        decoded = json.loads(definition()) | {"audience": {"query": {"name": "all"}}}
        world.texts.put("queries/all.json", b"{}")
        world.texts.put("queries/all.sql", b"SELECT 1")
        world.texts.put(key_of(NAME), json.dumps(decoded).encode())
        world.tick()
        first = world.item().hash
        world.texts.put("queries/all.sql", b"SELECT 2")
        world.tick()
        assert world.item().hash == Documents(world.texts).read(NAME).hash != first
        world.until(at("2026-12-01T09:10"))
        [request] = world.around.asked.values()
        assert world.item().hash in request["query"]["copy"]

    def test_deleted(self, world: World) -> None:
        """A schedule whose file was deleted fires no more, and alarms; one that comes back goes on from then."""
        world.tick()
        world.texts.delete(key_of(NAME))
        world.until(at("2026-12-01T09:10"))
        assert (world.item().state, world.states(), world.alarms) == (ScheduleState.REMOVED, {}, ["removed"])
        world.texts.put(key_of(NAME), definition())
        world.until(at("2026-12-02T09:10"))
        assert world.states() == {"2026-12-02T0900": "run"}

    def test_paused(self, world: World) -> None:
        """A broken edit does not end a pause; resumed, the file is looked at, and nothing is made up for."""
        world.tick()
        world.do("pause", reason="the form changes")
        world.texts.put(key_of(NAME), b"{")
        world.until(at("2026-12-01T09:10"))
        assert (world.item().state, world.states()) == (ScheduleState.PAUSED, {})
        world.do("resume")
        world.tick()
        assert world.item().state is ScheduleState.BROKEN
        world.texts.put(key_of(NAME), definition())
        world.until(at("2026-12-02T09:10"))
        assert world.states() == {"2026-12-02T0900": "run"}

    def test_paused_with_one_on_its_way(self, world: World) -> None:
        """What is no run yet is left out."""
        world.around.is_prepared = False
        world.until(at("2026-12-01T09:02"))
        world.do("pause")
        world.until(at("2026-12-01T09:10"))
        assert world.states() == {"2026-12-01T0900": "skipped"}

    def test_the_old_one_goes_on(self, make_store: Callable[[Clock], ScheduleStore]) -> None:
        """With RequireApproval an edit stops all, unless a person keeps what is in force, for this edit alone."""
        world = World(make_store, needs_approval=True)
        world.texts.put(key_of(NAME), definition(ends="2026-12-31"))
        world.tick()
        world.do("approve", hash=Documents(world.texts).read(NAME).hash)
        world.tick()
        old = world.item().hash
        world.texts.put(key_of(NAME), definition(ends="2026-12-30"))
        world.until(at("2026-12-01T09:10"))
        assert (world.item().state, world.states()) == (ScheduleState.UNAPPROVED, {})
        world.do("keep")
        world.until(at("2026-12-02T09:10"))
        assert world.states() == {"2026-12-02T0900": "run"}
        assert world.store.history(NAME)[0].hash == old
        world.texts.put(key_of(NAME), definition(ends="2026-12-29"))
        world.until(at("2026-12-03T09:10"))
        assert world.states() == {"2026-12-02T0900": "run"}

    def test_copy_changed(self, world: World) -> None:
        """A copy that was changed in the bucket is not sent."""
        world.tick()
        copy = next(key for key in world.texts.keys("schedules/approved/"))
        world.texts.put(copy, definition(catch_up_s=1))
        counts = {}
        world.clock.s = at("2026-12-01T09:00").timestamp()
        counts = world.tick()
        assert counts["failed"] == 1
        assert world.around.files == {}


def test_occurrence_of_an_item(world: World) -> None:
    """What is read back is what was put."""
    world.tick()
    world.clock.s = at("2026-12-01T09:00").timestamp()
    world.tick()
    found = world.store.read_occurrence(NAME, "2026-12-01T0900")
    assert isinstance(found, OccurrenceItem)
    assert found.occurrence.utc == at("2026-12-01T09:00")
    assert world.store.history(NAME, before="2026-12-01T0900") == []


class TestControl:
    """What a person asks for."""

    @pytest.mark.parametrize(
        ("event", "says"),
        [
            ({"action": "burn"}, "unknown action"),
            ({"action": "pause", "by": ""}, "nobody is named"),
            ({"action": "pause", "schedule": "other"}, "there is no schedule 'other'"),
            ({"action": "resume"}, "is not paused: it is active"),
            ({"action": "keep"}, "no edit that waits"),
            ({"action": "ready", "day": "tomorrow"}, "a day is a date"),
            ({"action": "decide", "occurrence": "2026-12-01T0900", "decision": "approve"}, "there is none"),
            ({"action": "decide", "occurrence": "2026-12-01T0900", "decision": "maybe"}, "approve or reject"),
            ({"action": "approve", "hash": "x"}, "has changed since you looked at it"),
        ],
    )
    def test_refused(self, world: World, event: dict[str, str], says: str) -> None:
        """In words, with what can be done."""
        world.tick()
        with pytest.raises(Refused, match=says):
            world.do(event["action"], **{name: value for name, value in event.items() if name != "action"})

    def test_now(self, world: World) -> None:
        """An occurrence of its own, for a day out of turn, within the same limits."""
        world.tick()
        assert world.do("now", day="2026-11-20") == {
            "schedule": NAME, "action": "now", "occurrence": "2026-11-20T0800"
        }  # fmt: skip
        world.until(at("2026-12-01T08:05"))
        assert world.states() == {"2026-11-20T0800": "run"}
        assert list(world.around.files) == [f"{PREFIX}{NAME}/{NAME}-2026-11-20T0800.json"]

    def test_ready(self, world: World) -> None:
        """What an operator says of a day is known to the stack."""
        world.tick()
        world.do("ready", day="2026-12-01")
        assert world.around.declared_ready(NAME, "2026-12-01")


def test_the_latest_by_pages(make_store: Callable[[Clock], ScheduleStore]) -> None:
    """However small a page is: every occurrence before one, the latest first."""
    store = make_store(Clock(START))
    stamps = [f"2026-12-0{day}T0900" for day in range(1, 6)]
    for stamp in stamps:
        store.put_occurrence(ScheduleItem(NAME, ScheduleState.ACTIVE, hash="h", next=stamp, next_at_ms=1))
    for page in (1, 2, 50):
        assert [one.stamp for one in store.latest(NAME, page=page)] == stamps[::-1]
        assert [one.stamp for one in store.latest(NAME, stamps[3], page)] == stamps[2::-1]
    assert [one.stamp for one in store.history(NAME, before=stamps[3], limit=2)] == stamps[2:0:-1]


def test_what_was_before_a_long_outage() -> None:
    """Many missed times hide nothing: `$previous` is the last that completed; the change is judged by those before."""
    world = World(PlayedStore)
    for key, text in {**QUERY, key_of(NAME): json.dumps(HOURLY).encode()}.items():
        world.texts.put(key, text)
    world.tick()
    for hour in (9, 10, 11, 71):
        world.clock.s = START.timestamp() + (hour - 8) * 3600.0
        world.around.users = 301 if hour == 71 else 100
        for _ in range(3):
            world.tick()
            world.clock.s += 61.0
    states = [one.state.value for one in world.store.history(NAME, limit=99)]
    assert states == ["needs_review", *["missed"] * 59, "run", "run", "run"]
    assert "the median of those before is 100" in world.store.history(NAME)[0].reason
    last = world.around.asked[f"occurrence:{NAME}:2026-12-03T2300:1"]
    assert last["query"]["parameters"] == {"since": "2026-12-01T11:00:00+00:00"}


@pytest.mark.parametrize(("accepted", "state"), [(False, "run"), (True, "needs_review")])
def test_zeros_in_the_median(*, accepted: bool, state: str) -> None:
    """Four days without anybody, of a fault that nobody accepted, do not become the usual; accepted ones do."""
    world = World(PlayedStore)
    world.tick()
    for day in range(1, 9):
        world.around.users = 0 if 4 <= day <= 7 else 100
        for minute in (0, 1, 2):
            world.clock.s = at(f"2026-12-0{day}T09:0{minute}").timestamp()
            world.tick()
        if world.around.users == 0:
            assert world.states()[f"2026-12-0{day}T0900"] == "needs_review"
            decision = "approve" if accepted else "reject"
            world.do("decide", occurrence=f"2026-12-0{day}T0900", decision=decision)
            world.tick()
    assert world.states()["2026-12-08T0900"] == state
