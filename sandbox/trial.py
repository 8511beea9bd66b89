"""One batch file through everything: a sandbox, its stand-ins, one run, and what the stand-ins say about it."""

import contextlib
import json
import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from notifier.model.run import Lane, LaneState, source_of
from notifier.model.summary import Summary, summary_of
from notifier.model.whole_run import as_one
from notifier.stores.ledger import DynamoLedger
from sandbox.aws import ATHENA_CUTOFF_BYTES, ATHENA_WORKGROUP, LocalAws
from sandbox.deploy import Options
from sandbox.gateways import Gateways
from sandbox.http_server import HttpServer
from sandbox.local_lambda.invocation import Delivery, Fault, FaultPlan, Invocation, no_fault
from sandbox.running import Running
from sandbox.stack import Sandbox

if TYPE_CHECKING:
    from sandbox.bigquery import BigQuery

TEMPLATE = Path(__file__).parent.parent / "template.yaml"
SAMPLES = TEMPLATE.parent / "events"
PART_BYTES = 16 * 1024 * 1024
QUIET_S = 30.0
"""A run whose lane does not change for this long, with no invocation in flight, will not end any more."""


class Setting(msgspec.Struct, frozen=True):
    """How a trial differs from the template's defaults.

    Args:
        mode: live, because in the sandbox no phone can ring.
        ramp_s: 0, so that trials are short; the template's default is 60.
        behaviour: what the stand-ins answer, as `module:function`; by default the token's prefix decides.
        latency_ms: median and 99th percentile of the stand-ins' answers.
        retry_scale: how much Lambda's minutes between retries are shortened.
        schedule_every_s: the sweeper's minute, shortened.
        fires_schedules: whether the function of the schedules has its minute, too. A run of one batch file needs none.
    """

    function_timeout_s: float | None = None
    recurse_below_ms: int | None = None
    memory_mb: int | None = None
    mode: str = "live"
    ramp_s: int = 0
    behaviour: str | None = None
    latency_ms: tuple[float, float] | None = None
    retry_scale: float = 0.05
    schedule_every_s: float = 5.0
    fires_schedules: bool = False
    parameters: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}


def _drop_everything(_invocation: Invocation) -> Fault:
    return Fault(delivery=Delivery.DROPPED)


_ACCOUNT = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_DEFAULT_REGION": "eu-central-1"}


class _Context:
    """Lambda's context for a worker in this process."""

    function_version = "$LATEST"

    def __init__(self, timeout_s: float) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._ends_s = time.monotonic() + timeout_s

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends_s - time.monotonic()) * 1000)


