"""Every hundredth request gets a 503."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="one-percent-503",
    breaks="Every hundredth request gets a 503.",
    expects="They are asked for again.",
    behaviour="sandbox.faults.answers:one_in_a_hundred_unavailable",
)
