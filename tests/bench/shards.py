"""Three shards as an export leaves them, the worker killed in the middle of the second: where it goes on.

.venv/bin/python -m tests.bench.shards --rows 300000
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import msgspec

from sandbox.audience import Recipe, users
from sandbox.trial import Setting, Trial


def main() -> None:
    """Make the shards, start, kill, follow, and say what the cursor was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    rows = parser.parse_args().rows
    encode = msgspec.json.Encoder().encode
    with tempfile.TemporaryDirectory() as folder, Trial.start(Path(folder), Setting(memory_mb=1769)) as trial:
        bucket, name = trial.sandbox.bucket, trial.sandbox.function("WorkerFunction").name
        lines: list[bytes] = []
        for user in users(Recipe(users=rows)):
            devices = user["devices"]
            assert isinstance(devices, list)
            lines.append(encode({"user_id": user["user_id"], "country": "AT", **devices[0]}))
        third = rows // 3
        parts = []
        for n in range(3):
            body = b"\n".join(lines[n * third : (n + 1) * third]) + b"\n"
            put = trial.s3.put_object(Bucket=bucket, Key=f"audiences/shard-{n}.jsonl", Body=body)
            parts.append({"key": f"audiences/shard-{n}.jsonl", "etag": put["ETag"], "version_id": put["VersionId"]})
        message = {"title": "Servus {{ country }}"}
        value = {"campaign": {"id": "shards", "message": message}, "audience": {"parts": parts}}
        path = Path(folder) / "shards.json"
        path.write_text(json.dumps(value))
        began = time.monotonic()
        run_id = trial.drop(path)
        killed = ""
        for lane in trial.follow(run_id, 1800, every_s=0.05):
            if lane and not killed and lane.cursor.part == 1 and lane.cursor.in_part > third // 2:
                killed = lane.cursor.encode()
                print("killed", trial.sandbox.lambda_.functions.kill_environments(name), "environment at", killed)
        report = trial.report(run_id, began)
        found = list(trial.rows(run_id))
        again = sum(report["gateways"][name]["accepted_again_tokens"] for name in report["gateways"])
        print(
            json.dumps(
                {k: report[k] for k in ("status", "users", "devices", "hops", "possibly_repeated", "duration_s")}
            )
        )
        print(
            f"rows {len(found):,}, keys {len({(r['record'], r['device']) for r in found}):,}, accepted twice {again:,}"
        )
        for line in trial.sandbox.lambda_.log_lines(name, 400):
            if '"claimed"' in line:
                print(json.loads(line)["cursor"])


if __name__ == "__main__":
    main()
