"""What ends a run of eight lanes reaches all of them within 5 s: they work at the same time, in injected time."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from notifier.lifecycle.lane_worker import Invocation
from notifier.model.outcome import Access, Readiness
from notifier.model.run import Control, Lane, LaneState
from tests.twins.clock import START_S
from tests.twins.gateway import Act
from tests.twins.hop_factory import TwinHops, World, broken_at, users

LANES = 8
STEP_S = 0.05
PROMISED_S = 5.0
REFUSED = Access(Readiness.REFUSED, "wrong key")
Happening = tuple[float, Callable[[], object]]


class SideBySide:
    """The lanes of a world at work at the same time. A call of S3 or the ledger takes one step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._hub = getcurrent()
        self._workers: list[tuple[TwinHops, greenlet]] = []
        world.clock.slept = self._give_way
        self.changes: list[tuple[float, Lane, Lane]] = []
        """Every change of a lane, with its time."""
        world.ledger._watch = lambda before, after: self.changes.append((self.now_s, before, after))
        self._start(0)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self.world.clock.now() - START_S

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """As the ledger has them."""
        return self.world.ledger.lanes_of(self.world.run.run_id)

    @property
    def last_request_s(self) -> float:
        """When the last request began."""
        return max(self.world.phones.began) - START_S

    def control(self, control: Control) -> None:
        """An operator's command."""
        self.world.ledger.control_run(self.world.run.run_id, control, "ann")

    def run(self, until_s: float, *happenings: Happening) -> None:
        """Let time pass."""
        left = sorted(happenings, key=lambda happening: happening[0])
        while self.now_s < until_s:
            while left and self.now_s >= left[0][0]:
                left.pop(0)[1]()
            while self.world.continuation.nudges:
                self.world.continuation.nudges.pop()
                self._start(self.world.continuation.lanes.pop())
            for hops, worker in self._workers:
                hops.background.run_all()
                hops.ledger_background.run_all()
                worker.switch()
            self._workers = [(hops, worker) for hops, worker in self._workers if not worker.dead]
            self.world.clock.time_s += STEP_S

    def _start(self, lane: int) -> None:
        hops = TwinHops(self.world, self._give_way)
        work = hops.lane_worker().work
        invocation = Invocation("1", lambda: 900_000)
        self._workers.append((hops, greenlet(lambda: work(self.world.run, lane, invocation))))

    def _give_way(self, _seconds: float) -> None:
        self._hub.switch()


def world_of(count: int, per_second: float, **campaign: Any) -> World:
    """So many users over eight lanes, at the run's rate."""
    world = World(users(count), size=10, lanes=LANES, **campaign)
    world.per_second = per_second
    return world


@pytest.mark.parametrize(("command", "after_s"), [(Control.PAUSE, 10.0), (Control.PAUSE, 11.3), (Control.CANCEL, 12.1)])
def test_an_operators_command(command: Control, after_s: float) -> None:
    """Lanes that settle nothing for seconds read it with a renewal: in half of the time that is promised."""
    world = world_of(800, per_second=8.0)
    lanes = SideBySide(world)
    lanes.run(after_s + 30, (after_s, lambda: lanes.control(command)))
    assert 60 < len(world.phones.began) < 300
    assert lanes.last_request_s - after_s <= PROMISED_S / 2 + 3 * STEP_S
    ended = {Control.PAUSE: LaneState.PAUSED, Control.CANCEL: LaneState.DONE}[command]
    assert {lane.state for lane in lanes.lanes} == {ended}


def test_a_hold() -> None:
    """Read with the same renewals; the lanes rest until it is released."""
    world = world_of(800, per_second=8.0)
    lanes = SideBySide(world)
    lanes.run(40, (10.0, lambda: world.ledger.set_hold("ann", "wrong prices")))
    assert lanes.last_request_s - 10.0 <= PROMISED_S / 2 + 3 * STEP_S
    assert {lane.state for lane in lanes.lanes} == {LaneState.RESTING}


def test_the_time_to_abort() -> None:
    """Each lane looks at its own clock: none asks later."""
    until = datetime.fromtimestamp(START_S + 10, UTC).isoformat()
    world = world_of(800, per_second=40.0, abort_after=until)
    lanes = SideBySide(world)
    lanes.run(20)
    assert 9.0 < lanes.last_request_s <= 10.0 + STEP_S
    assert {lane.state for lane in lanes.lanes} == {LaneState.DONE}
    assert world.lane.status == "aborted"


def test_a_reason_that_stops_a_lane() -> None:
    """One lane sends to Google, whose credentials are refused: the others stop while it waits for its last answer."""
    world = world_of(4_000, per_second=40.0)
    world.records[500:] = users(3_500, first=500, platform="ios")  # type: ignore[index]
    world.parts = [world.records[first : first + 10] for first in range(0, 4_000, 10)]
    world.access_of = lambda endpoint, now_s: REFUSED if endpoint == "fcm" and now_s >= START_S + 10 else None
    # One of its requests is never answered: the lane is released only when that is given up, after 20 s.
    world.phones.act_of = lambda token, _: Act.SILENT if token == "t45.0" else Act.ACCEPT
    lanes = SideBySide(world)
    lanes.run(40)
    assert lanes.last_request_s - 10.0 <= PROMISED_S / 2 + 5 * STEP_S
    stopped_s = min(at_s for at_s, _, after in lanes.changes if after.state is LaneState.STOPPED)
    assert stopped_s > 20.0, "it was passed on before"
    assert [lane.state for lane in lanes.lanes] == [LaneState.STOPPED] + [LaneState.PAUSED] * (LANES - 1)
    assert (world.lane.status, world.lane.reason) == ("stopped", "credentials_refused: wrong key")


def test_refusals_are_judged_over_the_run() -> None:
    """Payloads are refused in all lanes, too few in each for a reason: together they stop the run."""
    world = world_of(4_000, per_second=40.0)
    world.phones.act_of = lambda _token, _: Act.WRONG
    lanes = SideBySide(world)
    lanes.run(40)
    assert 50 <= len(world.phones.began) < 300, "50 refusals over the run are enough, and not 50 in each lane"
    assert {lane.state for lane in lanes.lanes} <= {LaneState.STOPPED, LaneState.PAUSED}
    assert world.lane.status == "stopped"
    assert (world.lane.reason or "").startswith("payload_refused")
    # Withheld: none of them is written down as the device's own fault.
    assert world.lane.account.outcomes().rejected == {}


def test_a_broken_part() -> None:
    """What one lane cannot read fails the run: the others end as cancelled by it, and asked nothing for long."""
    world = world_of(4_000, per_second=400.0, fault=broken_at(1_203))
    lanes = SideBySide(world)
    lanes.run(60)
    found_s = min(at_s for at_s, _, after in lanes.changes if after.control is Control.CANCEL)
    assert found_s < 30
    assert lanes.last_request_s - found_s <= PROMISED_S / 2 + 3 * STEP_S
    assert {lane.state for lane in lanes.lanes} == {LaneState.DONE}
    assert (world.lane.status, world.lane.reason) == ("failed", "not JSON at record 1203")
