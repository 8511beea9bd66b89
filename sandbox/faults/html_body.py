"""A tenth of the devices is first answered by a page of HTML."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="html-body",
    breaks="A tenth of the devices is first answered by a page of HTML.",
    expects="They are asked for again.",
    behaviour="sandbox.faults.answers:html",
)
