"""A message as an APNs request: `POST /3/device/{token}`.

Source: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns and
https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification. Built with aioapns'
vocabulary once per wording; what differs from push to push is inserted by `payload.Splice`.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import quote

from notifier.gateway.payload import (
    Label,
    Splice,
    apple_payload,
    collapse_id,
    encoded,
    is_urgent,
    marked,
    new_marks,
    shorter,
)
from notifier.model.campaign import Message

MAX_PAYLOAD_BYTES = 4096
"""Of the whole body."""


class Prepared:
    """A message of one arm in one language, encoded and ready for any token.

    Args:
        message: with placeholders still in the fields that `slots` names.
        slots: the fields that differ from push to push, in the order of the texts given later.
        label: run, campaign and arm.
        topic: the app's bundle id.
    """

    def __init__(self, message: Message, slots: Sequence[str], label: Label, *, topic: str) -> None:
        marks = new_marks(len(slots))
        self._payload = apple_payload(marked(message, slots, marks), label, by_apns=True)
        self._body = Splice(self._payload, marks)
        self._constant = self._body.join(()) if not marks else b""
        self._message, self._label, self._topic = message, label, topic
        self._ttl_s = message.ttl_s if isinstance(message.ttl_s, int) else None
        self._expires, self._expiration = (-1.0, 0), ""

    def body(self, token: str, texts: Sequence[str], now_s: float, limit_s: int | None = None) -> bytes:
        """The request's body; APNs has the token in the path and the expiry in a header."""
        return self._body.join([encoded(text) for text in texts]) if texts else self._constant

    def headers(self, push_id: str, authorization: str, now_s: float, limit_s: int | None = None) -> list[str]:
        """The request's headers as wire lines. `push_id` is a UUID in lower case; `now_s` is epoch seconds.

        Without a time to live the expiry is left out, and Apple stores the push for as long as it likes; 0 means now or
        never.

        Args:
            limit_s: Apple is to keep it for so many seconds at most.
        """
        ttl_s = shorter(self._ttl_s, limit_s)
        if ttl_s is None:
            return [authorization, f"apns-id: {push_id}", *self._headers]
        # Of a whole turn, the same text.
        if self._expires != (now_s, ttl_s):
            self._expires = now_s, ttl_s
            self._expiration = f"apns-expiration: {int(now_s) + ttl_s if ttl_s else 0}"
        return [authorization, f"apns-id: {push_id}", *self._headers, self._expiration]

    @cached_property
    def _headers(self) -> tuple[str, ...]:
        """The lines that are the same for every push. Made late: approval only measures, and does not ship aioapns."""
        return _headers(_request(self._message, self._payload, self._label, self._topic))

    def payload_bytes(self, texts: Sequence[str]) -> int:
        """The bytes that count against `MAX_PAYLOAD_BYTES`."""
        return len(self.body("", texts, 0))

    def is_too_large(self, body: bytes, texts: Sequence[str]) -> bool:
        """Whether APNs would refuse it for its size."""
        return len(body) > MAX_PAYLOAD_BYTES


def part_bytes(message: Message, label: Label) -> Iterator[tuple[str, int]]:
    """Each part of a request that Apple limits to `MAX_PAYLOAD_BYTES`, with its bytes: the whole body."""
    yield "body", Prepared(message, (), label, topic="").payload_bytes(())


def path(token: str) -> str:
    """The request's path for a device."""
    return f"/3/device/{token if token.isalnum() else quote(token, safe='')}"


def _request(message: Message, payload: dict[str, Any], label: Label, topic: str) -> Any:
    """The push as aioapns' request."""
    from aioapns.common import NotificationRequest, PushType  # noqa: PLC0415 - 0.3 s: no cost on import

    return NotificationRequest(
        device_token="",
        message=payload,
        time_to_live=message.ttl_s if isinstance(message.ttl_s, int) else None,
        priority=10 if is_urgent(message) else 5,
        collapse_key=collapse_id(message, label),
        push_type=PushType.BACKGROUND if message.background is True else PushType.ALERT,
        apns_topic=topic,
    )


def _headers(request: Any) -> tuple[str, ...]:
    return (
        f"apns-topic: {request.apns_topic}",
        f"apns-push-type: {request.push_type.value}",
        f"apns-priority: {request.priority}",
        f"apns-collapse-id: {request.collapse_key}",
        "content-type: application/json",
    )
