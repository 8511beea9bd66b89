"""The whole job, from the event to the last ledger write: the worker alone in a process, everything else outside it.

    python -m tests.bench.whole --users 100000 [--placeholders] [--late] [--wrapper "py-spy record -o out.svg --"]

The sink (`tests.bench.sink`) replaces FCM, APNs and Google's OAuth; S3, DynamoDB, EventBridge and Secrets Manager are
moto in a process of its own. The environment of the worker is that of template.yaml. After the run its rows are
counted, one by one, and so are the sink's requests.
"""

import argparse
import contextlib
import gzip
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec

from notifier.model.run import source_of
from sandbox.audience import Recipe, make
from sandbox.aws import LocalAws
from sandbox.deploy import Options
from sandbox.local_lambda.invocation import Delivery, Fault, Invocation
from sandbox.stack import Sandbox
from tests.bench import sink
from tests.bench.keys import apns_key, service_account
from tests.bench.uv import interpreter, worker_python

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900.0


class Figures(msgspec.Struct):
    """What one run of the worker took, and whether its accounts are right.

    `cpu_us` is user and system time of the worker's process from the event to its answer, per request to a gateway;
    start and imports of the process are apart.
    """

    users: int
    requests: int
    rows: int
    exact: bool
    cpu_us: float
    per_s: float
    cpu_s: float
    wall_s: float
    peak_rss_mb: float
    imports_cpu_s: float
    imports_rss_mb: float
    hops: int
    first_push_cpu_s: float
    """From the event to the first request, in a process that has done nothing but its imports."""
    first_push_s: float
    why_not: str = ""
    threads_us: dict[str, float] = {}
    """By thread, imports included."""
    dearest_us: float = 0.0
    """Of the runs of which this is the cheapest."""

    @property
    def range_us(self) -> str:
        """Cheapest and dearest run."""
        return f"{self.cpu_us:.1f}" + (f" to {self.dearest_us:.1f}" if self.dearest_us > self.cpu_us else "")


