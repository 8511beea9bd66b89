"""The function is killed with -9 when it has opened the run: campaign taken, state stored."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="killed-while-opening",
    breaks="The function is killed with -9 when it has opened the run: campaign taken, state stored.",
    expects="The next claim finds the state; the campaign id is not refused to its own run.",
    aws=(AwsRule("s3", Does.KILL_AFTER, "PUT", where="/state/"),),
)
