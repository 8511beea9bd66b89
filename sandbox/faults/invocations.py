"""Lambda's invocations: hand-overs that are refused, lost, doubled, or taken without an answer."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario, with_short_hops
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation

_REFUSED_HAND_OVERS = 6
"""More than the AWS library tries."""
_DROPPED_HAND_OVERS = 1


def everything_twice() -> FaultPlan:
    """Every event is delivered twice."""

    def decide(invocation: Invocation) -> Fault:
        return Fault(Delivery.TWICE) if invocation.asynchronous else Fault()

    return decide


def drop_the_first() -> FaultPlan:
    """The first hand-over is taken and never run."""
    return _first_hand_overs(_DROPPED_HAND_OVERS, Delivery.DROPPED)


def refuse_the_first() -> FaultPlan:
    """The first hand-overs are refused."""
    return _first_hand_overs(_REFUSED_HAND_OVERS, Delivery.REFUSED)


def _first_hand_overs(count: int, delivery: Delivery) -> FaultPlan:
    left = iter(range(count))

    def decide(invocation: Invocation) -> Fault:
        strikes = b"continue" in invocation.payload and next(left, None) is not None
        return Fault(delivery) if strikes else Fault()

    return decide


SCENARIOS = (
    # Refused by the API itself: the lane is free already, so Lambda's retry of the caller may claim it.
    with_short_hops(
        Scenario(
            name="invoke-throttled",
            breaks="Lambda throttles the first hand-overs, more often than the AWS library tries.",
            expects="The worker fails, Lambda's retry finds the lane ready and goes on.",
            aws=(
                AwsRule(
                    "lambda",
                    Does.REFUSE,
                    where="/invocations",
                    times=_REFUSED_HAND_OVERS,
                    status=429,
                    code="TooManyRequestsException",
                ),
            ),
        )
    ),
    # The same by another error, one that botocore repeats.
    with_short_hops(
        Scenario(
            name="invoke-fails",
            breaks="Lambda answers the first hand-overs by an internal error, more often than the AWS library tries.",
            expects="The worker fails, Lambda's retry finds the lane ready and goes on.",
            invocations=refuse_the_first,
        )
    ),
    # No invocation fails and none works: only the sweeper can notice.
    with_short_hops(
        Scenario(
            name="invoke-dropped",
            breaks="The first continuation is taken by Lambda and never run.",
            expects="The sweeper finds the hand-over that no worker took.",
            invocations=drop_the_first,
        )
    ),
    # Lambda delivers an event at least once.
    with_short_hops(
        Scenario(
            name="invoke-doubled",
            breaks="Every event reaches two containers in the same instant.",
            expects="One of each pair claims the lane, the other finds it taken.",
            invocations=everything_twice,
        )
    ),
    # The caller repeats and fails although its call succeeded: several successors, and a retry beside them.
    with_short_hops(
        Scenario(
            name="retry-while-successor-runs",
            breaks="The answers to a hand-over are lost: Lambda has taken it, five times, and the worker fails.",
            expects="One successor works; the others and Lambda's retry find the lane taken.",
            aws=(AwsRule("lambda", Does.LOSE, where="/invocations", times=5),),
        )
    ),
)
