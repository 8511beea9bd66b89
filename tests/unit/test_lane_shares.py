"""Rates that are shared by lanes: never exceeded together, and shared again when a lane ends or dies."""

from collections.abc import Callable
from concurrent.futures import Future
from itertools import accumulate

import pytest

from notifier.model.lane_membership import MEMBER_MS, Member, Membership
from notifier.sending.lane_shares import ALL_HAVE_SEEN_S, LaneBudget, LaneRateLimit, LaneShares
from notifier.sending.rate_limit import SHARE_EVERY_S, UNLIMITED, RateLimit
from tests.twins.clock import TwinClock
from tests.twins.ledger import MemoryLedger

BUDGET = 2_000.0
STEP_S = 0.02


class Lane:
    """One lane that sends to FCM as fast as it may."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        clock, name = world.clock, f"r_{number:04d}"
        self.shares = LaneShares(
            name, lambda member, first: world.answer(name, member, first), self.now_ms, lambda: self.sent_ms, MEMBER_MS
        )
        self.budget = LaneBudget(
            RateLimit(world.per_second, world.ramp_s, 0.0, clock.monotonic()), world.per_second, self.shares
        )
        self.sent_ms = 0

    def now_ms(self) -> int:
        """The time."""
        return int(self.world.clock.now() * 1000)

    def turn(self) -> int:
        """Send what is allowed now."""
        self.sent_ms += int(STEP_S * 1000)
        permits = self.budget.permits(self.world.clock.monotonic())
        self.budget.take(permits)
        return permits


class World:
    """Lanes that work at the same time, over a ledger that answers at once."""

    def __init__(self, *, ramp_s: float = 0.0, per_second: float = BUDGET) -> None:
        self.per_second = per_second
        self.clock = TwinClock()
        self.ledger = MemoryLedger(self.clock.now)
        self.ramp_s = ramp_s
        self.lanes: list[Lane] = []
        self.sent: list[int] = []
        """In each step, by all lanes together."""
        self.is_away: Callable[[str], bool] = lambda _: False

    def answer(self, name: str, member: Member, first: bool) -> Future[Membership]:
        """What the composition asks of the ledger."""
        future = Future[Membership]()
        if self.is_away(name):
            future.set_exception(OSError("away"))
            return future
        now_ms = int(self.clock.now() * 1000)
        before = self.ledger.membership(now_ms)
        found = self.ledger.join({name: member}, now_ms)
        future.set_result(before if first else found)
        return future

    def open(self, count: int) -> None:
        """Lanes that one worker has opened, and entered."""
        now_ms = int(self.clock.now() * 1000)
        self.ledger.join({f"r_{n:04d}": Member(now_ms + MEMBER_MS) for n in range(count)}, now_ms)
        self.lanes += [Lane(self, n) for n in range(count)]

    def run(self, seconds: float) -> None:
        """Let time pass. The lanes ask at different times: they did not begin in the same instant."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.time_s += STEP_S
            self.sent.append(sum(lane.turn() for lane in self.lanes))

    def most(self, window_s: float) -> float:
        """The most that was sent in any window, as a share of the budget."""
        total, steps = [0, *accumulate(self.sent)], round(window_s / STEP_S)
        return max(total[n + steps] - total[n] for n in range(len(self.sent) - steps)) / (self.per_second * window_s)

    def last(self, seconds: float) -> float:
        """What was sent lately, as a share of the budget."""
        return sum(self.sent[-round(seconds / STEP_S) :]) / (self.per_second * seconds)


def test_lanes_that_are_opened_share_from_the_start() -> None:
    """Eight lanes begin at once with an eighth each: the budget is used, and not exceeded."""
    world = World()
    world.open(8)
    world.run(20)
    assert world.most(1) <= 1.15
    assert world.most(10) <= 1.05
    assert sum(world.sent[: round(2 / STEP_S)]) > 0.9 * 2 * BUDGET


@pytest.mark.parametrize("per_second", [40.0, 100.0, 600.0])
def test_a_small_budget(per_second: float) -> None:
    """Also where a lane's share is a few requests a second, which come one by one: no second has many more."""
    world = World(per_second=per_second)
    world.open(8)
    world.run(30)
    assert world.most(1) <= 1.15
    assert world.most(10) <= 1.05
    assert world.last(20) > 0.95


def test_one_is_killed_and_one_joins_late() -> None:
    """After a kill the others share what it had within 35 s; a late one waits until all have seen it."""
    world = World()
    world.open(8)
    world.run(15)
    world.lanes.pop()
    world.run(35)
    assert world.last(2) > 0.9
    before = len(world.sent)
    world.lanes.append(Lane(world, 8))
    world.run(3)
    assert world.last(3) <= 1.0, "it waits"
    world.run(20)
    assert world.last(5) > 0.9
    assert len(world.sent) > before
    assert world.most(1) <= 1.15
    assert world.most(10) <= 1.05


def test_one_that_is_alone_waits_for_nobody() -> None:
    """The first lane may use the whole budget as soon as it knows that it is alone."""
    world = World()
    world.lanes.append(Lane(world, 0))
    world.run(2)
    assert world.last(1) > 0.95
    world.lanes.append(Lane(world, 1))
    world.run(ALL_HAVE_SEEN_S - 1)
    assert world.most(1) <= 1.15
    world.run(10)
    assert world.last(5) > 0.9
    assert world.most(1) <= 1.15


def test_one_that_cannot_reach_the_ledger_stops_before_it_is_given_up() -> None:
    """It sends on with its share for 20 s; the others take that over only when it has stopped."""
    world = World()
    world.open(2)
    world.run(10)
    world.is_away = lambda name: name == "r_0000"
    world.run(40)
    assert world.most(1) <= 1.15
    assert world.lanes[0].turn() == 0
    assert world.last(5) > 0.9
    world.is_away = lambda _: False
    world.run(20)
    assert world.last(5) > 0.9
    assert world.most(1) <= 1.15


def test_the_ramp_is_the_runs() -> None:
    """A lane that joins when the others have sent for a minute begins at the full rate."""
    world = World(ramp_s=60.0)
    world.open(2)
    world.run(30)
    assert 0.3 < world.last(2) < 0.6
    world.run(40)
    assert world.last(2) > 0.95
    world.lanes.append(Lane(world, 2))
    world.run(12)
    assert world.last(2) > 0.95


def test_the_campaigns_rate_is_shared_by_the_lanes_of_the_run() -> None:
    """Lanes of another run take no share of it. A campaign without a rate has none to share."""
    world = World()
    world.open(2)
    now_ms = int(world.clock.now() * 1000)
    world.ledger.join({f"other_{n:04d}": Member(now_ms + 10**7) for n in range(5)}, now_ms)
    shares = world.lanes[0].shares
    limit = LaneRateLimit(100.0, 0.0, 0.0, world.clock.monotonic(), shares)
    limit.permits(world.clock.monotonic())
    world.clock.time_s += 1
    limit.permits(world.clock.monotonic())
    assert limit.rate(world.clock.monotonic()) == 50.0
    assert shares.fcm_users == 7
    world.ledger.join({"r_0001": Member(now_ms + 10**7, rests=True)}, now_ms)
    world.clock.time_s += SHARE_EVERY_S
    for _ in range(2):
        limit.permits(world.clock.monotonic())
    assert (limit.rate(world.clock.monotonic()), shares.fcm_users) == (50.0, 6), "a lane that rests keeps its share"
    assert LaneRateLimit(None, 0.0, 0.0, 0.0, shares).permits(world.clock.monotonic()) == UNLIMITED
