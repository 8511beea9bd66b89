"""The audience is in another bucket, which the worker's role may not read."""

from pathlib import Path

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.parted import name_audience
from sandbox.faults.scenario import Scenario
from sandbox.trial import Trial

BUCKET = "crm-exports"


def in_another_bucket(trial: Trial, path: Path, folder: Path) -> Path:
    """The users go to the other bucket."""
    return name_audience(trial, path, folder, BUCKET)


SCENARIO = Scenario(
    name="audience-denied",
    breaks="The audience is in another bucket, and every request there answers 403 AccessDenied.",
    expects="The run is refused at its first invocation: bucket, key, role and the parameters that allow it are named.",
    remake=in_another_bucket,
    aws=(AwsRule("s3", Does.REFUSE, where=f"/{BUCKET}/", times=0, status=403, code="AccessDenied"),),
    status="failed",
    reason=rf"audience\.parts\[0\]: s3://{BUCKET}/audiences/.*AudienceBucketArns.*KmsKeyArns.*The role is \S+",
    all_accepted=False,
    max_hops=1,
    in_gate=True,
)
