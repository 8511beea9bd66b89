"""Who we are to FCM: an OAuth token of a service account, good for an hour.

Source: https://firebase.google.com/docs/cloud-messaging/auth-server. Made as pyfcm makes it, with google-auth, but kept
until it is nearly over: pyfcm asks for a new one at every call.
"""

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from notifier.gateway.secrets import BadSecret, CredentialsRefused, CredentialsUnavailable, ReadSecret, Secret

SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
RENEW_BEFORE_S = 300
"""Seconds before its end that a token is replaced."""
RETRY_AFTER_S = 30
"""Seconds until the next attempt when a token could not be replaced in time and is still good."""
TIMEOUT_S = 10


class Credentials:
    """The service account in a secret. One object per process; its repr shows the project only.

    Args:
        read: gives the secret: the service account's JSON key, as Google hands it out.
        clock: seconds since the epoch.
        ca_file: PEM file of one more authority to trust, or "".

    Raises:
        BadSecret: naming the fields at fault.
    """

    def __init__(self, read: ReadSecret, clock: Callable[[], float] = time.time, *, ca_file: str = "") -> None:
        self._read = read
        self._clock = clock
        self._credentials = _service_account(read(fresh=False))
        self._fetch = _requests(ca_file)
        self._header = ""
        self._renew_at_s = 0.0
        self._good_until_s = 0.0
        self.generation = 0
        """Counts the renewals that were asked for."""

    @property
    def project_id(self) -> str:
        """The Firebase project."""
        return str(self._credentials.project_id)

    def header(self, now_s: float) -> str:
        """The authorization line. Blocks for a new token when the old one is nearly over.

        Raises:
            CredentialsRefused: when Google does not take the key.
            CredentialsUnavailable: when Google cannot be asked and no token is left.
        """
        if now_s >= self._renew_at_s:
            try:
                self._fetch_token(now_s)
            except CredentialsUnavailable:
                if now_s >= self._good_until_s:
                    raise
                self._renew_at_s = now_s + RETRY_AFTER_S
        return self._header

    def renew(self) -> None:
        """Reads the secret anew and fetches a new token. Blocks. Raises BadSecret, and as `header` does."""
        self._credentials = _service_account(self._read(fresh=True))
        self._fetch_token(self._clock())
        self.generation += 1

    def _fetch_token(self, now_s: float) -> None:
        from google.auth.exceptions import GoogleAuthError, RefreshError  # noqa: PLC0415

        try:
            self._credentials.refresh(self._fetch)
        except RefreshError as error:
            kind = CredentialsUnavailable if error.retryable else CredentialsRefused
            raise kind(f"fcm: no access token: {_refusal_in(error)}") from None
        except GoogleAuthError as error:
            raise CredentialsUnavailable(f"fcm: no access token: {type(error).__name__}") from None
        lifetime_s = _seconds_until(self._credentials.expiry)
        self._header = f"authorization: Bearer {self._credentials.token}"
        self._good_until_s = now_s + lifetime_s
        self._renew_at_s = now_s + max(lifetime_s - RENEW_BEFORE_S, lifetime_s / 2)

    def __repr__(self) -> str:
        return f"Credentials(fcm, project_id={self.project_id!r})"


def _service_account(secret: Secret) -> Any:
    fields = secret.texts("project_id", "private_key", "client_email", "token_uri")
    from google.oauth2 import service_account  # noqa: PLC0415 - 0.3 s: no cost on import

    kind: Any = service_account.Credentials
    try:
        return kind.from_service_account_info(fields | {"type": "service_account"}, scopes=list(SCOPES))
    except (ValueError, TypeError):
        raise BadSecret("fcm secret: private_key is not an RSA key in PEM") from None


def _requests(ca_file: str) -> Callable[..., Any]:
    """google-auth's way to fetch, with a deadline, trusting one more authority."""
    import requests  # type: ignore[import-untyped]  # noqa: PLC0415
    from google.auth.transport.requests import Request  # noqa: PLC0415

    session = requests.Session()
    if ca_file:
        context = ssl.create_default_context()
        context.load_verify_locations(ca_file)
        adapter = requests.adapters.HTTPAdapter()
        adapter.init_poolmanager(1, 1, ssl_context=context)
        session.mount("https://", adapter)
    return partial(Request(session=session), timeout=TIMEOUT_S)


def _seconds_until(expiry: datetime | None) -> float:
    """google-auth gives UTC without saying so."""
    if expiry is None:
        return 0.0
    return (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()


def _refusal_in(error: Exception) -> str:
    """OAuth's own word (`invalid_grant`), without its sentence, which may quote the account."""
    answer = error.args[1] if len(error.args) > 1 else None
    word = answer.get("error") if isinstance(answer, dict) else None
    return word if isinstance(word, str) and len(word) < 64 and word.isidentifier() else type(error).__name__
