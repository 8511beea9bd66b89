"""S3 refuses a third of all calls with 503 SlowDown."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="s3-slow-down",
    breaks="S3 refuses a third of all calls with 503 SlowDown.",
    expects="Calls are repeated; batches wait for their rows.",
    aws=(AwsRule("s3", Does.REFUSE, times=0, share=0.33, status=503, code="SlowDown"),),
)
