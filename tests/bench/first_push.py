"""From the event of a batch file with a query to the first push: the query's table is Parquet, the audience is large.

    python -m tests.bench.first_push --users 1000000 [--goal-s 20]

Everything is as deployed: the worker prepares nothing itself, the audience function runs the query in a process of its
own, writes the parts, and cuts them once more when the run begins. The parts of the time are taken from outside: by the
objects that appear in the bucket, and by what the local Lambda reports of each invocation. It exits with 1 beyond the
goal.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from sandbox.trial import Setting, Trial

SQL = "SELECT user_id, platform, token, locale, timezone, first_name FROM users WHERE country <> $country"
TABLE = """
    SELECT 'user-' || lpad(i::VARCHAR, 9, '0') AS user_id,
           CASE WHEN i % 2 = 0 THEN 'ios' ELSE 'android' END AS platform,
           CASE WHEN i % 2 = 0 THEN sha256(i::VARCHAR)
                ELSE left(sha256('a' || i), 22) || ':APA91b' || sha256('b' || i) || left(sha256('c' || i), 49)
           END AS token,
           ['en-GB', 'de-AT', 'fr', 'pt-BR'][i % 4 + 1] AS locale,
           ['Europe/London', 'Europe/Vienna', 'Europe/Paris', 'America/Sao_Paulo'][i % 4 + 1] AS timezone,
           ['Ann', 'Ben', 'Chloé', 'Jürgen', 'Łukasz'][i % 5 + 1] AS first_name,
           ['GB', 'AT', 'FR', 'BR'][i % 4 + 1] AS country
    FROM range({users}) AS t(i)"""
PREFIXES = {"the audience": "audiences/prepared/", "the final cut": "audiences/cut/"}
REPORT = re.compile(r"Duration: ([\d.]+) ms\tBilled.*?Max Memory Used: (\d+) MB(?:\tInit Duration: ([\d.]+) ms)?")
LOOK_EVERY_S = 0.05


def main() -> None:
    """Measure once, and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--goal-s", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        table = folder / "users.parquet"
        with duckdb.connect() as database:
            database.execute(f"COPY ({TABLE.format(users=given.users)}) TO '{table}' (FORMAT parquet)")
        with Trial.start(folder / "sandbox", Setting()) as trial:
            trial.s3.upload_file(str(table), trial.sandbox.bucket, f"standing/users/{table.name}")
            found = measured(trial, folder)
    print(json.dumps({"users": given.users, "goal_s": given.goal_s, **found, "load": round(os.getloadavg()[0], 1)}))
    sys.exit(found["first_push_s"] > given.goal_s)


def measured(trial: Trial, folder: Path) -> dict[str, object]:
    """The seconds from the event to what can be seen from outside, and each invocation's."""
    path = folder / "query.json"
    tables = {"users": ["standing/users/*.parquet"]}
    audience = {"sql": SQL, "engine": "duckdb", "tables": tables, "parameters": {"country": "XX"}}
    campaign = {"id": "first-push", "message": {"title": "Hi {{ first_name }}", "body": "3 people joined"}}
    path.write_text(json.dumps({"campaign": campaign, "audience": audience}), encoding="utf-8")
    began = time.monotonic()
    run_id = trial.drop(path)
    after_s: dict[str, float] = {}
    while not _pushed(trial):
        lane = trial.lane(run_id)
        if time.monotonic() - began > 600 or (lane is not None and lane.status == "failed"):
            raise SystemExit("\n".join(trial.log_lines()))
        for what, prefix in PREFIXES.items():
            if what not in after_s and _has_manifest(trial, prefix):
                after_s[what] = round(time.monotonic() - began, 2)
        time.sleep(LOOK_EVERY_S)
    first_push_s = round(time.monotonic() - began, 2)
    return {
        "first_push_s": first_push_s,
        "after_s": after_s,
        "cpu_s": _cpu(trial),
        "invocations": [*_invocations(trial)],
    }


def _cpu(trial: Trial) -> dict[str, float]:
    """Of each function's own process: that of the query, which is another, is not in it."""
    names = {one: trial.sandbox.function(one).name for one in ("AudienceFunction", "WorkerFunction")}
    return {one: round(trial.sandbox.lambda_.figures(name).cpu_s, 2) for one, name in names.items()}


def _pushed(trial: Trial) -> bool:
    counts = trial.gateways.counts()
    return counts.fcm.requests + counts.apns.requests > 0


def _has_manifest(trial: Trial, prefix: str) -> bool:
    found = trial.s3.list_objects_v2(Bucket=trial.sandbox.bucket, Prefix=prefix)
    return any(one["Key"].endswith("/_manifest.json") for one in found.get("Contents", ()))


def _invocations(trial: Trial) -> Iterator[str]:
    """Of each function that has worked for a while: seconds, memory, start."""
    for name in ("AudienceFunction", "WorkerFunction"):
        log = trial.sandbox.state_dir / "logs" / f"{trial.sandbox.function(name).name}.log"
        for took_ms, memory_mb, start_ms in REPORT.findall(log.read_text(encoding="utf-8")):
            if float(took_ms) > 200:
                started = f", start {float(start_ms) / 1e3:.2f} s" if start_ms else ""
                yield f"{name}: {float(took_ms) / 1e3:.2f} s, {memory_mb} MB{started}"


if __name__ == "__main__":
    main()
