"""Deployments: while runs are under way, each stays on the code that it began with; and after a stack was deleted."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.model.run import Lane, LaneState, source_of
from sandbox import intrinsics
from sandbox.audience import Recipe, campaign, users
from sandbox.trial import TEMPLATE, Setting, Trial
from sandbox.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
YEAR_MS = 365 * 86_400_000
NEWER = (
    ("notifier/model/run.py", r"^LEDGER_VERSION = (\d+)"),
    ("notifier/model/cursor.py", r"^VERSION: Literal\[\d+\] = (\d+)"),
)
"""What a release that changes the forms of the ledger's items and of the cursor counts up."""


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    """A sandbox whose function has so little time that every run needs several hops."""
    setting = Setting(function_timeout_s=10.0, recurse_below_ms=6_000, schedule_every_s=2.0)
    with Trial.start(tmp_path / "sandbox", setting) as running:
        yield running


def next_release(folder: Path) -> Path:
    """The code as a release that writes newer forms."""
    shutil.copytree(ROOT / "notifier", folder / "notifier", ignore=shutil.ignore_patterns("__pycache__"))
    for name, pattern in NEWER:
        path = folder / name
        text, n = re.subn(
            pattern,
            lambda match: match[0].replace(match[1], str(int(match[1]) + 1)),
            path.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
        assert n == 1, f"{name}: {pattern}"
        path.write_text(text, encoding="utf-8")
    return folder


def deploy(trial: Trial, logical_id: str, code: Path) -> str:
    """Deploy other code for a function, as CloudFormation would. Gives the version."""
    name = trial.sandbox.function(logical_id).name
    functions = trial.sandbox.lambda_.functions
    return functions.redeploy(msgspec.structs.replace(functions.get(name).setup, code=code))


def drop(trial: Trial, folder: Path, name: str, count: int, per_second: int) -> str:
    recipe = Recipe(users=count, seed=len(name))
    path = folder / f"{name}.json"
    about = campaign(recipe) | {"id": name, "per_second": per_second}
    path.write_text(json.dumps({"campaign": about, "users": list(users(recipe))}), encoding="utf-8")
    return trial.drop(path)


def versions_at_work(trial: Trial) -> list[str]:
    """The version of each invocation of the worker, in order."""
    lines = trial.log_lines(5_000)
    return [line.rsplit(" ", 1)[1] for line in lines if line.startswith("START ")]


def finish(trial: Trial, run_id: str) -> Lane:
    lane = None
    for lane in trial.follow(run_id, PATIENCE_S, every_s=0.25):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    return lane


def lane_item(trial: Trial, run_id: str) -> dict[str, Any]:
    key = {"pk": {"S": f"run#{run_id}"}, "sk": {"S": "lane#0000"}}
    found = trial.sandbox.client("dynamodb").get_item(TableName=trial.sandbox.table, Key=key)
    item: dict[str, Any] = found.get("Item", {})
    return item


def test_a_run_stays_on_its_version_and_releases_leave_each_other_alone(trial: Trial, tmp_path: Path) -> None:
    """Release N is deployed while a run of N-1 is under way: both finish, each on its own code, in its own form."""
    old = drop(trial, tmp_path, "old", 4_800, 600)
    wait_until(lambda: (trial.ledger.read_lane(old) or Lane(old)).state is LaneState.RUNNING, PATIENCE_S, "it runs")
    newer = next_release(tmp_path / "newer")
    assert deploy(trial, "WorkerFunction", newer) == "2"
    new = drop(trial, tmp_path, "new", 1_200, 300)
    wait_until(lambda: lane_item(trial, new).get("state") == {"S": "running"}, PATIENCE_S, "the new one runs")

    # N-1 is nudged for N's run, and leaves it alone.
    worker = trial.sandbox.function("WorkerFunction").name
    nudge = json.dumps({"notifier": "nudge", "run_id": new, "lane": 0}).encode()
    answer = trial.sandbox.lambda_.invoke(worker, nudge, "1")
    assert json.loads(answer.payload)["status"] == "ignored"
    assert "newer release" in json.loads(answer.payload)["reason"]

    # N is nudged for N-1's run: it reads ledger and cursor, and forwards the nudge to the version of the run.
    answer = trial.sandbox.lambda_.invoke(worker, nudge.replace(new.encode(), old.encode()), "2")
    assert json.loads(answer.payload)["status"] in ("forwarded", "ignored")

    lane = finish(trial, old)
    assert (lane.status, lane.function_version) == ("completed", "1")
    assert lane.hop >= 3
    assert lane.account.settled == lane.account.devices == 4_800
    assert lane_item(trial, old)["version"]["N"] == "1"

    wait_until(lambda: lane_item(trial, new)["state"]["S"] == "done", PATIENCE_S, "the new one is done")
    item = lane_item(trial, new)
    assert (item["version"]["N"], item["function_version"]["S"], item["ending"]["S"]) == ("2", "2", "completed")
    assert json.loads(item["cursor"]["S"])["version"] == 2
    assert json.loads(item["account"]["S"])["devices"] == 1_200
    assert {"1", "2"} == set(versions_at_work(trial))


def test_every_record_of_an_event_begins_in_the_published_version(trial: Trial) -> None:
    """An event may name several files: the others are passed on to the same version, not to the function's latest."""
    recipe = Recipe(users=4)
    records = []
    for n in (1, 2):
        body = json.dumps({"campaign": campaign(recipe) | {"id": f"c{n}"}, "users": list(users(recipe))}).encode()
        put = trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=f"elsewhere/{n}.json", Body=body)
        thing = {"key": f"elsewhere/{n}.json", "versionId": put["VersionId"], "eTag": put["ETag"].strip('"')}
        about = {"bucket": {"name": trial.sandbox.bucket}, "object": thing}
        records.append({"eventName": "ObjectCreated:Put", "eventTime": "2020-01-01T00:00:00.000Z", "s3": about})
    worker = trial.sandbox.function("WorkerFunction")
    trial.sandbox.lambda_.invoke(worker.name, json.dumps({"Records": records}).encode(), worker.alias)
    sources = [source_of(trial.sandbox.bucket, one["key"], one["versionId"], one["eTag"]) for one in things(records)]
    lanes = [finish(trial, source.run_id) for source in sources]
    assert [(lane.status, lane.function_version) for lane in lanes] == [("completed", "1")] * 2
    # From the event on, also where it was passed on. A lane that rested in between has a short lag of its own.
    assert [lag_ms > YEAR_MS for lag_ms in lags_ms(trial)].count(True) == 2


