"""The function is killed with -9 when DynamoDB has taken its claim and the answer is on its way."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="killed-during-the-claim",
    breaks="The function is killed with -9 when DynamoDB has taken its claim and the answer is on its way.",
    expects="The lease ends, and the next claim begins where the lost one would have.",
    aws=(AwsRule("dynamodb", Does.KILL_AFTER, "UpdateItem", where="holder = :holder"),),
    in_gate=True,
)
