"""What the credentials are made of is slow or away: Google's token endpoint, Secrets Manager.

Each has other settings than its neighbours: they make new processes, which have no credentials yet.
"""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario

SCENARIOS = (
    # Tokens are good for 8 s: the second hiccup outlasts the first token.
    Scenario(
        name="oauth-hiccup",
        breaks="Google's token endpoint answers 503 for 5 s at the cold start, and again when the token is renewed.",
        expects="The run waits for the token and goes on; no device is asked twice.",
        oauth="sandbox.faults.tokens:hiccup",
        behaviour=SLOW_ANSWERS,
        users=6_000,
        variables=SLOW | {"FCM_CONNECTIONS": "9"},
        max_hops=1,
    ),
    # A loop that waited for the token would find answers that are older than the 5 s of a request.
    Scenario(
        name="oauth-slow",
        breaks="Google's token endpoint takes 7 s for every token, and a token is good for 24 s.",
        expects="Tokens are renewed in the background; no answer is taken for a timeout, no device is asked twice.",
        oauth="sandbox.faults.tokens:slow",
        behaviour=SLOW_ANSWERS,
        users=12_000,
        variables=SLOW | {"FCM_CONNECTIONS": "10", "REQUEST_TIMEOUT_MS": "5000"},
        max_hops=1,
    ),
    # botocore itself tries twice only: the rest is the keys' own patience.
    Scenario(
        name="secrets-away",
        breaks="Secrets Manager throttles four calls and answers four with 500, at the cold start.",
        expects="The secrets are read again until they are there; the run goes on.",
        aws=(
            AwsRule("secretsmanager", Does.REFUSE, times=4, status=400, code="ThrottlingException"),
            AwsRule("secretsmanager", Does.REFUSE, times=4, status=500, code="InternalServiceError"),
        ),
        variables={"FCM_CONNECTIONS": "11"},
        max_hops=1,
    ),
)
