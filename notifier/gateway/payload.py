"""What the payloads of both gateways share: labels, collapse ids, Apple's part, and the splicing of texts.

An app finds the same names on both platforms (at the top level from APNs, in `data` from FCM): the message's own data
keys, `deep_link`, `notifier_run`, `notifier_campaign` and `notifier_arm`.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from secrets import token_hex
from typing import Any

import msgspec

from notifier.gateway.apple_payload import APS_KEYS
from notifier.model.campaign import Message

MAX_COLLAPSE_ID_BYTES = 64
"""Of `apns-collapse-id` (https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns)."""
_HASH_CHARS = 16


class Label(msgspec.Struct, frozen=True):
    """Run, campaign and arm of a push. Every push carries them, so that the app can report opens by arm."""

    run_id: str
    campaign_id: str
    arm: str

    def as_data(self) -> dict[str, str]:
        """As the app finds them."""
        return {"notifier_run": self.run_id, "notifier_campaign": self.campaign_id, "notifier_arm": self.arm}


class Splice:
    """A JSON value encoded once; only the marked strings are replaced for every push.

    Joining pieces costs a fraction of encoding the whole payload a million times.
    """

    def __init__(self, value: object, marks: Sequence[str]) -> None:
        # Split with the marks captured: constant pieces at even places, marks at odd ones.
        pieces = re.split(rb'("(?:' + "|".join(marks).encode() + rb')")', encoded(value)) if marks else [encoded(value)]
        numbers = {encoded(mark): n for n, mark in enumerate(marks)}
        self._pieces = pieces
        self._slots = tuple((i, numbers[pieces[i]]) for i in range(1, len(pieces), 2))
        self._constant_bytes = sum(len(piece) for piece in pieces[::2])

    def join(self, values: Sequence[bytes]) -> bytes:
        """The JSON with `values`, themselves JSON, in the order of the marks."""
        pieces = self._pieces.copy()
        for i, n in self._slots:
            pieces[i] = values[n]
        return b"".join(pieces)

    def between(self, mark: int, values: Sequence[bytes]) -> list[bytes]:
        """What stands before, between and behind the places of one mark, with `values` in all other places.

        `value.join(…)` of it is the JSON.
        """
        pieces = self._pieces.copy()
        for i, n in self._slots:
            pieces[i] = values[n]
        ends = [i for i, n in self._slots if n == mark]
        starts = [0, *(end + 1 for end in ends)]
        return [b"".join(pieces[start:end]) for start, end in zip(starts, [*ends, len(pieces)], strict=True)]

    def length(self, values: Sequence[bytes]) -> int:
        """How many bytes `join` would give."""
        return self._constant_bytes + sum(len(values[n]) for _, n in self._slots)


encoded = msgspec.json.Encoder(decimal_format="number").encode
"""Any JSON value, or a single string, as UTF-8 bytes."""


def shorter(ttl_s: int | None, limit_s: int | None) -> int | None:
    """The shorter of two times to live; None is one without an end."""
    if ttl_s is None or limit_s is None:
        return limit_s if ttl_s is None else ttl_s
    return min(ttl_s, limit_s)


def new_marks(count: int) -> tuple[str, ...]:
    """Strings that mark the slots of a payload. Random, so that no campaign's text can contain one."""
    secret = token_hex(16)
    return tuple(f"{secret}-{n}-" for n in range(count))


def marked(message: Message, slots: Sequence[str], marks: Sequence[str]) -> Message:
    """The message with a mark in each field that differs from push to push (`title`, `data.screen`)."""
    data, fields = dict(message.data or {}), {}
    for slot, mark in zip(slots, marks, strict=True):
        if slot.startswith("data."):
            data[slot.removeprefix("data.")] = mark
        else:
            fields[slot] = mark
    return msgspec.structs.replace(message, **fields, **({"data": data} if data else {}))


def merged(base: Mapping[str, Any], additions: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `additions` over it: objects merge, everything else is replaced."""
    result = dict(base)
    for key, value in additions.items():
        current = result.get(key)
        both = isinstance(current, Mapping) and isinstance(value, Mapping)
        # A list replaces a list: joining two would make an order that no author has written.
        result[key] = merged(current, value) if both else _plain(value)  # type: ignore[arg-type]
    return result


def _plain(value: Any) -> Any:
    """A value without Decimals, which the libraries' JSON encoders do not know."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def app_data(message: Message, label: Label) -> dict[str, str]:
    """The app's data: the message's own, then `deep_link`, then our labels, which nothing may replace."""
    link = {"deep_link": message.deep_link} if message.deep_link else {}
    return {**(message.data or {}), **link, **label.as_data()}


def apple_payload(message: Message, label: Label, *, by_apns: bool) -> dict[str, Any]:
    """The payload for an iPhone, the message's `apns` additions merged over it.

    Args:
        by_apns: sent by APNs itself. FCM adds alert and data on its own: for FCM both are left out, unless an addition
            changes the alert.
    """
    additions = dict(message.apns or {})
    own_aps = merged({key: additions.pop(key) for key in APS_KEYS & additions.keys()}, additions.pop("aps", {}))
    aps: dict[str, Any] = {}
    if message.background is True:
        aps["content-available"] = 1
    elif by_apns or "alert" in own_aps:
        aps["alert"] = {name: text for name in ("title", "body") if (text := getattr(message, name))}
    if message.sound:
        aps["sound"] = message.sound
    if isinstance(message.badge, int):
        aps["badge"] = message.badge
    if message.image_url:
        # Only then iOS wakes the app's extension, which downloads the image.
        aps["mutable-content"] = 1
    beside = merged(_beside(message, label) if by_apns else {}, additions)
    return {**beside, **(label.as_data() if by_apns else {}), "aps": merged(aps, own_aps)}


def _beside(message: Message, label: Label) -> dict[str, str]:
    image = {"image_url": message.image_url} if message.image_url else {}
    return {**app_data(message, label), **image}


def is_urgent(message: Message) -> bool:
    """Whether it has high priority: as the message states, by default yes. A background push never has."""
    return message.background is not True and message.priority != "normal"


def collapse_id(message: Message, label: Label) -> str:
    """The id by which a later push replaces an earlier one: the message's, or campaign and arm. 1 to 64 ASCII."""
    return ascii_name(message.collapse_id or f"{label.campaign_id}:{label.arm}", MAX_COLLAPSE_ID_BYTES)


def ascii_name(name: str, max_bytes: int, others: str = r"[^\x21-\x7e]") -> str:
    """The name if it has none of the `others` and is short enough; else its beginning and a hash, to stay unique."""
    cleaned = re.sub(others, "_", name)
    if cleaned == name and len(name) <= max_bytes:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    return f"{cleaned[: max_bytes - _HASH_CHARS - 1]}-{digest}"
