"""The FCM message as Google's reference has it, and what FCM refuses about one.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages. Field names may be snake_case or
camelCase, as protobuf's JSON allows.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

PAYLOAD_MAX_BYTES = 4096
TTL_MAX_S = 2_419_200
_TTL = re.compile(r"(\d+)(?:\.\d{1,9})?s")
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_RESERVED_KEYS = frozenset(("from", "gcm", "message_type"))
_RESERVED_STARTS = ("google", "gcm.")
_PRIORITIES = frozenset(("NORMAL", "HIGH", "normal", "high"))


class RefusedError(Exception):
    """Why FCM refuses a message: `field` in the request's own words ("message.android.ttl"), and a sentence."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class Notification(_Strict, frozen=True):
    """What every platform shows."""

    title: str = ""
    body: str = ""
    image: str = ""


class Options(_Strict, frozen=True):
    """`fcm_options`, of all platforms together."""

    analytics_label: str = ""
    image: str = ""
    link: str = ""


class AndroidNotification(_Strict, frozen=True):
    """`message.android.notification`."""

    title: str = ""
    body: str = ""
    icon: str = ""
    color: str = ""
    sound: str = ""
    tag: str = ""
    click_action: str = ""
    body_loc_key: str = ""
    body_loc_args: tuple[str, ...] = ()
    title_loc_key: str = ""
    title_loc_args: tuple[str, ...] = ()
    channel_id: str = ""
    ticker: str = ""
    sticky: bool = False
    event_time: str = ""
    local_only: bool = False
    notification_priority: str = ""
    default_sound: bool = False
    default_vibrate_timings: bool = False
    default_light_settings: bool = False
    vibrate_timings: tuple[str, ...] = ()
    visibility: str = ""
    notification_count: int = 0
    light_settings: dict[str, Any] = {}
    image: str = ""
    proxy: str = ""
    bypass_proxy_notification: bool = False


class Android(_Strict, frozen=True):
    """`message.android`."""

    collapse_key: str = ""
    priority: str = ""
    ttl: str | None = None
    restricted_package_name: str = ""
    data: dict[str, str] = {}
    notification: AndroidNotification | None = None
    fcm_options: Options | None = None
    direct_boot_ok: bool = False
    bandwidth_constrained_ok: bool = False
    restricted_satellite_ok: bool = False


class Webpush(_Strict, frozen=True):
    """`message.webpush`."""

    headers: dict[str, str] = {}
    data: dict[str, str] = {}
    notification: dict[str, Any] = {}
    fcm_options: Options | None = None


class Apns(_Strict, frozen=True):
    """`message.apns`."""

    headers: dict[str, str] = {}
    payload: dict[str, Any] = {}
    live_activity_token: str = ""
    fcm_options: Options | None = None


class Message(_Strict, frozen=True):
    """`message`."""

    name: str = ""
    token: str = ""
    topic: str = ""
    condition: str = ""
    data: dict[str, str] = {}
    notification: Notification | None = None
    android: Android | None = None
    webpush: Webpush | None = None
    apns: Apns | None = None
    fcm_options: Options | None = None


class SendRequest(_Strict, frozen=True):
    """The body of `messages:send`."""

    message: Message
    validate_only: bool = False


_decoder = msgspec.json.Decoder(SendRequest)


def decode(body: bytes) -> SendRequest:
    """The request, checked as FCM checks it. Raises RefusedError."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError:
        request = _decode_slowly(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError("", f"Invalid JSON payload received. {error}") from None
    _check(request.message, len(body))
    return request


def _decode_slowly(body: bytes) -> SendRequest:
    """Once more with camelCase names turned round; what is refused then is really wrong."""
    try:
        return msgspec.convert(_snake(msgspec.json.decode(body)), SendRequest)
    except msgspec.ValidationError as error:
        what, _, where = str(error).rpartition(" - at `$")
        field = where.rstrip("`").lstrip(".").replace("[...]", "")
        raise RefusedError(field, f"Invalid JSON payload received. {what or error}") from None


_FREE = frozenset(("data", "headers", "payload"))


def _snake(value: Any) -> Any:
    """Field names in snake_case; keys of maps that are the sender's own are left alone."""
    if not isinstance(value, Mapping):
        return value
    named = {re.sub(r"(?<=[a-z])([A-Z])", lambda hit: f"_{hit[1].lower()}", key): inner for key, inner in value.items()}
    return {key: inner if key in _FREE else _snake(inner) for key, inner in named.items()}


