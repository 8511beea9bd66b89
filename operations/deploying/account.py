"""What is in the AWS account already: so that nobody is asked for what is there, and a repeat changes nothing."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from operations.cli.errors import CommandError, ExitCode

GATEWAYS = ("fcm", "apns")


class Account(msgspec.Struct, frozen=True):
    """An account, as far as a stack of this name is concerned.

    Args:
        secrets: ARNs of the stack's secrets, by gateway.
        parameters: the stack's; None where there is no such stack.
    """

    id: str
    secrets: Mapping[str, str] = {}
    parameters: Mapping[str, str] | None = None


def secret_name(stack: str, gateway: str) -> str:
    """The name of a gateway's secret. Of another stack another one, because stacks are of different apps."""
    return f"{stack}-{gateway}"


def look_at(client: Callable[[str], Any], stack: str, *, by_file: bool = False) -> Account:
    """Read what is there. Nothing is changed.

    Args:
        client: makes a boto3 client of the service that is named.
        by_file: a stack file names the stack, as the sandbox's: it is there, and CloudFormation does not know it.
    """
    account = str(client("sts").get_caller_identity()["Account"])
    parameters = {} if by_file else _parameters(client("cloudformation"), stack)
    secrets = {gateway: _secret(client("secretsmanager"), secret_name(stack, gateway)) for gateway in GATEWAYS}
    # The secrets may have been made by hand, as this was done before there was a command for it.
    named = {gateway: (parameters or {}).get(f"{gateway.capitalize()}SecretArn", "") for gateway in GATEWAYS}
    found = {gateway: named[gateway] or secrets[gateway] for gateway in GATEWAYS}
    return Account(account, {gateway: arn for gateway, arn in found.items() if arn}, parameters)


def _secret(client: Any, name: str) -> str:
    """A secret's ARN; empty where there is none."""
    try:
        found = client.describe_secret(SecretId=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return ""
        raise
    if found.get("DeletedDate"):
        mend = f"aws secretsmanager restore-secret --secret-id {name} keeps it"
        raise CommandError(ExitCode.NOT_FINE, f"the secret {name} is marked for deletion", mend)
    return str(found["ARN"])


def _parameters(client: Any, stack: str) -> dict[str, str] | None:
    try:
        [found] = client.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        # CloudFormation has no error of its own for a stack that does not exist.
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    if found["StackStatus"] == "ROLLBACK_COMPLETE":
        # A first deployment that failed: CloudFormation changes nothing of it any more.
        mend = f"sam delete --stack-name {stack}, then deploy again; its events say why it failed"
        raise CommandError(ExitCode.NOT_FINE, f"the first deployment of the stack {stack} failed", mend)
    return {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", ())}
