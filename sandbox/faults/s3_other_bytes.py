"""The batch file is another one than the run began with: If-Match is refused."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="s3-other-bytes",
    breaks="The batch file is another one than the run began with: If-Match is refused.",
    expects="The run fails with a reason that says so.",
    aws=(AwsRule("s3", Does.REFUSE, "GET", where="/batches/", skip=1, times=0, status=412, code="PreconditionFailed"),),
    status="failed",
    reason="changed|other",
    all_accepted=False,
)
