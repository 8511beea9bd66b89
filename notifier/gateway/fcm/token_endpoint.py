"""What the answers of Google's token endpoint mean: our key is refused, or a passing failure. Pure.

Source: https://www.rfc-editor.org/rfc/rfc6749#section-5.2, and what Google writes in `error_description`.
"""

from typing import Any

import msgspec

from notifier.gateway.secrets import CredentialsRefused, CredentialsUnavailable

_REFUSING = frozenset({400, 401, 403})
"""Statuses that are about the request, and not about the server."""
_PASSING = frozenset(
    {"internal_failure", "server_error", "temporarily_unavailable", "rate_limit_exceeded", "slow_down"}
)
"""OAuth's error codes for passing failures, whatever the status."""
_NEW_KEY = "make a new key for the service account in Google Cloud and put its JSON in the secret"
_DESCRIPTIONS = (
    ("signature", "Google does not know this key: it was deleted, or is another account's", _NEW_KEY),
    ("account not found", "Google has no such service account: client_email is wrong, or it was deleted", _NEW_KEY),
    ("timeframe", "the clock of this machine is wrong, and Google refuses what it signs", "set the clock"),
    ("disabled", "the service account is disabled", "enable it in Google Cloud"),
)
"""A part of Google's description, what it means, and what to do."""


class Answered(msgspec.Struct, frozen=True):
    """The status and Retry-After of an answer. Status 0: there was none."""

    status: int = 0
    retry_after: str = ""


def meaning_of(
    answered: Answered, arguments: tuple[Any, ...], label: str
) -> CredentialsRefused | CredentialsUnavailable:
    """The error for an answer without a token.

    Args:
        arguments: of google-auth's error: a text, and the answer's JSON object if it was one.
        label: names the secret in the message.
    """
    body = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], dict) else {}
    code = body.get("error")
    if answered.status in _REFUSING and isinstance(code, str) and code and code not in _PASSING:
        return _refusal(label, code, body.get("error_description"))
    retry_after_s = float(answered.retry_after) if answered.retry_after.isdecimal() else 0.0
    detail = f"answers {answered.status}" + (" without a token" if answered.status == 200 else "")
    if answered.status == 404:
        detail += " (is token_uri right in the secret?)"
    return CredentialsUnavailable(f"{label}: Google's token endpoint {detail}", retry_after_s)


def _refusal(label: str, code: str, description: object) -> CredentialsRefused:
    """A refusal in plain words. Google's description is not shown: it may quote the account."""
    shown = f" ({code})" if len(code) < 64 and code.isidentifier() else ""
    described = description.lower() if isinstance(description, str) else ""
    for part, meaning, mend in _DESCRIPTIONS:
        if part in described:
            return CredentialsRefused(f"{label}: {meaning}{shown}", mend)
    return CredentialsRefused(f"{label}: Google gives no access token{shown}", _NEW_KEY)


def failed(error: Exception) -> str:
    """Why there was no answer, without a class's name or an address."""
    from requests import exceptions  # noqa: PLC0415
    from urllib3.exceptions import NameResolutionError  # noqa: PLC0415

    cause = error.__cause__
    inner = cause.args[0] if cause is not None and cause.args else None
    if isinstance(getattr(inner, "reason", None), NameResolutionError):
        detail = "has a name that does not resolve (DNS)"
    elif isinstance(cause, exceptions.SSLError):
        detail = "cannot be reached: TLS failed, or its certificate is not trusted"
    elif isinstance(cause, exceptions.Timeout):
        detail = "does not answer in time"
    elif isinstance(cause, exceptions.ConnectionError):
        detail = "cannot be reached: no connection"
    else:
        detail = "cannot be reached"
    return f"Google's token endpoint {detail}"
