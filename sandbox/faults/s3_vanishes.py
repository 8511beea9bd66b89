"""The batch file is gone when it is read."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="s3-vanishes",
    breaks="The batch file is gone when it is read.",
    expects="The run fails with a reason that says so; nothing was sent.",
    aws=(AwsRule("s3", Does.REFUSE, "GET", where="/batches/", skip=1, times=0, status=404, code="NoSuchVersion"),),
    status="failed",
    reason="gone|no longer|not there|deleted|changed",
    all_accepted=False,
    in_gate=True,
)
