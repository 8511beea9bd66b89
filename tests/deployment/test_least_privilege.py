"""Least privilege, the other way round: what the functions really ask of AWS, against what their roles allow."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from notifier.model.run import LaneState
from privacy.jobs import Jobs
from privacy.service import PrivacyService
from privacy.stack import Stack
from sandbox.audience import Recipe, campaign, users
from sandbox.local_lambda.service import LocalLambda
from sandbox.trial import Setting, Trial, parameters_of
from sandbox.wait import wait_until
from schedules.store import ScheduleStore
from tests.deployment.least_privilege import Call, Recorder, Statement, refused, roles_of


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[set[Call], dict[str, list[Statement]]]]:
    """Everything that worker, sweeper and control ask for, in a run of several hops with all that can happen to one."""
    with Recorder() as recorder:
        setting = Setting(
            function_timeout_s=6.0,
            recurse_below_ms=3_000,
            schedule_every_s=600.0,
            # As with approval pages, which this stack has not: approvers are to be asked.
            variables={"AWS_ENDPOINT_URL": recorder.url, "HAS_PAGES": "true"},
            parameters={
                "AudienceBucketArns": "arn:aws:s3:::exports",
                "AthenaBucketArns": "arn:aws:s3:::lake",
                "DefaultTimezone": "Europe/London",
                "PrivacyOfficers": "olive@example.com",
            },
        )
        folder = tmp_path_factory.mktemp("asked")
        with Trial.start(folder / "sandbox", setting) as trial:
            recorder.before(trial.sandbox.endpoint_url)
            play(trial, folder, recorder.url)
            parameters = {**parameters_of(setting, trial.gateways), **secrets_of(trial)}
            assert recorder.unknown == set()
            yield recorder.calls, roles_of(trial.sandbox.stack, parameters)


def secrets_of(trial: Trial) -> dict[str, str]:
    variables = dict(trial.sandbox.function("WorkerFunction").environment)
    audiences = dict(trial.sandbox.function("AudienceFunction").environment)
    return {
        "FcmSecretArn": variables["FCM_SECRET_ARN"],
        "ApnsSecretArn": variables["APNS_SECRET_ARN"],
        "BigQuerySecretArn": audiences["BIGQUERY_SECRET_ARN"],
    }


def play(trial: Trial, folder: Path, url: str) -> None:
    """A run with broken records, dead tokens and retries, paused and resumed; a sweep with a dead letter."""
    s3, bucket, lambda_ = trial.s3, trial.sandbox.bucket, trial.sandbox.lambda_
    control, sweeper = (trial.sandbox.function(f"{name}Function").name for name in ("Control", "Sweeper"))
    recipe = Recipe(users=1_800, broken=6, dead_share=0.02)
    people = list(users(recipe))
    for n in (10, 20):
        people[n]["devices"] = [{"platform": "android", "token": f"once503-{n}"}]
    s3.create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="exports", VersioningConfiguration={"Status": "Enabled"})
    put = s3.put_object(Bucket="exports", Key="audiences/day.jsonl", Body="\n".join(map(json.dumps, people)))
    versions = {"version_id": put["VersionId"], "etag": put["ETag"].strip('"')}
    s3.put_object(Bucket=bucket, Key="audiences/out.json", Body=json.dumps(["user-1-000000003"]))
    body: dict[str, Any] = {
        "campaign": campaign(recipe) | {"per_second": 150, "exclude": {"parts": [{"key": "audiences/out.json"}]}},
        "audience": {"parts": [{"bucket": "exports", "key": "audiences/day.jsonl"} | versions]},
    }
    path = folder / "day.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    run_id = trial.drop(path)
    wait_until(lambda: (lane := trial.ledger.read_lane(run_id)) and lane.account.settled >= 500, 60, "500 settled")
    ask(lambda_, control, {"action": "pause", "run_id": run_id, "by": "ann"})
    wait_until(lambda: (lane := trial.ledger.read_lane(run_id)) and lane.state is LaneState.PAUSED, 60, "paused")
    ask(lambda_, control, {"action": "resume", "run_id": run_id, "by": "ann"})
    queue = dict(trial.sandbox.function("SweeperFunction").environment)["DEAD_LETTER_QUEUE_URL"]
    dead = json.dumps({"bucket": bucket, "key": "batches/day.json"})
    trial.sandbox.client("sqs").send_message(QueueUrl=queue, MessageBody=dead)
    for lane in trial.follow(run_id, 60, every_s=0.25):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    assert lane.status == "completed"
    # It had no final cut: its rows are counted for caps, by which the next run is judged.
    wait_until(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="caps/")["KeyCount"] == 1, 60, "counted")
    prepared = prepare(trial, folder, people)
    ask_bigquery(trial, folder)
    play_schedule(trial)
    trial.sandbox.client("dynamodb").update_item(  # as if the worker had ended before it closed the run
        TableName=trial.sandbox.table,
        Key={"pk": {"S": f"run#{run_id}"}, "sk": {"S": "lane#0000"}},
        UpdateExpression="SET due = :lane, due_at = :long_ago",
        ExpressionAttributeValues={":lane": {"S": "lane"}, ":long_ago": {"N": "1"}},
    )
    trial.sandbox.client("dynamodb").update_item(  # as if the audience function had ended before it woke the lane
        TableName=trial.sandbox.table,
        Key={"pk": {"S": f"run#{prepared}"}, "sk": {"S": "preparation"}},
        UpdateExpression="SET due = :preparation, due_at = :long_ago",
        ExpressionAttributeValues={":preparation": {"S": "preparation"}, ":long_ago": {"N": "1"}},
    )
    assert ask(lambda_, sweeper, {}) == {"nudged": 0, "closed": 1, "replayed": 1, "prepared": 1}
    assert lambda_.wait_idle(30)
    erase_a_person(trial, url)


def erase_a_person(trial: Trial, url: str) -> None:
    """An officer looks a user up, and erases them from all these runs.

    The function does the first. In this sandbox it has 6 s, which an erasure of ever so little is not done in: its code
    does the second here, in the function's name.
    """
    function = trial.sandbox.function("PrivacyFunction")
    by = {"user_id": "user-1-000000012", "by": "olive@example.com"}
    job = ask(trial.sandbox.lambda_, function.name, {"action": "find", **by})["job"]
    assert trial.sandbox.lambda_.wait_idle(60)
    found = ask(trial.sandbox.lambda_, function.name, {"action": "job", "job": job, **by})
    assert found["job"]["state"] == "done", found
    s3, dynamodb = (
        boto3.client(name, endpoint_url=url, aws_access_key_id=function.name, aws_secret_access_key="x",
                     region_name="eu-central-1")
        for name in ("s3", "dynamodb")
    )  # fmt: skip
    variables, begun = dict(function.environment), list[dict[str, Any]]()
    table, approval = variables["TABLE"], variables["APPROVAL_TABLE"]
    stack = Stack(s3, dynamodb, trial.sandbox.bucket, table, variables["SUPPRESSION_PREFIX"], approval)
    jobs = Jobs(dynamodb, approval, s3, trial.sandbox.bucket)
    service = PrivacyService(stack, jobs, (by["by"],), begun.append, lambda: int(time.time() * 1000), 900_000)
    job = service.carry_out({"action": "erase", "user_ids": [by["user_id"]], **by})["job"]
    service.work(begun.pop(), lambda: 900_000)
    # What was sent from another bucket is left to its owner, so that this erasure is not done.
    words = service.carry_out({"action": "job", "job": job, **by})["job"]["words"]
    assert "Not erased: s3://exports/audiences/day.jsonl: in another bucket" in words, words


def play_schedule(trial: Trial) -> None:
    """A schedule is adopted, and two of its occurrences are fired, prepared and written: the clock is put back.

    The first of them has too many users: an approver is asked, and decides. Before them its audience is previewed.
    """
    schedule, lambda_ = trial.sandbox.function("ScheduleFunction").name, trial.sandbox.lambda_
    body = {
        "schedule": {
            "when": {"cron": "0 0 1 1 *", "timezone": "UTC"},
            "overlap": "skip",
            "limits": {"max_users": 1},
        },
        "audience": {"query": {"name": "all"}},
        "campaign": {"message": {"title": "Hi"}, "goal": {"name": "seen", "window_h": 1}},
    }
    source = {"files": ["standing/seen/"], "complete": {"marker": "standing/through"}}
    for key, text in (("conversions/seen.json", source), ("schedules/yearly.json", body)):
        trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=json.dumps(text).encode())
    assert ask(lambda_, schedule, {})["adopted"] == 1
    preview = {"action": "preview", "schedule": "yearly"}
    wait_until(lambda: ask(lambda_, schedule, preview).get("examples"), 60, "some users of a preview", every_s=0.5)
    for minute in ("2026-01-01T0000", "2026-01-01T0001"):
        now_ms = int(time.time() * 1000)
        trial.sandbox.client("dynamodb").update_item(
            TableName=trial.sandbox.table,
            Key={"pk": {"S": "schedule#yearly"}, "sk": {"S": "schedule"}},
            UpdateExpression="SET #next = :stamp, next_at_ms = :now, due_at = :now",
            ExpressionAttributeNames={"#next": "next"},
            ExpressionAttributeValues={":stamp": {"S": minute}, ":now": {"N": str(now_ms)}},
        )
        assert ask(lambda_, schedule, {})["fired"] == 1
        if minute.endswith("0"):
            assert lambda_.wait_idle(60)
            make_due(trial, minute)
            assert ask(lambda_, schedule, {})["steps"] == 1
            decision = {"action": "decide", "schedule": "yearly", "occurrence": minute, "decision": "approve"}
            assert "refused" not in ask(lambda_, schedule, {**decision, "by": "ann"})
            assert ask(lambda_, schedule, {})["steps"] == 1
    history = ScheduleStore(trial.sandbox.client("dynamodb"), trial.sandbox.table, time.time).history("yearly")
    assert [one.state.value for one in history][-1] == "run", history
    for _ in trial.follow(history[-1].run_id, 60, every_s=0.25):
        pass


def make_due(trial: Trial, stamp: str) -> None:
    """An occurrence is looked at again now, and not in a minute."""
    trial.sandbox.client("dynamodb").update_item(
        TableName=trial.sandbox.table,
        Key={"pk": {"S": "schedule#yearly"}, "sk": {"S": f"occurrence#{stamp}"}},
        UpdateExpression="SET due_at = :long_ago",
        ExpressionAttributeValues={":long_ago": {"N": "1"}},
    )


def prepare(trial: Trial, folder: Path, people: list[dict[str, Any]]) -> str:
    """A run whose audience is made of files of two buckets, with a user whom every run leaves out."""
    s3, bucket = trial.s3, trial.sandbox.bucket
    s3.put_object(Bucket=bucket, Key="suppression/out.json", Body=json.dumps(["user-1-000000004"]))
    s3.put_object(Bucket=bucket, Key="standing/some.jsonl", Body="\n".join(map(json.dumps, people[:50])))
    trial.stock()
    s3.put_object(Bucket=bucket, Key="queries/all.sql", Body=b"SELECT user_id, devices FROM users")
    s3.put_object(Bucket=bucket, Key="queries/all.json", Body=b'{"tables": {"users": ["standing/some.jsonl"]}}')
    body = {
        "campaign": {
            "id": "prepared",
            "message": {"title": "Hi"},
            "lanes": 2,
            "caps": [{"group": "marketing", "most": 9, "days": 7}],
        },
        "audience": {
            "any": [
                {"files": ["standing/*.jsonl", "s3://exports/audiences/"]},
                {"query": {"name": "all"}},
                # EventBridge reports its end: no sweeper comes by in this sandbox.
                {"sql": "SELECT user_id, platform, token FROM devices", "engine": "athena"},
            ]
        },
    }
    path = folder / "prepared.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    run_id = trial.drop(path)
    for lane in trial.follow(run_id, 90, every_s=0.25):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    assert (lane.status, lane.account.excluded_by) == ("completed", {"suppressed": 1})
    return run_id


def ask_bigquery(trial: Trial, folder: Path) -> None:
    """A run whose query BigQuery runs, looked at as the sweeper would."""
    sql = {"sql": "SELECT user_id, platform, token FROM crm.devices", "engine": "bigquery"}
    path = folder / "bigquery.json"
    path.write_text(json.dumps({"campaign": {"id": "b", "message": {"title": "Hi"}}, "audience": sql}), "utf-8")
    order = {"prepare": trial.drop(path), "worker": trial.sandbox.function("WorkerFunction").trigger_arn}
    function = trial.sandbox.function("AudienceFunction").name
    wait_until(lambda: ask(trial.sandbox.lambda_, function, order)["status"] == "prepared", 60, "BigQuery's rows")
    assert trial.sandbox.lambda_.wait_idle(30)


def ask(lambda_: LocalLambda, function: str, event: dict[str, Any]) -> Any:
    """Invoke and wait for the answer."""
    answer = lambda_.invoke(function, json.dumps(event).encode())
    assert not answer.failure, answer
    return json.loads(answer.payload)


def test_every_call_is_allowed(recorded: tuple[set[Call], dict[str, list[Statement]]]) -> None:
    """A real AWS would refuse nothing of it."""
    calls, roles = recorded
    assert refused(calls, roles) == []


BY_ATHENA = (
    "glue:BatchGetPartition",
    "glue:GetDatabase",
    "glue:GetPartition",
    "glue:GetPartitions",
    "glue:GetTable",
    "glue:GetTables",
    "s3:AbortMultipartUpload",
    "s3:GetBucketLocation",
    "s3:ListMultipartUploadParts",
)
"""What Athena asks for in the function's name, and not the function.

