"""A fiftieth of the devices is not answered at the first attempt."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="never-an-answer",
    breaks="A fiftieth of the devices is not answered at the first attempt.",
    expects="They are asked for again when the request's time is over, and counted as possibly repeated.",
    behaviour="sandbox.faults.answers:silent",
    variables={"REQUEST_TIMEOUT_MS": "1000"},
)
