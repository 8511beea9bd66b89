"""One invocation at a time: no platform, no chance, just the worker and what a test lets happen while it works."""

from collections.abc import Callable

from notifier.lifecycle.lane_worker import Answer, Invocation
from notifier.sending.hop import BUSY_POLL_S
from tests.twins.hop_factory import TwinHops, World

Happening = tuple[float, Callable[[], object]]
"""Seconds after the invocation began, and what happens then."""
IDLE_POLL_S = 0.1
"""How long a poll takes that can only look at the clock, after some short ones: most turns of a simulated outage."""
_SHORT_POLLS = 20


def invoke(world: World, *happenings: Happening, timeout_s: float = 900.0, threads: bool = True) -> Answer:
    """Nudge the lane once and work until the invocation ends.

    Args:
        happenings: what happens meanwhile.
        timeout_s: what Lambda gives it; it is not enforced here.
        threads: whether calls in the background end by themselves.
    """
    return hops_of(world, *happenings, threads=threads).lane_worker().work(world.run, 0, invocation(world, timeout_s))


def invocation(world: World, timeout_s: float = 900.0) -> Invocation:
    """An invocation that begins now."""
    ends_s = world.clock.now() + timeout_s
    return Invocation("1", lambda: int((ends_s - world.clock.now()) * 1000))


def hops_of(world: World, *happenings: Happening, threads: bool = True) -> TwinHops:
    """A process whose time goes by as it waits."""
    began_s = world.clock.now()
    left = sorted(happenings, key=lambda happening: happening[0])
    idle_polls = [0]

    def passes(seconds: float) -> None:
        while left and world.clock.now() - began_s >= left[0][0]:
            left.pop(0)[1]()
        threads_of = (hop_factory.background, hop_factory.ledger_background)
        # Without an answer or a thread to wait for, nothing comes of twenty short polls but the last one's time.
        is_idle = not hop_factory.transport.in_flight and not any(each.pending for each in threads_of)
        idle_polls[0] = idle_polls[0] + 1 if is_idle and seconds == BUSY_POLL_S else 0
        if threads:
            for each in threads_of:
                each.run_all()
        world.clock.time_s += IDLE_POLL_S if idle_polls[0] > _SHORT_POLLS else max(seconds, BUSY_POLL_S)

    def slept(_: float) -> None:
        hop_factory.background.run_all()
        hop_factory.ledger_background.run_all()

    world.clock.slept = slept
    hop_factory = TwinHops(world, passes)
    return hop_factory
