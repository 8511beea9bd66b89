"""`notifier setup` against a sandbox: what is fine, and what is said of each thing that is not."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.cli.check import Check
from operations.cli.cloud import Cloud
from operations.cli.deployment import Deployment
from operations.cli.gateway_checks import gateway_checks
from operations.cli.setup import checks, notification_check
from sandbox.gateways import Gateways
from sandbox.trial import Setting, Trial

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A sandbox as it is deployed."""
    with Trial.start(tmp_path_factory.mktemp("setup"), Setting(schedule_every_s=600.0)) as running:
        yield running


@pytest.fixture
def cloud(trial: Trial) -> Cloud:
    """The stack, as the command line finds it."""
    sandbox = trial.sandbox
    worker, control = (sandbox.function(name).name for name in ("WorkerFunction", "ControlFunction"))
    keys = {"region": "eu-central-1", "access_key_id": "sandbox", "secret_access_key": "sandbox"}
    return Cloud(Deployment(sandbox.bucket, sandbox.table, worker, control, endpoint_url=sandbox.endpoint_url, **keys))


def found(cloud: Cloud) -> dict[str, Check]:
    return {check.name: check for check in checks(cloud)}


@pytest.fixture
def secrets(trial: Trial) -> Iterator[Gateways]:
    """Secrets that a test may break: they are restored behind it."""
    yield trial.gateways
    put(trial, "notifier/fcm", trial.gateways.fcm_service_account)
    put(trial, "notifier/apns", trial.gateways.apns_key)


def put(trial: Trial, name: str, text: str) -> None:
    trial.sandbox.client("secretsmanager").put_secret_value(SecretId=name, SecretString=text)


def test_a_stack_that_is_ready(cloud: Cloud, trial: Trial) -> None:
    """Everything is fine, both gateways were really asked, and no phone rang."""
    checked = found(cloud)
    assert {name: check.fine for name, check in checked.items()} == {
        "mode": True,
        "notification": True,
        "concurrency": True,
        "worker's role": True,
        "FCM secret": True,
        "FCM dry run": True,
        "APNs secret": True,
        "APNs": True,
        "mail": None,
    }
    assert checked["notification"].finding == "S3 notifies the worker of every file under batches/"
    counts = trial.gateways.counts()
    assert (counts.fcm.requests, counts.apns.requests) == (1, 1)
    # As docs/first-push.md prints it, whatever the width; the stack of that page rehearses.
    page = " ".join((ROOT / "docs" / "first-push.md").read_text("utf-8").split())
    for check in list(checked.values())[1:]:
        mark = {True: "✓", False: "✗", None: "·"}[check.fine]
        assert " ".join(f"{mark} {check.name} {check.finding}".split()) in page


@pytest.mark.parametrize(
    ("name", "text", "check", "word"),
    [
        ("notifier/fcm", "not JSON", "FCM secret", "JSON"),
        ("notifier/fcm", "{}", "FCM secret", "project_id"),
        ("notifier/apns", '{"key": "x", "key_id": "K", "team_id": "T", "topic": "a.b"}', "APNs secret", "in PEM"),
        (
            "notifier/apns",
            '{"key": "-----BEGIN CERTIFICATE-----x-----END CERTIFICATE-----","key_id":"K","team_id":"T","topic":"a"}',
            "APNs secret",
            "apns secret notifier/apns: key is a certificate, not a private key",
        ),
    ],
)
def test_a_secret_that_does_not_parse(
    cloud: Cloud, trial: Trial, secrets: Gateways, name: str, text: str, check: str, word: str
) -> None:
    """The field at fault and its fix are named, and the other gateway is checked all the same."""
    put(trial, name, text)
    checked = found(cloud)
    assert checked[check].fine is False
    assert word in checked[check].finding
    assert "put" in checked[check].mend
    other = "APNs" if check.startswith("FCM") else "FCM dry run"
    assert checked[other].fine


def test_a_key_that_apple_refuses(cloud: Cloud, trial: Trial, secrets: Gateways) -> None:
    """A well-formed key of another team is found out by asking."""
    put(trial, "notifier/apns", json.dumps(json.loads(secrets.apns_key) | {"key_id": "WRONGKEY00"}))
    checked = found(cloud)["APNs"]
    assert checked.fine is False
    assert "refuses our credentials: 403" in checked.finding