def lags_ms(trial: Trial) -> list[int]:
    """The times from due to begun that the worker logged."""
    return [json.loads(line)["Lag"] for line in trial.log_lines(5_000) if '"Lag":' in line]


def things(records: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [record["s3"]["object"] for record in records]


@pytest.mark.slow
def test_a_new_stack_takes_up_the_bucket_of_a_deleted_one(tmp_path: Path) -> None:
    """The bucket is there, its notifications lead to a function that is gone: the command in the output repairs it."""
    place = {"BucketName": "push-campaigns", "AWS::AccountId": "123456789012", "AWS::Region": "eu-central-1"}
    resolver = intrinsics.Resolver(place.__getitem__, lambda *_: "", {}, {})
    output = intrinsics.load(TEMPLATE)["Outputs"]["ListenToTheBucket"]["Value"]
    aws, s3api, operation, *rest = shlex.split(resolver.resolve(output, "ListenToTheBucket"))
    assert (aws, s3api, operation) == ("aws", "s3api", "put-bucket-notification-configuration")
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    bucket = options["--bucket"]
    with Trial.start(tmp_path / "sandbox", Setting(parameters={"ExistingBucket": "true"})) as trial:
        assert trial.sandbox.stack.buckets == ()
        left_behind(trial.s3, bucket)
        wanted = json.loads(options["--notification-configuration"])
        trial.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
        recipe = Recipe(users=40)
        body = json.dumps({"campaign": campaign(recipe), "users": list(users(recipe))}).encode()
        put = trial.s3.put_object(Bucket=bucket, Key="batches/again.json", Body=body)
        run_id = source_of(bucket, "batches/again.json", put["VersionId"], put["ETag"]).run_id
        lane = finish(trial, run_id)
        assert (lane.status, lane.account.settled) == ("completed", lane.account.devices)
        kept = trial.s3.list_objects_v2(Bucket=bucket, Prefix=f"rows/run_id={run_id}/")
        assert kept["KeyCount"] == 1
        assert 0 <= lags_ms(trial)[0] < PATIENCE_S * 1000  # EventBridge's event has the time too


def left_behind(s3: Any, bucket: str) -> None:
    """A bucket as the deletion of a stack leaves it."""
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    gone = {
        "LambdaFunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:deleted:live",
        "Events": ["s3:ObjectCreated:*"],
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [gone]}
    )
