"""The FCM message as Google's reference has it, and what FCM refuses about one.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages. Field names may be snake_case or
camelCase, as protobuf's JSON allows.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

PAYLOAD_MAX_BYTES = 4096
TTL_MAX_S = 2_419_200
_TTL = re.compile(r"(\d+)(?:\.\d{1,9})?s")
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_RESERVED_KEYS = frozenset(("from", "gcm", "message_type"))
_RESERVED_STARTS = ("google", "gcm.")
_PUSH_PRIORITIES = frozenset(("10", "5", "1"))
_COLLAPSE_ID_MAX_BYTES = 64
_LIVE_ACTIVITY = ("timestamp", "event", "content-state")
_PRIORITIES = frozenset(("NORMAL", "HIGH", "normal", "high"))

Duration = Annotated[str, msgspec.Meta(pattern=r"^\d+(\.\d{1,9})?s\Z")]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_NotificationPriority = Literal[
    "PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"
]
_Visibility = Literal["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"]
_Proxy = Literal["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"]


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
    """`fcm_options` of the message, and of Android."""

    analytics_label: str = ""


class ApnsOptions(Options, frozen=True):
    """`message.apns.fcm_options`."""

    image: str = ""


class WebpushOptions(Options, frozen=True):
    """`message.webpush.fcm_options`."""

    link: str = ""


class Color(_Strict, frozen=True):
    """`google.type.Color`."""

    red: float = 0
    green: float = 0
    blue: float = 0
    alpha: float = 1


class LightSettings(_Strict, frozen=True):
    """`message.android.notification.light_settings`: all of them are required."""

    color: Color
    light_on_duration: Duration
    light_off_duration: Duration


class AndroidNotification(_Strict, frozen=True):
    """`message.android.notification`."""

    title: str = ""
    body: str = ""
    icon: str = ""
    color: Annotated[str, msgspec.Meta(pattern=r"^(#[0-9a-fA-F]{6})?\Z")] = ""
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
    event_time: datetime | None = None
    local_only: bool = False
    notification_priority: _NotificationPriority | None = None
    default_sound: bool = False
    default_vibrate_timings: bool = False
    default_light_settings: bool = False
    vibrate_timings: tuple[Duration, ...] = ()
    visibility: _Visibility | None = None
    notification_count: Int32 = 0
    light_settings: LightSettings | None = None
    image: str = ""
    proxy: _Proxy | None = None
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
    fcm_options: WebpushOptions | None = None


class Apns(_Strict, frozen=True):
    """`message.apns`."""

    headers: dict[str, str] = {}
    payload: dict[str, Any] | None = None
    live_activity_token: str = ""
    fcm_options: ApnsOptions | None = None


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
        _check_apns(message.apns)
    if (webpush := message.webpush) is not None:
        _check_keys("message.webpush.data", webpush.data)
        _check_label("message.webpush.fcm_options", webpush.fcm_options)
        link = webpush.fcm_options.link if webpush.fcm_options is not None else ""
        if link and not link.startswith("https://"):
            raise RefusedError("message.webpush.fcm_options.link", "Link must be an HTTPS URL.")
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


def _check_apns(apns: Apns) -> None:
    """As FCM answers before it asks Apple (https://github.com/firebase/firebase-admin-dotnet/issues/39)."""
    _check_label("message.apns.fcm_options", apns.fcm_options)
    if apns.headers.get("apns-priority", "10") not in _PUSH_PRIORITIES:
        raise RefusedError("message.apns.headers", "Invalid apns-priority.")
    if len(apns.headers.get("apns-collapse-id", "").encode()) > _COLLAPSE_ID_MAX_BYTES:
        raise RefusedError("message.apns.headers", "apns-collapse-id must not exceed 64 bytes.")
    aps: Any = {}
    if apns.payload is not None:
        aps = apns.payload.get("aps")
        if aps is None:
            raise RefusedError("message.apns.payload", "Payload of APNS must contain an [aps] key.")
        _check_aps(aps)
    if apns.live_activity_token and not all(name in aps for name in _LIVE_ACTIVITY):
        raise RefusedError("message.apns.live_activity_token", "The payload is not one of a Live Activity.")


def _check_aps(aps: Any) -> None:
    place = "message.apns.payload"
    if not isinstance(aps, dict) or not aps:
        raise RefusedError(place, "Value of [aps] must be a non-empty dictionary.")
    kinds: dict[str, tuple[type, ...]] = {
        "alert": (str, dict), "sound": (str, dict), "badge": (int, float), "content-available": (int, float),
        "mutable-content": (int, float), "category": (str,), "thread-id": (str,),
    }  # fmt: skip
    for name, kind in kinds.items():
        if name in aps and (not isinstance(aps[name], kind) or isinstance(aps[name], bool)):
            raise RefusedError(place, f"Value of [{name}] is of the wrong type.")


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
    if (
        message.apns is not None
        and message.apns.payload
        and len(msgspec.json.encode(message.apns.payload)) > PAYLOAD_MAX_BYTES
    ):
        raise RefusedError("message.apns.payload", "APNS message is too big")
    if message.webpush is not None and _size(message.webpush.data) > PAYLOAD_MAX_BYTES:
        raise RefusedError("message.webpush.data", "Web push message is too big")


def _size(part: dict[str, str] | Notification | AndroidNotification | None) -> int:
    """Bytes of a part's names and values, the empty ones aside."""
    if part is None:
        return 0
    values: Mapping[str, Any] = part if isinstance(part, dict) else msgspec.structs.asdict(part)
    return sum(len(key.encode()) + len(str(value).encode()) for key, value in values.items() if value)
