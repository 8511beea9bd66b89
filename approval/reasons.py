"""What the gateways' reasons mean, in words for people who ask for pushes."""

import re

_REASONS = {
    "unregistered": "the app was removed, or pushes were turned off",
    "expired_token": "the token has expired",
    "bad_device_token": "no device token of this app",
    "invalid_argument": "no device token of this app, or a message that Google does not take",
    "device_token_not_for_topic": "a token of another app",
    "bad_topic": "a token of another app",
    "sender_id_mismatch": "a token of another app",
    "bad_environment_key_in_token": "a token of a development build",
    "too_large": "the message is too large",
    "payload_too_large": "the message is too large",
    "unavailable": "Google or Apple was not reachable",
    "service_unavailable": "Google or Apple was not reachable",
    "internal": "Google or Apple had a fault",
    "internal_server_error": "Google or Apple had a fault",
    "timeout": "no answer in time",
    "quota_exceeded": "too many pushes for the device or the app",
    "too_many_requests": "too many pushes for the device or the app",
    "dry_run": "rehearsal",
}
"""What the gateways' reasons mean; Apple's and Google's names for one thing have the same words."""


def reason_in_words(reason: str) -> str:
    """A gateway's reason (`UNREGISTERED`, `BadDeviceToken`) for people; one that is not known here keeps its words."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", reason).lower()
    return _REASONS.get(name, name.replace("_", " "))
