"""The answers to conditional PUTs of rows are lost, although S3 has taken them."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="rows-answer-lost",
    breaks="The answers to conditional PUTs of rows are lost, although S3 has taken them.",
    expects="The repeated PUT is refused by our own object, which is recognised: nothing counts twice.",
    aws=(AwsRule("s3", Does.LOSE, "PUT", where="/rows/", times=3),),
    in_gate=True,
)
