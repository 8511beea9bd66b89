"""`notifier setup --stack NAME` as it speaks to AWS: CloudFormation's look-ups, and what SES says about the account."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from operations.cli import app
from operations.cli.check import Check, guarded
from operations.cli.cloud import Cloud
from operations.cli.deployment import Deployment, find_deployment
from operations.cli.errors import CommandError, ExitCode
from operations.cli.mail_checks import mail_checks
from operations.cli.setup import notification_check
from tests.aws_wire import Refusal, Stack, Wire

SENDER = "push@example.com"
WORKER = "notifier-WorkerFunction-AbC123"
RESOURCES: dict[str, str | None] = {
    "S3MayInvoke": "notifier-S3MayInvoke-1",
    "Bucket": "push-campaigns-123456789012-eu-north-1",
    "BucketPolicy": "push-campaigns-123456789012-eu-north-1",
    "Table": "notifier-Table-XYZ",
    "DeadLetterQueue": "https://sqs.eu-north-1.amazonaws.com/123456789012/notifier-DeadLetterQueue-1",
    "WorkerFunction": WORKER,
    "ControlFunction": "notifier-ControlFunction-DeF456",
    "ApprovalFunction": "notifier-ApprovalFunction-GhI789",
}
PAGES = {"ApprovalPages": "https://a1b2c3.execute-api.eu-north-1.amazonaws.com/prod/", "GoLive": "sam deploy"}
NOTIFIED = "".join(
    f"<CloudFunctionConfiguration><Id>{suffix}</Id><Event>s3:ObjectCreated:*</Event>"
    f"<CloudFunction>arn:aws:lambda:eu-north-1:123456789012:function:{WORKER}:live</CloudFunction><Filter><S3Key>"
    f"<FilterRule><Name>Prefix</Name><Value>batches/</Value></FilterRule>"
    f"<FilterRule><Name>Suffix</Name><Value>{suffix}</Value></FilterRule></S3Key></Filter></CloudFunctionConfiguration>"
    for suffix in (".json", ".json.gz")
)
EVERYTHING = re.sub(
    r"<FilterRule><Name>Suffix.*?</FilterRule>", "", NOTIFIED.split("<CloudFunctionConfiguration>", 2)[1]
)
EVERYTHING = f"<CloudFunctionConfiguration>{EVERYTHING}"
GOOD = {"ProductionAccessEnabled": True, "SendingEnabled": True, "EnforcementStatus": "HEALTHY"}
VERIFIED = {"IdentityType": "EMAIL_ADDRESS", "VerifiedForSendingStatus": True, "VerificationStatus": "SUCCESS"}
PENDING = {"IdentityType": "EMAIL_ADDRESS", "VerifiedForSendingStatus": False, "VerificationStatus": "PENDING"}
DENIED = Refusal(
    403, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: it"
)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """AWS, as the environment says where it is."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "NOTIFIER_STACK", "NOTIFIER_STACK_FILE"):
        monkeypatch.delenv(name, raising=False)
    with Wire() as wire:
        variables = {
            "AWS_ENDPOINT_URL": wire.url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "eu-north-1",
            "AWS_CONFIG_FILE": "/nowhere",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        wire.world.functions = {
            WORKER: {"MODE": "rehearse", "BUCKET": "somebody-elses-bucket"},
            "notifier-ApprovalFunction-GhI789": {"MAIL_FROM": SENDER},
        }
        wire.world.stacks = {"notifier": Stack(RESOURCES, PAGES)}
        wire.world.account = dict(GOOD)
        wire.world.identities = {SENDER: dict(VERIFIED)}
        wire.world.notification = NOTIFIED
        yield wire


# ------------------------------------------------------------------------------------------------ CloudFormation


def test_a_stack_is_found_by_its_name(wire: Wire) -> None:
    """Its resources come in pages; where the approval pages are is an output; AWS_REGION is the region."""
    assert find_deployment("notifier", None) == Deployment(
        bucket="push-campaigns-123456789012-eu-north-1",
        table="notifier-Table-XYZ",
        worker=f"{WORKER}:live",
        control="notifier-ControlFunction-DeF456",
        region="eu-north-1",
        approval="notifier-ApprovalFunction-GhI789",
        pages="https://a1b2c3.execute-api.eu-north-1.amazonaws.com/prod",
    )
    listed = [asked for asked in wire.asked if asked.values.get("Action") == "ListStackResources"]
    assert [asked.values.get("NextToken") for asked in listed] == [None, "token-3", "token-6"]
    assert {asked.region for asked in wire.asked} == {"eu-north-1"}


def test_a_stack_without_pages_and_without_a_bucket_of_its_own(wire: Wire) -> None:
    """With ExistingBucket the worker's variable names the bucket; without MailFrom there are no pages to ask for."""
    kept = {
        name: value for name, value in RESOURCES.items() if name not in ("Bucket", "BucketPolicy", "ApprovalFunction")
    }
    wire.world.stacks = {"notifier": Stack(kept)}
    place = find_deployment("notifier", None)
    assert (place.bucket, place.approval, place.pages) == ("somebody-elses-bucket", None, None)
    assert "DescribeStacks" not in {asked.values.get("Action") for asked in wire.asked}


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({}, "has no 'WorkerFunction'"),
        (RESOURCES | {"ControlFunction": None}, "has no 'ControlFunction'"),
        ({"Queue": "other"}, "has no 'WorkerFunction'"),
    ],
    ids=["nothing yet", "on its way", "another product's"],
)
def test_a_stack_that_is_not_whole(wire: Wire, resources: dict[str, str | None], message: str) -> None:
    """What is missing is named, and what may be the reason."""
    wire.world.stacks = {"notifier": Stack(resources)}
    with pytest.raises(CommandError, match=message) as caught:
        find_deployment("notifier", None)
    assert caught.value.code is ExitCode.NOT_FOUND
    assert "deployment" in caught.value.mend


