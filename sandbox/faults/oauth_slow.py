"""Google's token endpoint takes 7 s for every token."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="oauth-slow",
    breaks="Google's token endpoint takes 7 s for every token, and a token is good for 24 s.",
    expects="Tokens are renewed in the background; no answer is taken for a timeout, nobody is asked twice.",
    oauth="sandbox.faults.tokens:slow",
    behaviour=SLOW_ANSWERS,
    users=12_000,
    variables=SLOW | {"FCM_CONNECTIONS": "9", "REQUEST_TIMEOUT_MS": "5000"},
    max_hops=1,
)
