"""A gateway that closes idle connections after 20 ms, and says GOAWAY on the busy ones every 0.25 s."""

import time

from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action, GoAway
from sandbox.wire.server import Behaviour, Seen

EVERY_S = 0.25


def going() -> Behaviour:
    """Per connection: the first request after 0.25 s is the last that counts."""
    began: dict[int, float] = {}
    last: dict[int, int] = {}

    def behave(seen: Seen) -> tuple[Action, ...]:
        number = seen.connection
        if number in last:
            return () if seen.stream_id > last[number] else (accepted(seen),)
        if time.monotonic() - began.setdefault(number, time.monotonic()) < EVERY_S:
            return (accepted(seen, delay_s=0.01),)
        last[number] = seen.stream_id
        return (accepted(seen, delay_s=0.01), GoAway(seen.stream_id))

    return behave


SCENARIO = Scenario(
    name="idle-closed",
    breaks="Connections are closed when idle for 20 ms, and sent away (GOAWAY) every 0.25 s when busy.",
    expects="Nothing is raised, nothing is lost, nothing comes twice.",
    wire=going,
    idle_close_s=0.02,
    users=6_000,
    max_hops=2,
    give_up_s=240.0,
)
