"""Requests to Google's APIs with a service account's key, by google-auth: for `bigquery`.

Over urllib3, which Lambda's runtime has for botocore: requests, which google-auth also speaks, is not shipped for it.
"""

import json
import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.urllib3 import AuthorizedHttp
from google.oauth2 import service_account

from audiences.engines.bigquery import Ask
from audiences.faults import AudienceFault

SCOPE = "https://www.googleapis.com/auth/bigquery"
TIMEOUT = urllib3.Timeout(connect=5.0, read=60.0)
"""A dry run of a large query, and a page of 10 MB, take seconds."""
_MEND = "put the JSON of the service account's key into the secret, as Google gives it"


class Account:
    """A service account's key, as Google's JSON has it.

    Args:
        text: of the secret.
        label: how messages call it; the text itself is in none.
    """

    def __init__(self, text: str, label: str) -> None:
        self._label = label
        try:
            self._fields: Mapping[str, Any] = json.loads(text)
            self.project = str(self._fields["project_id"])
            kind: Any = service_account.Credentials
            self._credentials: Any = kind.from_service_account_info(self._fields, scopes=[SCOPE])
        except (ValueError, KeyError, TypeError, AttributeError):
            # Without the cause: its text may quote what it could not read.
            raise AudienceFault(f"{label}: is not the key of a service account", _MEND) from None

    def ask(self, base_url: str, ca_file: str = "", proxy: str = "") -> Ask:
        """What makes authorised requests. It fetches a token when it needs one, and another before that expires."""
        authorized: Any = AuthorizedHttp
        http = authorized(self._credentials, http=_pool(ca_file, proxy))

        def ask(method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            try:
                response = http.urlopen(
                    method, base_url + path, body=body, headers=headers, timeout=TIMEOUT, retries=False
                )
            except RefreshError as error:
                if error.retryable:
                    raise OSError(f"{self._label}: Google gives no token at the moment") from None
                raise AudienceFault(f"{self._label}: Google does not take the key: {_words(error)}", _MEND) from None
            except (TransportError, urllib3.exceptions.HTTPError) as error:
                raise OSError(str(error)) from None
            return response.status, response.data

        return ask

    def __repr__(self) -> str:
        return f"Account(project={self.project!r})"


def _pool(ca_file: str, proxy: str) -> urllib3.PoolManager:
    """Connections that trust the machine's authorities, and one more where a file is given."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    if proxy:
        return urllib3.ProxyManager(proxy, ssl_context=context, proxy_ssl_context=context)
    return urllib3.PoolManager(ssl_context=context)


def _words(error: RefreshError) -> str:
    """The description of Google's refusal; google-auth has it as a dictionary behind its own words."""
    for one in error.args:
        if isinstance(one, Mapping):
            return str(one.get("error_description") or one.get("error", ""))
    return str(error.args[0]) if error.args else "no reason given"
