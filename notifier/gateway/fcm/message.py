"""A message as an FCM request: `POST /v1/projects/{project}/messages:send`.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages. Built by pyfcm once per wording; what
differs from push to push is inserted by `payload.Splice`.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec

from notifier.gateway.fcm.additions import MESSAGE
from notifier.gateway.payload import (
    Label,
    Splice,
    app_data,
    apple_payload,
    ascii_name,
    collapse_id,
    encoded,
    is_urgent,
    marked,
    merged,
    new_marks,
    shorter,
)
from notifier.model.campaign import Message

MAX_PAYLOAD_BYTES = 4096
"""Of notification and data together, as encoded in the request: Google limits the payload
(https://firebase.google.com/docs/cloud-messaging/customize-messages/set-message-type) without saying what counts. The
platforms' options and the token are left out: a push refused here is never asked for, one refused by FCM only once."""

_NOT_IN_LABEL = r"[^a-zA-Z0-9\-_.~%]"
_TOPIC_CHARS = 32
"""Of Web Push's `Topic` (https://www.rfc-editor.org/rfc/rfc8030#section-5.4)."""

Assemble = Callable[..., str]
"""Makes a request's JSON of its parts under pyfcm's names (`fcm_token`, `notification_title`, …)."""


class Prepared:
    """A message of one arm in one language, encoded and ready for any token.

    Args:
        message: with placeholders still in the fields that `slots` names.
        slots: the fields that differ from push to push, in the order of the texts given later.
        label: run, campaign and arm.
        rehearse: FCM validates the push and does not send it.
        assemble: builds the request's JSON, by default pyfcm. `assembled` does the same where pyfcm is not shipped.
        limits_ttl: the time to live differs from push to push: `body` is given a limit.
    """

    def __init__(
        self,
        message: Message,
        slots: Sequence[str],
        label: Label,
        *,
        rehearse: bool = False,
        assemble: Assemble | None = None,
        limits_ttl: bool = False,
    ) -> None:
        token, expiry, android, web, *marks = new_marks(4 + len(slots))
        parts = _parts(message, marked(message, slots, marks), label, token, expiry)
        request = _request(message, label, (assemble or _by_pyfcm())(**parts, dry_run=rehearse))
        if limits_ttl:
            _mark_ttl(request["message"], expiry, android, web)
        content = {key: request["message"][key] for key in ("notification", "data") if key in request["message"]}
        self._body = Splice(request, (token, expiry, android, web, *marks))
        self._content = Splice(content, marks)
        self._ttl_s = message.ttl_s if isinstance(message.ttl_s, int) else None
        self._headers = ["", "content-type: application/json"]
        self._joined: list[bytes] = []
        self._joined_at_s = -1.0

    def body(self, token: str, texts: Sequence[str], now_s: float, limit_s: int | None = None) -> bytes:
        """The request's body for one device; `now_s` is epoch seconds.

        Args:
            limit_s: Google is to keep it for so many seconds at most; only with `limits_ttl`.
        """
        if not texts and limit_s is None:
            return self._with_token(token, now_s)
        ttl_s = shorter(self._ttl_s, limit_s) or 0
        # Without marks for them, the two times to live are used nowhere.
        kept = (b'"%ds"' % ttl_s, b'"%d"' % ttl_s) if limit_s is not None else (b"", b"")
        return self._body.join((encoded(token), _expiry(now_s, ttl_s), *kept, *map(encoded, texts)))

    def _with_token(self, token: str, now_s: float) -> bytes:
        """A body in which nothing but the token differs: all others of a turn are joined once (1.2 → 0.4 µs each)."""
        if now_s != self._joined_at_s:
            self._joined_at_s = now_s
            self._joined = self._body.between(0, (b"", _expiry(now_s, self._ttl_s or 0), b"", b""))
        return encoded(token).join(self._joined)

    def headers(self, push_id: str, authorization: str, now_s: float, limit_s: int | None = None) -> list[str]:
        """The request's headers as wire lines. FCM takes no push id."""
        # One list until the credentials change: the transport sets headers only when it gets another list.
        if self._headers[0] != authorization:
            self._headers = [authorization, self._headers[1]]
        return self._headers

    def payload_bytes(self, texts: Sequence[str]) -> int:
        """The bytes that count against `MAX_PAYLOAD_BYTES`."""
        return self._content.length([encoded(text) for text in texts])

    def is_too_large(self, body: bytes, texts: Sequence[str]) -> bool:
        """Whether FCM would refuse it for its size."""
        # The body holds options and token too: small enough with them is small enough.
        if len(body) <= MAX_PAYLOAD_BYTES:
            return False
        return self._content.length([encoded(text) for text in texts]) > MAX_PAYLOAD_BYTES


def _expiry(now_s: float, ttl_s: int) -> bytes:
    """`apns-expiration`, as JSON; 0 means now or never."""
    return b'"%d"' % (now_s + ttl_s if ttl_s else 0)


def part_bytes(message: Message, label: Label) -> Iterator[tuple[str, int]]:
    """Each part of a request that Google limits to `MAX_PAYLOAD_BYTES`, with its bytes."""
    request = _request(message, label, assembled(**_parts(message, message, label, "", ""), dry_run=False))["message"]
    android = {key: request["android"][key] for key in ("data", "notification") if key in request["android"]}
    content = {key: request[key] for key in ("notification", "data") if key in request}
    yield "notification and data", len(encoded(content))
    yield "android", len(encoded(android))
    yield "webpush.data", len(encoded(request["webpush"].get("data", {})))
    yield "apns.payload", len(encoded(request["apns"].get("payload", {})))


@cache
def path(project_id: str) -> str:
    """The request's path for a project: one text for all requests, so that the transport need not compare it."""
    return f"/v1/projects/{project_id}/messages:send"


def assembled(*, fcm_token: str, data_payload: Mapping[str, str], dry_run: bool, **parts: Any) -> str:
    """The same JSON as pyfcm's `parse_payload`, byte for byte.

    For the approval app, which measures payloads and sends none: pyfcm comes with 20 MB of dependencies.
    """
    notification = {name: parts[f"notification_{name}"] for name in ("title", "body", "image")}
    message = {
        "token": fcm_token,
        "data": data_payload,
        **{name: parts[f"{name}_config"] for name in ("android", "apns", "webpush")},
        "fcm_options": parts["fcm_options"],
    }
    if notification["title"] or notification["body"]:
        message["notification"] = {name: text for name, text in notification.items() if text}
    return json.dumps({"message": message, "validate_only": dry_run}, separators=(",", ":"), sort_keys=True)


def _by_pyfcm() -> Assemble:
    """pyfcm's payload builder. Its constructor requires credentials; building a payload never uses them."""
    from pyfcm import FCMNotification  # noqa: PLC0415 - 0.3 s: no cost on import

    builder: Assemble = FCMNotification(credentials="none").parse_payload
    return builder


def _parts(message: Message, filled: Message, label: Label, token: str, expiry: str) -> dict[str, Any]:
    """The request's parts under pyfcm's names. `message` decides what is there, `filled` (with marks) is inserted."""
    shown = message.background is not True
    return {
        "fcm_token": token,
        "notification_title": (filled.title or None) if shown else None,
        "notification_body": (filled.body or None) if shown else None,
        "notification_image": (filled.image_url or None) if shown else None,
        "data_payload": app_data(filled, label),
        "android_config": _android(message, label),
        "apns_config": _apns(message, filled, label, expiry),
        "webpush_config": _webpush(message, filled, label),
        "fcm_options": {"analytics_label": analytics_label(label)},
    }


def _request(message: Message, label: Label, payload: str) -> dict[str, Any]:
    """The whole request: the campaign's additions merged over the assembled JSON, our labels over both."""
    request: dict[str, Any] = msgspec.json.decode(payload)
    named = MESSAGE.named(message.fcm or {})
    additions = {key: value for key, value in named.items() if key in MESSAGE.known and isinstance(value, dict)}
    request["message"] = merged(request["message"], additions)
    request["message"]["data"] |= label.as_data()
    for platform in ("android", "webpush"):
        # A platform's own data replaces the message's: without this, the app could not report opens by arm.
        if isinstance(data := request["message"][platform].get("data"), dict):
            data |= label.as_data()
    _fill_aps(request["message"])
    return request


def _mark_ttl(message: dict[str, Any], expiry: str, android: str, web: str) -> None:
    """Put marks where each platform has its time to live: also over one that the campaign's additions state."""
    message["android"]["ttl"] = android
    message["apns"].setdefault("headers", {})["apns-expiration"] = expiry
    message["webpush"].setdefault("headers", {})["TTL"] = web


def _fill_aps(message: dict[str, Any]) -> None:
    """Drop a payload for Apple whose `aps` is empty or missing, or put the alert into it: FCM refuses it otherwise.

    Source: https://github.com/firebase/firebase-admin-dotnet/issues/39. FCM makes the same alert where there is none.
    """
    payload = message["apns"].get("payload")
    if not isinstance(payload, dict) or payload.get("aps"):
        return
    if payload.keys() <= {"aps"}:
        del message["apns"]["payload"]
    else:
        shown = message.get("notification", {})
        payload["aps"] = {"alert": {name: shown[name] for name in ("title", "body") if name in shown}}


def _android(message: Message, label: Label) -> dict[str, Any]:
    collapse = collapse_id(message, label)
    config: dict[str, Any] = {"priority": "HIGH" if is_urgent(message) else "NORMAL", "collapse_key": collapse}
    if isinstance(message.ttl_s, int):
        config["ttl"] = f"{message.ttl_s}s"
    if message.background is True:
        return config
    notification: dict[str, Any] = {"tag": collapse}
    if message.sound:
        notification["sound"] = message.sound
    if isinstance(message.badge, int):
        notification["notification_count"] = message.badge
    return config | {"notification": notification}


def _apns(message: Message, filled: Message, label: Label, expiry: str) -> dict[str, Any]:
    """For iPhones that hold FCM tokens: FCM adds the alert and the data itself."""
    headers = {
        "apns-priority": "10" if is_urgent(message) else "5",
        "apns-push-type": "background" if message.background is True else "alert",
        "apns-collapse-id": collapse_id(message, label),
    }
    if isinstance(message.ttl_s, int):
        headers["apns-expiration"] = expiry
    config: dict[str, Any] = {"headers": headers, "payload": apple_payload(filled, label, by_apns=False)}
    if filled.image_url and message.background is not True:
        config["fcm_options"] = {"image": filled.image_url}
    return config


def _webpush(message: Message, filled: Message, label: Label) -> dict[str, Any]:
    """For browsers; a link must be https there, so an app's own scheme is left out."""
    collapse = collapse_id(message, label)
    topic = base64.urlsafe_b64encode(sha256(collapse.encode()).digest()).decode()[:_TOPIC_CHARS]
    headers = {"Urgency": "high" if is_urgent(message) else "normal", "Topic": topic}
    if isinstance(message.ttl_s, int):
        headers["TTL"] = str(message.ttl_s)
    config: dict[str, Any] = {"headers": headers}
    if message.background is not True:
        config["notification"] = {"tag": collapse}
    if message.deep_link and message.deep_link.startswith("https://"):
        config["fcm_options"] = {"link": filled.deep_link}
    return config


def analytics_label(label: Label) -> str:
    """Campaign and arm for Firebase's own reports: `[a-zA-Z0-9-_.~%]{1,50}`."""
    return ascii_name(f"{label.campaign_id}.{label.arm}", 50, _NOT_IN_LABEL)
