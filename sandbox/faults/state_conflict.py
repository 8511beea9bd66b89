"""S3 answers the first writes of a run's state with a conflict."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="state-conflict",
    breaks="S3 answers two PUTs of the run's state and three of rows with 409 ConditionalRequestConflict.",
    expects="They are repeated: a conflict does not say that the object is there.",
    aws=(
        AwsRule("s3", Does.REFUSE, "PUT", where="/state/", times=2, status=409, code="ConditionalRequestConflict"),
        AwsRule("s3", Does.REFUSE, "PUT", where="/rows/", times=3, status=409, code="ConditionalRequestConflict"),
    ),
    max_hops=1,
)
