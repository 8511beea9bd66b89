"""What FCM's answers mean for us.

Sources: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and
https://firebase.google.com/docs/cloud-messaging/scale-fcm. The code in the `FcmError` detail decides, then the status
word (https://cloud.google.com/apis/design/errors), then the HTTP status: the same status has several causes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from notifier.gateway.verdict import Meaning, decoded, unanswered, undocumented, verdict, word_in
from notifier.model.exchange import Answer
from notifier.model.outcome import Disposition, Suspicion, Verdict

MEANINGS: Mapping[str, Meaning] = {
    "UNREGISTERED": Meaning(
        Disposition.DROP_TOKEN,
        "App instance was unregistered from FCM: the token is no longer valid and a new one must be used.",
    ),
    "INVALID_ARGUMENT": Meaning(
        Disposition.REJECT,
        "Request parameters were invalid. Unless the token is meant, the message is: one record's values may be the"
        " cause, so only many refusals without an acceptance stop the run.",
        Suspicion.PAYLOAD,
    ),
    "SENDER_ID_MISMATCH": Meaning(
        Disposition.DROP_TOKEN,
        "The authenticated sender ID is different from the sender ID for the registration token: another project's."
        " Many of them are the wrong secret.",
        Suspicion.SENDER,
    ),
    "THIRD_PARTY_AUTH_ERROR": Meaning(
        Disposition.PUT_OFF,
        "APNs certificate or web push auth key was invalid or missing in the Firebase project: nothing reaches that"
        " platform until it is repaired there. Other platforms are not concerned.",
    ),
    "QUOTA_EXCEEDED": Meaning(
        Disposition.RETRY,
        "Sending limit exceeded for the message target: the overall, the device's or the topic's rate. At least a"
        " minute's wait without a Retry-After.",
        retry_after_s=60,
    ),
    "UNAVAILABLE": Meaning(Disposition.RETRY, "The server is overloaded and did nothing: try again after Retry-After."),
    "INTERNAL": Meaning(
        Disposition.RETRY, "An unknown internal error occurred, before or behind the work.", maybe_processed=True
    ),
}
"""By FCM's own error code."""

STATUS_WORDS: Mapping[str, Meaning] = {
    "INVALID_ARGUMENT": Meaning(
        Disposition.REJECT, "The request is not a message as the API knows it.", Suspicion.PAYLOAD
    ),
    "FAILED_PRECONDITION": Meaning(Disposition.REJECT, "The request cannot be executed now.", Suspicion.PAYLOAD),
    "OUT_OF_RANGE": Meaning(Disposition.REJECT, "A value is outside what the API takes.", Suspicion.PAYLOAD),
    "UNAUTHENTICATED": Meaning(Disposition.RENEW, "The OAuth token is missing, invalid or expired."),
    "PERMISSION_DENIED": Meaning(
        Disposition.STOP, "Our account may not send for this project, or the API is not enabled there."
    ),
    "NOT_FOUND": Meaning(
        Disposition.STOP, "Without an FcmError it is not the token that is unknown, but the project or the URL."
    ),
    "RESOURCE_EXHAUSTED": Meaning(
        Disposition.RETRY, "Out of quota, by a front end that knows no FCM code.", retry_after_s=60
    ),
    "ABORTED": Meaning(Disposition.RETRY, "Concurrency conflict, nothing was done: try again."),
    "CANCELLED": Meaning(Disposition.RETRY, "The request was cancelled on its way.", maybe_processed=True),
    "DEADLINE_EXCEEDED": Meaning(Disposition.RETRY, "The server did not finish in time.", maybe_processed=True),
    "UNAVAILABLE": Meaning(Disposition.RETRY, "The server is unavailable."),
    "INTERNAL": Meaning(Disposition.RETRY, "Internal server error.", maybe_processed=True),
    "UNKNOWN": Meaning(Disposition.RETRY, "Unknown server error.", maybe_processed=True),
    "DATA_LOSS": Meaning(Disposition.RETRY, "Unrecoverable data loss on the server's side.", maybe_processed=True),
    "UNIMPLEMENTED": Meaning(Disposition.STOP, "The server does not know this method: the URL is wrong."),
}
"""By the status word of Google's APIs, where there is no FCM code."""

