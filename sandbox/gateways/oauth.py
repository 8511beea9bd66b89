"""Google's OAuth token endpoint, as far as a service account needs it.

`POST /token` with a signed assertion, as in https://developers.google.com/identity/protocols/oauth2/service-account.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from granian.rsgi import Scope

from sandbox.gateways.behaviour import Reply
from sandbox.gateways.endpoint import Exchange

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPES = frozenset(
    (
        "https://www.googleapis.com/auth/firebase.messaging",
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/bigquery",
    )
)
_JSON = (("content-type", "application/json; charset=utf-8"), ("cache-control", "no-cache, no-store, must-revalidate"))
_GOOGLE = "https://oauth2.googleapis.com/token"
"""The audience that Google's own library always names, whatever the `token_uri`."""
_LIFETIME_MAX_S = 3600
_SKEW_S = 300
_TIMEFRAME = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


class TokenBehaviour(msgspec.Struct, frozen=True):
    """What to do with one request for an access token.

    Args:
        delay_ms: the answer comes so much later.
        raw: exactly this is answered, and no token is issued.
        lifetime_s: how long the token is good; None for the usual time.
    """

    delay_ms: float = 0.0
    raw: Reply | None = None
    lifetime_s: int | None = None


OAuthBehave = Callable[[int, float], TokenBehaviour]
"""`(nth, since_s) -> TokenBehaviour`: the number of the request, from 1, and the seconds since the first one."""


def usual(nth: int, since_s: float) -> TokenBehaviour:  # noqa: ARG001 (the shape of OAuthBehave)
    """A token, at once, for as long as usual."""
    return TokenBehaviour()


class _RefusedError(Exception):
    """An assertion that is not good enough: (error, description)."""


class OAuth:
    """Issues access tokens for one service account and knows which are still good.

    `clock` gives epoch seconds; `lifetime_s` is how long a token is good, Google's hour by default.
    """

    def __init__(self, service_account: dict[str, str], clock: Callable[[], float], lifetime_s: int = 3600) -> None:
        # Unchecked: it is the stand-ins' own key, and to check one takes a fifth of a second.
        pem = service_account["private_key"].encode()
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True).public_key()
        if not isinstance(key, RSAPublicKey):
            raise TypeError("the service account's key is not an RSA key")
        self._key = key
        self._email = service_account["client_email"]
        self._audiences = (service_account["token_uri"], _GOOGLE)
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._good_until: dict[str, float] = {}
        self.behave(usual)
        self.reset()

    def reset(self) -> None:
        """Forgets the figures; tokens stay good."""
        self.requests = 0
        self.issued = 0
        self.answers: Counter[str] = Counter()

    def behave(self, behaviour: OAuthBehave) -> None:
        """Answers as the behaviour says from now on; its requests are counted from 1 again."""
        self._behaviour = behaviour
        self._nth = 0
        self._first_at = 0.0

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Takes one request to `/token` (the FCM stand-in calls this)."""
        body = await exchange()
        self._nth += 1
        self._first_at = self._first_at or self._clock()
        behaviour = self._behaviour(self._nth, self._clock() - self._first_at)
        await asyncio.sleep(behaviour.delay_ms / 1000)
        reply = self.token(scope.method, body, behaviour)
        exchange.response_bytes(reply.status, list(reply.headers), reply.body)

    def revoke(self) -> None:
        """Makes every token issued so far worthless, as when Google drops a key."""
        self._good_until.clear()

    def is_good(self, access_token: str) -> bool:
        """Whether the token was issued here and is neither expired nor revoked."""
        return self._clock() < self._good_until.get(access_token, 0.0)

    def token(self, method: str, body: bytes, behaviour: TokenBehaviour = TokenBehaviour()) -> Reply:  # noqa: B008
        """Answers one request to `/token`."""
        self.requests += 1
        if behaviour.raw is not None:
            self.answers[f"{behaviour.raw.status} {behaviour.raw.reason}".strip()] += 1
            return behaviour.raw
        try:
            self._check(method, body)
        except _RefusedError as refused:
            error, description = refused.args
            answer = msgspec.json.encode({"error": error, "error_description": description})
            self.answers[f"400 {error}"] += 1
            return Reply(400, error, answer, _JSON)
        self.answers["200"] += 1
        return self._issue(self._lifetime_s if behaviour.lifetime_s is None else behaviour.lifetime_s)

    def as_json(self) -> dict[str, Any]:
        """The figures as `/counts` shows them."""
        return {"requests": self.requests, "issued": self.issued, "answers": dict(sorted(self.answers.items()))}

    def _issue(self, lifetime_s: int) -> Reply:
        now = self._clock()
        self._good_until = {token: end for token, end in self._good_until.items() if end > now}
        token = f"ya29.c.{secrets.token_urlsafe(96)}"
        self._good_until[token] = now + lifetime_s
        self.issued += 1
        answer = {"access_token": token, "expires_in": max(0, lifetime_s - 1), "token_type": "Bearer"}
        return Reply(200, "", msgspec.json.encode(answer), _JSON)

    def _check(self, method: str, body: bytes) -> None:
        if method != "POST":
            raise _RefusedError("invalid_request", "Only POST is allowed.")
        form = parse_qs(body.decode("latin-1"))
        if form.get("grant_type") != [_GRANT]:
            raise _RefusedError("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', [''])[0]}")
        assertion = form.get("assertion")
        if assertion is None or len(assertion) != 1:
            raise _RefusedError("invalid_request", "Missing required parameter: assertion")
        self._check_claims(self._claims(assertion[0]))

    def _claims(self, assertion: str) -> dict[str, Any]:
        unchecked = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
        try:
            return jwt.decode(assertion, self._key, algorithms=["RS256"], options=unchecked)  # type: ignore[arg-type]
        except jwt.InvalidSignatureError:
            raise _RefusedError("invalid_grant", "Invalid JWT Signature.") from None
        except jwt.PyJWTError:
            raise _RefusedError("invalid_grant", "Invalid JWT: Failed to parse the assertion.") from None

    def _check_claims(self, claims: dict[str, Any]) -> None:
        if claims.get("iss") != self._email:
            raise _RefusedError("invalid_grant", "Invalid grant: account not found")
        if claims.get("aud") not in self._audiences:
            raise _RefusedError("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = str(claims.get("scope", "")).split()
        if not scopes or not _SCOPES.issuperset(scopes):
            raise _RefusedError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        issued_at, expires_at, now = claims.get("iat"), claims.get("exp"), self._clock()
        if not (isinstance(issued_at, int | float) and isinstance(expires_at, int | float)):
            raise _RefusedError("invalid_grant", _TIMEFRAME)
        if not (issued_at <= now + _SKEW_S and now < expires_at <= issued_at + _LIFETIME_MAX_S):
            raise _RefusedError("invalid_grant", _TIMEFRAME)
