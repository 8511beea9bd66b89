"""Every function of the template, from the folder that it deploys: booted by AWS's runtime client, asked, answering.

Beside the folder there is nothing but what Lambda's runtime has; AWS is the sandbox's.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from notifier.model.run import Run, source_of
from notifier.stores.ledger import DynamoLedger
from sandbox import scene
from sandbox.aws import CREDENTIALS
from sandbox.trial import Setting, Trial
from tests.approval_site import rest_event
from tests.deployment import artifact

EVENTS = artifact.ROOT / "events"


@dataclass(frozen=True)
class Place:
    """The stack on the sandbox's AWS; `boot` starts a function, by its logical id, from its artifact."""

    trial: Trial
    boot: Callable[[str], AbstractContextManager[artifact.Running]]


@pytest.fixture(scope="module")
def place(artifacts: artifact.Artifacts, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A stack with approval pages, whose local Lambda runs nothing: the tests boot the functions themselves."""
    setting = Setting(parameters=scene.parameters())
    with Trial.start(tmp_path_factory.mktemp("handlers"), setting, in_process=True) as trial:
        scene.set_up(trial.sandbox, trial.gateways)

        def boot(logical_id: str) -> AbstractContextManager[artifact.Running]:
            function = trial.sandbox.function(logical_id)
            variables = {
                **CREDENTIALS,
                "AWS_DEFAULT_REGION": CREDENTIALS["AWS_REGION"],
                "AWS_ENDPOINT_URL": trial.sandbox.endpoint_url,
                "AWS_LAMBDA_FUNCTION_NAME": function.name,
                **dict(function.environment),
            }
            folder = artifacts.of(logical_id, "host").folder
            return artifact.booted(folder, runtime, artifact.handlers()[logical_id], **variables)

        yield Place(trial, boot)


def sample(name: str) -> Any:
    """A sample event."""
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def asked(function: artifact.Running, event: Any) -> Any:
    """The function's answer to an event. It must not be an error."""
    answer = function.ask(event)
    assert answer.error is None, answer.log
    return answer.payload


def _dropped(trial: Trial, key: str, batch_file: object) -> tuple[Any, str]:
    """S3's event of a batch file that was put, and its run."""
    put = trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=json.dumps(batch_file).encode())
    event = sample("s3-put-versioned")
    record = event["Records"][0]["s3"]
    record["bucket"]["name"], record["object"] = (
        trial.sandbox.bucket,
        record["object"] | {"key": key, "eTag": put["ETag"].strip('"'), "versionId": put["VersionId"]},
    )
    return event, source_of(trial.sandbox.bucket, key, put["VersionId"], put["ETag"]).run_id


def _a_batch_file_is_sent(place: Place) -> None:
    """S3 sends the event of a file; both gateways are asked, and every device has its row."""
    trial, key = place.trial, "batches/from-the-artifact.json"
    users = [
        {"user_id": "one", "platform": "ios", "token": "a" * 64},
        {"user_id": "two", "platform": "android", "token": "b" * 140, "attributes": {"first_name": "Ann"}},
    ]
    message = {"title": "Hi {{ first_name | default: 'there' | capitalize }}"}
    batch_file = {"campaign": {"id": "from-the-artifact", "message": message}, "users": users}
    event, run_id = _dropped(trial, key, batch_file)
    with place.boot("WorkerFunction") as worker:
        answer = asked(worker, event)
        assert answer["status"] == "completed", worker.log
    assert answer["run_id"] == run_id
    counts = trial.gateways.counts()
    assert (counts.fcm.requests, counts.apns.requests) == (1, 1)
    rows = {(row["user_id"], row["outcome"]) for row in trial.rows(run_id)}
    assert rows == {("one", "accepted"), ("two", "accepted")}


