"""Who approves on the command line: the person whom the approval pages know, too."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from operations.cli.errors import CommandError
from operations.cli.identity import approver

SSO = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Marketing_0123456789abcdef/ann@example.com"
ROLE = "arn:aws:sts::123456789012:assumed-role/deploy/i-0123456789abcdef0"
USER = "arn:aws:iam::123456789012:user/ann@example.com"


class SignedIn:
    """A cloud in which a person is signed in under this ARN, or whose STS cannot be reached."""

    def __init__(self, arn: str) -> None:
        self._arn = arn

    def client(self, service: str) -> "SignedIn":
        """Itself."""
        assert service == "sts"
        return self

    def get_caller_identity(self) -> dict[str, str]:
        """As STS answers."""
        if not self._arn:
            raise EndpointConnectionError(endpoint_url="https://sts.amazonaws.com")
        return {"Arn": self._arn}


def found(arn: str, by: str | None) -> str:
    """Who approves."""
    cloud: Any = SignedIn(arn)
    return approver(cloud, by)


@pytest.mark.parametrize("by", [None, "ann@example.com", "Ann+x@example.com"])
def test_the_session_is_named_by_an_address(by: str | None) -> None:
    """It is the person, also under another address of the same mailbox."""
    assert found(SSO, by) == "ann@example.com"


def test_nobody_approves_as_another_person() -> None:
    """Who is signed in as Ann is not Bob."""
    with pytest.raises(CommandError, match=r"signed in at AWS as ann@example\.com, and not as bob@example\.com"):
        found(SSO, "bob@example.com")


@pytest.mark.parametrize("arn", [ROLE, USER, ""])
def test_without_such_a_session(arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that is given, else the user's on this machine."""
    monkeypatch.setenv("LOGNAME", "ann")
    assert found(arn, "bob@example.com") == "bob@example.com"
    assert found(arn, None) == "ann"
