"""FCM refuses the payload of one device."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="one-poisoned-record",
    breaks="FCM refuses the payload of one device.",
    expects="That device is rejected, the run goes on.",
    behaviour="sandbox.faults.answers:poison",
    rejected=1,
    in_gate=True,
)
