"""APNs' credentials: a provider token, a JWT signed with the team's key, valid for an hour.

Source: https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns. One
token serves every connection of the process: Apple allows no newer one within 20 minutes on a connection.
"""

from typing import Any

from notifier.gateway.credentials import Grant
from notifier.gateway.pem import P256, BadKey, clean_key
from notifier.gateway.secrets import BadSecret, Secret

RENEW_AFTER_S = 3_000
"""50 minutes; Apple refuses a token of more than 60."""
GOOD_FOR_S = 3_540
"""59 minutes: no request goes out with a token that Apple may find too old on arrival."""
KEEP_AT_LEAST_S = 1_200
"""20 minutes; Apple answers more frequent ones with TooManyProviderTokenUpdates."""


class Credentials:
    """The team's key in a secret. Its repr shows the topic only.

    Args:
        secret: `key` (PEM, as Apple's .p8 file), `key_id`, `team_id`, `topic` (the app's bundle id).

    Raises:
        BadSecret: naming the fields at fault.
    """

    ADVICE = "do key, key_id and team_id belong together, is the key valid at Apple, is the clock here right?"

    def __init__(self, secret: Secret) -> None:
        self._fields = _fields(secret)

    @property
    def topic(self) -> str:
        """The app's bundle id, for `apns-topic`."""
        return self._fields["topic"]

    def grant(self, now_s: float) -> Grant:
        """Sign a new token. aioapns' provider reuses its token by its own clock: hence a new provider each time."""
        from aioapns.connection import JWTAuthorizationHeaderProvider  # noqa: PLC0415 - 0.3 s: no cost on import

        fields = self._fields
        provider: Any = JWTAuthorizationHeaderProvider(fields["key"], fields["key_id"], fields["team_id"])
        return Grant(
            header=f"authorization: {provider.get_header()}",
            made_at_s=now_s,
            renew_at_s=now_s + RENEW_AFTER_S,
            good_until_s=now_s + GOOD_FOR_S,
            keep_until_s=now_s + KEEP_AT_LEAST_S,
        )

    def __repr__(self) -> str:
        return f"Credentials(apns, topic={self.topic!r})"


def _fields(secret: Secret) -> dict[str, str]:
    fields = secret.texts("key", "key_id", "team_id", "topic")
    for name in ("key_id", "team_id", "topic"):
        if not fields[name].isascii() or not fields[name].isprintable():
            raise BadSecret(f"{secret.label}: {name} has characters that no header can carry")
    try:
        fields["key"] = clean_key(fields["key"], P256)
    except BadKey as fault:
        raise BadSecret(f"{secret.label}: key {fault}") from None
    return fields
