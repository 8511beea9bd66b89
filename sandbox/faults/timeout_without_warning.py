"""The function's time is up while its clock says that there is plenty."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="timeout-without-warning",
    breaks="The function's time is up while its clock says that there is plenty.",
    expects="Each invocation is killed at its timeout, and the next one goes on after the lease.",
    variables={**SLOW, "SANDBOX_CLOCK_AHEAD_MS": "600000"},
    behaviour=SLOW_ANSWERS,
    timeout_s=4,
    max_hops=20,
    recurse_below_ms=1_900,
    users=2_500,
)
