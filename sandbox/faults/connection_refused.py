"""For three seconds nobody listens where FCM and APNs should be."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="connection-refused",
    breaks="For three seconds nobody listens where FCM and APNs should be.",
    expects="Devices are asked for later; none fails.",
    deaf_s=3.0,
    in_gate=True,
)
