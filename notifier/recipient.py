"""A recipient: one user with the devices that can be reached. Broken records are judged before the arm is known."""

import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from notifier.shape import is_encodable

MAX_USER_ID_BYTES = 512
MAX_TOKEN_CHARS = 4096

Token = Annotated[
    str,
    Meta(
        min_length=1, max_length=MAX_TOKEN_CHARS, description="What the app was given by APNs or FCM. Printable ASCII."
    ),
]


class Platform(enum.StrEnum):
    """What the app runs on."""

    IOS = "ios"
    ANDROID = "android"
    WEB = "web"


class Gateway(enum.StrEnum):
    """Who carries the push."""

    FCM = "fcm"
    APNS = "apns"


class Environment(enum.StrEnum):
    """Which of Apple's two worlds a token belongs to: builds from the store, or from Xcode."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class Device(msgspec.Struct, frozen=True, gc=False):
    """One installation of the app."""

    platform: Platform
    token: Token
    gateway: Annotated[Gateway | None, Meta(description="Default: `apns` for ios, `fcm` for the others.")] = None
    environment: Annotated[Environment, Meta(description="`sandbox` for builds from Xcode.")] = Environment.PRODUCTION

    @property
    def carrier(self) -> Gateway:
        """The gateway that reaches it: as stated, else APNs for iOS and FCM for the others."""
        return self.gateway or (Gateway.APNS if self.platform is Platform.IOS else Gateway.FCM)

    def __repr__(self) -> str:
        return f"Device(platform={self.platform.value!r}, token={masked(self.token)!r})"


class Recipient(msgspec.Struct, frozen=True):
    """One user, its working devices by their place in the record, and what was broken about the others."""

    user_id: str
    devices: tuple[tuple[int, Device], ...]
    locale: str | None = None
    timezone: str | None = None
    attributes: Mapping[str, object] = {}
    broken_devices: tuple[tuple[int, str], ...] = ()


class UserRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user as the file states it: devices in a list, or one device flat in the record.

    Other scalar members become attributes, because exports are flat.
    """

    user_id: Annotated[
        Annotated[str, Meta(min_length=1)] | int,
        Meta(description="At most 512 bytes. An integer is taken as its decimal text."),
    ]
    devices: Annotated[
        Annotated[tuple[Device, ...], Meta(min_length=1)] | None,
        Meta(description="A broken one is counted as broken; the others are sent."),
    ] = None
    platform: Literal["ios", "android", "web"] | None = None
    token: Token | None = None
    gateway: Literal["fcm", "apns"] | None = None
    environment: Literal["production", "sandbox"] | None = None
    locale: Annotated[str | None, Meta(description="Picks the translation: `de-AT` gets that of `de`.")] = None
    timezone: Annotated[str | None, Meta(description="By its name: `Europe/London`.")] = None
    attributes: Annotated[
        dict[str, Any] | None, Meta(description="For placeholders. They win over members of the record itself.")
    ] = None


class BrokenRecord(ValueError):
    """A record nobody can be sent by. The message is the reason, without any value of the record."""


_DEVICE_FIELDS = ("platform", "token", "gateway", "environment")
_KNOWN = frozenset(UserRecord.__struct_fields__)
_TOO_LARGE = 10**MAX_USER_ID_BYTES
_SCALARS = (str, int, float, bool, Decimal)


def masked(token: str) -> str:
    """A token that may be shown: its first four characters at most."""
    return f"{token[:4]}…" if len(token) > 8 else "…"


def read_recipient(record: object) -> Recipient:
    """The recipient in one decoded record.

    Raises:
        BrokenRecord: when nothing in it can be sent to.
    """
    if type(record) is not dict:
        raise BrokenRecord("not an object")
    user_id = _user_id_of(record)
    devices, broken = _devices_of(record)
    attributes = record.get("attributes")
    if attributes is None:
        attributes = {}
    elif type(attributes) is not dict:
        raise BrokenRecord("attributes: not an object")
    if not _KNOWN.issuperset(record):
        columns = {k: v for k, v in record.items() if k not in _KNOWN and (v is None or isinstance(v, _SCALARS))}
        attributes = columns | attributes
    return Recipient(user_id, devices, _text_of(record, "locale"), _text_of(record, "timezone"), attributes, broken)


