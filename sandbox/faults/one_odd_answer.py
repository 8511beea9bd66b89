"""A proxy's page, a 403 without a body, one Forbidden: four odd answers after hundreds of acceptances."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="one-odd-answer",
    breaks="FCM answers one device by a 404 page and one by a 403 page, APNs by a bare 403 and by Forbidden.",
    expects="Those devices are asked for again and accepted; the run goes on.",
    behaviour="sandbox.faults.answers:odd",
    in_gate=True,
)
