"""Gateways that are away for a while, devices that are refused alone, and waits that a gateway asks for."""

from collections.abc import Callable

import pytest

from notifier.model.outcome import Outcome, Row
from notifier.model.run import Ending, LaneState
from tests.twins.clock import START_S
from tests.twins.gateway import VERDICTS, Act, Phones
from tests.twins.hop_factory import World, users
from tests.twins.invocation import invoke

HOUR_S = 3600.0
DAY_S = 86_400.0


def world_of(count: int, act_of: Callable[[float, str, int], Act], **members: object) -> World:
    """A world whose phones act by the seconds since the beginning, the token, and how often it was asked."""
    phones = Phones()
    world = World(users(count), phones=phones, **members)  # type: ignore[arg-type]
    phones.act_of = lambda token, asked: act_of(world.clock.now() - START_S, token, asked)
    return world


def play(world: World, until_s: float = 3 * DAY_S) -> float:
    """Nudge the lane whenever it is due, until the run is done. Returns the seconds that were paid for."""
    paid_s = 0.0
    while world.clock.now() < START_S + until_s and world.lane.ending is None:
        lane = world.lane
        assert lane.state in (LaneState.READY, LaneState.RESTING), lane.reason
        if lane.state is LaneState.RESTING:
            world.clock.time_s = max(world.clock.now(), (lane.due_at_ms or 0) / 1000)
        began_s = world.clock.now()
        invoke(world)
        paid_s += world.clock.now() - began_s
    return paid_s


def rows_of(world: World) -> dict[int, Row]:
    """The row of each record."""
    return {row.record: row for found in world.results.rows.values() for row in found.rows}


AWAY = [(2, DAY_S), (2, None), (20 * 60, DAY_S)]
# What differs from these is a second long simulation of the same waits: `make deep` has it.
AWAY_TOO = [
    pytest.param(minutes, ttl_s, marks=pytest.mark.slow)
    for minutes, ttl_s in ((60, DAY_S), (60, None), (20 * 60, None))
]


@pytest.mark.parametrize(("minutes", "ttl_s"), [*AWAY, *AWAY_TOO])
def test_a_gateway_that_is_away(ttl_s: float | None, minutes: int) -> None:
    """However long, within the time to live or a day: no device fails; waits above 90 s are not paid for."""
    over_s = minutes * 60 + 1.0
    world = world_of(400, lambda now_s, _, __: Act.BUSY if 1 < now_s < over_s else Act.ACCEPT, per_second=100)
    world.ttl_s = ttl_s
    paid_s = play(world)
    assert world.lane.ending is Ending.COMPLETED
    assert world.lane.account.outcomes().accepted == 400
    assert world.clock.now() - START_S < over_s + min(over_s, 1_000) + 60
    assert paid_s < 500 + minutes / 4


def test_a_gateway_that_is_away_for_longer_than_the_time_to_live() -> None:
    """What is stale when the gateway comes back has failed, and not before its time was over."""
    world = world_of(20, lambda now_s, _, __: Act.BUSY if now_s < HOUR_S else Act.ACCEPT)
    world.ttl_s = 600.0
    play(world)
    rows = rows_of(world).values()
    assert {row.outcome for row in rows} == {Outcome.FAILED}
    assert 500 < world.clock.now() - START_S < 700


def test_a_gateway_that_never_comes_back() -> None:
    """A message without a time to live is tried for a day."""
    world = world_of(20, lambda _, __, ___: Act.BUSY)
    play(world)
    assert world.lane.account.outcomes().failed == {"ServiceUnavailable": 20}
    assert 0.95 * DAY_S < world.clock.now() - START_S < DAY_S + 60


@pytest.mark.parametrize(("count", "act"), [(3, Act.BUSY), (50, Act.MUTE), (3_000, Act.BUSY)])
def test_a_device_that_is_refused_alone(count: int, act: Act) -> None:
    """While others are accepted eight requests, over more than an hour, are enough: it keeps no run open for a day."""
    world = world_of(count, lambda _, token, __: act if token == "t0.0" else Act.ACCEPT, per_second=100)
    play(world)
    row = rows_of(world)[0]
    assert (row.outcome, row.reason) == (Outcome.FAILED, VERDICTS[act].reason)
    assert 8 <= row.attempts <= 9
    assert HOUR_S < world.clock.now() - START_S < 1.5 * HOUR_S
    assert world.lane.account.outcomes().accepted == count - 1


def test_devices_that_are_refused_alone_and_then_an_outage() -> None:
    """What a device is refused in an outage does not count, whatever it was refused before: it is accepted after."""

    def act(now_s: float, token: str, asked: int) -> Act:
        bad = token in ("t0.0", "t1.0") and asked < 3
        return Act.BUSY if bad or 20 < now_s < 4 * HOUR_S else Act.ACCEPT

    world = world_of(3_000, act, per_second=100)
    play(world)
    assert world.lane.account.outcomes().accepted == 3_000
