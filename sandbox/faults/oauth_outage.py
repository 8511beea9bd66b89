"""Google's token endpoint answers with pages of HTML for a minute."""

from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="oauth-outage",
    breaks="Google's token endpoint answers 502 with a page of HTML for a minute, from the cold start on.",
    expects="The lane rests, unpaid, and goes on when tokens are there; nobody is asked twice.",
    oauth="sandbox.faults.tokens:pages",
    variables={"FCM_CONNECTIONS": "9"},
    give_up_s=240.0,
)