def _an_audience_is_made(place: Place) -> None:
    """The worker asks for the audience of a run whose file names a CSV; made, the run's lane is ready."""
    trial = place.trial
    trial.s3.put_object(
        Bucket=trial.sandbox.bucket, Key="audiences/few.csv", Body=b"user_id,platform,token\nu1,ios," + b"c" * 64
    )
    audience = {"files": ["audiences/few.csv"]}
    batch_file = {"campaign": {"id": "made-first", "message": {"title": "Hi"}}, "audience": audience}
    event, run_id = _dropped(trial, "batches/made-first.json", batch_file)
    with place.boot("WorkerFunction") as worker:
        asked(worker, event)
    with place.boot("AudienceFunction") as function:
        answer = asked(function, {"prepare": run_id, "worker": trial.sandbox.function("WorkerFunction").name})
    assert answer["status"] == "prepared", answer
    lane = trial.ledger.read_lane(run_id)
    assert lane is not None
    assert lane.state.value == "ready"


def _run(place: Place, name: str, opened_s: float) -> str:
    """Enter a run without a worker into the ledger; `opened_s` is epoch seconds."""
    source = source_of(place.trial.sandbox.bucket, f"batches/{name}.json", "v1", "etag")
    ledger = DynamoLedger(place.trial.sandbox.client("dynamodb"), place.trial.sandbox.table, lambda: opened_s)
    return ledger.open_run(Run(source.run_id, source, int(opened_s * 1000))).run_id


def _a_lane_that_is_due_is_woken(place: Place) -> None:
    """A run whose worker never came is nudged, once; the next sweep has nothing to do."""
    run_id = _run(place, "left-behind", time.time() - 3600)
    with place.boot("SweeperFunction") as sweeper:
        assert asked(sweeper, sample("sweeper-schedule")) == {"nudged": 1, "closed": 0, "replayed": 0}
        assert asked(sweeper, sample("sweeper-schedule"))["nudged"] == 0
    lane = place.trial.ledger.read_lane(run_id)
    assert lane is not None
    assert (lane.due_at_ms or 0) > time.time() * 1000


def _runs_are_held(place: Place) -> None:
    """What an operator asks for."""
    run_id = _run(place, "to-be-paused", time.time())
    with place.boot("ControlFunction") as control:
        answer = asked(control, sample("control-pause") | {"run_id": run_id})
        assert (answer["run_id"], answer["control"]) == (run_id, "pause")


