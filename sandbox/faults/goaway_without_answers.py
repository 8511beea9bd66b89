"""GOAWAY and the end of the connection, with requests processed and not answered."""

from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action, Close, GoAway
from sandbox.wire.server import Behaviour, Seen


def going() -> Behaviour:
    """The first three connections end at their 120th request; answers take 50 ms."""

    def behave(seen: Seen) -> tuple[Action, ...]:
        if seen.number == 120 and seen.connection <= 3:
            return (accepted(seen), GoAway(seen.stream_id), Close())
        return (accepted(seen, delay_s=0.05),)

    return behave


SCENARIO = Scenario(
    name="goaway-without-answers",
    breaks="GOAWAY and the end of the connection, with requests processed and not answered.",
    expects="They are asked for again and counted as possibly repeated.",
    wire=going,
)
