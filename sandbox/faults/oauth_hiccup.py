"""Google's token endpoint answers 503 for 5 s at the cold start, and again when the token is to be renewed."""

from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIO = Scenario(
    name="oauth-hiccup",
    breaks="Google's token endpoint answers 503 for 5 s at the cold start, and again when the token is renewed.",
    expects="The run waits for the token and goes on; nobody is asked twice.",
    oauth="sandbox.faults.tokens:hiccup",
    behaviour=SLOW_ANSWERS,
    users=6_000,
    variables=SLOW | {"FCM_CONNECTIONS": "9"},  # other settings make new processes, which have no access token yet
    max_hops=1,
)
