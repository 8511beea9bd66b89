"""Whether the worker's own role reads its secrets, as `notifier setup` asks it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from notifier.composition.settings import Settings
from notifier.entries.secret_access import check_secrets
from operations.cli.check import Check
from operations.cli.function_checks import role_check

BEGIN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notifier"
SETTINGS = Settings(bucket="b", table="t", fcm_secret_arn=f"{BEGIN}/fcm-AbCdE1", apns_secret_arn=f"{BEGIN}/apns-AbCdE1")


class Vault:
    """Secrets Manager as one role sees it: what it refuses of which secret."""

    def __init__(self, **refused: str) -> None:
        self._refused = refused

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: N803
        for name, message in self._refused.items():
            if f"/{name}-" in SecretId:
                raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, "GetSecretValue")
        return {"SecretString": '{"key": "hush-hush"}'}


def test_a_role_that_reads_them() -> None:
    """Each secret that there is, without a fault; one that the stack does not have is not asked for."""
    assert check_secrets(SETTINGS, Vault()) == {"fcm": "", "apns": ""}
    assert check_secrets(Settings(bucket="b", table="t", fcm_secret_arn=f"{BEGIN}/fcm-AbCdE1"), Vault()) == {"fcm": ""}


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("Access to KMS is not allowed", "add the key to the parameter KmsKeyArns, deploy"),
        (
            "User: arn:… is not authorized to perform: secretsmanager:GetSecretValue",
            "in the parameter FcmSecretArn, deploy",
        ),
    ],
    ids=["a key that is not listed", "another secret than the policy's"],
)
def test_a_role_that_does_not(message: str, fault: str) -> None:
    """The fault names secret and parameter; the other secret is asked for all the same; no value is shown."""
    found = check_secrets(SETTINGS, Vault(fcm=message))
    assert "notifier/fcm" in found["fcm"]
    assert fault in found["fcm"]
    assert found["apns"] == ""
    assert "hush" not in str(found)


class Answer:
    """A body as boto3 has it."""

    def __init__(self, value: object) -> None:
        self._text = json.dumps(value).encode()

    def read(self) -> bytes:
        return self._text


class Lambda:
    """boto3's Lambda client, as far as the check uses it."""

    def __init__(self, answer: object, error: str = "") -> None:
        self._answer, self._error = answer, error
        self.asked: list[bytes] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        self.asked.append(Payload)
        return {"Payload": Answer(self._answer)} | ({"FunctionError": self._error} if self._error else {})


class Cloud:
    """The stack's services."""

    def __init__(self, client: Lambda) -> None:
        self._client = client
        self.deployment = type("Deployment", (), {"worker": "worker:live"})

    def client(self, _: str) -> Lambda:
        return self._client


def role(answer: object, error: str = "") -> Check:
    cloud: Any = Cloud(Lambda(answer, error))
    [check] = role_check(cloud)
    return check


def test_what_the_role_may_not_read_is_a_failed_check() -> None:
    """`setup` passes only where the function itself reads every secret: the operator's rights do not count."""
    assert role({"secrets": {"fcm": "", "apns": ""}}).fine is True
    refused = role({"secrets": {"fcm": "", "apns": "apns secret notifier/apns: AccessDenied"}})
    assert (refused.fine, refused.finding) == (False, "apns secret notifier/apns: AccessDenied")
    assert role({"errorMessage": "boom"}, error="Unhandled").fine is False


def test_a_release_that_does_not_know_the_question() -> None:
    """The release before takes it for an event that names no file: that says nothing of the secrets."""
    assert role({"status": "ignored"}).fine is None
