"""Every twentieth stream is reset, refused and otherwise in turn."""

from itertools import count

from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action, ErrorCode, Reset
from sandbox.wire.server import Behaviour, Seen


def resets() -> Behaviour:
    """By the number of the request."""
    numbers = count(1)

    def behave(seen: Seen) -> tuple[Action, ...]:
        n = next(numbers)
        if n % 40 == 0:
            return (Reset(ErrorCode.REFUSED_STREAM),)
        return (Reset(ErrorCode.INTERNAL_ERROR),) if n % 20 == 0 else (accepted(seen),)

    return behave


SCENARIO = Scenario(
    name="streams-reset",
    breaks="Every twentieth stream is reset, refused and otherwise in turn.",
    expects="A refused one is asked for again; any other is too, and counted as possibly repeated.",
    wire=resets,
    in_gate=True,
)
