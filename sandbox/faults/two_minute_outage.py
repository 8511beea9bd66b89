"""Both gateways answer 503 for two minutes."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="two-minute-outage",
    breaks="From its 100th request on each gateway answers everything with 503, for two minutes.",
    expects="Nobody fails: what is refused in an outage does not count, and longer waits are a rest.",
    behaviour="sandbox.faults.answers:away_for_two_minutes",
    give_up_s=420.0,
)
