"""Reads the gateways' secrets from Secrets Manager. Errors name the secret and the field, and never show a value."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_SUFFIX_CHARS = 7
"""Secrets Manager adds a dash and six characters to a name to make its ARN."""


class BadSecret(ValueError):
    """A secret that cannot be read or used: its name and the field at fault, never a value."""


class CredentialsRefused(Exception):
    """The gateway does not take our credentials: the secret is wrong, withdrawn or of another account.

    Its text is made of `problem` and `mend` (what to do about it), which the command line shows apart.
    """

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}; {mend}")
        self.problem = problem
        self.mend = mend


class CredentialsUnavailable(Exception):
    """Credentials could not be fetched now; a later attempt may succeed, not before `retry_after_s` seconds."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Secret:
    """A secret's JSON object. Its repr shows nothing of it.

    Args:
        name: `fcm` or `apns`.
        where: its name in Secrets Manager, for messages.
    """

    __slots__ = ("_values", "label", "name")

    def __init__(self, name: str, values: Mapping[str, Any], where: str = "") -> None:
        self.name = name
        self.label = label_of(name, where)
        self._values = values

    def text(self, field: str) -> str:
        """One field, without white space around it. Raises BadSecret when it is missing, empty or not a string."""
        value = self._values.get(field)
        if value is None:
            raise BadSecret(f"{self.label}: {field} is missing")
        if not isinstance(value, str):
            raise BadSecret(f"{self.label}: {field} is not a text")
        if not value.strip():
            raise BadSecret(f"{self.label}: {field} is empty")
        # A line feed at the end of a pasted key id would end up in a header.
        return value.strip()

    def texts(self, *fields: str) -> dict[str, str]:
        """Several fields. Raises BadSecret naming every one at fault."""
        found, faults = {}, []
        for field in fields:
            try:
                found[field] = self.text(field)
            except BadSecret as error:
                faults.append(str(error))
        if faults:
            raise BadSecret("; ".join(faults))
        return found

    def same_as(self, other: "Secret") -> bool:
        """Whether both hold the same values."""
        return self._values == other._values

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, …)"


ReadSecret = Callable[[], Secret]
"""Reads one secret from where it is kept. Blocks.

Raises:
    BadSecret: it cannot be used, or we may not read it.
    CredentialsUnavailable: it cannot be read now.
"""


class Secrets:
    """Secrets Manager.

    Args:
        client: boto3's `secretsmanager` client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, name: str, arn: str) -> Secret:
        """The secret at `arn`, called `name` in messages.

        Raises:
            BadSecret: when it is empty or not a JSON object.
            botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError: when AWS does not give it.
        """
        return parsed(name, self._client.get_secret_value(SecretId=arn), name_in(arn))

    def reader(self, name: str, arn: str) -> ReadSecret:
        """A function that reads one secret; its errors are in plain words for the run's operator."""
        return partial(self._read_in_words, name, arn)

    def _read_in_words(self, name: str, arn: str) -> Secret:
        label, parameter = label_of(name, name_in(arn)), f"{name.capitalize()}SecretArn"
        if not arn:
            raise BadSecret(f"{label}: there is none; give its ARN in the parameter {parameter}, deploy")
        try:
            return self.read(name, arn)
        except ClientError as error:
            mend = _mend(error, parameter)
            if mend:
                raise BadSecret(f"{label}: {mend}") from None
            # What is left is throttling and AWS's own failures: a later attempt may succeed.
            code = error.response["Error"]["Code"].removesuffix("Exception")
            raise CredentialsUnavailable(f"{label}: Secrets Manager answers {code}") from None
        except BotoCoreError:
            raise CredentialsUnavailable(f"{label}: Secrets Manager cannot be reached") from None


def label_of(name: str, where: str) -> str:
    """A secret's name in messages: `fcm secret notifier/fcm`."""
    return f"{name} secret {where}".rstrip()


def name_in(arn: str) -> str:
    """The secret's own name, without account and region."""
    # AWS adds six random characters to the name; operators know it without them.
    tail = arn.partition(":secret:")[2]
    return tail[:-_SUFFIX_CHARS] if tail[-_SUFFIX_CHARS : -_SUFFIX_CHARS + 1] == "-" else tail


def _mend(error: ClientError, parameter: str) -> str:
    """What an operator has to do before AWS gives the secret; empty when a later attempt may succeed.

    Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors
    """
    fault = error.response["Error"]
    match fault["Code"]:
        case "AccessDeniedException" | "AccessDenied" if "KMS" in fault.get("Message", ""):
            return "AccessDenied: the function may not use its KMS key: add the key to the parameter KmsKeyArns, deploy"
        case "AccessDeniedException" | "AccessDenied":
            return f"AccessDenied: the function may not read it: give its ARN in the parameter {parameter}, deploy"
        case "ResourceNotFoundException" if "staging label" in fault.get("Message", ""):
            return "it has no value yet: aws secretsmanager put-secret-value gives it one"
        case "ResourceNotFoundException":
            return f"it is not there: create it, or give the ARN of another one in the parameter {parameter}, deploy"
        case "InvalidRequestException":
            return "it is marked for deletion: aws secretsmanager restore-secret keeps it"
        case "DecryptionFailure" | "DecryptionFailureException":
            return "its KMS key is disabled or deleted: enable the key, or give the secret another one"
        case "InvalidParameterException" | "ValidationException":
            return f"its ARN is not one: correct the parameter {parameter}, deploy"
        case _:
            return ""


def parsed(name: str, answer: Mapping[str, Any], where: str = "") -> Secret:
    """The secret in an answer of `get_secret_value`. Raises BadSecret."""
    label = label_of(name, where)
    # The console writes text; the command line, given a file as fileb://, bytes.
    content = answer.get("SecretString") or answer.get("SecretBinary") or b""
    text = content if isinstance(content, str) else bytes(content).decode("utf-8", "replace")
    try:
        # Not strict: a key that was pasted with its line breaks makes invalid JSON, and it is clear what is meant.
        values = json.loads(text.removeprefix("\ufeff"), strict=False)
    except ValueError:
        hint = ", but a key alone: it belongs into a JSON object" if "-----BEGIN " in text else ""
        raise BadSecret(f"{label}: not JSON{hint}") from None
    if not isinstance(values, dict):
        raise BadSecret(f"{label}: not a JSON object")
    return Secret(name, values, where)
