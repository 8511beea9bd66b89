"""The function is killed with -9 before the summary of the finished run is written."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="killed-while-closing",
    breaks="The function is killed with -9 before the summary of the finished run is written.",
    expects="The sweeper closes the run.",
    aws=(AwsRule("s3", Does.KILL_BEFORE, "PUT", where="/summaries/"),),
)
