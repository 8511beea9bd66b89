"""A write of the ledger takes twice the length of a lease."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="dynamodb-times-out",
    breaks="A write of the ledger takes twice the length of a lease.",
    expects="The worker stops sending before its lease is over, and leaves the lane to whoever claims it.",
    aws=(AwsRule("dynamodb", Does.DELAY, "UpdateItem", where="#cursor = :cursor", skip=1, seconds=6.5),),
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=2_500,
)
