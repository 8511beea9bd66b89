"""Every answer comes in five DATA frames."""

from sandbox.faults.http2 import accepted
from sandbox.faults.scenario import Scenario
from sandbox.wire.actions import Action
from sandbox.wire.server import Behaviour, Seen


def split() -> Behaviour:
    """Five frames each."""

    def behave(seen: Seen) -> tuple[Action, ...]:
        return (accepted(seen, frames=5),)

    return behave


SCENARIO = Scenario(
    name="split-answers",
    breaks="Every answer comes in five DATA frames.",
    expects="They are read whole.",
    wire=split,
)
