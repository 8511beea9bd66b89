"""The worker's process ends without warning, at each point where a crash leaves something half done."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, with_short_hops

SCENARIOS = (
    # A claim exists and no worker knows of it.
    Scenario(
        name="killed-during-the-claim",
        breaks="The function is killed with -9 when DynamoDB has taken its claim and the answer is on its way.",
        expects="The lease ends, and the next claim begins where the lost one would have.",
        aws=(AwsRule("dynamodb", Does.KILL_AFTER, "UpdateItem", where="holder = :holder"),),
    ),
    # The campaign id is taken and the run has done nothing yet.
    Scenario(
        name="killed-while-opening",
        breaks="The function is killed with -9 when it has opened the run: campaign taken, state stored.",
        expects="The next claim finds the state; the campaign id is not refused to its own run.",
        aws=(AwsRule("s3", Does.KILL_AFTER, "PUT", where="/state/"),),
    ),
    # Pushes are out and no row says so: the case that `possibly_repeated` is for.
    Scenario(
        name="killed-mid-batch",
        breaks="The function is killed with -9 when answers are in and no row is written.",
        expects="After the lease the unsettled batches are asked for again, and counted as possibly repeated.",
        aws=(AwsRule("s3", Does.KILL_BEFORE, "PUT", where=r"/rows/"),),
        in_gate=True,
    ),
    # Rows say so and the ledger does not: asking again would repeat what is known.
    Scenario(
        name="killed-between-rows-and-ledger",
        breaks="The function is killed with -9 when rows are written and the ledger does not know it.",
        expects="The next invocation finds the rows and passes those batches over.",
        aws=(AwsRule("dynamodb", Does.KILL_BEFORE, "UpdateItem", where="#cursor = :cursor"),),
        in_gate=True,
    ),
    # The lane is free and no worker was invoked.
    with_short_hops(
        Scenario(
            name="killed-between-ledger-and-invoke",
            breaks="The function is killed with -9 when it has handed over and not yet invoked itself.",
            expects="Lambda's retry of the killed invocation finds the lane ready and goes on; nothing is repeated.",
            aws=(AwsRule("lambda", Does.KILL_BEFORE, where="/invocations"),),
            in_gate=True,
        )
    ),
    # Everything is sent and the summary is missing.
    Scenario(
        name="killed-while-closing",
        breaks="The function is killed with -9 before the summary of the finished run is written.",
        expects="The sweeper closes the run.",
        aws=(AwsRule("s3", Does.KILL_BEFORE, "PUT", where="/summaries/"),),
    ),
    # Repeats are counted over several crashes, once each.
    Scenario(
        name="killed-again-and-again",
        breaks="The function is killed with -9 three times, each time after some batches.",
        expects="Every invocation goes on from what is settled; the account is exact.",
        aws=(AwsRule("s3", Does.KILL_BEFORE, "PUT", where="/rows/", skip=1, every=2, times=3),),
        users=5_000,
        max_hops=8,
    ),
    # Lambda kills for memory in the same way, with another error type.
    Scenario(
        name="out-of-memory",
        breaks="The function takes more memory than it has and is killed for it.",
        expects="As after any crash: the next invocation goes on.",
        variables={**SLOW, "SANDBOX_BALLAST_ONCE": "a file"},
        behaviour=SLOW_ANSWERS,
        memory_mb=400,
    ),
    # The clock by which a worker hands over in time is wrong.
    Scenario(
        name="timeout-without-warning",
        breaks="The function's time is up while its clock says that there is plenty.",
        expects="Each invocation is killed at its timeout, and the next one goes on after the lease.",
        variables={**SLOW, "SANDBOX_CLOCK_AHEAD_MS": "600000"},
        behaviour=SLOW_ANSWERS,
        timeout_s=4,
        max_hops=20,
        recurse_below_ms=1_900,
        users=2_500,
    ),
)
