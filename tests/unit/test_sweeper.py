"""The sweeper: each lane, run and dead letter has a try of its own."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from notifier.composition.hop_metrics import Observer
from notifier.composition.settings import Settings
from notifier.entries.sweeper import Sweeper
from notifier.events.announcement import EventBridgeAnnouncer, NotAnnounced
from notifier.events.triggers import LaneNudge
from notifier.model.log import Action
from notifier.model.run import HAND_OVER_MS, Control, Ending, Run, source_of
from notifier.telemetry import JsonLog, Metrics
from tests.twins.clock import TwinClock
from tests.twins.hop_factory import TwinLog
from tests.twins.ledger import MemoryLedger
from tests.twins.settlements import MemoryResults


class Worker:
    """Takes nudges. `gone` are versions that were deleted, `refused` runs and events that the platform refuses."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.refused: set[str] = set()
        self.taken: list[str] = []
        self.events: list[bytes] = []

    def nudge(self, run_id: str, lane: int, version: str, kind: str) -> bool:
        self.invoke(LaneNudge(run_id, lane, kind).encode())
        return version not in self.gone

    def invoke(self, payload: bytes, version: str = "") -> bool:
        name = json.loads(payload).get("run_id") or json.loads(payload)["key"]
        if name in self.refused:
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        self.taken.append(name)
        self.events.append(payload)
        return True


