"""Nothing may be written under `dead-tokens/`: only batches with a dead token cannot be settled."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.rows_denied import resume_too_early
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="dead-tokens-denied",
    breaks="Every PUT under dead-tokens/ answers 403; a hundredth of the devices is dead.",
    expects="The run stops and names what to change; resumed too early it asks nobody.",
    aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/dead-tokens/", times=0, status=403, code="AccessDenied"),),
    behaviour="sandbox.faults.answers:dead",
    finish=resume_too_early,
    status="stopped",
    reason=r"^rows_refused: AccessDenied by S3 for PutObject under s3://[^/]+/dead-tokens/run_id=\w+/: ",
    all_accepted=False,
    max_hops=2,
)