def _signed_in(place: Place, approval: artifact.Running, email: str) -> str:
    """The session's cookie after a link was asked for, mailed and used."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = asked(approval, rest_event("POST", "/sign-in", body=f"email={email}", headers=form))
    assert sent["statusCode"] == 200
    mail = next(mail for mail in scene.mails(place.trial.sandbox.endpoint_url) if mail["to"] == email)
    token = re.search(r"/link\?t=(\S+)", mail["text"])
    assert token is not None
    used = asked(approval, rest_event("POST", "/link", body=f"t={token[1]}", headers=form))
    assert used["statusCode"] == 303, used["body"]
    return str(used["multiValueHeaders"]["Set-Cookie"][0]).partition(";")[0]


def _pages_are_shown_and_previews_made(place: Place) -> None:
    """For a requester: the list, and the phones of a form whose text needs Liquid, with the size of its payload."""
    known = {"authorizer": {"principalId": scene.ANN, "email": scene.ANN, "csrf": "same"}}
    page = rest_event("GET", "/requests")
    form = "csrf=same&name=x&title=Hi+{{+first_name+|+default:+'there'+|+upcase+}}&body=b&timezone=Europe/London"
    preview = rest_event("POST", "/preview", body=form)
    for event in (page, preview):
        event["requestContext"] |= known
    with place.boot("ApprovalFunction") as approval:
        assert "Sign in" in asked(approval, rest_event("GET", "/sign-in"))["body"]
        assert asked(approval, page)["statusCode"] == 200
        shown = asked(approval, preview)
    assert shown["statusCode"] == 200, shown["body"]
    panel = json.loads(shown["body"])["parts"]["panel"]
    assert "Hi THERE" in panel
    assert "of 4,096 bytes" in panel


def _visitors_are_told_apart(place: Place) -> None:
    """With a session the user is named; without one the sign-in page may be seen, and no form sent."""

    def request(method: str, cookie: str = "") -> dict[str, Any]:
        arn = f"arn:aws:execute-api:eu-west-1:123456789012:api/prod/{method}/requests"
        return rest_event(method, "/requests", cookie=cookie) | {"type": "REQUEST", "methodArn": arn}

    with place.boot("ApprovalFunction") as approval:
        cookie = _signed_in(place, approval, scene.ANN)
    with place.boot("AuthorizerFunction") as authorizer:
        ann = asked(authorizer, request("POST", cookie))
        assert (ann["principalId"], ann["context"]["email"]) == (scene.ANN, scene.ANN)
        assert ann["policyDocument"]["Statement"][0]["Effect"] == "Allow"
        assert asked(authorizer, request("GET"))["principalId"] == "nobody"
        assert authorizer.ask(request("POST")).error["errorMessage"] == "Unauthorized"


def _a_schedule_is_taken_up(place: Place) -> None:
    """A new file is checked, copied and put on its next time; a pause is answered, and so is what cannot be done."""
    trial = place.trial
    definition = (artifact.ROOT / "events/schedules/day-2-engagement.json").read_bytes()
    for ending in ("sql", "json"):
        body = (artifact.ROOT / f"events/queries/day-2-engagement.{ending}").read_bytes()
        trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=f"queries/day-2-engagement.{ending}", Body=body)
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key="schedules/day-2-engagement.json", Body=definition)
    pause = {"action": "pause", "schedule": "day-2-engagement", "by": "ann"}
    with place.boot("ScheduleFunction") as function:
        assert asked(function, {}) == {
            "adopted": 1, "fired": 0, "steps": 0, "failed": 0, "decisions": 0, "undecided": 0,
        }  # fmt: skip
        assert asked(function, pause)["state"] == "paused"
        assert "there is no schedule" in asked(function, pause | {"schedule": "other"})["refused"]


def _a_person_is_found(place: Place) -> None:
    """Only an officer begins a look-up, which is worked on by an invocation of its own, and shown."""
    find = {"action": "find", "user_id": "nobody"}
    with place.boot("PrivacyFunction") as function:
        assert asked(function, find | {"by": scene.ANN}) == {"refused": "only privacy officers may do this"}
        begun = asked(function, find | {"by": scene.OLIVE})
        assert asked(function, {"work": begun["job"], "user_id": "nobody", "since_s": 0}) == {}
        shown = asked(function, {"action": "job", "job": begun["job"], "by": scene.OLIVE})
        assert (shown["job"]["state"], shown["found"]["rows"]) == ("done", [])
        ended = {"detail-type": "Notifier Run Ended", "detail": {"run_id": "0" * 20}}
        assert asked(function, ended) == {"erased": False}


ASKED: dict[str, Callable[[Place], None]] = {
    "ScheduleFunction": _a_schedule_is_taken_up,
    "AudienceFunction": _an_audience_is_made,
    "WorkerFunction": _a_batch_file_is_sent,
    "SweeperFunction": _a_lane_that_is_due_is_woken,
    "ControlFunction": _runs_are_held,
    "ApprovalFunction": _pages_are_shown_and_previews_made,
    "PrivacyFunction": _a_person_is_found,
    "AuthorizerFunction": _visitors_are_told_apart,
}


# The gate boots the worker from its artifact; `make deep`, AWS's emulator and a release boot each function.
@pytest.mark.parametrize(
    "function",
    [
        one if one == "WorkerFunction" else pytest.param(one, marks=pytest.mark.slow)
        for one in sorted(artifact.handlers())
    ],
)
def test_the_deployed_handler_answers(function: str, place: Place) -> None:
    """Whatever function the template has: one that is not in the table above is not tested, and fails here."""
    assert function in ASKED, f"{function} is new in the template: say in ASKED what it is asked, and what it answers"
    ASKED[function](place)
