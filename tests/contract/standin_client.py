"""A plain HTTP/2 client for the stand-ins' tests: one request at a time, on a connection kept open."""

import io
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt
import msgspec
import pycurl

from sandbox.gateways import Gateways

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `headers` in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def reason(self) -> str:
        """Apple's reason, or ""."""
        return str(self.json["reason"]) if self.body else ""

    @property
    def error_code(self) -> str:
        """FCM's errorCode, or ""."""
        details = self.json["error"].get("details", [])
        return "".join(detail["errorCode"] for detail in details if detail["@type"].endswith("FcmError"))

    @property
    def fields(self) -> list[str]:
        """The fields FCM blames."""
        details = self.json["error"].get("details", [])
        violations = [detail["fieldViolations"] for detail in details if detail["@type"].endswith("BadRequest")]
        return [violation["field"] for group in violations for violation in group]


class Client:
    """Speaks HTTP/2 to the stand-ins, trusting their CA. One Client is one connection to each host."""

    def __init__(self, gateways: Gateways) -> None:
        self._curl = pycurl.Curl()
        self._ca_file = gateways.addresses.ca_file

    def send(
        self, url: str, body: bytes = b"", headers: dict[str, str] | list[str] | None = None, *,
        method: str = "POST", timeout_ms: int = 5000,
    ) -> Response:  # fmt: skip
        """One request. Raises pycurl.error when there is no answer."""
        content, lines = io.BytesIO(), list[bytes]()
        curl = self._curl
        curl.reset()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CAINFO, self._ca_file)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        curl.setopt(pycurl.TIMEOUT_MS, timeout_ms)
        curl.setopt(pycurl.POSTFIELDS, body)
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        pairs = [f"{name}: {value}" for name, value in headers.items()] if isinstance(headers, dict) else headers or []
        curl.setopt(pycurl.HTTPHEADER, [pair.encode() for pair in pairs])
        curl.setopt(pycurl.WRITEFUNCTION, content.write)
        curl.setopt(pycurl.HEADERFUNCTION, lines.append)
        curl.perform()
        split = (line.decode().partition(":") for line in lines if b":" in line)
        received = {name.lower(): value.strip() for name, _, value in split}
        return Response(curl.getinfo(pycurl.RESPONSE_CODE), received, content.getvalue())


def assertion(gateways: Gateways, key: str | None = None, algorithm: str = "RS256", **claims: Any) -> str:
    """A service account's signed assertion, valid unless changed; a claim of None is left away."""
    account = msgspec.json.decode(gateways.fcm_service_account)
    now = int(time.time())
    right = {"iss": account["client_email"], "aud": account["token_uri"], "scope": SCOPE, "iat": now, "exp": now + 3600}
    given = {name: value for name, value in (right | claims).items() if value is not None}
    return jwt.encode(given, key or account["private_key"], algorithm, {"kid": account["private_key_id"]})


def ask_for_token(client: Client, gateways: Gateways, signed: str, grant: str = GRANT) -> Response:
    """One request to the OAuth stand-in."""
    form = urlencode({"grant_type": grant, "assertion": signed}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return client.send(f"{gateways.addresses.oauth}/token", form, headers)


def access_token(client: Client, gateways: Gateways) -> str:
    """A good access token."""
    return str(ask_for_token(client, gateways, assertion(gateways)).json["access_token"])


def provider_token(
    gateways: Gateways, *, key: str | None = None, algorithm: str = "ES256", age_s: float = 0,
    key_id: str | None = None, team_id: str | None = None,
) -> str:  # fmt: skip
    """An APNs provider token, valid unless changed."""
    secret = msgspec.json.decode(gateways.apns_key)
    claims = {"iss": team_id or secret["team_id"], "iat": int(time.time() - age_s)}
    return jwt.encode(claims, key or secret["key"], algorithm, {"kid": key_id or secret["key_id"]})
