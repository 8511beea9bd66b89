"""What the gateways' reasons mean, and why a run stopped, in words for people who ask for pushes."""

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


_LEFT_OUT = {
    "suppressed": "wanted no pushes",
    "exclude": "on the exclude list",
    "holdout": "held out of all campaigns",
    "remainder": "not in the test; its winner was for them",
    "test_part": "had been in the test",
    "capped": "had had enough campaigns",
    "quiet": "in quiet hours",
}
"""Why a run left one user out."""


def left_out_in_words(reason: str) -> str:
    """Why a run left a person out; a reason that is not known here keeps its words."""
    return _LEFT_OUT.get(reason, reason.replace("_", " "))


_OF_STATISTICS = re.compile(r" \(at any look, smallest lift [^)]*\)")


def decision_in_words(words: str) -> str:
    """Why a test's winner was decided so, for people: without what only says which test of the figures was made."""
    return _OF_STATISTICS.sub("", words).replace("goes to the remainder", "goes to the others")


_GATEWAYS = {"fcm": "Google", "apns": "Apple"}
_KEY_REFUSED = re.compile(
    r"credentials_refused: (\w+) by (fcm|apns)[\w-]*, with renewed credentials too; (.*)", re.DOTALL
)
_ALL_REFUSED = re.compile(r"(\w+): (fcm|apns)[\w-]* refuses everything until this is fixed")
_STOPS = {
    "credentials_refused": "the key for Google or Apple cannot be used",
    "no_progress": "it was begun several times, and nothing was sent",
}
"""What the names mean that a run's reason begins with; what follows is a sentence already."""


def run_reason_in_words(reason: str) -> str:
    """Why a run stopped, waits or failed, for people.

    Only the name at the front changes. The rest is kept as it is: an engineer looks there for the secret and its field,
    whose names may have underscores.
    """
    if refused := _KEY_REFUSED.fullmatch(reason):
        # The gateway's own word stays: it is what one searches for in Google's and Apple's documentation.
        return f"{_GATEWAYS[refused[2]]} refuses our key ({refused[1]}), also after it was read again; {refused[3]}"
    if refused := _ALL_REFUSED.fullmatch(reason):
        return f"{_GATEWAYS[refused[2]]} refuses everything until this is corrected: {refused[1]}"
    name, colon, rest = reason.partition(": ")
    if not colon:
        return reason if " " in reason else reason.replace("_", " ")
    return f"{_STOPS[name]}: {rest}" if name in _STOPS else reason
