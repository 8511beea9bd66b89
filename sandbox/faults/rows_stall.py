"""S3 keeps every writer of rows waiting for 40 seconds, longer than a lease; DynamoDB is well."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="rows-stall",
    breaks="The first PUTs under rows/, as many as there are threads and more, hang for 40 s.",
    expects="The lease is kept, the run goes on in the same hop, and nobody is asked twice.",
    aws=(AwsRule("s3", Does.DELAY, "PUT", where="/rows/", times=8, seconds=40.0),),
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=6_000,
    max_hops=1,
    give_up_s=300.0,
)
