"""The batch file's body stalls in its middle for a second and breaks off, twice."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="s3-stalls",
    breaks="The batch file's body stalls in its middle for a second and breaks off, twice.",
    expects="What is missing is asked for again.",
    aws=(AwsRule("s3", Does.STALL, "GET", where="/batches/", times=2, seconds=1.0),),
)
