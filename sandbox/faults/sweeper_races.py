"""The sweeper, nudges and continuations for the same lane come all the time, beside Lambda's own."""

import json

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation

MANY = 4


def plan() -> FaultPlan:
    """Every continuation twice."""

    def decide(invocation: Invocation) -> Fault:
        return Fault(Delivery.TWICE) if b"continue" in invocation.payload else Fault()

    return decide


def race(scene: Scene) -> None:
    """Several times a second until the run is over, but never a crowd: this is one machine."""
    lambda_ = scene.trial.sandbox.lambda_
    worker, sweeper = (scene.trial.sandbox.function(name).name for name in ("WorkerFunction", "SweeperFunction"))
    nudge = json.dumps({"notifier": "nudge", "run_id": scene.run_id, "lane": 0}).encode()
    while not scene.over.wait(0.15):
        if lambda_.in_flight > MANY:
            continue
        lambda_.invoke_later(sweeper)
        lambda_.invoke_later(worker, nudge)


SCENARIO = Scenario(
    name="sweeper-races",
    breaks="The sweeper, nudges and continuations for the same lane come all the time, beside Lambda's own.",
    expects="There is one holder at any time; the others find the lane taken.",
    act=race,
    invocations=plan,
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
)
