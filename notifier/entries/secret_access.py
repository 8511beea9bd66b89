"""Says whether this function's own role may read the gateways' secrets: `notifier setup` asks it."""

from collections.abc import Mapping
from typing import Any

from notifier.composition.settings import Settings
from notifier.gateway.secrets import BadSecret, CredentialsUnavailable, Secrets


def check_secrets(settings: Settings, client: Any) -> Mapping[str, str]:
    """What is wrong with each secret that the settings name: empty where the role reads it.

    Whoever runs `setup` mostly has more rights than the function, and reads secrets of other regions by their ARN.

    Args:
        client: a boto3 Secrets Manager client, with the function's own role.
    """
    secrets, faults = Secrets(client), {}
    for name, arn in (("fcm", settings.fcm_secret_arn), ("apns", settings.apns_secret_arn)):
        if not arn:
            continue
        try:
            secrets.reader(name, arn)()
            faults[name] = ""
        except (BadSecret, CredentialsUnavailable) as error:
            # Both texts name the secret and what to do, and show no value.
            faults[name] = str(error)
    return faults
