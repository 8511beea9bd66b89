"""The function is killed with -9 when answers are in and no row is written."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="killed-mid-batch",
    breaks="The function is killed with -9 when answers are in and no row is written.",
    expects="After the lease the unsettled batches are asked for again, and counted as possibly repeated.",
    aws=(AwsRule("s3", Does.KILL_BEFORE, "PUT", where=r"/rows/"),),
    in_gate=True,
)
