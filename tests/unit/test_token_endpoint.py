"""What Google's token endpoint answers: only a refusal of the key ends a run."""

from typing import Any

import pytest

from notifier.gateway.fcm.token_endpoint import Answered, meaning_of
from notifier.gateway.secrets import CredentialsRefused, CredentialsUnavailable

LABEL = "fcm secret notifier/fcm"


def said(error: object, description: object = None) -> tuple[Any, ...]:
    """As google-auth hands over an answer that is a JSON object."""
    return f"{error}: {description}", {"error": error, "error_description": description}


@pytest.mark.parametrize(
    ("status", "answer", "message"),
    [
        (400, said("invalid_grant", "Invalid JWT Signature."), "Google does not know this key"),
        (400, said("invalid_grant", "Invalid grant: account not found"), "Google has no such service account"),
        (400, said("invalid_grant", "Invalid JWT: … in a reasonable timeframe."), "the clock of this machine is wrong"),
        (400, said("invalid_grant", "Account has been disabled"), "the service account is disabled"),
        (401, said("unauthorized_client"), "Google gives no access token (unauthorized_client)"),
        (403, said("access_denied", 7), "Google gives no access token (access_denied)"),
        (401, said("<b>x</b> y"), "Google gives no access token;"),
    ],
)
def test_a_refused_key(status: int, answer: tuple[Any, ...], message: str) -> None:
    """Named with the secret and what to do; of what Google says nothing is quoted but OAuth's word."""
    meaning = meaning_of(Answered(status), answer, LABEL)
    assert isinstance(meaning, CredentialsRefused)
    assert str(meaning).startswith(f"{LABEL}: {message}")
    assert "<b>" not in str(meaning)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (503, said("temporarily_unavailable")),
        (500, said("internal_failure")),
        (502, ("<!DOCTYPE html>",)),
        (504, ()),
        (429, said("rate_limit_exceeded")),
        (408, ()),
        (400, ("<html>a proxy's page</html>",)),
        (403, ("<html>a proxy's page</html>",)),
        (400, said("temporarily_unavailable")),
        (401, (None, ["invalid_grant"])),
        (400, said({"code": 400})),
        (404, ("<!DOCTYPE html>",)),
        (200, ("a captive portal",)),
        (0, ()),
    ],
)
def test_trouble_that_passes(status: int, answer: tuple[Any, ...]) -> None:
    """Everything that is not a refusal in OAuth's words is waited for."""
    meaning = meaning_of(Answered(status, "7"), answer, LABEL)
    assert isinstance(meaning, CredentialsUnavailable)
    assert str(meaning).startswith(f"{LABEL}: Google's token endpoint answers {status}")
    assert meaning.retry_after_s == 7
