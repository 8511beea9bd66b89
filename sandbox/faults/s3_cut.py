"""The batch file's body ends after its half, three times."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="s3-cut",
    breaks="The batch file's body ends after its half, three times.",
    expects="What is missing is asked for again.",
    aws=(AwsRule("s3", Does.CUT, "GET", where="/batches/", times=3),),
    in_gate=True,
)
