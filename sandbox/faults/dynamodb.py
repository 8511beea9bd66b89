"""DynamoDB: the ledger's writes are throttled, slow, or done without an answer."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, with_short_hops

SCENARIOS = (
    # botocore repeats the claim, and the condition refuses it because the first one succeeded.
    Scenario(
        name="claim-answer-lost",
        breaks="The answer to the claim is lost.",
        expects="The repeated claim is refused by our own success, which is recognised.",
        aws=(AwsRule("dynamodb", Does.LOSE, "UpdateItem", where="holder = :holder"),),
        max_hops=1,
    ),
    # The same at any write of the ledger.
    with_short_hops(
        Scenario(
            name="dynamodb-answer-lost",
            breaks="The answers to the ledger's writes are lost, every third, claims and hand-overs included.",
            expects="The refusal of the repeated write is read back before it is believed.",
            aws=(AwsRule("dynamodb", Does.LOSE, "UpdateItem", times=0, every=3),),
        )
    ),
    # A worker that cannot renew its lease must stop before another one may claim the lane.
    Scenario(
        name="dynamodb-times-out",
        breaks="A write of the ledger takes twice the length of a lease.",
        expects="The worker stops sending before its lease is over, and leaves the lane to the next claim.",
        aws=(AwsRule("dynamodb", Does.DELAY, "UpdateItem", where="#cursor = :cursor", skip=1, seconds=6.5),),
        variables=SLOW,
        behaviour=SLOW_ANSWERS,
        users=2_500,
    ),
    # Throttling at any call, hand-overs included.
    with_short_hops(
        Scenario(
            name="dynamodb-throttles",
            breaks="DynamoDB throttles a fifth of all calls.",
            expects="Calls are repeated; the run goes on.",
            aws=(AwsRule("dynamodb", Does.REFUSE, times=0, share=0.2, code="ProvisionedThroughputExceededException"),),
        )
    ),
)
