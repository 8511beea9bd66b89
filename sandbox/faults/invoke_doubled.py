"""Every event reaches two containers in the same instant."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation


def plan() -> FaultPlan:
    """Everything twice."""

    def decide(invocation: Invocation) -> Fault:
        return Fault(Delivery.TWICE) if invocation.asynchronous else Fault()

    return decide


SCENARIO = Scenario(
    name="invoke-doubled",
    breaks="Every event reaches two containers in the same instant.",
    expects="One of each pair claims the lane, the other finds it taken.",
    invocations=plan,
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
    in_gate=True,
)
