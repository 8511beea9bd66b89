"""The sweeper, nudges and continuations for the same lane come all the time, beside Lambda's own."""

import json

from sandbox.faults.scenario import Scenario, Scene, with_short_hops
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation

MANY = 4
EVERY_S = 0.15


def plan() -> FaultPlan:
    """Every continuation twice."""

    def decide(invocation: Invocation) -> Fault:
        return Fault(Delivery.TWICE) if b"continue" in invocation.payload else Fault()

    return decide


def race(scene: Scene) -> None:
    """Several times a second until the run is over, unless many are in flight: this is one machine."""
    lambda_ = scene.trial.sandbox.lambda_
    worker, sweeper = (scene.trial.sandbox.function(name).name for name in ("WorkerFunction", "SweeperFunction"))
    nudge = json.dumps({"notifier": "nudge", "run_id": scene.run_id, "lane": 0}).encode()
    while not scene.over.wait(EVERY_S):
        if lambda_.in_flight > MANY:
            continue
        lambda_.invoke_later(sweeper)
        lambda_.invoke_later(worker, nudge)


SCENARIO = with_short_hops(
    Scenario(
        name="sweeper-races",
        breaks="The sweeper, nudges and continuations for the same lane come all the time, beside Lambda's own.",
        expects="One worker has the lane at any time; the others find it taken.",
        act=race,
        invocations=plan,
    )
)
