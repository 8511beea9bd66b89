"""S3 fails on rows, more often than the AWS library tries."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="rows-refused",
    breaks="S3 fails on rows, more often than the AWS library tries.",
    expects="The batch waits and is settled later.",
    aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/rows/", times=12, status=500, code="InternalError"),),
)