class Bench:
    """A deployed stack whose worker is started by hand, and the sink."""

    def __init__(self, sandbox: Sandbox, to: sink.Sink, folder: Path, interpreter: Path, *, late: bool) -> None:
        self.sandbox = sandbox
        self.late = late
        self.sink = to
        self.folder = folder
        self.interpreter = interpreter

    @classmethod
    @contextlib.contextmanager
    def start(cls, *, late: bool = False) -> Iterator[Self]:
        """Start sink and stack, live and without a ramp. `late`: the sink answers as gateways do (`latency`)."""
        with contextlib.ExitStack() as running:
            to = running.enter_context(sink.running(late=late))
            folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            settings = {"Mode": "live", "RampSeconds": "0", "GatewayCaFile": to.ca_file}
            urls = dict.fromkeys(("FcmBaseUrl", "ApnsBaseUrl", "ApnsSandboxBaseUrl"), to.url)
            sandbox = running.enter_context(
                Sandbox.start(
                    folder / "aws",
                    ROOT / "template.yaml",
                    settings | urls,
                    Options(schedules=False),
                    faults=_nobody_comes,
                    setting_up=partial(_secrets, to=to),
                )
            )
            yield cls(sandbox, to, folder, worker_python(interpreter()), late=late)

    def audience(self, recipe: Recipe) -> Path:
        """The batch file of a recipe."""
        return make(recipe, self.folder / f"audience-{recipe.seed}-{recipe.users}.json")

    def drop(self, path: Path) -> dict[str, str]:
        """Put a file into the bucket. Returns the event that names it, with the run it begins."""
        from boto3.s3.transfer import TransferConfig

        s3, bucket, key = self.sandbox.client("s3"), self.sandbox.bucket, f"batches/{path.name}"
        s3.upload_file(str(path), bucket, key, Config=TransferConfig(multipart_threshold=16 << 20, max_concurrency=2))
        head = s3.head_object(Bucket=bucket, Key=key)
        run_id = source_of(bucket, key, head.get("VersionId"), head["ETag"]).run_id
        return {"bucket": bucket, "key": key, "run_id": run_id}

    def environment(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        """The worker's environment, as the template has it."""
        function = self.sandbox.function("WorkerFunction")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **dict(function.environment),
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": self.sandbox.stack.context.region,
            "AWS_ENDPOINT_URL": self.sandbox.endpoint_url,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "CACHE_DIR": str(self.folder / "cache"),
            "FCM_PER_SECOND": "1000000",  # the sink has no quota; the template's is 9,000
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def work(self, *events: Mapping[str, object], more: Mapping[str, str] = {}, wrapper: tuple[str, ...] = ()) -> Any:
        """The worker, in a process of its own, until the runs of all events are over. Its figures."""
        command = [*wrapper, str(self.interpreter), "-m", "tests.bench.worker", *map(json.dumps, events)]
        with (self.folder / "worker.log").open("w") as log:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=log, env=self.environment(more), cwd=ROOT, check=False
            )
        lines = [line for line in done.stdout.decode().splitlines() if line.startswith("FIGURES ")]
        if done.returncode or not lines:
            end = done.stdout[-2000:].decode() + (self.folder / "worker.log").read_text()[-3000:]
            raise RuntimeError(f"the worker failed: {end}")
        return json.loads(lines[-1].removeprefix("FIGURES "))

    def measure_exact(self, recipe: Recipe, more: Mapping[str, str] = {}) -> Figures:
        """The same; wrong accounts end the program, because no figure of such a worker is worth having."""
        figures = self.measure(recipe, more)
        if not figures.exact:
            raise SystemExit(f"the accounts are not exact: {figures.why_not}")
        return figures

    def measure(self, recipe: Recipe, more: Mapping[str, str] = {}, wrapper: tuple[str, ...] = ()) -> Figures:
        """One run of a file made by the recipe, counted."""
        path = self.audience(recipe)
        event = self.drop(path)
        path.unlink()
        before = self.sink.requests()
        raw = self.work({"bucket": event["bucket"], "key": event["key"]}, more=more, wrapper=wrapper)
        asked = self.sink.requests() - before - 1
        why_not, rows, requests = self._count(event["run_id"], recipe, asked)
        return Figures(
            users=recipe.users,
            requests=requests,
            rows=rows,
            exact=not why_not,
            cpu_us=raw["cpu_s"] / requests * 1e6,
            per_s=requests / raw["wall_s"],
            cpu_s=raw["cpu_s"],
            wall_s=raw["wall_s"],
            peak_rss_mb=raw["peak_rss_mb"],
            imports_cpu_s=raw["imports_cpu_s"],
            imports_rss_mb=raw["imports_rss_mb"],
            hops=len(raw["hops"]),
            first_push_cpu_s=raw["hops"][0]["first_push_cpu_s"],
            first_push_s=raw["hops"][0]["first_push_s"],
            threads_us={name: cpu_s / requests * 1e6 for name, cpu_s in raw["threads_cpu_s"].items()},
            why_not=why_not,
        )

    def _count(self, run_id: str, recipe: Recipe, asked: int) -> tuple[str, int, int]:
        """What is wrong with the accounts, or nothing; rows; rows of devices that a gateway accepted.

        Every record has one device, so every record has one row; what was accepted was asked for exactly once.
        """
        rows: Counter[str] = Counter()
        seen = bytearray(recipe.users)
        for row in self.rows(run_id):
            rows[row["outcome"]] += 1
            seen[row["record"]] += 1
        total, accepted = rows.total(), rows["accepted"]
        faults = []
        if total != recipe.users or any(count != 1 for count in seen):
            faults.append(f"{total} rows for {recipe.users} users")
        if accepted + rows["held"] != total:
            faults.append(f"outcomes {dict(rows)}")
        if asked - accepted not in (0, 1):  # one more for Google's access token
            faults.append(f"the sink answered {asked} requests, {accepted} were accepted")
        return "; ".join(faults), total, accepted

    def rows(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Every row of a run, from the objects in S3."""
        s3, bucket = self.sandbox.client("s3"), self.sandbox.bucket
        decode = msgspec.json.Decoder(dict[str, Any]).decode_lines
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"rows/run_id={run_id}/"):
            for thing in page.get("Contents", ()):
                body = s3.get_object(Bucket=bucket, Key=thing["Key"])["Body"].read()
                yield from decode(gzip.decompress(body))


def _nobody_comes(_invocation: Invocation) -> Fault:
    """The local Lambda drops every event: the bench calls the worker itself."""
    return Fault(delivery=Delivery.DROPPED)


def _secrets(aws: LocalAws, to: sink.Sink) -> dict[str, str]:
    """Credentials of the right form; the sink takes all."""
    account = service_account(f"{to.url}/token")
    apple = {"key": apns_key(), "key_id": "ABC123DEFG", "team_id": "TEAM123456", "topic": "com.example.app"}
    client = aws.client("secretsmanager")
    made = {name: client.create_secret(Name=f"bench/{name}", SecretString=json.dumps(value))["ARN"]
            for name, value in (("fcm", account), ("apns", apple))}  # fmt: skip
    return {"FcmSecretArn": made["fcm"], "ApnsSecretArn": made["apns"]}


def main() -> None:
    """Measure a few runs and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--placeholders", action="store_true")
    parser.add_argument("--late", action="store_true", help="answers take as long as gateways take")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the worker's environment")
    parser.add_argument("--threads", action="store_true", help="CPU us/push by thread, start and imports included")
    parser.add_argument("--wrapper", default="", help="a command put before the worker's, such as a profiler")
    arguments = parser.parse_args()
    more = dict(pair.split("=", 1) for pair in arguments.set)
    with Bench.start(late=arguments.late) as bench:
        for seed in range(1, arguments.repeats + 1):
            recipe = Recipe(users=arguments.users, seed=seed, placeholders=arguments.placeholders)
            began_s = time.monotonic()
            figures = bench.measure(recipe, more, tuple(arguments.wrapper.split()))
            took_s = time.monotonic() - began_s
            print(
                f"{figures.cpu_us:6.1f} us/push  {figures.per_s:7,.0f}/s  {figures.peak_rss_mb:4.0f} MB peak  "
                f"imports {figures.imports_cpu_s * 1000:.0f} ms, {figures.imports_rss_mb:.0f} MB  "
                f"first push {figures.first_push_cpu_s * 1000:.0f} ms CPU, {figures.first_push_s * 1000:.0f} ms  "
                f"{figures.requests:,} pushes, {figures.rows:,} rows, {'exact' if figures.exact else figures.why_not}  "
                f"({took_s:.0f} s in all)",
                flush=True,
            )
            if arguments.threads:
                by_thread = sorted(figures.threads_us.items(), key=lambda item: -item[1])
                print("  ".join(f"{name} {us:.1f}" for name, us in by_thread), flush=True)


if __name__ == "__main__":
    main()
