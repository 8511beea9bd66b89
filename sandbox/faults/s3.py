"""S3: the batch file cannot be read to its end, or rows cannot be written."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIOS = (
    # S3's way of asking for fewer requests, for reads and writes alike.
    Scenario(
        name="s3-slow-down",
        breaks="S3 refuses a third of all calls with 503 SlowDown.",
        expects="Calls are repeated; batches wait for their rows.",
        aws=(AwsRule("s3", Does.REFUSE, times=0, share=0.33, status=503, code="SlowDown"),),
    ),
    # A body that stalls and then ends early: reading goes on from the byte reached.
    Scenario(
        name="s3-stalls",
        breaks="The batch file's body stalls in its middle for a second and breaks off, twice.",
        expects="What is missing is asked for again.",
        aws=(AwsRule("s3", Does.STALL, "GET", where="/batches/", times=2, seconds=1.0),),
    ),
    # A body that ends early without an error: the length must be compared.
    Scenario(
        name="s3-cut",
        breaks="The batch file's body ends after its half, three times.",
        expects="What is missing is asked for again.",
        aws=(AwsRule("s3", Does.CUT, "GET", where="/batches/", times=3),),
    ),
    # Bytes of another version would shift every record: a range of it must never be used.
    Scenario(
        name="s3-other-bytes",
        breaks="The batch file is another one than the run began with: If-Match is refused.",
        expects="The run fails with a reason that says so.",
        aws=(
            AwsRule(
                "s3", Does.REFUSE, "GET", where="/batches/", skip=1, times=0, status=412, code="PreconditionFailed"
            ),
        ),
        status="failed",
        reason="changed|other",
        all_accepted=False,
    ),
    # A version that was deleted comes back no more: waiting would be in vain.
    Scenario(
        name="s3-vanishes",
        breaks="The batch file is gone when it is read.",
        expects="The run fails with a reason that says so; nothing was sent.",
        aws=(AwsRule("s3", Does.REFUSE, "GET", where="/batches/", skip=1, times=0, status=404, code="NoSuchVersion"),),
        status="failed",
        reason="gone|no longer|not there|deleted|changed",
        all_accepted=False,
        in_gate=True,
    ),
    # More refusals than botocore repeats: the batch has to stay open, not fail the run.
    Scenario(
        name="rows-refused",
        breaks="S3 fails on rows, more often than the AWS library tries.",
        expects="The batch waits and is settled later.",
        aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/rows/", times=12, status=500, code="InternalError"),),
    ),
    # botocore repeats the PUT and gets 412 for an object that is our own.
    Scenario(
        name="rows-answer-lost",
        breaks="The answers to conditional PUTs of rows are lost, although S3 has taken them.",
        expects="The repeated PUT is refused by our own object, which is recognised: nothing counts twice.",
        aws=(AwsRule("s3", Does.LOSE, "PUT", where="/rows/", times=3),),
        in_gate=True,
    ),
    # 409 means that another write is under way, not that the object exists.
    Scenario(
        name="state-conflict",
        breaks="S3 answers two PUTs of the run's state and three of rows with 409 ConditionalRequestConflict.",
        expects="They are repeated: a conflict does not say that the object is there.",
        aws=(
            AwsRule("s3", Does.REFUSE, "PUT", where="/state/", times=2, status=409, code="ConditionalRequestConflict"),
            AwsRule("s3", Does.REFUSE, "PUT", where="/rows/", times=3, status=409, code="ConditionalRequestConflict"),
        ),
        max_hops=1,
    ),
    # A PUT that hangs past the lease: writing rows must not keep the lease's thread from its heartbeats.
    Scenario(
        name="rows-stall",
        breaks="The first PUTs under rows/, as many as there are threads and more, hang for 40 s.",
        expects="The lease is kept, the run goes on in the same hop, and no device is asked twice.",
        aws=(AwsRule("s3", Does.DELAY, "PUT", where="/rows/", times=16, seconds=40.0),),
        variables=SLOW,
        behaviour=SLOW_ANSWERS,
        users=6_000,
        max_hops=1,
        give_up_s=300.0,
    ),
    # Reading back settled batches one by one, in front of the sending, would outlast the lease.
    Scenario(
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
    ),
)
