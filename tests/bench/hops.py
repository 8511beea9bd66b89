"""What a hop asks of S3: a cold one downloads, a warm one asks with the ETag and reads its cache; what it costs.

.venv/bin/python -m tests.bench.hops --users 1000000 --resume-at 900000
"""

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from notifier.model.cursor import Cursor
from sandbox.audience import Recipe, make
from sandbox.trial import Setting, Trial

HOP_S = {"first": 32.0, "warm": 8.0, "cold": 20.0}
"""The first hop lasts until the file is fetched: one that ends before leaves no cache."""


class _Time:
    """Lambda's context with so many seconds left."""

    function_version = "$LATEST"
    aws_request_id = "bench"

    def __init__(self, seconds: float) -> None:
        self._ends_s = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends_s - time.monotonic()) * 1000)


def main() -> None:
    """Hops of one run in this process, each with what it asked of S3."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--resume-at", type=int, default=900_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = make(Recipe(users=options.users), Path(folder) / "users.json")
        setting = Setting(recurse_below_ms=2_000)
        with Trial.start(Path(folder) / "state", setting, in_process=True) as trial:
            os.environ.update(trial.variables() | {"CACHE_DIR": f"{folder}/cache"})
            run_id = trial.drop(path)
            hops(trial, run_id, options.resume_at)


def hops(trial: Trial, run_id: str, resume_at: int) -> None:
    """A first hop, a warm one, and a cold one at `resume_at`."""
    from notifier import app

    asked: Counter[str] = Counter()
    process, _ = app._process()

    def listen(request: Any, **_: Any) -> None:
        if "batches" in request.url:
            asked[request.method + (" range" if request.headers.get("Range") else "")] += 1

    for client in (process.s3, process.library._client):
        client.meta.events.register("before-send.s3", listen)
    event: dict[str, Any] = {"bucket": trial.sandbox.bucket, "key": "batches/users.json"}
    for kind in ("first", "warm", "cold, at the cursor"):
        if kind.startswith("cold"):
            jump(trial, run_id, resume_at)
            for cached in Path(os.environ["CACHE_DIR"]).rglob("*"):
                cached.unlink() if cached.is_file() else None
        asked.clear()
        before, cpu, began = requests_of(trial), cpu_s(), time.monotonic()
        context: Any = _Time(HOP_S[kind.split(",")[0]])
        app.worker(event, context)
        lane = trial.ledger.read_lane(run_id)
        assert lane is not None
        print(
            f"{kind:32} of the batch file: {dict(asked)}; cursor {lane.cursor.record:,}; "
            f"{requests_of(trial) - before:,} pushes; {cpu_s() - cpu:.1f} s CPU, {time.monotonic() - began:.1f} s"
        )
        event = {"notifier": "continue", "run_id": run_id, "lane": 0}


def jump(trial: Trial, run_id: str, record: int) -> None:
    """Put the cursor elsewhere, as if all before it were settled."""
    cursor = Cursor(record=record, in_part=record)
    trial.sandbox.client("dynamodb").update_item(
        TableName=trial.sandbox.table,
        Key={"pk": {"S": f"run#{run_id}"}, "sk": {"S": "lane#0000"}},
        UpdateExpression="SET #c = :c, fed = :f",
        ExpressionAttributeNames={"#c": "cursor"},
        ExpressionAttributeValues={":c": {"S": msgspec.json.encode(cursor).decode()}, ":f": {"N": "0"}},
    )


def requests_of(trial: Trial) -> int:
    """What the stand-ins have counted."""
    counts = trial.gateways.counts()
    return counts.fcm.requests + counts.apns.requests


def cpu_s() -> float:
    """CPU of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
