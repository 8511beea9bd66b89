"""A stack's services for the commands: boto3 clients, the ledger, the control function, and which run a name means."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import ClientError

from notifier.model.run import COMMANDS, REFUSED, Lane, LaneState, LedgerTooNew, Run, source_of
from notifier.model.whole_run import as_one
from notifier.stores.ledger import DynamoLedger
from operations.cli.check import THROTTLED
from operations.cli.deployment import Deployment
from operations.cli.errors import CommandError, ExitCode

MOST_RUNS = 50
"""Runs of one campaign that are compared."""
RUN_ID = re.compile(r"[0-9a-f]{20}")
LAMBDA_TIMEOUT_S = 900
"""Lambda's longest: an invocation that is waited for may take as long."""

UNREADABLE = (LedgerTooNew, ValueError, LookupError)
"""What reading a lane raises of a newer release, or damaged."""
CANNOT_READ = "this release cannot read the run"
USE_ITS_RELEASE = "use the one that began it"


class Cloud:
    """The stack's services. Each client is made when it is first used: most commands need one or two."""

    def __init__(self, deployment: Deployment, now: Callable[[], float] = time.time) -> None:
        self.deployment = deployment
        self.now = now
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client."""
        if service not in self._clients:
            deployment = self.deployment
            config = Config(
                retries={"mode": "standard", "total_max_attempts": 3},
                read_timeout=LAMBDA_TIMEOUT_S if service == "lambda" else 60,
                max_pool_connections=16,
                # The sandbox has no host name for each bucket.
                s3={"addressing_style": "path" if deployment.endpoint_url else "auto"},
            )
            keys = {
                "aws_access_key_id": deployment.access_key_id,
                "aws_secret_access_key": deployment.secret_access_key,
            }
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]
                endpoint_url=deployment.endpoint_url,
                region_name=deployment.region,
                config=config,
                **(keys if deployment.access_key_id else {}),
            )
        return self._clients[service]

    @property
    def ledger(self) -> DynamoLedger:
        """The ledger. Commands only read it, but for an operator's command or a hold that Lambda has no room for."""
        return DynamoLedger(self.client("dynamodb"), self.deployment.table, self.now)

    def control(self, event: Mapping[str, Any], *, wait: bool = True) -> dict[str, Any]:
        """What the control function answers; nothing without `wait`. Raises CommandError when it fails."""
        kind = "RequestResponse" if wait else "Event"
        payload = msgspec.json.encode(event)
        answer = self.client("lambda").invoke(
            FunctionName=self.deployment.control, InvocationType=kind, Payload=payload
        )
        if not wait:
            return {}
        body = answer["Payload"].read()
        if answer.get("FunctionError"):
            raise CommandError(
                ExitCode.UNREACHABLE, f"the control function failed: {body.decode()[:500]}", "look at its logs"
            )
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded

    def command(self, action: str, run_id: str, by: str) -> dict[str, Any]:
        """Pause, resume or cancel a run, by the control function; where Lambda throttles it, by the ledger itself.

        The very run that is to be stopped may have taken all of the account's concurrency.
        """
        try:
            return self.control({"action": action, "run_id": run_id, "by": by})
        except ClientError as error:
            if error.response["Error"]["Code"] not in THROTTLED:
                raise
        # A lane without a worker is ready by this write, and due: the sweeper nudges it within a minute.
        try:
            lanes = self.ledger.control_run(run_id, COMMANDS[action], by)
        except UNREADABLE:
            raise CommandError(ExitCode.UNREACHABLE, CANNOT_READ, USE_ITS_RELEASE) from None
        if not lanes:
            return {"status": "refused", "run_id": run_id, "reason": REFUSED}
        whole = as_one(lanes)
        return {"status": whole.status, "run_id": run_id, "control": whole.control.value, "by_ledger": True}

    def nudge(self, bucket: str, key: str, version_id: str | None) -> None:
        """Start the worker on an object that is in S3 already. Safe to repeat: one version of an object is one run."""
        event = {"bucket": bucket, "key": key} | ({"version_id": version_id} if version_id else {})
        self.client("lambda").invoke(
            FunctionName=self.deployment.worker, InvocationType="Event", Payload=msgspec.json.encode(event)
        )

    def run_id_of(self, name: str) -> str:
        """The id of the run that a run id, an object's URL or a campaign id names.

        Raises:
            CommandError: there is no such run.
        """
        if name.startswith("s3://"):
            bucket, key = split_url(name)
            try:
                head = self.client("s3").head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                # HEAD has no body: AWS's own words name neither the bucket nor the key.
                if error.response["Error"]["Code"] != "404":
                    raise
                mend = "check bucket and key; of a file that is deleted, give the run's id or the campaign's"
                raise CommandError(ExitCode.NOT_FOUND, f"{name}: there is no such object", mend) from None
            return source_of(bucket, key, head.get("VersionId"), head["ETag"]).run_id
        # A campaign may have an id that looks like a run's: it is a run's id only if there is such a run.
        if RUN_ID.fullmatch(name) and self.ledger.read_run(name) is not None:
            return name
        run_id = choose_run(self.ledger.runs_of(name), self._whole)
        if run_id is None:
            raise CommandError(
                ExitCode.NOT_FOUND,
                f"no run {name!r} in {self.deployment.table}",
                "give a run id, the batch file's s3://bucket/key, or a campaign's id (once its file was readable)",
            )
        return run_id

    def approved_by(self, run: Run) -> str:
        """Who approved exactly the bytes of the run's file; empty where nobody did, or the file is gone."""
        approval = self.ledger.approval(run.source.bucket, run.source.key)
        if approval is None:
            return ""
        version: Any = {"VersionId": run.source.version_id} if run.source.version_id else {}
        try:
            found = self.client("s3").get_object(Bucket=run.source.bucket, Key=run.source.key, **version)
        except ClientError:
            return ""
        # An approved file names its audience and does not hold it: it is small.
        return approval.by if sha256(found["Body"].read()).hexdigest() == approval.sha256 else ""

    def _whole(self, run_id: str) -> Lane | None:
        """The lanes of a run as one; None of an unknown run."""
        lanes = self.ledger.lanes_of(run_id)
        return as_one(lanes) if lanes else None

    def read(self, run_id: str) -> tuple[Run, tuple[Lane, ...]]:
        """The run and its lanes. Raises CommandError when there is no such run."""
        run, lanes = self.ledger.read_run(run_id), self.ledger.lanes_of(run_id)
        if run is None or not lanes:
            mend = "was the file dropped under batches/? It takes a moment before the worker begins"
            raise CommandError(ExitCode.NOT_FOUND, f"no run {run_id!r} in {self.deployment.table}", mend)
        return run, lanes


def choose_run(run_ids: Sequence[str], read_lane: Callable[[str], Lane | None]) -> str | None:
    """Which run of a campaign a command is for; None without any.

    A run that is not over comes before one that is; a run that sent, before a rehearsal or a refused one; then the
    latest. So `pause CAMPAIGN` reaches the run that sends, whatever was tried with the same id before or after.

    Args:
        run_ids: of the campaign's runs, the latest first.
    """
    lanes = {run_id: lane for run_id in run_ids[:MOST_RUNS] if (lane := read_lane(run_id)) is not None}

    def rank(run_id: str) -> tuple[bool, bool]:
        account = lanes[run_id].account
        return lanes[run_id].state is not LaneState.DONE, account.devices > 0 and not account.dry

    # Of equals `max` takes the first, which is the latest.
    return max(lanes, key=rank, default=None)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`. Raises CommandError where one is missing."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise CommandError(ExitCode.USAGE, f"{url}: not s3://bucket/key", "give bucket and key")
    return bucket, key
