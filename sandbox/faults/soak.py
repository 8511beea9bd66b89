"""One in a hundred of everything at once, and a kill every few seconds. By hand, with as many users as one has time.

python -m sandbox faults --name soak --users 1000000
"""

from collections.abc import Callable

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.line import STEADY, Line
from sandbox.faults.scenario import Scenario, Scene
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation

KILL_EVERY_S = 9.0
KILLS = 25
TIMEOUT_S = 1_800.0


def kill(scene: Scene) -> None:
    """Kill -9 whatever the worker is doing, again and again."""
    sandbox = scene.trial.sandbox
    worker = sandbox.function("WorkerFunction").name
    kills = 0
    while kills < KILLS and not scene.over.wait(KILL_EVERY_S):
        if sandbox.lambda_.functions.kill_environments(worker):
            kills += 1
    print(f"       {kills} kills", flush=True)


def plan() -> FaultPlan:
    """Every seventh event is doubled, every eleventh is lost."""

    def decide(invocation: Invocation) -> Fault:
        if b"notifier" not in invocation.payload:
            return Fault()
        if invocation.number % 11 == 0:
            return Fault(Delivery.DROPPED)
        return Fault(Delivery.TWICE) if invocation.number % 7 == 0 else Fault()

    return decide


def tear() -> Callable[[int], Line]:
    """Every fifth connection is reset after a megabyte, every twentieth fails in its handshake."""

    def decide(n: int) -> Line:
        if n % 20 == 0:
            return Line(garbage=True)
        return Line(reset_after=1_000_000) if n % 5 == 0 else STEADY

    return decide


SCENARIO = Scenario(
    name="soak",
    breaks="One in a hundred of everything: gateways, connections, S3, DynamoDB, Lambda; and 25 kills.",
    expects="The account is exact, and every repeat is within what is reported.",
    aws=(
        AwsRule("s3", Does.REFUSE, times=0, share=0.01, status=503, code="SlowDown"),
        AwsRule("s3", Does.LOSE, "PUT", times=0, share=0.01),
        AwsRule("s3", Does.CUT, "GET", where="/batches/", times=0, share=0.03),
        AwsRule("dynamodb", Does.REFUSE, times=0, share=0.01, code="ProvisionedThroughputExceededException"),
        AwsRule("dynamodb", Does.LOSE, "UpdateItem", times=0, share=0.01),
        AwsRule("dynamodb", Does.DROP, times=0, share=0.01),
    ),
    behaviour="sandbox.faults.answers:everything",
    invocations=plan,
    line=tear,
    act=kill,
    timeout_s=60,
    recurse_below_ms=20_000,
    variables={"REQUEST_TIMEOUT_MS": "1500"},
    users=100_000,
    max_hops=200,
    give_up_s=TIMEOUT_S,
    by_hand=True,
)
