"""What APNs' answers mean for us.

Source: https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns. The
`reason` in the body decides, then the HTTP status. Apple always gives a reason: an answer without one may be of another
server, so it never ends a device by itself.
"""

from collections.abc import Mapping

from notifier.gateway.verdict import Meaning, decoded, unanswered, undocumented, verdict, word_in
from notifier.model.exchange import Answer
from notifier.model.outcome import Disposition, Suspicion, Verdict


def _of_the_message(words: str) -> Meaning:
    """A refusal of the message's content. One record's values may be the cause, so only many of them stop the run."""
    return Meaning(Disposition.REJECT, words, Suspicion.PAYLOAD)


MEANINGS: Mapping[str, Meaning] = {
    # 400: the device
    "BadDeviceToken": Meaning(
        Disposition.DROP_TOKEN,
        "The specified device token is invalid, or does not match the environment: many of them are the wrong host.",
        Suspicion.ENVIRONMENT,
    ),
    "DeviceTokenNotForTopic": Meaning(
        Disposition.DROP_TOKEN,
        "The device token does not match the specified topic: many of them are the wrong topic.",
        Suspicion.TOPIC,
    ),
    # 400: the message
    "BadCollapseId": _of_the_message("The collapse identifier exceeds the maximum allowed size."),
    "BadExpirationDate": _of_the_message("The apns-expiration value is invalid."),
    "BadMessageId": _of_the_message("The apns-id value is invalid."),
    "BadPriority": _of_the_message("The apns-priority value is invalid."),
    "DuplicateHeaders": _of_the_message("One or more headers are repeated."),
    "InvalidPushType": _of_the_message("The apns-push-type value is invalid."),
    "MissingDeviceToken": _of_the_message("The device token is not in the request's path."),
    "PayloadEmpty": _of_the_message("The message payload is empty."),
    "PayloadTooLarge": _of_the_message("413: the message payload is too large: personalised texts, or all of it."),
    # 400, 403, 404, 405: the stack's settings, the same for every device
    "BadTopic": Meaning(Disposition.STOP, "The apns-topic value is invalid: it is the secret's."),
    "MissingTopic": Meaning(Disposition.STOP, "The apns-topic header is required with this key."),
    "TopicDisallowed": Meaning(Disposition.STOP, "Pushing to this topic is not allowed with this key."),
    "BadPath": Meaning(Disposition.STOP, "404: the request contained an invalid path: the base URL is wrong."),
    "MethodNotAllowed": Meaning(Disposition.STOP, "405: the method is not POST: something changes requests."),
    # 403: the credentials
    "ExpiredProviderToken": Meaning(Disposition.RENEW, "The provider token is stale: generate a new one."),
    "InvalidProviderToken": Meaning(
        Disposition.RENEW,
        "The provider token is not valid, or its signature cannot be verified: the key may have been replaced, so the"
        " secret is read again once.",
    ),
    "MissingProviderToken": Meaning(Disposition.STOP, "There is neither a certificate nor an authorization header."),
    "Forbidden": Meaning(Disposition.STOP, "The specified action is not allowed."),
    "BadCertificate": Meaning(Disposition.STOP, "The certificate is invalid."),
    "BadCertificateEnvironment": Meaning(Disposition.STOP, "The client certificate is for the wrong environment."),
    "BadEnvironmentKeyIdInToken": Meaning(Disposition.STOP, "The provider token's key is not for this environment."),
    "BadEnvironmentKeyInToken": Meaning(Disposition.STOP, "The provider token's key is not for this environment."),
    "UnrelatedKeyIdInToken": Meaning(
        Disposition.RECONNECT, "The key is not related to the key of this connection's first push: a key needs its own."
    ),
    # 410: the app is gone from the phone
    "Unregistered": Meaning(Disposition.DROP_TOKEN, "The device token is inactive for the specified topic."),
    "ExpiredToken": Meaning(Disposition.DROP_TOKEN, "The device token has expired."),
    # 429
    "TooManyRequests": Meaning(
        Disposition.FAIL, "Too many requests were made consecutively to the same device token: more make it worse."
    ),
    "TooManyProviderTokenUpdates": Meaning(
        Disposition.RECONNECT, "The provider token is being updated too often: keep it; this connection stays unusable."
    ),
    # the connection, the server
    "IdleTimeout": Meaning(Disposition.RECONNECT, "400: idle time-out of the connection."),
    "Shutdown": Meaning(Disposition.RECONNECT, "503: the server is shutting down."),
    "InternalServerError": Meaning(
        Disposition.RETRY, "500: an internal server error occurred, before or behind the work.", maybe_processed=True
    ),
    "ServiceUnavailable": Meaning(Disposition.RETRY, "503: the service is unavailable."),
}  # fmt: skip
"""By Apple's own reason."""

STATUSES: Mapping[int, Meaning] = {
    403: Meaning(Disposition.STOP, "There was an error with the provider's authentication."),
    404: MEANINGS["BadPath"],
    405: MEANINGS["MethodNotAllowed"],
    408: Meaning(Disposition.RETRY, "The request took too long to arrive."),
    413: MEANINGS["PayloadTooLarge"],
    429: Meaning(
        Disposition.RETRY, "Too many requests, without a reason that names the device: all are meant.", retry_after_s=60
    ),
}
"""By HTTP status, where the body gives no reason, or an unknown one with a status about our settings.

400 and 410 are not here: without Apple's reason they prove nothing about a message or a token, and are asked again.
"""

_ACCEPTED = Verdict(Disposition.ACCEPT)
_MAX_SINCE_MS = 1 << 53


def judge(answer: Answer) -> Verdict:
    """The verdict on one answer, whatever it is. Never raises."""
    if answer.status == 200:
        return _ACCEPTED
    if answer.no_answer is not None or answer.status == 0:
        return unanswered(answer)
    return _refused(answer)


def _refused(answer: Answer) -> Verdict:
    body = decoded(answer.body)
    reason = word_in(body.get("reason"))
    if reason is not None and reason in MEANINGS:
        return verdict(MEANINGS[reason], reason, answer, _since_ms(body.get("timestamp")))
    meaning = STATUSES.get(answer.status)
    if meaning is not None and reason is None:
        return verdict(meaning, f"http_{answer.status}", answer, _since_ms(body.get("timestamp")))
    if meaning is not None and meaning.disposition is Disposition.STOP:
        return verdict(meaning, f"http_{answer.status} {reason}", answer)
    return undocumented(answer, reason)


def _since_ms(timestamp: object) -> int | None:
    """When a 410's token was last known dead, epoch milliseconds."""
    return timestamp if type(timestamp) is int and 0 < timestamp < _MAX_SINCE_MS else None
