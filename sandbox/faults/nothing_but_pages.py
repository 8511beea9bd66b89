"""A proxy puts itself in FCM's place in the middle of a run, and answers everything by a page."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="nothing-but-pages",
    breaks="After 200 acceptances FCM's address answers everything by a 404 page of HTML.",
    expects="The run stops after a few hundred requests at most; no device is refused for it.",
    behaviour="sandbox.faults.answers:nothing_but_pages",
    users=6_000,
    status="stopped",
    reason="^http_404: ",
)
