"""The answer to the claim is lost."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="claim-answer-lost",
    breaks="The answer to the claim is lost.",
    expects="The repeated claim is refused by our own success, which is recognised.",
    aws=(AwsRule("dynamodb", Does.LOSE, "UpdateItem", where="holder = :holder"),),
    max_hops=1,
)
