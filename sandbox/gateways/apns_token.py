"""APNs' provider tokens: a JWT signed with the team's key, good for an hour."""

from collections.abc import Callable
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_TOKEN_AGE_MAX_S = 3600
_SKEW_S = 60
_CACHE_MAX = 1000


class ProviderToken(msgspec.Struct, frozen=True):
    """A provider token whose signature is right: its key and when it was issued (epoch seconds)."""

    key_id: str
    issued_at_s: float


class ProviderTokens:
    """Checks `authorization` headers: ES256, our key, our team, not older than an hour. Signatures are checked once."""

    def __init__(self, key: dict[str, str], clock: Callable[[], float]) -> None:
        public_key = load_pem_private_key(key["key"].encode(), None).public_key()
        if not isinstance(public_key, EllipticCurvePublicKey):
            raise TypeError("the APNs key is not an elliptic curve key")
        self._key = public_key
        self._key_id = key["key_id"]
        self._team_id = key["team_id"]
        self._clock = clock
        self._seen: dict[str, ProviderToken | None] = {}

    def check(self, authorization: str | None) -> ProviderToken | str:
        """The token, or Apple's reason to refuse it."""
        if not authorization:
            return "MissingProviderToken"
        try:
            token = self._seen[authorization]
        except KeyError:
            token = self._read(authorization)
            if len(self._seen) >= _CACHE_MAX:
                self._seen.clear()
            self._seen[authorization] = token
        if token is None:
            return "InvalidProviderToken"
        age_s = self._clock() - token.issued_at_s
        if age_s > _TOKEN_AGE_MAX_S:
            return "ExpiredProviderToken"
        return token if age_s >= -_SKEW_S else "InvalidProviderToken"

    def _read(self, authorization: str) -> ProviderToken | None:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        options: Any = {"verify_iat": False, "verify_exp": False, "verify_aud": False, "require": ["iss", "iat"]}
        try:
            key_id = str(jwt.get_unverified_header(text).get("kid"))
            claims = jwt.decode(text, self._key, algorithms=["ES256"], options=options)
        except jwt.PyJWTError:
            return None
        issued_at = claims["iat"]
        ours = key_id == self._key_id and claims["iss"] == self._team_id
        return ProviderToken(key_id, issued_at) if ours and isinstance(issued_at, int | float) else None