def test_a_gateway_that_cannot_be_reached(cloud: Cloud, trial: Trial, secrets: Gateways) -> None:
    """No key is at fault: the fix concerns the network."""
    account = json.loads(secrets.fcm_service_account) | {"token_uri": "https://127.0.0.1:9/token"}
    put(trial, "notifier/fcm", json.dumps(account))
    variables = dict(trial.sandbox.function("WorkerFunction").environment) | {"APNS_BASE_URL": "https://127.0.0.1:9"}
    checked = {check.name: check for check in gateway_checks(cloud, variables)}
    for name in ("FCM dry run", "APNs"):
        assert checked[name].fine is False
        assert "outgoing TCP 443" in checked[name].mend


def test_a_key_that_google_refuses(cloud: Cloud, trial: Trial, secrets: Gateways) -> None:
    """A well-formed account that was deleted is found out by asking for an access token."""
    account = json.loads(secrets.fcm_service_account) | {"client_email": "gone@elsewhere.iam.gserviceaccount.com"}
    put(trial, "notifier/fcm", json.dumps(account))
    checked = found(cloud)["FCM dry run"]
    assert checked.fine is False
    assert "make a new key" in checked.mend


def test_a_secret_that_the_worker_does_not_get(cloud: Cloud, trial: Trial, secrets: Gateways) -> None:
    """The deployed worker itself says so, with the reason that its runs would stop with."""
    put(trial, "notifier/apns", "not JSON")
    checked = found(cloud)["worker's role"]
    assert (checked.fine, checked.finding) == (False, "apns secret notifier/apns: not JSON")


def test_a_secret_that_is_gone(cloud: Cloud) -> None:
    """It was deleted, or is in another region: the fix is another than for a broken one."""
    checked = next(gateway_checks(cloud, {"FCM_SECRET_ARN": "notifier/nowhere"}))
    assert checked.fine is False
    assert "create-secret" in checked.mend


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"GATEWAY_PROXY": "user:hush-hush@proxy:3128"}, "GATEWAY_PROXY is not usable: expected http://host:port"),
        (
            {"GATEWAY_CA_FILE": "/not/there.pem"},
            "GATEWAY_CA_FILE is '/not/there.pem': expected a file",
        ),
    ],
    ids=["proxy", "authorities"],
)
def test_a_way_to_the_gateways_that_is_none(
    cloud: Cloud, trial: Trial, secrets: Gateways, changes: dict[str, str], finding: str
) -> None:
    """The setting at fault is named before anybody is asked, and no password is shown."""
    variables = dict(trial.sandbox.function("WorkerFunction").environment) | changes
    [checked] = gateway_checks(cloud, variables)
    assert checked.fine is False
    assert checked.finding.startswith(finding)
    assert "GatewayProxy" in checked.mend
    assert "hush" not in repr(checked)


def notified(cloud: Cloud, trial: Trial, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Check:
    """The finding while the bucket's notifications are changed by hand."""
    s3, bucket = trial.sandbox.client("s3"), trial.sandbox.bucket
    before = s3.get_bucket_notification_configuration(Bucket=bucket)
    before.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=change(copy.deepcopy(before)))
    worker = cloud.client("lambda").get_function_configuration(FunctionName=cloud.deployment.worker)
    try:
        [check] = notification_check(cloud, worker["FunctionArn"])
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=before)
    return check


def test_a_bucket_that_tells_nobody(cloud: Cloud, trial: Trial) -> None:
    """Other notifications were put on the bucket by hand."""
    checked = notified(cloud, trial, lambda _: {})
    assert checked.fine is False
    assert "sam deploy" in checked.mend
    assert "ListenToTheBucket" in checked.mend


def test_a_bucket_that_tells_of_some_files_only(cloud: Cloud, trial: Trial) -> None:
    """Compressed files would lie there unseen."""

    def change(before: dict[str, Any]) -> dict[str, Any]:
        [notification] = before["LambdaFunctionConfigurations"]
        notification["Filter"]["Key"]["FilterRules"].append({"Name": "suffix", "Value": ".json"})
        return {"LambdaFunctionConfigurations": [notification]}

    checked = notified(cloud, trial, change)
    assert (checked.fine, checked.finding) == (
        False,
        "S3 notifies the worker of .json under batches/, but not of .json.gz",
    )
