"""What only the deployed worker can say: whether its own role reads the secrets."""

from collections.abc import Iterator
from typing import Any

import msgspec

from operations.cli.check import Check
from operations.cli.cloud import Cloud

CHECK_SECRETS = b'{"check":"secrets"}'
"""The worker's event for it (notifier.entries.secret_access)."""


def role_check(cloud: Cloud) -> Iterator[Check]:
    """Whether the worker's own role reads the secrets: with rights and KMS keys that are not the operator's."""
    name = "worker's role"
    answer = cloud.client("lambda").invoke(FunctionName=cloud.deployment.worker, Payload=CHECK_SECRETS)
    body = answer["Payload"].read()
    if answer.get("FunctionError"):
        yield Check(name, False, f"the worker failed: {body.decode()[:300]}", "look at its log (output FollowTheLogs)")
        return
    found: dict[str, Any] = msgspec.json.decode(body)
    secrets: dict[str, str] | None = found.get("secrets")
    if secrets is None:
        yield Check(name, None, "the deployed release cannot be asked for its secrets", "deploy this release")
        return
    faults = [fault for fault in secrets.values() if fault]
    if faults:
        yield Check(name, False, "; ".join(faults), "a run would stop with this reason")
    elif secrets:
        yield Check(name, True, "the worker reads its secrets")
