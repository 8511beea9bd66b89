"""FCM answers 400 requests in a row by 429 with Retry-After."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="storm-429",
    breaks="FCM answers 400 requests in a row by 429 with Retry-After.",
    expects="FCM is asked more slowly, APNs is not; no device fails.",
    behaviour="sandbox.faults.answers:storm",
    in_gate=True,
)
