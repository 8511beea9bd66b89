"""Which runs are ended because their files are about to be deleted: moto's table, a clock moved by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from notifier.entries.expiry import Expiry
from notifier.model.run import EXPIRY, Control, Ending, Lane, LaneState, Run, source_of
from notifier.stores.ledger import DynamoLedger
from tests.contract.moto_stores import Time, client_of, make_table, new_name, server_for

DAY_S = 86_400
KEPT_DAYS = 30


@pytest.fixture(scope="module")
def items() -> Iterator[Any]:
    """A DynamoDB client."""
    with server_for("dynamodb") as endpoint:
        client = client_of("dynamodb", endpoint)
        yield client
        client.close()


class World:
    """A ledger, and what expires in it."""

    def __init__(self, items: Any) -> None:
        self.time = Time()
        self.table = new_name("expiry")
        make_table(items, self.table)
        self.items = items
        self.ledger = DynamoLedger(items, self.table, self.time)
        self.nudged: list[tuple[str, int, str]] = []
        self.expiry = Expiry(
            items, self.table, self.ledger, lambda *asked: self.nudged.append(asked), KEPT_DAYS, self.time
        )

    def begin(self, name: str) -> Lane:
        """A run with a worker."""
        self.ledger.open_run(Run(name, source_of("b", f"batches/{name}.json", "v", "e"), self.time.ms))
        return self.ledger.claim(name, 0, "7", f"holder-{name}", self.time.ms)

    def lane(self, name: str) -> Lane:
        found = self.ledger.read_lane(name)
        assert found is not None
        return found


@pytest.fixture
def world(items: Any) -> World:
    """An empty one."""
    return World(items)


def test_the_day_before_its_files_go_a_run_is_cancelled(world: World) -> None:
    """Paused, stopped or resting: it is woken to end, by the version of the code that it began with."""
    for name, state in (("paused", LaneState.PAUSED), ("stopped", LaneState.STOPPED), ("resting", LaneState.RESTING)):
        world.begin(name)
        if state is LaneState.PAUSED:
            world.ledger.set_control(name, Control.PAUSE, "ann")
        due_at_ms = world.time.ms + 60 * DAY_S * 1000 if state is LaneState.RESTING else None
        world.ledger.release(world.lane(name), state, due_at_ms)
    world.time.s += (KEPT_DAYS - 1) * DAY_S - 1
    assert world.expiry.expire() == ()
    world.time.s += 1
    assert set(world.expiry.expire()) == {"paused", "stopped", "resting"}
    for name in ("paused", "stopped", "resting"):
        lane = world.lane(name)
        assert (lane.state, lane.control, lane.control_by) == (LaneState.READY, Control.CANCEL, EXPIRY)
    assert sorted(world.nudged) == [(name, 0, "7") for name in ("paused", "resting", "stopped")]


def test_one_that_is_worked_on_is_told_and_not_nudged(world: World) -> None:
    """Its worker reads the word with its next write."""
    world.begin("slow")
    world.time.s += (KEPT_DAYS - 1) * DAY_S
    assert world.expiry.expire() == ("slow",)
    assert (world.lane("slow").control, world.nudged) == (Control.CANCEL, [])


def test_one_that_is_over_is_left_alone(world: World) -> None:
    """However old it is."""
    world.ledger.finish(world.begin("over"), Ending.COMPLETED, None)
    world.time.s += 100 * DAY_S
    assert (world.expiry.expire(), world.lane("over").control) == ((), Control.GO)


def test_it_is_done_once_a_day(world: World) -> None:
    """The first sweep of a day does it; the other 1,439 do not read the table for it."""
    world.begin("old")
    world.time.s += 40 * DAY_S
    assert world.expiry.expire_daily() == ("old",)
    assert world.expiry.expire_daily() == ()
    world.time.s += DAY_S
    assert world.expiry.expire_daily() == ("old",)
