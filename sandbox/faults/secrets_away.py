"""Secrets Manager throttles and fails when a function's first run reads the secrets."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario

SCENARIO = Scenario(
    name="secrets-away",
    breaks="Secrets Manager throttles four calls and answers four with 500, at the cold start.",
    expects="The secrets are read again until they are there; the run goes on.",
    aws=(
        AwsRule("secretsmanager", Does.REFUSE, times=4, status=400, code="ThrottlingException"),
        AwsRule("secretsmanager", Does.REFUSE, times=4, status=500, code="InternalServiceError"),
    ),
    variables={"FCM_CONNECTIONS": "9"},  # other settings make new processes, which have read no secret yet
    max_hops=1,
)
