"""The function is killed with a hundred settled batches ahead of its cursor, and S3 takes a second for each GET."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="slow-row-reads",
    breaks="Killed with a hundred settled batches ahead of the cursor; S3 takes 1 s for each GET of one.",
    expects="They are read in the background, several at once; the lease is kept and the run goes on.",
    aws=(
        AwsRule("s3", Does.KILL_AFTER, "PUT", where="/rows/", skip=100),
        AwsRule("s3", Does.DELAY, "GET", where="/rows/run_id=", times=0, seconds=1.0),
    ),
    # One device of the first batch is not answered for so long that the cursor stays there.
    behaviour="sandbox.faults.answers:first_is_silent",
    variables={"REQUEST_TIMEOUT_MS": "120000"},
    users=54_000,
    max_hops=2,
    give_up_s=300.0,
)
