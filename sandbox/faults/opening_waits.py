"""S3 cannot be read when a run is to begin."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="opening-waits",
    breaks="Every HEAD of the batch file answers 503 for the first two invocations.",
    expects="The run waits, with S3's answer as its reason; no invocation ends as a crash; then it begins.",
    aws=(AwsRule("s3", Does.REFUSE, "HEAD", where="/batches/", times=14, status=503, code="SlowDown"),),
    max_hops=3,
)