def test_no_such_stack(wire: Wire) -> None:
    """Name and region may be wrong."""
    with pytest.raises(CommandError, match="no stack 'notifer'") as caught:
        find_deployment("notifer", None)
    assert "AWS_REGION" in caught.value.mend


# ----------------------------------------------------------------------------------------------------------- SES


def mail(wire: Wire) -> dict[str, Check]:
    cloud = Cloud(find_deployment("notifier", None))
    return {check.name: check for check in guarded("mail", lambda: mail_checks(cloud))}


def test_mail_that_works(wire: Wire) -> None:
    """The account is out of the sandbox, and the sender's address is verified."""
    assert {name: (check.fine, check.finding) for name, check in mail(wire).items()} == {
        "mail": (True, "SES is out of its sandbox"),
        "mail sender": (True, f"SES sends as {SENDER} ({SENDER} is verified)"),
    }


def test_a_default_configuration_set_is_named(wire: Wire) -> None:
    """Mails go by it, and the pages need the right to use it."""
    wire.world.identities = {SENDER: {**VERIFIED, "ConfigurationSetName": "house-rules"}}
    assert mail(wire)["mail sender"].finding.endswith("is verified, by its configuration set house-rules)")


@pytest.mark.parametrize(
    ("account", "finding", "mend"),
    [
        ({"ProductionAccessEnabled": False}, "only verified addresses get mail", "create-email-identity"),
        ({"SendingEnabled": False}, "sends nothing", "put-account-sending-attributes --sending-enabled"),
        ({"SendingEnabled": False, "EnforcementStatus": "SHUTDOWN"}, "SHUTDOWN", "SES console"),
        (DENIED, "not authorized", "do not allow GetAccount"),
        (Refusal(403, "UnrecognizedClientException", "The security token is invalid."), "token", "sign in again"),
        (Refusal(400, "BadRequestException", "The input is bad."), "input is bad", "get-caller-identity"),
    ],
    ids=["sandbox", "sending is off", "shut down by AWS", "not allowed", "unknown credentials", "anything else"],
)
def test_an_account_that_cannot_send(wire: Wire, account: dict[str, Any] | Refusal, finding: str, mend: str) -> None:
    """Each reason with its fix."""
    wire.world.account = account if isinstance(account, Refusal) else {**GOOD, **account}
    check = mail(wire)["mail"]
    assert check.fine is False
    assert finding in check.finding
    assert mend in check.mend


def test_an_account_under_review_sends(wire: Wire) -> None:
    """But it is said."""
    wire.world.account = {**GOOD, "EnforcementStatus": "PROBATION"}
    check = mail(wire)["mail"]
    assert (check.fine, "PROBATION" in check.finding) == (True, True)


def test_ses_that_wants_it_slower(wire: Wire) -> None:
    """Asked three times, then reported."""
    wire.world.account = Refusal(429, "TooManyRequestsException", "Rate exceeded")
    check = mail(wire)["mail"]
    assert check.fine is False
    assert "in a minute" in check.mend
    assert sum(asked.path == "/v2/email/account" for asked in wire.asked) == 3


