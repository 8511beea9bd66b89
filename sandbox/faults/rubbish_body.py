"""A tenth of the devices is first answered by JSON of the wrong shape, or no JSON."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="rubbish-body",
    breaks="A tenth of the devices is first answered by JSON of the wrong shape, or no JSON.",
    expects="They are asked for again.",
    behaviour="sandbox.faults.answers:rubbish",
)
