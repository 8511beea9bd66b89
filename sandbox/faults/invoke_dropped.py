"""The first continuation is taken by Lambda and never run."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation


def plan() -> FaultPlan:
    """The first continuation is lost."""
    left = iter(range(1))

    def decide(invocation: Invocation) -> Fault:
        strikes = b"continue" in invocation.payload and next(left, None) is not None
        return Fault(Delivery.DROPPED) if strikes else Fault()

    return decide


SCENARIO = Scenario(
    name="invoke-dropped",
    breaks="The first continuation is taken by Lambda and never run.",
    expects="The sweeper finds the hand-over that nobody took.",
    invocations=plan,
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
)
