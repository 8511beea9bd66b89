"""What the gateways' reasons mean, and why a run stopped, in words for people who ask for pushes.

The gateways' own codes, secrets and ids are for engineers: `RunReason.details` keeps them, and pages fold them away.
"""

import re

import msgspec

from notifier.model.run import FAILED_BY, PREPARING

_TAKES_NOT = "the message has a part that Google or Apple does not take"
_REASONS = {
    # the device
    "unregistered": "the app was removed, or pushes were turned off",
    "expired_token": "the token has expired",
    "bad_device_token": "no device token of this app",
    "invalid_argument": "no device token of this app, or a message that Google does not take",
    "invalid_argument_token": "no device token of this app",
    "device_token_not_for_topic": "a token of another app",
    "sender_id_mismatch": "a token of another app",
    # the message
    "too_large": "the message is too large",
    "payload_too_large": "the message is too large",
    "payload_empty": "the message is empty",
    "bad_collapse_id": "the name under which a newer push replaces an older one is too long",
    "bad_expiration_date": _TAKES_NOT,
    "bad_message_id": _TAKES_NOT,
    "bad_priority": _TAKES_NOT,
    "duplicate_headers": _TAKES_NOT,
    "invalid_push_type": _TAKES_NOT,
    "missing_device_token": "no device token",
    "failed_precondition": _TAKES_NOT,
    "out_of_range": _TAKES_NOT,
    # how many, and how fast
    "quota_exceeded": "too many pushes for the device or the app",
    "resource_exhausted": "too many pushes for the device or the app",
    "too_many_requests": "too many pushes for the device or the app",
    "too_late": "too late: the time for it had passed",
    # the key and the settings
    "third_party_auth_error": "the Firebase project has no valid key to pass it on to iPhones or browsers",
    "unauthenticated": "Google does not accept our key",
    "permission_denied": "our key may not send for this app",
    "not_found": "Google does not know the project of this app",
    "unimplemented": "the request did not reach Google as it was sent",
    "expired_provider_token": "Apple does not accept our key",
    "invalid_provider_token": "Apple does not accept our key",
    "missing_provider_token": "Apple does not accept our key",
    "unrelated_key_id_in_token": "Apple does not accept our key on this connection",
    "too_many_provider_token_updates": "our key was renewed too often for Apple",
    "forbidden": "our key may not send for this app",
    "topic_disallowed": "our key may not send for this app",
    "bad_topic": "the app's id at Apple is wrong in our settings",
    "missing_topic": "the app's id at Apple is missing in our settings",
    "bad_certificate": "Apple does not accept our certificate",
    "bad_certificate_environment": "the certificate is for development builds, or for published apps: the other one",
    "bad_environment_key_id_in_token": "our key is for development builds, or for published apps: the other one",
    "bad_environment_key_in_token": "our key is for development builds, or for published apps: the other one",
    "bad_path": "the request did not reach Apple as it was sent",
    "method_not_allowed": "the request did not reach Apple as it was sent",
    # the connection, the server
    "unavailable": "Google or Apple was not reachable",
    "service_unavailable": "Google or Apple was not reachable",
    "idle_timeout": "Google or Apple closed the connection",
    "shutdown": "Google or Apple closed the connection",
    "refused": "Google or Apple was not reachable",
    "timeout": "no answer in time",
    "unanswered": "no answer in time",
    "deadline_exceeded": "no answer in time",
    "cancelled": "no answer in time",
    "internal": "Google or Apple had a fault",
    "internal_server_error": "Google or Apple had a fault",
    "aborted": "Google or Apple had a fault",
    "unknown": "Google or Apple had a fault",
    "data_loss": "Google or Apple had a fault",
    "dry_run": "rehearsal",
}
"""What the gateways' reasons mean; Apple's and Google's names for one thing have the same words."""
_NUMBERED = re.compile(r"http_(\d+)(?: (\w+))?")
"""An answer without a known code of its own, by its HTTP status; what a gateway wrote beside it may follow."""