def _user_id_of(record: dict[str, Any]) -> str:
    user_id = record.get("user_id")
    if type(user_id) is int:
        if not -_TOO_LARGE < user_id < _TOO_LARGE:
            raise BrokenRecord("user_id: too long")
        return str(user_id)
    if user_id is None:
        raise BrokenRecord("user_id: missing")
    if type(user_id) is not str:
        raise BrokenRecord("user_id: not a string or integer")
    if not user_id:
        raise BrokenRecord("user_id: empty")
    try:
        if len(user_id.encode()) > MAX_USER_ID_BYTES:
            raise BrokenRecord(f"user_id: over {MAX_USER_ID_BYTES} bytes")
    except UnicodeEncodeError:
        raise BrokenRecord("user_id: not encodable as UTF-8") from None
    return user_id


def _text_of(record: dict[str, Any], field: str) -> str | None:
    value = record.get(field)
    if value is None:
        return None
    if type(value) is not str:
        raise BrokenRecord(f"{field}: not a string")
    if not value.isascii() and not is_encodable(value):
        raise BrokenRecord(f"{field}: not encodable as UTF-8")
    return value or None


def _devices_of(record: dict[str, Any]) -> tuple[tuple[tuple[int, Device], ...], tuple[tuple[int, str], ...]]:
    """Working and broken devices. A flat record has one device, numbered 0."""
    listed = record.get("devices")
    if listed is None:
        return ((0, _device_of({k: record[k] for k in _DEVICE_FIELDS if record.get(k) is not None})),), ()
    if record.get("token") is not None:
        raise BrokenRecord("token: given both in the record and in devices")
    if type(listed) is not list:
        raise BrokenRecord("devices: not a list")
    if not listed:
        raise BrokenRecord("devices: empty")
    working, broken = [], []
    for n, item in enumerate(listed):
        try:
            working.append((n, _device_of(item)))
        except BrokenRecord as error:
            broken.append((n, str(error)))
    return tuple(working), tuple(broken)


_PLATFORMS = {platform.value: platform for platform in Platform}
_GATEWAYS: dict[object, Gateway | None] = {gateway.value: gateway for gateway in Gateway} | {None: None}
_ENVIRONMENTS = {environment.value: environment for environment in Environment} | {None: Environment.PRODUCTION}


def _device_of(item: object) -> Device:
    """One device, or BrokenRecord with its reason. Written out, because it runs a million times."""
    if type(item) is not dict:
        raise BrokenRecord("device: not an object")
    token = item.get("token")
    if type(token) is not str:
        raise BrokenRecord("token: missing" if token is None else "token: not a string")
    if not token or len(token) > MAX_TOKEN_CHARS:
        raise BrokenRecord("token: empty" if not token else f"token: over {MAX_TOKEN_CHARS} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BrokenRecord("token: has characters no token has")
    try:
        platform, gateway = _PLATFORMS[item["platform"]], _GATEWAYS[item.get("gateway")]
        environment = _ENVIRONMENTS[item.get("environment")]
    except (KeyError, TypeError):
        raise BrokenRecord(_unknown_word_in(item)) from None
    if gateway is Gateway.APNS and platform is not Platform.IOS:
        raise BrokenRecord("gateway: apns reaches ios only")
    return Device(platform, token, gateway, environment)


def _unknown_word_in(item: dict[str, Any]) -> str:
    if item.get("platform") is None:
        return "platform: missing"
    tables: dict[str, Any] = {"platform": _PLATFORMS, "gateway": _GATEWAYS, "environment": _ENVIRONMENTS}
    for field, table in tables.items():
        value = item.get(field)
        if not isinstance(value, str | None) or value not in table:
            return f"{field}: not one of {', '.join(word for word in table if word)}"
    return "device: not readable"
