"""Lambda throttles the first hand-overs, more often than the AWS library tries."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="invoke-throttled",
    breaks="Lambda throttles the first hand-overs, more often than the AWS library tries.",
    expects="The worker fails, Lambda's retry finds the lane ready and goes on.",
    aws=(AwsRule("lambda", Does.REFUSE, where="/invocations", times=6, status=429, code="TooManyRequestsException"),),
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
)
