"""Who we are to APNs: a provider token, a JWT signed by the team's key, good for an hour.

Source: https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns. One
token serves every connection of the process: Apple allows no newer one within 20 minutes on a connection.
"""

import time
from collections.abc import Callable
from typing import Any

from notifier.gateway.secrets import BadSecret, ReadSecret, Secret

RENEW_AFTER_S = 3_000
"""50 minutes; Apple refuses a token of more than 60."""
KEEP_AT_LEAST_S = 1_200
"""20 minutes; Apple answers TooManyProviderTokenUpdates to more frequent ones."""


class Credentials:
    """The team's key in a secret. One object per process; its repr shows the topic only.

    Args:
        read: gives the secret: `key` (PEM, as Apple's .p8 file), `key_id`, `team_id`, `topic` (the app's bundle id).
        clock: seconds since the epoch.

    Raises:
        BadSecret: naming the fields at fault.
    """

    def __init__(self, read: ReadSecret, clock: Callable[[], float] = time.time) -> None:
        self._read = read
        self._clock = clock
        self._fields = _fields(read(fresh=False))
        self._sign(clock())
        self.generation = 0
        """Counts the renewals that were asked for."""

    @property
    def topic(self) -> str:
        """The app's bundle id, for `apns-topic`."""
        return self._fields["topic"]

    def header(self, now_s: float) -> str:
        """The authorization line; a new token is signed after 50 minutes."""
        if not 0 <= now_s - self._signed_at_s < RENEW_AFTER_S:
            self._sign(now_s)
        return self._header

    def renew(self) -> None:
        """Reads the secret anew and signs a new token, unless key and token are those of the last 20 minutes.

        Raises:
            BadSecret: naming the fields at fault.
        """
        fields, now_s = _fields(self._read(fresh=True)), self._clock()
        if fields != self._fields or not 0 <= now_s - self._signed_at_s < KEEP_AT_LEAST_S:
            self._fields = fields
            self._sign(now_s)
        self.generation += 1

    def _sign(self, now_s: float) -> None:
        self._header = _signed(self._fields)
        self._signed_at_s = now_s

    def __repr__(self) -> str:
        return f"Credentials(apns, topic={self.topic!r})"


def _fields(secret: Secret) -> dict[str, str]:
    fields = secret.texts("key", "key_id", "team_id", "topic")
    for name in ("key_id", "team_id", "topic"):
        if not fields[name].isascii() or not fields[name].isprintable():
            raise BadSecret(f"apns secret: {name} has characters that no header can carry")
    return fields


def _signed(fields: dict[str, str]) -> str:
    """A fresh authorization line. aioapns keeps its own age by its own clock: hence a provider for each."""
    from aioapns.connection import JWTAuthorizationHeaderProvider  # noqa: PLC0415 - 0.3 s: no cost on import

    provider: Any = JWTAuthorizationHeaderProvider(fields["key"], fields["key_id"], fields["team_id"])
    try:
        return f"authorization: {provider.get_header()}"
    except Exception:  # noqa: BLE001 - jwt and cryptography raise many kinds, all of them about the key
        raise BadSecret("apns secret: key is not an elliptic curve key (P-256) in PEM") from None