class Audiences:
    """The audience function: which runs it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, run_id: str) -> None:
        self.asked.append(run_id)


class Bus:
    """EventBridge. `failures` are the next answers' FailedEntryCount."""

    def __init__(self) -> None:
        self.failures: list[int] = []
        self.taken: list[str] = []

    def put_events(self, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        failed = self.failures.pop(0) if self.failures else 0
        if failed:
            return {"FailedEntryCount": failed, "Entries": [{"ErrorCode": "ThrottlingException"}]}
        self.taken += [json.loads(entry["Detail"])["run_id"] for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}


class Queue:
    """SQS: what is deleted does not come again, and what was received is hidden for the rest of the test."""

    def __init__(self, *bodies: str) -> None:
        self.messages = {f"m{n}": body for n, body in enumerate(bodies)}
        self.spent: list[str] = []
        self._hidden: set[str] = set()

    def receive_message(self, **_: Any) -> dict[str, Any]:
        seen = [(n, body) for n, body in self.messages.items() if n not in self._hidden][:10]
        self._hidden |= {n for n, _ in seen}
        return {"Messages": [{"MessageId": n, "ReceiptHandle": n, "Body": body} for n, body in seen]}

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        self.spent.append(MessageBody)

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        del self.messages[ReceiptHandle]


class NoPruner:
    """Has pruned today."""

    def prune_daily(self) -> tuple[str, ...]:
        return ()


class NoExpiry:
    """Nothing is too old."""

    def expire_daily(self) -> tuple[str, ...]:
        return ()


class World:
    """A process of the sweeper over twins. `now` moves on by `wait`."""

    def __init__(self, *runs: str) -> None:
        self.settings = Settings(
            bucket="b", table="t", dead_letter_queue_url="https://queue", spent_letter_queue_url="https://spent"
        )
        self.clock = TwinClock()
        self.ledger = MemoryLedger(self.clock.now)
        self.results = MemoryResults()
        self.library: object = None  # only read where something was approved
        self.continuation = Worker()
        self.bus = Bus()
        self.announcer = EventBridgeAnnouncer(self.bus)
        self.audiences = Audiences()
        self.queue = Queue()
        self.metrics: Metrics | None = None
        self.log = TwinLog()
        for name in runs:
            self.ledger.open_run(Run(name, source_of("b", f"batches/{name}.json", "v", "e"), 1))
        self.wait(HAND_OVER_MS / 1000 + 1)

    def wait(self, seconds: float) -> None:
        self.clock.time_s += seconds

    def sweep(self) -> dict[str, int]:
        observer: Any = Observer(self.settings, self.clock, JsonLog("ERROR"))
        observer.log = self.log
        observer.metrics = self.metrics or observer.metrics
        process: Any = self
        pruner: Any = NoPruner()
        expiry: Any = NoExpiry()
        return Sweeper(process, observer, self.queue, pruner, expiry).sweep()

    def troubles(self) -> list[dict[str, Any]]:
        return [fields for action, fields in self.log.lines if action is Action.TROUBLE]


def done(world: World, name: str) -> None:
    """A run whose lane is done, and that was never closed."""
    lane = world.ledger.claim(name, 0, "1", "holder", 1)
    world.ledger.finish(lane, Ending.COMPLETED, None)
    world.wait(31)


def test_a_lane_that_cannot_be_nudged_keeps_nobody_waiting() -> None:
    """The others are nudged in the same sweep; the one is tried again when it is due, and is logged."""
    world = World("a", "b", "c")
    world.continuation.refused = {"a"}
    assert world.sweep() == {"nudged": 2, "closed": 0, "replayed": 0}
    assert world.continuation.taken == ["b", "c"]
    [trouble] = world.troubles()
    assert trouble["run_id"] == "a"
    world.continuation.refused = set()
    world.wait(Sweeper.MOVE_ON_MS / 1000 + 1)
    world.sweep()
    assert "a" in world.continuation.taken


def test_while_all_is_held() -> None:
    """No lane is nudged and none is put off, but cancelled ones and those that are done; after the release all are."""
    world = World("a", "b", "c")
    world.ledger.set_control("b", Control.CANCEL, "ann")
    world.ledger.ask_for_preparation("a", "{}", "b")
    done(world, "c")
    world.wait(40)
    world.ledger.set_hold("ann", "wrong prices")
    before = world.ledger.read_lane("a")
    assert world.sweep() == {"nudged": 1, "closed": 1, "replayed": 0}
    assert (world.continuation.taken, world.audiences.asked, world.ledger.read_lane("a")) == (["b"], [], before)
    world.ledger.release_hold("ann")
    assert world.sweep()["nudged"] == 1
    assert (world.continuation.taken, world.audiences.asked) == (["b", "a"], ["a"])


def test_a_lane_whose_version_was_deleted_is_told() -> None:
    """The current version is nudged in its place, and the log says why."""
    world = World("a", "b")
    for name, version in (("a", "3"), ("b", "4")):
        world.ledger.claim(name, 0, version, "holder", 1)
    world.wait(61)
    world.continuation.gone = {"3"}
    assert world.sweep()["nudged"] == 2
    [logged] = [fields for action, fields in world.log.lines if action is Action.VERSION_GONE]
    assert (logged["run_id"], "version 3" in logged["reason"]) == ("a", True)


def test_an_item_that_is_no_lane_keeps_nobody_waiting() -> None:
    """It is named in the log at every sweep."""
    world = World("a", "b")
    world.ledger.unreadable = {"a": ValueError("no state")}
    assert world.sweep()["nudged"] == 1
    assert world.continuation.taken == ["b"]
    [trouble] = world.troubles()
    assert (trouble["item"], "no state" in trouble["reason"]) == ("run#a", True)


def test_an_end_that_eventbridge_did_not_take_is_announced_by_the_next_sweep() -> None:
    """A refused entry is no error of the call: the run stays open until its end is out; the others are closed."""
    world = World("a", "b")
    done(world, "a")
    done(world, "b")
    world.bus.failures = [1]
    assert world.sweep()["closed"] == 1
    a, b = world.ledger.read_run("a"), world.ledger.read_run("b")
    assert a is not None
    assert b is not None
    assert (a.closed_at_ms, b.closed_at_ms is not None, world.bus.taken) == (None, True, ["b"])
    world.wait(Sweeper.MOVE_ON_MS / 1000 + 1)
    assert world.sweep()["closed"] == 1
    assert world.bus.taken == ["b", "a"]


def test_what_eventbridge_said_is_told() -> None:
    """Its code, for a reader of the log."""
    bus = Bus()
    bus.failures = [1]
    with pytest.raises(NotAnnounced, match="ThrottlingException"):
        EventBridgeAnnouncer(bus).ended("r1", {})


def test_a_dead_letter_that_cannot_be_replayed_keeps_nobody_waiting() -> None:
    """It stays in the queue. What is no event, or had enough tries, is moved aside; the others are replayed."""
    world = World()
    world.queue = Queue(
        '{"bucket": "b", "key": "one"}',
        '{"bucket": "b", "key": "two"}',
        "no JSON",
        "[]",
        '{"bucket": "b", "key": "three", "replays": 3}',
    )
    world.continuation.refused = {"one"}
    assert world.sweep()["replayed"] == 1
    assert world.continuation.taken == ["two"]
    assert sorted(world.queue.messages) == ["m0"]
    assert world.queue.spent == ["no JSON", "[]", '{"bucket": "b", "key": "three", "replays": 3}']
    [trouble] = world.troubles()
    assert trouble["message_id"] == "m0"


def test_a_preparation_that_nobody_works_on_is_asked_for_again() -> None:
    """Never begun, or killed: each sweep in which it is due asks once, and moves it on."""
    world = World("a")
    world.ledger.ask_for_preparation("a", "{}", "b")
    world.sweep()
    assert world.audiences.asked == []
    world.wait(31)
    assert world.sweep()["prepared"] == 1
    world.sweep()
    assert world.audiences.asked == ["a"]
    world.wait(121)
    world.sweep()
    assert world.audiences.asked == ["a", "a"]
    world.ledger.cancel_preparation("a")
    world.wait(121)
    world.sweep()
    assert world.audiences.asked == ["a", "a"]
