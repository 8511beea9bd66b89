"""The answers to a hand-over are lost: Lambda has taken it, five times, and the worker fails."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="retry-while-successor-runs",
    breaks="The answers to a hand-over are lost: Lambda has taken it, five times, and the worker fails.",
    expects="One successor works; the others and Lambda's retry find the lane taken.",
    aws=(AwsRule("lambda", Does.LOSE, where="/invocations", times=5),),
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
    in_gate=True,
)
