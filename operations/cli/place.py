"""Where the stack is: given by name, by a file, or by the environment; and the clients for it."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from notifier.counting.store import DynamoCountJobs
from notifier.model.run import Lane, LaneState, Run, source_of
from notifier.model.validation import shape_faults
from notifier.stores.ledger import DynamoLedger
from operations.cli.trouble import ExitCode, Trouble

MOST_RUNS = 50
"""Of one campaign that are looked at."""
RUN_ID = re.compile(r"[0-9a-f]{20}")
HOW = (
    "say --stack NAME (the CloudFormation stack), or --stack-file FILE, or set NOTIFIER_BUCKET, NOTIFIER_TABLE, "
    "NOTIFIER_WORKER and NOTIFIER_CONTROL (the stack's output OperatorEnvironment prints them)"
)


class Place(msgspec.Struct, frozen=True):
    """A stack. The form of a stack file; `endpoint_url` and the keys are for the sandbox, and absent for AWS."""

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
    """Where its pages are, with the stage and without a slash at the end."""


def find_place(stack: str | None, stack_file: Path | None, environment: Mapping[str, str] = os.environ) -> Place:
    """The stack that is meant: what was said wins over the environment.

    Raises:
        Trouble: nothing was said, or it is not there.
    """
    stack_file = stack_file or (None if stack else _path(environment.get("NOTIFIER_STACK_FILE")))
    if stack_file is not None:
        try:
            decoded = msgspec.json.decode(stack_file.read_bytes())
        except msgspec.DecodeError:
            raise Trouble(
                ExitCode.USAGE, f"{stack_file}: not a stack file: not JSON", "let the sandbox write it"
            ) from None
        if faults := tuple(shape_faults(decoded, Place, "stack")):
            why = "; ".join(map(str, faults))
            raise Trouble(ExitCode.USAGE, f"{stack_file}: not a stack file: {why}", "let the sandbox write it")
        return msgspec.convert(decoded, Place)
    stack = stack or environment.get("NOTIFIER_STACK")
    if stack:
        return _from_cloudformation(stack, environment.get("AWS_REGION") or None)
    names = {name: environment.get(f"NOTIFIER_{name.upper()}", "") for name in ("bucket", "table", "worker", "control")}
    missing = [f"NOTIFIER_{name.upper()}" for name, value in names.items() if not value]
    if missing:
        raise Trouble(ExitCode.USAGE, f"which stack? ({', '.join(missing)} not set)", HOW)
    return Place(**names, region=environment.get("AWS_REGION") or None)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _from_cloudformation(stack: str, region: str | None) -> Place:
    """`region` None leaves it to boto3, which knows AWS_DEFAULT_REGION and the profile's, and not AWS_REGION."""
    client = boto3.client("cloudformation", region_name=region)
    try:
        pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
        found = {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
            if one.get("PhysicalResourceId") and not one["ResourceStatus"].startswith("DELETE_")
        }
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            raise Trouble(
                ExitCode.NOT_FOUND, f"there is no stack {stack!r} here", "check its name and AWS_REGION"
            ) from None
        raise
    try:
        worker = found["WorkerFunction"] + ":live"
        bucket = found.get("Bucket") or _bucket_of(worker, region)
        place = Place(bucket, found["Table"], worker, found["ControlFunction"], region)
    except KeyError as missing:
        mend = "is it the notifier's stack, and is its deployment over?"
        raise Trouble(ExitCode.NOT_FOUND, f"stack {stack!r} has no {missing}", mend) from None
    if "ApprovalFunction" not in found:
        return place
    return msgspec.structs.replace(place, approval=found["ApprovalFunction"], pages=_pages(client, stack))


def _pages(client: Any, stack: str) -> str | None:
    """Where the approval pages are, as the stack's output says it."""
    [described] = client.describe_stacks(StackName=stack)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", ())}
    url = outputs.get("ApprovalPages")
    return url.rstrip("/") if url else None


def _bucket_of(worker: str, region: str | None) -> str:
    """The bucket that a stack uses and has not made."""
    configuration = boto3.client("lambda", region_name=region).get_function_configuration(FunctionName=worker)
    return str(configuration["Environment"]["Variables"]["BUCKET"])


