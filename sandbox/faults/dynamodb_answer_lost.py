"""The answers to the ledger's writes are lost, every third, claims and hand-overs included."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="dynamodb-answer-lost",
    breaks="The answers to the ledger's writes are lost, every third, claims and hand-overs included.",
    expects="The refusal of the repeated write is read back before it is believed.",
    aws=(AwsRule("dynamodb", Does.LOSE, "UpdateItem", times=0, every=3),),
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
)
