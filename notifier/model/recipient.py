"""A record of the audience as values: a user, the devices that can be sent to, and what the file may state of them."""

import enum
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

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
    """The service that delivers the push."""

    FCM = "fcm"
    APNS = "apns"


class Environment(enum.StrEnum):
    """The APNs environment of a token: production for builds from the store, sandbox for builds from Xcode."""

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
        """The gateway that it is sent through: as stated, else APNs for iOS and FCM for the others."""
        return self.gateway or (Gateway.APNS if self.platform is Platform.IOS else Gateway.FCM)

    def as_json(self) -> dict[str, str]:
        """As a batch file has it, without members that have their default."""
        written = {"platform": self.platform.value, "token": self.token}
        if self.gateway is not None:
            written["gateway"] = self.gateway.value
        if self.environment is not Environment.PRODUCTION:
            written["environment"] = self.environment.value
        return written

    def __repr__(self) -> str:
        return f"Device(platform={self.platform.value!r}, token={masked(self.token)!r})"


class PlainDevice(Device, frozen=True, gc=False, forbid_unknown_fields=True):
    """A device of a plain record."""


class PlainRecord(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A record in the form that most have, decoded in one step: 2 µs less of a push's 50 than by way of a dict.

    Every other form, `iOS` for one, is decoded as a dict; so this has no rule of its own, and `read_recipient` gives
    the same for both.
    """

    # One record of another form costs its whole piece of an array a second decoding (`bulk.decoded_plain`); of lines,
    # only its own line.
    user_id: Annotated[str, Meta(min_length=1, max_length=128)]
    """Not longer, so that it has at most 512 bytes."""
    devices: Annotated[tuple[PlainDevice, ...], Meta(min_length=1)]
    locale: str | None = None
    timezone: str | None = None
    attributes: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, object]:
        """As it would be decoded without a type."""
        devices = [device.as_json() for device in self.devices]
        others = {"locale": self.locale, "timezone": self.timezone, "attributes": self.attributes}
        return {"user_id": self.user_id, "devices": devices, **others}


class Recipient(msgspec.Struct, frozen=True):
    """One user. Valid and broken devices have their index in the record; a broken one has its reason."""

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


def masked(token: str) -> str:
    """A token for logs and screens: at most its first four characters."""
    return f"{token[:4]}…" if len(token) > 8 else "…"