class Cloud:
    """The stack's services. Clients are made when they are first needed."""

    def __init__(self, place: Place, now: Callable[[], float] = time.time) -> None:
        self.place = place
        self.now = now
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client."""
        if service not in self._clients:
            place = self.place
            config = Config(
                retries={"mode": "standard", "total_max_attempts": 3},
                read_timeout=900 if service == "lambda" else 60,
                max_pool_connections=16,
                s3={"addressing_style": "path" if place.endpoint_url else "auto"},
            )
            keys = {"aws_access_key_id": place.access_key_id, "aws_secret_access_key": place.secret_access_key}
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]
                endpoint_url=place.endpoint_url,
                region_name=place.region,
                config=config,
                **(keys if place.access_key_id else {}),
            )
        return self._clients[service]

    @property
    def ledger(self) -> DynamoLedger:
        """The ledger; the command line only reads it."""
        return DynamoLedger(self.client("dynamodb"), self.place.table, self.now)

    @property
    def count_jobs(self) -> DynamoCountJobs:
        """Counting jobs; the command line only reads them."""
        return DynamoCountJobs(
            self.client("dynamodb"), self.place.table, self.client("s3"), self.place.bucket, self.now
        )

    def control(self, event: Mapping[str, Any], *, wait: bool = True) -> dict[str, Any]:
        """Ask the control function. Raises Trouble when it fails."""
        kind = "RequestResponse" if wait else "Event"
        payload = msgspec.json.encode(event)
        answer = self.client("lambda").invoke(FunctionName=self.place.control, InvocationType=kind, Payload=payload)
        if not wait:
            return {}
        body = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise Trouble(
                ExitCode.UNREACHABLE, f"the control function failed: {body.decode()[:500]}", "look at its logs"
            )
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded

    def nudge(self, bucket: str, key: str, version_id: str | None) -> None:
        """Have the worker look at an object that is there already."""
        event = {"bucket": bucket, "key": key} | ({"version_id": version_id} if version_id else {})
        self.client("lambda").invoke(
            FunctionName=self.place.worker, InvocationType="Event", Payload=msgspec.json.encode(event)
        )

    # -- runs ---------------------------------------------------------------------------------------------------------

    def run_id_of(self, name: str) -> str:
        """The run that is meant by a run id, an object's URL, or a campaign id.

        Raises:
            Trouble: there is none.
        """
        if name.startswith("s3://"):
            bucket, key = split_url(name)
            head = self.client("s3").head_object(Bucket=bucket, Key=key)
            return source_of(bucket, key, head.get("VersionId"), head["ETag"]).run_id
        if RUN_ID.fullmatch(name) and self.ledger.read_run(name) is not None:
            return name
        run_id = meant(self.ledger.runs_of(name), self.ledger.read_lane)
        if run_id is None:
            raise Trouble(
                ExitCode.NOT_FOUND,
                f"no run {name!r} in {self.place.table}",
                "give a run id, the batch file's s3://bucket/key, or a campaign's id (once its file was readable)",
            )
        return run_id

    def read(self, run_id: str) -> tuple[Run, Lane]:
        """The run and its lane. Raises Trouble when there is none."""
        run, lane = self.ledger.read_run(run_id), self.ledger.read_lane(run_id)
        if run is None or lane is None:
            mend = "was the file dropped under batches/? It takes a moment before the worker begins"
            raise Trouble(ExitCode.NOT_FOUND, f"no run {run_id!r} in {self.place.table}", mend)
        return run, lane


def meant(run_ids: Sequence[str], read_lane: Callable[[str], Lane | None]) -> str | None:
    """Which run of a campaign is meant, of all there were, the latest first.

    One that is not over, before one that is; one that sends, before one that only rehearsed or was refused.
    """
    lanes = {run_id: lane for run_id in run_ids[:MOST_RUNS] if (lane := read_lane(run_id)) is not None}

    def rank(run_id: str) -> tuple[bool, bool]:
        account = lanes[run_id].account
        return lanes[run_id].state is not LaneState.DONE, account.devices > 0 and not account.dry

    return max(lanes, key=rank, default=None)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises Trouble."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise Trouble(ExitCode.USAGE, f"{url}: not s3://bucket/key", "give bucket and key")
    return bucket, key
