"""A batch file names its audience, and the named objects cannot be read."""

from pathlib import Path

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.parted import name_audience
from sandbox.faults.scenario import Scenario
from sandbox.trial import Trial

_OTHER_BUCKET = "crm-exports"
_NO_VERSION = "latest"


def in_another_bucket(trial: Trial, path: Path, folder: Path) -> Path:
    """The users go to the other bucket."""
    return name_audience(trial, path, folder, _OTHER_BUCKET)


def with_a_bad_version(trial: Trial, path: Path, folder: Path) -> Path:
    """The part names a version that is none."""
    return name_audience(trial, path, folder, version_id=_NO_VERSION)


SCENARIOS = (
    # The usual slip when a team puts its exports elsewhere: the reason must say which permission is missing.
    Scenario(
        name="audience-denied",
        breaks="The audience is in another bucket, and every request there answers 403 AccessDenied.",
        expects=(
            "The run is refused at its first invocation: bucket, key, role and the parameters that allow it are named."
        ),
        remake=in_another_bucket,
        aws=(AwsRule("s3", Does.REFUSE, where=f"/{_OTHER_BUCKET}/", times=0, status=403, code="AccessDenied"),),
        status="failed",
        reason=(
            rf"audience\.parts\[0\]: s3://{_OTHER_BUCKET}/audiences/"
            r".*AudienceBucketArns.*KmsKeyArns.*The role is \S+"
        ),
        all_accepted=False,
        max_hops=1,
        in_gate=True,
    ),
    # S3 answers 400 to a malformed version id and 404 to one that is missing; to HEAD it says no more than the number.
    Scenario(
        name="bad-version-id",
        breaks="A part's version_id is malformed: S3 answers 400 InvalidArgument, and HEAD 400 without a word.",
        expects="The run is refused at its first invocation: the part and its version_id are named.",
        remake=with_a_bad_version,
        aws=(
            AwsRule("s3", Does.REFUSE, where=f"versionId={_NO_VERSION}", times=0, status=400, code="InvalidArgument"),
        ),
        status="failed",
        reason=rf"audience\.parts\[0\]: s3://\S+/audiences/.*it has no version_id '{_NO_VERSION}'",
        all_accepted=False,
        max_hops=1,
    ),
)
