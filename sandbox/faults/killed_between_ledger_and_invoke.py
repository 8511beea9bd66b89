"""The function is killed with -9 when it has handed over and not yet invoked itself."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="killed-between-ledger-and-invoke",
    breaks="The function is killed with -9 when it has handed over and not yet invoked itself.",
    expects="Lambda's retry of the killed invocation finds the lane ready and goes on; nothing is repeated.",
    aws=(AwsRule("lambda", Does.KILL_BEFORE, where="/invocations"),),
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
    in_gate=True,
)
