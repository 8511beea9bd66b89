"""The gateways' credentials in Secrets Manager, and what is said when they are no good. Values are never shown."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import msgspec


class BadSecret(ValueError):
    """A secret that cannot be used: its name and the field at fault, never a value."""


class CredentialsRefused(Exception):
    """The gateway does not take our credentials: the secret is wrong, withdrawn or of another account."""


class CredentialsUnavailable(Exception):
    """Credentials could not be fetched now; another attempt may do."""


class Secret:
    """A secret's JSON object. Its repr shows nothing of it."""

    __slots__ = ("_values", "name")

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self._values = values

    def text(self, field: str) -> str:
        """One field. Raises BadSecret naming it when it is missing, empty or not a string."""
        value = self._values.get(field)
        if value is None:
            raise BadSecret(f"{self.name} secret: {field} is missing")
        if not isinstance(value, str) or not value.strip():
            raise BadSecret(f"{self.name} secret: {field} is not a text")
        return value

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
        """Whether both hold the same."""
        return self._values == other._values

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, …)"


class ReadSecret(Protocol):
    """One secret, from memory or, when `fresh`, from where it is kept. Raises BadSecret."""

    def __call__(self, *, fresh: bool) -> Secret:
        """Gives the secret."""
        ...


class Secrets:
    """Secrets Manager, read once per process.

    Args:
        client: boto3's `secretsmanager` client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._read: dict[str, Secret] = {}

    def read(self, name: str, arn: str, *, fresh: bool = False) -> Secret:
        """The secret at `arn`, called `name` in messages; `fresh` reads it anew, for one that was replaced.

        Raises:
            BadSecret: when it is empty or not a JSON object.
            botocore.exceptions.ClientError: when AWS does not give it.
        """
        if fresh or arn not in self._read:
            self._read[arn] = parsed(name, self._client.get_secret_value(SecretId=arn))
        return self._read[arn]

    def look_again(self) -> frozenset[str]:
        """Read anew everything that was read. Returns the names of what has changed, and will be as it is now.

        A process outlives a run that stopped for its credentials: resumed, the run must meet the mended secret.
        """
        changed = set()
        for arn, known in list(self._read.items()):
            try:
                now = parsed(known.name, self._client.get_secret_value(SecretId=arn))
            except BadSecret:
                del self._read[arn]  # whoever needs it is told by reading it
                changed.add(known.name)
                continue
            if not now.same_as(known):
                self._read[arn] = now
                changed.add(known.name)
        return frozenset(changed)

    def reader(self, name: str, arn: str) -> ReadSecret:
        """A way to read one secret, for the credentials made of it."""
        return partial(self.read, name, arn)

    def __repr__(self) -> str:
        return f"Secrets({len(self._read)} read)"


def parsed(name: str, answer: Mapping[str, Any]) -> Secret:
    """The secret in an answer of `get_secret_value`. Raises BadSecret."""
    content = answer.get("SecretString") or answer.get("SecretBinary") or b""
    try:
        values = msgspec.json.decode(content)
    except (msgspec.DecodeError, ValueError):
        raise BadSecret(f"{name} secret: not JSON") from None
    if not isinstance(values, dict):
        raise BadSecret(f"{name} secret: not a JSON object")
    return Secret(name, values)
