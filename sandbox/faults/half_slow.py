"""Half of all answers take 0.7 s."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="half-slow",
    breaks="Half of all answers take 0.7 s.",
    expects="The others are not kept waiting.",
    behaviour="sandbox.faults.answers:half_slow",
    users=1_000,
)
