"""DynamoDB throttles a fifth of all calls."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="dynamodb-throttles",
    breaks="DynamoDB throttles a fifth of all calls.",
    expects="Calls are repeated; the run goes on.",
    aws=(AwsRule("dynamodb", Does.REFUSE, times=0, share=0.2, code="ProvisionedThroughputExceededException"),),
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
    in_gate=True,
)