https://docs.aws.amazon.com/athena/latest/ug/security-iam-athena.html
"""


def test_every_permission_is_used(recorded: tuple[set[Call], dict[str, list[Statement]]]) -> None:
    """An action that no function calls is taken out of the template. What only accidents need is named here."""
    calls, roles = recorded
    rare = {
        ("WorkerFunction", "s3:DeleteObjectTagging"),  # of a bucket without versions; this one has them
        ("WorkerFunction", "sqs:SendMessage"),  # Lambda itself puts dead letters there, in the worker's name
        ("SweeperFunction", "s3:GetObject"),  # of an approved run whose worker ended before it closed it
        ("SweeperFunction", "s3:GetObjectVersion"),
        ("SweeperFunction", "sqs:SendMessage"),  # of letters that three replays did not clear
        ("SweeperFunction", "lambda:DeleteFunction"),  # versions are deleted when they are older than a day
        *(("AudienceFunction", action) for action in BY_ATHENA),
        ("AudienceFunction", "athena:StopQueryExecution"),  # of a run that was cancelled
        ("PrivacyFunction", "dynamodb:UpdateItem"),  # of a test push with the sample user's attributes
    }
    asked = {(call.who, call.action) for call in calls}
    unused = {
        (who.removeprefix("notifier-"), action)
        for who, statements in roles.items()
        for statement in statements
        for action in statement.actions
        if not statement.denies and (who, action) not in asked
    }
    assert sorted(unused - rare) == []


def test_what_is_not_allowed_would_be_found() -> None:
    """The check can fail: another prefix, another action, another leading key, and what is denied beside it."""
    statement = Statement(("s3:GetObject",), ("arn:aws:s3:::b/rows/*",))
    keyed = Statement(("dynamodb:GetItem",), ("t",), (("dynamodb:LeadingKeys", ("session#*",)),))
    denied = Statement(("s3:GetObject",), ("arn:aws:s3:::b/rows/secret/*",), denies=True)
    roles = {"f": [statement, keyed, denied]}
    fine = {
        Call("f", "s3:GetObject", "arn:aws:s3:::b/rows/x"),
        Call("f", "dynamodb:GetItem", "t", (("dynamodb:LeadingKeys", ("session#1",)),)),
    }
    wrong = {
        Call("f", "s3:GetObject", "arn:aws:s3:::b/state/x"),
        Call("f", "s3:GetObject", "arn:aws:s3:::b/rows/secret/x"),
        Call("f", "s3:PutObject", "arn:aws:s3:::b/rows/x"),
        Call("f", "dynamodb:GetItem", "t", (("dynamodb:LeadingKeys", ("user#1",)),)),
    }
    assert set(refused(fine | wrong, roles)) == wrong