def _check(message: Message, body_bytes: int) -> None:
    _check_target(message)
    _check_keys("message.data", message.data)
    _check_label("message.fcm_options", message.fcm_options)
    if (android := message.android) is not None:
        _check_android(android)
    if message.apns is not None:
        _check_label("message.apns.fcm_options", message.apns.fcm_options)
    if (webpush := message.webpush) is not None:
        _check_keys("message.webpush.data", webpush.data)
        _check_label("message.webpush.fcm_options", webpush.fcm_options)
    if body_bytes > PAYLOAD_MAX_BYTES:
        _check_size(message)


def _check_target(message: Message) -> None:
    targets = sum(1 for target in (message.token, message.topic, message.condition) if target)
    if targets == 0:
        raise RefusedError("message", "Recipient of the message is not set.")
    if targets > 1:
        raise RefusedError("message", "oneof field 'target' is already set: exactly one of token, topic, condition.")


def _check_keys(field: str, data: dict[str, str]) -> None:
    for key in data:
        if key in _RESERVED_KEYS or key.startswith(_RESERVED_STARTS):
            raise RefusedError(field, f"Invalid data payload key: {key}")


def _check_label(field: str, options: Options | None) -> None:
    if options is not None and options.analytics_label and not _LABEL.fullmatch(options.analytics_label):
        raise RefusedError(f"{field}.analytics_label", "The analytics label must match ^[a-zA-Z0-9-_.~%]{1,50}$.")


def _check_android(android: Android) -> None:
    _check_keys("message.android.data", android.data)
    _check_label("message.android.fcm_options", android.fcm_options)
    if android.priority and android.priority not in _PRIORITIES:
        raise RefusedError(
            "message.android.priority", f"Invalid value at 'message.android.priority': {android.priority!r}"
        )
    if android.ttl is not None:
        match = _TTL.fullmatch(android.ttl)
        if match is None:
            raise RefusedError("message.android.ttl", "Illegal duration format; duration must end with 's'")
        if float(android.ttl[:-1]) > TTL_MAX_S:
            raise RefusedError("message.android.ttl", "The TTL must be between 0 and 2419200 seconds.")


def _check_size(message: Message) -> None:
    """4,096 bytes of names and values for Android and the web, and of JSON for Apple."""
    shared = _size(message.data) + _size(message.notification)
    android = message.android
    over = (
        android is not None
        and _size(android.data or message.data) + _size(android.notification) + _size(message.notification)
        > PAYLOAD_MAX_BYTES
    )
    if shared > PAYLOAD_MAX_BYTES or over:
        raise RefusedError("message", "Android message is too big")
    if message.apns is not None and len(msgspec.json.encode(message.apns.payload)) > PAYLOAD_MAX_BYTES:
        raise RefusedError("message.apns.payload", "APNS message is too big")
    if message.webpush is not None and _size(message.webpush.data) > PAYLOAD_MAX_BYTES:
        raise RefusedError("message.webpush.data", "Web push message is too big")


def _size(part: dict[str, str] | Notification | AndroidNotification | None) -> int:
    """Bytes of a part's names and values, the empty ones aside."""
    if part is None:
        return 0
    values: Mapping[str, Any] = part if isinstance(part, dict) else msgspec.structs.asdict(part)
    return sum(len(key.encode()) + len(str(value).encode()) for key, value in values.items() if value)
