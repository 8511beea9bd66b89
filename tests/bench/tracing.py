"""What tracing costs: CPU of the worker per push, with and without a daemon, by turns in one run.

`.venv/bin/python -m tests.bench.tracing [USERS] [TURNS]` prints one JSON line for each turn and one with the medians.
The worker's CPU is what its process used for the second of two runs, so that it is warm; what the first one adds to a
cold start, the SDK's import and patching, is measured by itself.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

from notifier.model.cursor import Cursor
from notifier.model.exchange import Answer
from notifier.model.outcome import Disposition, Verdict
from notifier.model.recipient import Device, Platform
from notifier.sending.batch import Batch, Push, endpoint_of
from notifier.telemetry import NO_TRACE, BatchSpan, CallKind, GatewayCall, Sending, Tracing, start_tracing
from notifier.telemetry.sending import Node
from notifier.telemetry.trace import Trace
from sandbox.audience import Recipe, make
from sandbox.trial import Setting, Trial
from sandbox.xray import Daemon


def one(folder: Path, path: Path, daemon: Daemon | None) -> dict[str, Any]:
    """One run; gives CPU per push in µs."""
    variables = {"AWS_XRAY_DAEMON_ADDRESS": daemon.address} if daemon else {}
    setting = Setting(variables=variables, schedule_every_s=60.0, parameters={"FcmPerSecond": "100000"})
    with Trial.start(folder, setting) as trial:
        worker = trial.sandbox.function("WorkerFunction").name
        warm_s = began_s = 0.0
        run_id = ""
        for file in (make(Recipe(users=1_000, campaign_id="warm"), folder / "warm.json"), path):
            warm_s = trial.sandbox.lambda_.figures(worker).cpu_s
            began_s = time.monotonic()
            run_id = trial.drop(file)
            for _ in trial.follow(run_id, 300.0):
                pass
            trial.sandbox.lambda_.wait_idle(10)
        report = trial.report(run_id, began_s)
        devices = report["devices"]
        return {
            "traced": daemon is not None,
            "us_per_push": round((trial.sandbox.lambda_.figures(worker).cpu_s - warm_s) / devices * 1e6, 2),
            "devices": devices,
            "hops": report["hops"],
            "documents": len(daemon.datagrams) if daemon else 0,
        }


class _Keeps(Trace):
    active = True


def hook_ns(*, active: bool, answers: int = 100_000) -> float:
    """What one answer costs the sender's loop, in nanoseconds: batches of 500 over two gateways."""
    nodes = {"fcm": Node("FCM", ""), "apns": Node("APNs", "")}
    sending = Sending(_Keeps() if active else NO_TRACE, nodes, time.time)
    verdict = Verdict(Disposition.ACCEPT)
    pushes: list[Push] = []
    devices = (Device(Platform.ANDROID, "token"), Device(Platform.IOS, "token"))
    for number in range(answers // 500):
        batch = Batch("r1", "c1", number, 0, Cursor())
        pushes += [Push(batch, n, 0, "u1", "a", devices[n % 2], endpoint_of(devices[n % 2])) for n in range(500)]
    given = [Answer(ticket=None, latency_s=0.05 + (n * 7919 % 997) / 1e5, status=200) for n in range(1_000)]
    began_s = time.process_time()
    for n, push in enumerate(pushes):
        sending.answered(push, given[n % 1_000], verdict)
    loop_s = time.process_time() - began_s
    began_s = time.process_time()
    for n, push in enumerate(pushes):
        _nothing(push, given[n % 1_000], verdict)
    return (loop_s - (time.process_time() - began_s)) / answers * 1e9


def aws_call_us(tracing: Tracing, calls: int = 1_000) -> float:
    """CPU of one call to DynamoDB whose request never leaves, in microseconds."""
    client = boto3.client("dynamodb", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.meta.events.register("before-send", lambda request, **_: AWSResponse(request.url, 200, {}, _Raw()))  # type: ignore[arg-type]
    with tracing.invocation("Root=1-6b000000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1", "worker"):
        began_s = time.process_time()
        for _ in range(calls):
            client.list_tables()
        return (time.process_time() - began_s) / calls * 1e6


def import_ms() -> float:
    """CPU of importing the SDK next to boto3, and of patching, in milliseconds: once per cold start."""
    code = (
        "import time, notifier.app; from notifier.telemetry import start_tracing; began = time.process_time();"
        "start_tracing('127.0.0.1:2000', 100); print((time.process_time() - began) * 1000)"
    )
    environment = os.environ | {"LAMBDA_TASK_ROOT": "/var/task"}
    answers = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    return statistics.median(map(float, answers))


class _Raw:
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield b"{}"


def piece_us(tracing: Tracing, pieces: int = 2_000) -> float:
    """CPU of one batch's document, of two requests, in microseconds."""
    call = GatewayCall("FCM", "https://fcm.example.com", 1.0, 2.0, 200, CallKind.FINE, None, "slowest")
    piece = BatchSpan("batch 00000001", 1.0, 2.0, "sample", (call, call), {"answers": 500, "failing": 0})
    with tracing.invocation("Root=1-6b000000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1", "w") as trace:
        began_s = time.process_time()
        for _ in range(pieces):
            trace.batch(piece)
        return (time.process_time() - began_s) / pieces * 1e6


def _nothing(push: object, reply: object, verdict: object) -> None:
    """A call that does nothing."""


def main() -> None:
    """Measure and print."""
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    hooks = {
        f"hook_ns_{'traced' if active else 'figures_only'}": round(hook_ns(active=active)) for active in (False, True)
    }
    print(json.dumps(hooks), flush=True)
    off_us = aws_call_us(Tracing())
    with Daemon() as daemon:
        tracing = start_tracing(daemon.address, 100)
        added = {"aws_call_us_added": round(aws_call_us(tracing) - off_us, 1), "piece_us": round(piece_us(tracing), 1)}
        tracing.close()
    print(json.dumps({**added, "import_ms": round(import_ms(), 1)}), flush=True)
    with tempfile.TemporaryDirectory() as folder, Daemon() as daemon:
        path = make(Recipe(users=users, placeholders=True), Path(folder) / "audience.json")
        results = []
        for turn in range(turns * 2):
            traced = turn % 4 in (1, 2)  # off, on, on, off: what drifts, drifts for both
            results.append(one(Path(folder) / str(turn), path, daemon if traced else None))
            print(json.dumps(results[-1]), flush=True)
    cost = {
        name: statistics.median(r["us_per_push"] for r in results if r["traced"] is on)
        for name, on in (("on", True), ("off", False))
    }
    print(json.dumps({"us_per_push": cost, "percent": round((cost["on"] / cost["off"] - 1) * 100, 2)}))


if __name__ == "__main__":
    main()
