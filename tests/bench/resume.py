"""Resuming far into a list: CPU from the nudge to the first push, in a cold container and in a warm one.

    python -m tests.bench.resume [--users 1000000] [--at 900000]

The ledger records that everything before `at` is settled; then the worker is nudged. Cold: a new process, an empty
/tmp. Warm: a process that has worked before, with the file in its /tmp.
"""

import argparse
import json
import shutil
import time
from typing import Any

import msgspec

from notifier.audience.cache import FileCache
from notifier.audience.suppression import Suppression
from notifier.composition.library import S3Library
from notifier.lifecycle.admission import Admission
from notifier.model.cursor import Cursor
from notifier.model.run import Run, source_of
from notifier.sending.batch import BATCH_SIZE
from notifier.stores.ledger import DynamoLedger
from notifier.stores.s3_results import S3Results
from sandbox.audience import Recipe
from tests.bench.whole import Bench


class Resumed(msgspec.Struct, frozen=True):
    """Seconds of CPU to the first push."""

    users: int
    at: int
    cold_s: float
    warm_s: float


def measure(bench: Bench, users: int, at: int) -> Resumed:
    """One file, resumed twice."""
    at = at // BATCH_SIZE * BATCH_SIZE
    small = bench.drop(bench.audience(Recipe(users=1000, seed=99)))
    large = bench.drop(bench.audience(Recipe(users=users, seed=98)))
    shutil.rmtree(bench.folder / "cache", ignore_errors=True)
    cold = bench.work(_resumable(bench, large, at))["hops"][0]["first_push_cpu_s"]
    first = {"bucket": small["bucket"], "key": small["key"]}
    warm = bench.work(first, _resumable(bench, large, at))["hops"][-1]["first_push_cpu_s"]
    return Resumed(users, at, cold, warm)


def _resumable(bench: Bench, dropped: dict[str, str], at: int) -> dict[str, object]:
    """A run of the file that has come as far as `at`. Returns its nudge."""
    run_id, client, table = dropped["run_id"], bench.sandbox.client("dynamodb"), bench.sandbox.table
    head = bench.sandbox.client("s3").head_object(Bucket=dropped["bucket"], Key=dropped["key"])
    source = source_of(dropped["bucket"], dropped["key"], head.get("VersionId"), head["ETag"])
    ledger = DynamoLedger(client, table, time.time)
    _admit(bench, ledger, ledger.open_run(Run(run_id, source, int(time.time() * 1000))))
    values: dict[str, Any] = {":cursor": {"S": Cursor(record=at, in_part=at).encode()}, ":ready": {"S": "ready"}}
    client.update_item(
        TableName=table,
        Key={"pk": {"S": f"run#{run_id}"}, "sk": {"S": "lane#0000"}},
        UpdateExpression="SET #cursor = :cursor, #state = :ready REMOVE ending, ended_at_ms",
        ExpressionAttributeNames={"#cursor": "cursor", "#state": "state"},
        ExpressionAttributeValues=values,
    )
    s3 = bench.sandbox.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=dropped["bucket"], Prefix=f"rows/run_id={run_id}/"):
        for thing in page.get("Contents", ()):
            s3.delete_object(Bucket=dropped["bucket"], Key=thing["Key"])
    return {"notifier": "continue", "run_id": run_id, "lane": 0}


def _admit(bench: Bench, ledger: DynamoLedger, run: Run) -> None:
    """Store what the first claim stores: without it a run that has come so far ends as `state_gone`."""
    s3, bucket = bench.sandbox.client("s3"), bench.sandbox.bucket
    uncached = FileCache(bench.folder / "admission", 0)
    library = S3Library(s3, uncached, bucket, Suppression(s3, bucket, "suppression/"))
    Admission(library, S3Results(s3, bucket), ledger, lambda _: (), rehearse=False).open(run)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--at", type=int, default=900_000)
    arguments = parser.parse_args()
    with Bench.start() as bench:
        print(json.dumps(msgspec.to_builtins(measure(bench, arguments.users, arguments.at))))


if __name__ == "__main__":
    main()