def reason_in_words(reason: str) -> str:
    """A gateway's reason (`UNREGISTERED`, `BadDeviceToken`) for people; one that is not known here keeps its words."""
    if numbered := _NUMBERED.fullmatch(reason):
        return _REASONS.get(_snake(numbered[2] or ""), f"Google or Apple answered with error {numbered[1]}")
    name = _snake(reason)
    # Google names the quotas that are used up behind the code: `QUOTA_EXCEEDED project`.
    return _REASONS.get(name.replace(" ", "_")) or _REASONS.get(name.partition(" ")[0]) or name.replace("_", " ")


def _snake(code: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", code).lower()


_LEFT_OUT = {
    "suppressed": "wanted no pushes",
    "exclude": "on the exclude list",
    "holdout": "held out of all campaigns",
    "remainder": "not in the test; its winner was for them",
    "test_part": "had been in the test",
    "capped": "had had enough campaigns",
    "quiet": "in quiet hours",
    "too_late": "too late by their clock",
}
"""Why a run left one user out."""


def left_out_in_words(reason: str) -> str:
    """Why a run left a person out; a reason that is not known here keeps its words."""
    return _LEFT_OUT.get(reason, reason.replace("_", " "))


_COMMANDS = (
    "audience", "audit", "cancel", "convert", "cost", "count", "deploy", "erase", "find", "hold", "lift", "pause",
    "release", "report", "resume", "retry", "schedules", "setup", "sign-in-link", "start", "status", "test", "validate",
    "watch",
)  # fmt: skip
"""All that the command line has."""
_COMMAND = rf"(?:{'|'.join(_COMMANDS)})\b"
_IN_BRACKETS = re.compile(
    rf" \((?:[^()]|\([^()]*\))*(?:\bnotifier {_COMMAND}|\b(?:here:|or) --[a-z])(?:[^()]|\([^()]*\))*\)"
)
# A dot within a word is one of a file's name; at the end of a word it ends the sentence.
_AT_THE_END = re.compile(rf"(?:[:;]|, then) notifier {_COMMAND}(?:[^.;]|\.(?=\w))*(?=[.;]|\Z)")


def without_commands(words: str) -> str:
    """A sentence of another function for people on pages: without the commands that it names for the command line."""
    return _AT_THE_END.sub("", _IN_BRACKETS.sub("", words))


_OF_STATISTICS = re.compile(r" \(at any look, smallest lift [^)]*\)")


def decision_in_words(words: str) -> str:
    """Why a test's winner was decided so, for people: without what only says which test of the figures was made."""
    return _OF_STATISTICS.sub("", words).replace("to the remainder", "to the others").replace(" (under state/)", "")


class RunReason(msgspec.Struct, frozen=True):
    """Why a run stopped, waits or failed. `details` is for engineers; empty where the words say all of it."""

    words: str
    details: str = ""


_GATEWAYS = {"fcm": "Google", "apns": "Apple"}
_BY = r"(?P<by>fcm|apns)[\w-]*"
_KEY_REFUSED = re.compile(rf"credentials_refused: \w+ by {_BY}, with renewed credentials too; .*", re.DOTALL)
_ALL_REFUSED = re.compile(
    rf"(?P<code>\w+(?: \w+)*): {_BY} refuses (?P<what>everything|these devices) until this is fixed"
)
_PAYLOAD_REFUSED = re.compile(rf"payload_refused\b.* by {_BY} for .*", re.DOTALL)
_TOKENS_REFUSED = re.compile(rf"(?P<name>wrong_[a-z]+): .*?\b(?:of|by) {_BY}.*", re.DOTALL)
_KEY = re.compile(rf"{_BY} secret .*", re.DOTALL)
_OF_LANE = re.compile(rf"(?:{FAILED_BY}|lane )\d+: (?P<reason>.*)", re.DOTALL)
"""As one lane passes its reason on to the others of its run."""
_TOKENS = {
    "wrong_environment": "most tokens are of the other kind: development builds, or published apps",
    "wrong_topic": "most tokens are of another app than our settings name",
    "wrong_sender": "most tokens are of another app than our key",
    "wrong_tokens": "most tokens are none of this app",
}
_STOPS = {
    "credentials_refused": "the key for Google or Apple cannot be used",
    "payload_refused": "Google or Apple does not take the message",
    "no_progress": "it was begun several times, and nothing was sent",
    "rows_refused": "its results could not be stored",
    "deferred_missing": "what was kept of the devices still to be asked is gone",
    "state_gone": "what it began with was deleted, or is older than such things are kept",
    "campaign_exists": "a campaign of this name was sent already; a new one needs a new name",
    "not_approved": "nobody has approved it as it is",
    "no_users": "the audience is empty: there is nobody to send to",
    "no_valid_device": "the audience has no device that can be sent to",
    "abort_after has passed": "its latest time has passed",
    "settled batches": "its results cannot be read at the moment; it is tried again",
    "rows could not be written": "its results cannot be stored at the moment; it is tried again",
    "the run could not be admitted yet": "it cannot begin at the moment; it is tried again",
    "the run's lanes could not be planned yet": "it cannot begin at the moment; it is tried again",
}
"""What the names mean that a run's reason begins with."""
_FAULTS = {
    "broken campaign": "the campaign has a fault",
    "broken audience": "its audience is not written as it must be",
    "audience": "its audience could not be made",
    "settings": "a setting of this stack is wrong",
}
"""The same of reasons that go on with what is to be corrected, for people, too."""


def run_reason(reason: str) -> RunReason:
    """Why a run stopped, waits or failed; what is not known here is a sentence already, and is kept."""
    words = _run_words(reason)
    name, _, rest = reason.partition(": ")
    says_all = words in (reason, reason.replace("_", " ")) or (name in _FAULTS and words.endswith(rest))
    return RunReason(words) if says_all or reason.startswith(PREPARING) else RunReason(words, reason)


def _run_words(reason: str) -> str:
    if of_lane := _OF_LANE.fullmatch(reason):
        return _run_words(of_lane["reason"])
    if reason.startswith(PREPARING):
        return reason.replace("the audience function was asked ", "asked ")
    if words := _refused_words(reason):
        return words
    name, colon, rest = reason.partition(": ")
    if name in _STOPS:
        return _STOPS[name]
    if name in _FAULTS and colon:
        return f"{_FAULTS[name]}: {without_commands(rest)}"
    return without_commands(reason) if " " in reason else reason.replace("_", " ")


def _refused_words(reason: str) -> str:
    """What a gateway refuses of everybody; empty where the reason is another."""
    if found := _KEY_REFUSED.fullmatch(reason):
        return f"{_GATEWAYS[found['by']]} refuses our key, also after it was read again"
    if found := _ALL_REFUSED.fullmatch(reason):
        what = "everything" if found["what"] == "everything" else "some of the devices"
        words = reason_in_words(found["code"])
        return f"{_GATEWAYS[found['by']]} refuses {what} until this is corrected: {words}"
    if found := _PAYLOAD_REFUSED.fullmatch(reason):
        return f"{_GATEWAYS[found['by']]} does not take the message"
    if (found := _TOKENS_REFUSED.fullmatch(reason)) and found["name"] in _TOKENS:
        return f"{_GATEWAYS[found['by']]} refuses most devices: {_TOKENS[found['name']]}"
    if found := _KEY.fullmatch(reason):
        return f"the key for {_GATEWAYS[found['by']]} cannot be read at the moment; it is tried again"
    return ""


def lane_reason(by: str) -> str:
    """What stopped a run's part that passed a command on; empty where a person gave the command."""
    found = _OF_LANE.fullmatch(by)
    return _run_words(found["reason"]) if found else ""