@pytest.mark.parametrize(
    ("identities", "finding", "mend"),
    [
        (
            {},
            "does not know push@example.com, nor its domain",
            "create-email-identity --email-identity push@example.com",
        ),
        (
            {SENDER: PENDING},
            "push@example.com is not verified in SES (PENDING)",
            "link in the mail to push@example.com",
        ),
        (
            {"example.com": {**PENDING, "IdentityType": "DOMAIN"}},
            "example.com is not verified",
            "DKIM records of example.com",
        ),
        ({SENDER: {**PENDING, "VerificationStatus": "FAILED"}}, "(FAILED)", "create it again"),
        ({SENDER: DENIED}, "not authorized", "do not allow GetEmailIdentity"),
    ],
    ids=["unknown", "letter not answered", "domain not in DNS", "failed", "not allowed"],
)
def test_a_sender_who_may_not_send(
    wire: Wire, identities: dict[str, dict[str, Any] | Refusal], finding: str, mend: str
) -> None:
    """What is wrong with the identity, with its fix; the account is checked all the same."""
    wire.world.identities = identities
    checks = mail(wire)
    assert checks["mail"].fine
    assert checks["mail sender"].fine is False
    assert finding in checks["mail sender"].finding
    assert mend in checks["mail sender"].mend


@pytest.mark.parametrize("address", [{}, {SENDER: PENDING}], ids=["no address", "address not verified"])
def test_a_verified_domain_is_enough(wire: Wire, address: dict[str, Any]) -> None:
    """SES sends for every address of a verified domain."""
    wire.world.identities = {**address, "example.com": {**VERIFIED, "IdentityType": "DOMAIN"}}
    assert mail(wire)["mail sender"].finding == f"SES sends as {SENDER} (example.com is verified)"


# --------------------------------------------------------------------------------------------------- notification

BRIDGED = "<EventBridgeConfiguration/>"
ALIAS = f"arn:aws:lambda:eu-north-1:123456789012:function:{WORKER}:live"


@pytest.mark.parametrize(
    ("notification", "rules", "fine", "finding"),
    [
        (BRIDGED, {"dropped": (ALIAS, True)}, True, "S3 notifies EventBridge, whose rule dropped invokes the worker"),
        (BRIDGED, {}, False, "notifies EventBridge, but no rule there invokes the worker"),
        (BRIDGED, {"dropped": (ALIAS, False)}, False, "no rule there"),
        (BRIDGED, {"dropped": (ALIAS + "ly", True)}, False, "no rule there"),
        ("", {"dropped": (ALIAS, True)}, False, "nothing notifies the worker"),
        (NOTIFIED, {"dropped": (ALIAS, True)}, True, "S3 notifies the worker of .json and .json.gz"),
        (NOTIFIED + BRIDGED, {}, True, "S3 notifies the worker of .json and .json.gz"),
        (EVERYTHING, {}, True, "S3 notifies the worker of every file under batches/"),
        (NOTIFIED + BRIDGED, {"dropped": (ALIAS, True)}, False, "both notify the worker"),
        (NOTIFIED.replace(WORKER, WORKER + "2"), {}, False, "nothing notifies the worker"),
        (NOTIFIED.replace("batches/", "other/"), {}, False, "nothing notifies the worker"),
    ],
)
def test_who_tells_the_worker(
    wire: Wire, notification: str, rules: dict[str, tuple[str, bool]], fine: bool, finding: str
) -> None:
    """The bucket itself, or EventBridge with a rule that is on, and never both."""
    wire.world.notification, wire.world.rules = notification, rules
    [check] = notification_check(Cloud(find_deployment("notifier", None)), ALIAS)
    assert (check.fine, finding in check.finding) == (fine, True), check
    assert bool(check.mend) or check.fine


# ----------------------------------------------------------------------------------------------------- the command


def test_the_command_says_what_is_missing(wire: Wire) -> None:
    """Everything is asked for, the exit code says that something is missing, and that is named with its fix."""
    wire.world.account = {**GOOD, "ProductionAccessEnabled": False}
    result = CliRunner().invoke(app, ["setup", "--stack", "notifier", "--json"])
    found = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert {name: check["fine"] for name, check in found.items()} == {
        "mode": True,
        "notification": True,
        "concurrency": True,
        "worker's role": True,
        "secrets": False,
        "mail": False,
        "mail sender": True,
    }
    assert result.exit_code == ExitCode.NOT_FINE
    assert all(check["mend"] for check in found.values() if not check["fine"])
