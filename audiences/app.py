"""The Lambda entry of the audience function: `{"prepare": RUN, "worker": FUNCTION}` makes the audience of a run."""

import json
import os
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from audiences.build import build, found_manifest
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.engines.port import Limits as QueryLimits
from audiences.manifest_format import NAME, Manifest, folder_of
from audiences.request import Resolver, order_of
from audiences.run_preparation import Progress, RunPreparation
from audiences.store import PreparationStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

WORK = Path("/tmp/audiences")  # noqa: S108 - Lambda's only writable place
QUERY_TIME_S = 300.0
"""How long one query may take: of the function's 900 s, some must be left for the audience itself."""
MB_OF_ONE_VCPU = 1_769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""


def handler(event: object, _context: "LambdaContext") -> dict[str, Any]:
    """Make the audience of the run that the event names."""
    members: Mapping[str, Any] = event if isinstance(event, Mapping) else {}
    if not members.get("prepare"):
        raise ValueError('expected {"prepare": RUN, "worker": FUNCTION}')
    outcome = _process().handle(str(members["prepare"]), str(members.get("worker", "")))
    answer: dict[str, Any] = msgspec.to_builtins(outcome)
    sys.stdout.write(json.dumps({"level": "INFO", "message": "prepared", **answer}) + "\n")
    return answer


@cache
def _process() -> RunPreparation:
    """The parts that every invocation of a process uses."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20)
    session = boto3.Session()
    store = PreparationStore(session.client("dynamodb", config=config), os.environ["TABLE"], time.time)
    make = S3Maker(session.client("s3", config=config), os.environ["BUCKET"], os.environ)
    return RunPreparation(store, make, WorkerNudge(session.client("lambda", config=config)), WORK)


class S3Maker:
    """Makes audiences of objects in S3, by DuckDB, in the stack's bucket.

    Args:
        bucket: the stack's.
        environment: what Lambda says of the function, and `STORAGE_MB`.
    """

    def __init__(self, client: Any, bucket: str, environment: Mapping[str, str]) -> None:
        self._client = client
        self._destination = Bucket(client, bucket)
        self._memory_mb = int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"))
        self._storage_mb = int(environment.get("STORAGE_MB", "2048"))

    def __call__(self, request: Mapping[str, Any], bucket: str, work: Path, on_progress: Progress) -> str:
        """Make the audience and return the key of its manifest."""
        resolved = Resolver(self._client, self._destination.bucket, bucket).resolve(request)
        found = found_manifest(self._destination, resolved.id)
        if found is not None:
            return key_of(found)
        on_progress("reading what it is made of", 0)
        # Milliseconds: another run may be having the same audience made, and no two attempts share a folder.
        attempt = time.time_ns() // 1_000_000
        # A query and the database are never at work at the same time: each may use the whole share.
        limits = QueryLimits.of_function(self._memory_mb, self._storage_mb, QUERY_TIME_S)
        order = order_of(self._client, resolved, attempt, work / "inputs", limits)
        return key_of(build(order, self._destination, self.limits(work / "database"), on_progress))

    def limits(self, work: Path) -> Limits:
        """60 % of the function's memory, as many threads as it has vCPUs, half of its storage to spill to."""
        threads = max(1, round(self._memory_mb / MB_OF_ONE_VCPU))
        return Limits(work, self._memory_mb * 6 // 10, threads, self._storage_mb // 2)


class WorkerNudge:
    """Invokes the worker asynchronously, in the version of the code that the run began with."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __call__(self, worker: str, run_id: str, version: str) -> None:
        """Nudge a lane that is ready. Where that version was deleted the sweeper does it."""
        parts = worker.split(":")
        name = ":".join(parts[:7]) if worker.startswith("arn:") else parts[0]
        qualifier = {"Qualifier": version} if version and version != "$LATEST" else {}
        payload = json.dumps({"notifier": "nudge", "run_id": run_id, "lane": 0}).encode()
        try:
            self._client.invoke(FunctionName=name, InvocationType="Event", Payload=payload, **qualifier)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def key_of(manifest: Manifest) -> str:
    """The manifest's key in the stack's bucket."""
    return folder_of(manifest.id) + NAME
