"""A tenth of the devices is first answered by a 500 without a body."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="no-body",
    breaks="A tenth of the devices is first answered by a 500 without a body.",
    expects="They are asked for again.",
    behaviour="sandbox.faults.answers:no_body",
)
