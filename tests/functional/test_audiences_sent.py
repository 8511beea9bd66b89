"""A prepared audience is sent by the worker as any other: every token once, in the arm that plain Python says."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from audiences.build import parts_reference
from audiences.manifest_format import Manifest, decode_manifest
from operations.cli import app
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from tests.audience_people import FORMATS, SALT, arm_of, expected, people

SAMPLE = Path(__file__).parents[2] / "events" / "batches" / "prepared.json"
USERS = 900


def built(trial: Trial, stack_file: Path, *files: object) -> Manifest:
    """What the command prints after writing to the sandbox's bucket."""
    arguments = ["audience", "build", *map(str, files), "-o", f"s3://{trial.sandbox.bucket}", "--json"]
    result = CliRunner().invoke(app, arguments, env={"NOTIFIER_STACK_FILE": str(stack_file)})
    assert result.exit_code == 0, result.output
    return decode_manifest(result.stdout.encode())


def campaign() -> dict[str, Any]:
    """The sample's campaign, with the arms that the people's arms were computed by."""
    sample: dict[str, Any] = json.loads(SAMPLE.read_text())["campaign"]
    sample["message"]["body"] = "{{ price }} €, {{ points }} points"
    sample["variants"] = [{"name": "a", "percent": 45}, {"name": "b", "percent": 45}]
    return {**sample, "experiment": SALT}


def test_a_prepared_audience_is_sent(tmp_path: Path) -> None:
    """Rows in any order, as CSV here and Parquet in S3, become one audience, which one batch file sends."""
    users = people(USERS)
    wanted = expected(users)
    with Trial.start(tmp_path / "sandbox", Setting()) as trial:
        stack_file = write_stack_file(trial.sandbox, tmp_path / "stack.json")
        there = FORMATS["parquet"](tmp_path, users[: USERS // 2])
        trial.s3.upload_file(str(there), trial.sandbox.bucket, f"audiences/day/{there.name}")
        here = FORMATS["csv"](tmp_path, users[USERS // 2 :])
        manifest = built(trial, stack_file, f"s3://{trial.sandbox.bucket}/audiences/day/*.parquet", here)
        assert manifest.counts.users == len(wanted.tokens)

        path = tmp_path / "prepared.json"
        path.write_text(json.dumps({"campaign": campaign(), "audience": parts_reference(manifest)}))
        run_id = trial.drop(path)
        for _ in trial.follow(run_id, 120, 0.2):
            pass
        summary = trial.summary(run_id)
        rows = list(trial.rows(run_id))
        report = trial.report(run_id, 0.0)
    assert (summary.status, summary.users, summary.invalid_records) == ("completed", len(wanted.tokens), 0)
    asked = {user_id for user_id in wanted.tokens if arm_of(user_id) != "control"}
    gateways = report["gateways"].values()
    assert sum(one["distinct_tokens"] for one in gateways) == sum(len(wanted.tokens[user_id]) for user_id in asked)
    assert sum(one["repeated_tokens"] for one in gateways) == 0
    devices = Counter((row["user_id"], row["arm"]) for row in rows)
    assert devices == {(user_id, arm_of(user_id)): len(tokens) for user_id, tokens in wanted.tokens.items()}
