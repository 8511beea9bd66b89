"""A part's version id is not one that S3 gave."""

from pathlib import Path

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.parted import name_audience
from sandbox.faults.scenario import Scenario
from sandbox.trial import Trial


def with_a_bad_version(trial: Trial, path: Path, folder: Path) -> Path:
    """The part names a version that is none."""
    return name_audience(trial, path, folder, version_id="latest")


SCENARIO = Scenario(
    name="bad-version-id",
    breaks="A part's version_id is malformed: S3 answers 400 InvalidArgument, and HEAD 400 without a word.",
    expects="The run is refused at its first invocation: the part and its version_id are named.",
    remake=with_a_bad_version,
    aws=(AwsRule("s3", Does.REFUSE, where="versionId=latest", times=0, status=400, code="InvalidArgument"),),
    status="failed",
    reason=r"audience\.parts\[0\]: s3://\S+/audiences/.*it has no version_id 'latest'",
    all_accepted=False,
    max_hops=1,
)