STATUSES: Mapping[int, Meaning] = {
    401: STATUS_WORDS["UNAUTHENTICATED"],
    403: STATUS_WORDS["PERMISSION_DENIED"],
    404: STATUS_WORDS["NOT_FOUND"],
    408: Meaning(Disposition.RETRY, "The request took too long to arrive."),
    413: Meaning(Disposition.REJECT, "The request is too large.", Suspicion.PAYLOAD),
    429: STATUS_WORDS["RESOURCE_EXHAUSTED"],
}
"""By HTTP status, where the body has no code (a proxy's HTML)."""

BAD_TOKEN = "INVALID_ARGUMENT token"
"""Our reason for an invalid argument that is the token: of the message it would be another thing."""
_BAD_TOKEN = Meaning(
    Disposition.DROP_TOKEN,
    "The registration token is not a valid FCM registration token: many of them are no FCM tokens, such as APNs'.",
    Suspicion.TOKENS,
)
_BAD_TOKEN_TEXT = "not a valid fcm registration token"
_ACCEPT = Disposition.ACCEPT
_ACCEPTED = Verdict(_ACCEPT)
_MAX_ID_BYTES = 256


def judge(answer: Answer) -> Verdict:
    """The verdict on one answer, whatever it is. Never raises."""
    if answer.status == 200:
        return _accepted(answer.body)
    if answer.no_answer is not None or answer.status == 0:
        return unanswered(answer)
    return _refused(answer)


def _accepted(body: bytes) -> Verdict:
    """Take the message's id out of `{"name": "projects/P/messages/ID"}`. Not decoded: it is done for every push."""
    start, end = body.rfind(b"/messages/") + 10, body.rfind(b'"')
    if start < 10 or not start < end <= start + _MAX_ID_BYTES:
        return _ACCEPTED
    return Verdict(_ACCEPT, message_id=body[start:end].decode("ascii", "replace"))


def _refused(answer: Answer) -> Verdict:
    error = decoded(answer.body).get("error")
    error = error if isinstance(error, dict) else {}
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    code, status_word = _fcm_code(details), word_in(error.get("status"))
    # FCM's own code, Google's status word and the HTTP status in this order: the same status has several causes.
    if "INVALID_ARGUMENT" in (code, status_word) and code in (None, "INVALID_ARGUMENT") and _is_token(error, details):
        return verdict(_BAD_TOKEN, BAD_TOKEN, answer)
    if code is not None and code != "UNSPECIFIED_ERROR":
        # Not by the status word then: a new code may mean something that its word does not say.
        if code not in MEANINGS:
            return undocumented(answer, code)
        return verdict(MEANINGS[code], code + (_quotas(details) if code == "QUOTA_EXCEEDED" else ""), answer)
    if status_word is not None and status_word in STATUS_WORDS:
        return verdict(STATUS_WORDS[status_word], status_word, answer)
    if answer.status in STATUSES:
        return verdict(STATUSES[answer.status], f"http_{answer.status}", answer)
    return undocumented(answer, status_word)


def _fcm_code(details: list[dict[str, Any]]) -> str | None:
    for detail in details:
        if str(detail.get("@type", "")).endswith("FcmError"):
            return word_in(detail.get("errorCode"))
    return None


def _is_token(error: dict[str, Any], details: list[dict[str, Any]]) -> bool:
    """Whether an invalid argument is the device's token."""
    fields = [violation.get("field") for violation in _violations(details, "fieldViolations")]
    if fields:
        return "message.token" in fields
    return _BAD_TOKEN_TEXT in str(error.get("message", "")).lower()


def _quotas(details: list[dict[str, Any]]) -> str:
    """Which quotas are used up, as they are named in `QuotaFailure`: a project's, a device's, a topic's."""
    subjects = {str(violation.get("subject", "")).partition(":")[0] for violation in _violations(details, "violations")}
    # At most three, sorted: the reason is a key of counts, and must be the same for the same cause.
    named = sorted(subject for subject in subjects if word_in(subject))[:3]
    return "".join(f" {subject}" for subject in named)


def _violations(details: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    for detail in details:
        yield from (item for item in _list(detail.get(name)) if isinstance(item, dict))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
