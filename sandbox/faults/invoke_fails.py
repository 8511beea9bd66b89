"""Lambda answers the first hand-overs by an internal error, more often than the AWS library tries."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation


def plan() -> FaultPlan:
    """The first six continuations are refused."""
    left = iter(range(6))

    def decide(invocation: Invocation) -> Fault:
        strikes = b"continue" in invocation.payload and next(left, None) is not None
        return Fault(Delivery.REFUSED) if strikes else Fault()

    return decide


SCENARIO = Scenario(
    name="invoke-fails",
    breaks="Lambda answers the first hand-overs by an internal error, more often than the AWS library tries.",
    expects="The worker fails, Lambda's retry finds the lane ready and goes on.",
    invocations=plan,
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
)
