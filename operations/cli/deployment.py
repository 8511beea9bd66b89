"""What a command knows of a deployed stack: the names of its bucket, table and functions, and where they come from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import msgspec
from botocore.exceptions import ClientError

from notifier.model.validation import shape_faults
from operations.cli.errors import CommandError, ExitCode

_REQUIRED = ("bucket", "table", "worker", "control")
HOW = (
    "give --stack NAME (the CloudFormation stack), or --stack-file FILE, or set NOTIFIER_BUCKET, NOTIFIER_TABLE, "
    "NOTIFIER_WORKER and NOTIFIER_CONTROL (the stack's output OperatorEnvironment prints them)"
)


class Deployment(msgspec.Struct, frozen=True):
    """A deployed stack, as a stack file has it. `endpoint_url` and the keys are the sandbox's, and absent for AWS."""

    bucket: str
    table: str
    worker: str
    control: str
    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    approval: str | None = None
    """The approval app's function, where the stack has one."""
    pages: str | None = None
    """The URL of its pages, with the stage and without a slash at the end."""
    schedules: str | None = None
    """The function of the schedules; a stack of an earlier release has none."""


def find_deployment(
    stack: str | None, stack_file: Path | None, environment: Mapping[str, str] = os.environ
) -> Deployment:
    """The stack that a command is for. The command line wins over the environment, a stack file over a stack's name.

    Raises:
        CommandError: none was named, or it does not exist.
    """
    if stack_file is not None:
        return _from_file(stack_file)
    if not stack and environment.get("NOTIFIER_STACK_FILE"):
        return _from_file(Path(environment["NOTIFIER_STACK_FILE"]))
    # Empty counts as unset: a shell script that exports a variable it does not know exports an empty one.
    region = environment.get("AWS_REGION") or None
    stack = stack or environment.get("NOTIFIER_STACK")
    return _from_cloudformation(stack, region) if stack else _from_environment(environment, region)


def _from_file(path: Path) -> Deployment:
    try:
        decoded = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError:
        raise CommandError(ExitCode.USAGE, f"{path}: not a stack file: not JSON", "let the sandbox write it") from None
    if faults := tuple(shape_faults(decoded, Deployment, "stack")):
        why = "; ".join(map(str, faults))
        raise CommandError(ExitCode.USAGE, f"{path}: not a stack file: {why}", "let the sandbox write it")
    return msgspec.convert(decoded, Deployment)


def _from_environment(environment: Mapping[str, str], region: str | None) -> Deployment:
    names = {name: environment.get(f"NOTIFIER_{name.upper()}", "") for name in _REQUIRED}
    missing = [f"NOTIFIER_{name.upper()}" for name, value in names.items() if not value]
    if missing:
        raise CommandError(ExitCode.USAGE, f"which stack? ({', '.join(missing)} not set)", HOW)
    return Deployment(**names, region=region, schedules=environment.get("NOTIFIER_SCHEDULES") or None)


def _from_cloudformation(stack: str, region: str | None) -> Deployment:
    """`region` None leaves it to boto3, which reads AWS_DEFAULT_REGION and the profile, and ignores AWS_REGION."""
    client = boto3.client("cloudformation", region_name=region)
    found = _resources(client, stack)
    try:
        worker = found["WorkerFunction"] + ":live"
        # A stack may use a bucket that existed before it: then the bucket is not among its resources.
        bucket = found.get("Bucket") or _bucket_of(worker, region)
        deployment = Deployment(
            bucket, found["Table"], worker, found["ControlFunction"], region, schedules=found.get("ScheduleFunction")
        )
    except KeyError as missing:
        mend = "is it the notifier's stack, and has its deployment finished?"
        raise CommandError(ExitCode.NOT_FOUND, f"stack {stack!r} has no {missing}", mend) from None
    if "ApprovalFunction" not in found:
        return deployment
    return msgspec.structs.replace(deployment, approval=found["ApprovalFunction"], pages=_pages(client, stack))


def _resources(client: Any, stack: str) -> dict[str, str]:
    """Physical names by logical id. Raises CommandError where there is no such stack."""
    try:
        pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            # A resource that is being created has no name yet, and one that was deleted still has its old one.
            if one.get("PhysicalResourceId") and not one["ResourceStatus"].startswith("DELETE_")
        }
    except ClientError as error:
        # CloudFormation has no error of its own for a stack that does not exist.
        if error.response["Error"]["Code"] == "ValidationError":
            raise CommandError(
                ExitCode.NOT_FOUND, f"there is no stack {stack!r} here", "check its name and AWS_REGION"
            ) from None
        raise


def _pages(client: Any, stack: str) -> str | None:
    """The URL of the approval pages, from the stack's outputs."""
    [described] = client.describe_stacks(StackName=stack)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", ())}
    url = outputs.get("ApprovalPages")
    return url.rstrip("/") if url else None


def _bucket_of(worker: str, region: str | None) -> str:
    """The bucket of a stack that did not create its own, from the worker's environment."""
    configuration = boto3.client("lambda", region_name=region).get_function_configuration(FunctionName=worker)
    return str(configuration["Environment"]["Variables"]["BUCKET"])
