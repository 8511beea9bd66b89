"""A fiftieth of the devices is accepted, and answered after the sender's timeout."""

from sandbox.faults.count import token_of
from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action
from sandbox.wire.server import Behaviour, Seen


def late() -> Behaviour:
    """Only a device's first request is answered late."""
    asked: set[str] = set()

    def behave(seen: Seen) -> tuple[Action, ...]:
        token = token_of(seen)
        first = token not in asked
        asked.add(token)
        return (accepted(seen, delay_s=2.0 if first and token.endswith(("00", "7f", "a1", "3c", "e9")) else 0.0),)

    return behave


SCENARIO = Scenario(
    name="late-answers",
    breaks="A fiftieth of the devices is accepted, and answered after the sender's timeout.",
    expects="They are asked for again, with the same id, and counted as possibly repeated.",
    wire=late,
    variables={"REQUEST_TIMEOUT_MS": "1000"},
)