class Trial(Running):
    """A running sandbox with its stand-ins."""

    def __init__(self, sandbox: Sandbox, gateways: Gateways, running: contextlib.ExitStack) -> None:
        self.sandbox = sandbox
        self.gateways = gateways
        self.s3 = sandbox.client("s3")
        self.ledger = DynamoLedger(sandbox.client("dynamodb"), sandbox.table, time.time)
        super().__init__(running)

    @classmethod
    def start(
        cls,
        state_dir: Path,
        setting: Setting,
        faults: FaultPlan = no_fault,
        *,
        in_process: bool = False,
        template: Path = TEMPLATE,
        gateways: Gateways | None = None,
    ) -> Self:
        """Start stand-ins and stack. Nothing is left running when this fails.

        With `in_process` the local Lambda drops every event: `work_here` calls the worker in this very process.

        Args:
            gateways: what answers in place of the stand-ins, which are not started then.
        """
        if in_process:
            faults = _drop_everything
        with contextlib.ExitStack() as running:
            latency = setting.latency_ms
            gateways = running.enter_context(
                gateways or Gateways.start(state_dir / "gateways", behaviour=setting.behaviour, latency_ms=latency)
            )
            sandbox = running.enter_context(
                Sandbox.start(
                    state_dir / "aws",
                    template,
                    parameters_of(setting, gateways),
                    _options(setting),
                    retry_scale=setting.retry_scale,
                    faults=faults,
                    setting_up=lambda aws: {**make_secrets(aws, gateways), **_warehouse(aws, gateways, running)},
                )
            )
            return cls(sandbox, gateways, running.pop_all())

    def stock(self) -> None:
        """Put the samples' queries, and the tables that they read, into the bucket."""
        for folder in ("queries", "standing"):
            for path in sorted((SAMPLES / folder).rglob("*.*")):
                self.s3.upload_file(str(path), self.sandbox.bucket, path.relative_to(SAMPLES).as_posix())

    def upload(self, directory: Path) -> None:
        """Put what audiences are made of in the bucket, from a directory that looks like it."""
        for folder in ("audiences", "standing", "queries"):
            for path in sorted((directory / folder).rglob("*")):
                if path.is_file():
                    self.s3.upload_file(str(path), self.sandbox.bucket, path.relative_to(directory).as_posix())

    def drop(self, path: Path, key: str | None = None) -> str:
        """Put a file in the bucket, as a user would. Returns the run's id."""
        key = key or f"batches/{path.name}"
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - only here

        config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2)
        self.s3.upload_file(str(path), self.sandbox.bucket, key, Config=config)
        head = self.s3.head_object(Bucket=self.sandbox.bucket, Key=key)
        return source_of(self.sandbox.bucket, key, head.get("VersionId"), head["ETag"]).run_id

    def variables(self) -> dict[str, str]:
        """The worker's environment, for a process that is not the local Lambda's."""
        function = self.sandbox.function("WorkerFunction")
        here = {"AWS_ENDPOINT_URL": self.sandbox.endpoint_url, "AWS_LAMBDA_FUNCTION_NAME": function.name}
        return dict(function.environment) | _ACCOUNT | here

    def work_here(self, run_id: str) -> None:
        """Call the worker in this process, hop after hop, until nothing is left to do."""
        from notifier.app import worker  # noqa: PLC0415 - reads its settings when it is first called

        function = self.sandbox.function("WorkerFunction")
        os.environ.update(self.variables())
        head = self.s3.list_objects_v2(Bucket=self.sandbox.bucket, Prefix="batches/")["Contents"][0]
        event: dict[str, Any] = {"bucket": self.sandbox.bucket, "key": head["Key"]}
        while True:
            context: Any = _Context(function.timeout_s)
            worker(event, context)
            lane = self.ledger.read_lane(run_id)
            if lane is None or lane.state is not LaneState.READY:
                return
            event = {"notifier": "continue", "run_id": run_id, "lane": 0}

    def lane(self, run_id: str) -> Lane | None:
        """The lanes of a run as one; None of an unknown run."""
        lanes = self.ledger.lanes_of(run_id)
        return as_one(lanes) if lanes else None

    def follow(self, run_id: str, timeout_s: float, every_s: float = 0.5) -> Iterator[Lane | None]:
        """The lanes as one, until the run is over. Raises TimeoutError if it does not move, or not in time."""
        began = quiet_since = time.monotonic()
        before: Lane | None = None
        while True:
            lane = self.lane(run_id)
            yield lane
            if lane is not None and self._is_over(run_id, lane):
                return
            now = time.monotonic()
            if lane != before or self.sandbox.lambda_.in_flight:
                before, quiet_since = lane, now
            # A resting lane may be quiet for long: the sweeper wakes it when its time has come.
            if now - quiet_since > QUIET_S and not (lane and lane.state is LaneState.RESTING):
                raise TimeoutError(f"the run has not moved for {QUIET_S:.0f} s")
            if now - began > timeout_s:
                raise TimeoutError(f"the run is not over after {timeout_s:.0f} s")
            time.sleep(every_s)

    def _is_over(self, run_id: str, lane: Lane) -> bool:
        if lane.state in (LaneState.PAUSED, LaneState.STOPPED):
            return True
        run = self.ledger.read_run(run_id)
        return lane.state is LaneState.DONE and run is not None and run.closed_at_ms is not None

    def summary(self, run_id: str) -> Summary:
        """The run as the ledger knows it."""
        run, lanes = self.ledger.read_run(run_id), self.ledger.lanes_of(run_id)
        if run is None or not lanes:
            raise LookupError(f"no run {run_id}: did the event reach the function?")
        return summary_of(run, lanes, self.sandbox.bucket)

    def rows(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Every row of the run, from the objects in S3."""
        import gzip  # noqa: PLC0415 - only here

        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.sandbox.bucket, Prefix=f"rows/run_id={run_id}/"
        )
        for page in pages:
            for thing in page.get("Contents", ()):
                if thing["Key"].rpartition("/")[2].startswith("_"):
                    continue  # a probe of the worker's
                body = self.s3.get_object(Bucket=self.sandbox.bucket, Key=thing["Key"])["Body"].read()
                yield from map(json.loads, gzip.decompress(body).splitlines())

    def log_lines(self, count: int = 30) -> tuple[str, ...]:
        """The end of the worker's log."""
        return self.sandbox.lambda_.log_lines(self.sandbox.function("WorkerFunction").name, count)

    def report(self, run_id: str, began_s: float) -> dict[str, Any]:
        """What `--json` prints: the run's account, what the stand-ins counted, what the function used."""
        summary = self.summary(run_id)
        figures = self.sandbox.lambda_.figures(self.sandbox.function("WorkerFunction").name)
        counts = self.gateways.counts()
        duration_s = time.monotonic() - began_s
        settled = summary.devices - summary.unsent
        return {
            "status": summary.status,
            "run_id": run_id,
            "users": summary.users,
            "devices": summary.devices,
            "lanes": summary.lanes,
            "hops": summary.hops,
            "invocations": figures.invocations,
            "duration_s": round(duration_s, 2),
            "pushes_per_s": round(settled / duration_s),
            "sending_s": round(summary.sending_s, 2),
            "cpu_s": round(figures.cpu_s, 2),
            "peak_rss_mb": round(figures.peak_rss_mb),
            "reason": summary.reason,
            "dry_run": summary.dry_run,
            "arms": {name: _arm(arm) for name, arm in summary.arms.items()},
            "outcomes": summary.outcomes,
            "invalid_records": summary.invalid_records,
            "excluded": summary.excluded,
            "excluded_by": summary.excluded_by,
            "unsent": summary.unsent,
            "gateways": {
                "fcm": msgspec.to_builtins(counts.fcm),
                "apns": msgspec.to_builtins(counts.apns),
                "apns_sandbox": msgspec.to_builtins(counts.apns_sandbox),
            },
            "possibly_repeated": summary.possibly_repeated,
            "repeat_requests": summary.repeat_requests,
            "unsettled": summary.unsettled,
            "rows_prefix": summary.rows_prefix,
        }


def _arm(arm: Mapping[str, Any]) -> dict[str, int]:
    """One arm's counts, its reasons added up."""
    return {
        "assigned": arm["assigned"],
        "accepted": arm["accepted"],
        "rejected": sum(arm["rejected"].values()),
        "failed": sum(arm["failed"].values()),
        "held": arm["held"],
    }


def parameters_of(setting: Setting, gateways: Gateways) -> dict[str, str]:
    """The template's parameters for this trial: the stand-ins in the gateways' place."""
    addresses = gateways.addresses
    values = {
        "Mode": setting.mode,
        "RampSeconds": str(setting.ramp_s),
        "FcmBaseUrl": addresses.fcm,
        "ApnsBaseUrl": addresses.apns,
        "ApnsSandboxBaseUrl": addresses.apns_sandbox,
        "GatewayCaFile": addresses.ca_file,
        "AthenaWorkGroup": ATHENA_WORKGROUP,
    }
    if setting.recurse_below_ms is not None:
        values["RecurseBelowMs"] = str(setting.recurse_below_ms)
    return values | dict(setting.parameters)


def _options(setting: Setting) -> Options:
    return Options(
        function_timeout_s=setting.function_timeout_s,
        memory_mb=setting.memory_mb,
        schedule_every_s=setting.schedule_every_s,
        idle=() if setting.fires_schedules else ("ScheduleFunction",),
        variables=setting.variables,
    )


def _warehouse(aws: LocalAws, gateways: Gateways, running: contextlib.ExitStack) -> dict[str, str]:
    """Start BigQuery, over https. Returns the parameters that name it."""
    folder, s3 = Path(gateways.addresses.ca_file).parent, aws.client("s3")

    @cache
    def service() -> "BigQuery":
        # DuckDB takes a while to import, and few trials ask BigQuery.
        from sandbox.bigquery import BigQuery  # noqa: PLC0415
        from sandbox.warehouse import fill_dataset  # noqa: PLC0415

        return BigQuery(partial(fill_dataset, s3), rows_in_page=20_000)

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    server = running.enter_context(HttpServer(lambda asked: service().answer(asked), name="bigquery", tls=tls))
    key = aws.client("secretsmanager").create_secret(
        Name="notifier/bigquery", SecretString=gateways.fcm_service_account
    )
    return {
        "BigQuerySecretArn": key["ARN"],
        "BigQueryBaseUrl": f"https://{server.address}",
        "BigQueryMaximumBytesBilled": str(ATHENA_CUTOFF_BYTES),
    }


def make_secrets(aws: LocalAws, gateways: Gateways) -> dict[str, str]:
    """Put the stand-ins' credentials into Secrets Manager. Returns the parameters that name them."""
    client = aws.client("secretsmanager")
    make: Callable[..., Any] = client.create_secret
    fcm = make(Name="notifier/fcm", SecretString=gateways.fcm_service_account)["ARN"]
    apns = make(Name="notifier/apns", SecretString=gateways.apns_key)["ARN"]
    return {"FcmSecretArn": fcm, "ApnsSecretArn": apns}
