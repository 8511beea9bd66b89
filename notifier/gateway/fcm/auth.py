"""FCM's credentials: an OAuth access token of a service account, valid for an hour.

Source: https://firebase.google.com/docs/cloud-messaging/auth-server. Fetched with google-auth, as pyfcm does
it, but kept until it is about to expire: pyfcm fetches a new one at every call.
"""

import ssl
from datetime import UTC, datetime
from functools import partial
from typing import Any

from notifier.gateway.credentials import Grant
from notifier.gateway.fcm.token_endpoint import Answered, failed, meaning_of
from notifier.gateway.pem import RSA, BadKey, clean_key
from notifier.gateway.secrets import BadSecret, CredentialsUnavailable, Secret

SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
RENEW_BEFORE_S = 300
"""A token is replaced so many seconds before it expires."""
TIMEOUT_S = 15
"""Of one request to Google's token endpoint."""


class Credentials:
    """The service account in a secret. Its repr shows the project only.

    Args:
        secret: the service account's JSON key, as Google hands it out.
        ca_file: PEM file of one more authority to trust, or "".
        proxy: address of an HTTP proxy to Google's token endpoint, or "".

    Raises:
        BadSecret: naming the fields at fault.
    """

    ADVICE = "is the service account of the app's Firebase project, and may it send?"

    def __init__(self, secret: Secret, *, ca_file: str = "", proxy: str = "") -> None:
        self._label = secret.label
        self._account = _account(secret)
        self._fetch = _Fetch(ca_file, proxy)

    @property
    def project_id(self) -> str:
        """The Firebase project."""
        return str(self._account.project_id)

    def grant(self, now_s: float) -> Grant:
        """Fetch an access token. Blocks.

        Raises:
            CredentialsRefused: Google does not take the key.
            CredentialsUnavailable: Google cannot be asked now.
        """
        from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError  # noqa: PLC0415

        fetch, label = self._fetch, self._label
        try:
            self._account.refresh(fetch)
        except TransportError as error:
            raise CredentialsUnavailable(f"{label}: {failed(error)}") from None
        except RefreshError as error:
            raise meaning_of(fetch.answered, error.args, label) from None
        except (GoogleAuthError, TypeError, ValueError):  # google-auth has no error for a 200 without a token
            raise meaning_of(fetch.answered, (), label) from None
        lifetime_s = _seconds_until(self._account.expiry)
        if lifetime_s <= 0:
            raise meaning_of(fetch.answered, (), label)
        return Grant(
            header=f"authorization: Bearer {self._account.token}",
            made_at_s=now_s,
            renew_at_s=now_s + max(lifetime_s - RENEW_BEFORE_S, lifetime_s / 2),
            good_until_s=now_s + lifetime_s,
        )

    def __repr__(self) -> str:
        return f"Credentials(fcm, project_id={self.project_id!r})"


def _account(secret: Secret) -> Any:
    fields = secret.texts("project_id", "private_key", "client_email", "token_uri")
    if not fields["token_uri"].startswith("https://"):
        raise BadSecret(
            f"{secret.label}: token_uri is not an https:// address; Google's is https://oauth2.googleapis.com/token"
        )
    try:
        fields["private_key"] = clean_key(fields["private_key"], RSA)
    except BadKey as fault:
        raise BadSecret(f"{secret.label}: private_key {fault}") from None
    from google.oauth2 import service_account  # noqa: PLC0415 - 0.3 s: no cost on import

    kind: Any = service_account.Credentials
    return kind.from_service_account_info(fields | {"type": "service_account"}, scopes=list(SCOPES))


def _seconds_until(expiry: datetime | None) -> float:
    """Seconds until google-auth's expiry, which is UTC without a time zone."""
    if expiry is None:
        return 0.0
    return (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()


class _Fetch:
    """google-auth's HTTP callable, with a time-out, a proxy, one more authority to trust. Remembers the last answer."""

    def __init__(self, ca_file: str, proxy: str) -> None:
        import requests  # noqa: PLC0415
        from google.auth.transport.requests import Request  # noqa: PLC0415

        session = requests.Session()
        # requests would take `verify=ca_file` in place of its own authorities, not beside them.
        if ca_file:
            context = ssl.create_default_context()
            context.load_verify_locations(ca_file)
            adapter = requests.adapters.HTTPAdapter()
            adapter.init_poolmanager(1, 1, ssl_context=context)
            adapter.proxy_manager_for = partial(  # type: ignore[method-assign]
                adapter.proxy_manager_for, ssl_context=context, proxy_ssl_context=context
            )
            session.mount("https://", adapter)
        self._request: Any = Request(session=session)
        # Given with each request: a session's own would give way to those of the environment (HTTPS_PROXY).
        self._proxies = {"proxies": {"https": proxy}} if proxy else {}
        self.answered = Answered()

    def __call__(self, **asked: Any) -> Any:
        """Make one request, with google-auth's arguments."""
        self.answered = Answered()
        response = self._request(**{**asked, **self._proxies, "timeout": TIMEOUT_S})
        self.answered = Answered(response.status, response.headers.get("retry-after", ""))
        return response
