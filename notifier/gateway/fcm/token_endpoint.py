"""What the answers of Google's token endpoint mean: a refusal of our key, or trouble that passes. Pure.

Source: https://www.rfc-editor.org/rfc/rfc6749#section-5.2, and what Google says in `error_description`.
"""

from typing import Any

import msgspec

from notifier.gateway.secrets import CredentialsRefused, CredentialsUnavailable

_REFUSING = frozenset({400, 401, 403})
"""Statuses that are about the request, and not about the server."""
_PASSING = frozenset(
    {"internal_failure", "server_error", "temporarily_unavailable", "rate_limit_exceeded", "slow_down"}
)
"""OAuth's words for trouble that passes, whatever the status."""
_NEW_KEY = "make a new key for the service account in Google Cloud and put its JSON in the secret"
_DESCRIPTIONS = (
    ("signature", "Google does not know this key: it was deleted, or is another account's", _NEW_KEY),
    ("account not found", "Google has no such service account: client_email is wrong, or it was deleted", _NEW_KEY),
    ("timeframe", "the clock of this machine is wrong, and Google refuses what it signs", "set the clock"),
    ("disabled", "the service account is disabled", "enable it in Google Cloud"),
)
"""By a piece of what Google says: what it means and what to do."""


class Answered(msgspec.Struct, frozen=True):
    """How an answer begins. Status 0: there was none."""

    status: int = 0
    retry_after: str = ""


def meaning_of(answered: Answered, said: tuple[Any, ...], label: str) -> CredentialsRefused | CredentialsUnavailable:
    """What an answer means that brought no token.

    Args:
        said: google-auth's arguments: a text, and the answer's JSON object if it was one.
        label: names the secret in the message.
    """
    body = said[1] if len(said) > 1 and isinstance(said[1], dict) else {}
    word = body.get("error")
    if answered.status in _REFUSING and isinstance(word, str) and word and word not in _PASSING:
        return _refusal(label, word, body.get("error_description"))
    retry_after_s = float(answered.retry_after) if answered.retry_after.isdecimal() else 0.0
    detail = f"answers {answered.status}" + (" without a token" if answered.status == 200 else "")
    if answered.status == 404:
        detail += " (is token_uri right in the secret?)"
    return CredentialsUnavailable(f"{label}: Google's token endpoint {detail}", retry_after_s)


def _refusal(label: str, word: str, description: object) -> CredentialsRefused:
    """In plain words; the description itself may quote the account."""
    shown = f" ({word})" if len(word) < 64 and word.isidentifier() else ""
    said = description.lower() if isinstance(description, str) else ""
    for piece, meaning, mend in _DESCRIPTIONS:
        if piece in said:
            return CredentialsRefused(f"{label}: {meaning}{shown}", mend)
    return CredentialsRefused(f"{label}: Google gives no access token{shown}", _NEW_KEY)


def failed(error: Exception) -> str:
    """Why there was no answer, without a class's name or an address."""
    from requests import exceptions  # type: ignore[import-untyped]  # noqa: PLC0415
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
