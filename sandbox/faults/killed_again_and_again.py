"""The function is killed with -9 three times, each time after some batches."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="killed-again-and-again",
    breaks="The function is killed with -9 three times, each time after some batches.",
    expects="Every invocation goes on from what is settled; the account is exact.",
    aws=(AwsRule("s3", Does.KILL_BEFORE, "PUT", where="/rows/", skip=1, every=2, times=3),),
    users=5_000,
    max_hops=8,
)
