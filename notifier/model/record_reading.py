"""Reads a record of the audience as a recipient: one user with the devices that can be sent to.

A record is valid or broken before its arm is known, so that all arms have the same kinds of users. `read_recipient`
takes an ordinary record on the shortest way; `spelling` helps only with the others.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from notifier.model.recipient import (
    MAX_TOKEN_CHARS,
    Device,
    Environment,
    Gateway,
    PlainRecord,
    Platform,
    Recipient,
    UserRecord,
)
from notifier.model.spelling import BrokenRecord, Columns, integer_of, list_in, normalised, object_in, token_of
from notifier.model.validation import is_encodable

MAX_USER_ID_BYTES = 512
_MIN_PLAIN_TOKEN_CHARS = 16
"""A shorter token may be a word such as `null`, and is looked at more closely."""
REPEATED = "token: given twice for this user, who is asked for once"

_DEVICE_FIELDS = ("platform", "token", "gateway", "environment")
_KNOWN = frozenset(UserRecord.__struct_fields__)
_COLUMNS = Columns(_KNOWN)
# Bound once, because they run for every record: one call instead of three.
_has_usual_names = _COLUMNS.usual.issuperset
_DEVICE_COLUMNS = Columns(frozenset(_DEVICE_FIELDS))
_is_plain_device = frozenset(_DEVICE_FIELDS).issuperset
_TOO_LARGE = 10**MAX_USER_ID_BYTES
_SCALARS = (str, int, float, bool, Decimal)


def read_recipient(record: object) -> Recipient:
    """The recipient in one decoded record.

    Raises:
        BrokenRecord: it cannot be sent to. If only one of several devices is broken, it is in `broken_devices`.
    """
    if type(record) is PlainRecord:
        return _plain_recipient(record) or read_recipient(record.as_dict())
    if type(record) is not dict:
        raise BrokenRecord("not an object")
    # Three checks, each for what the one before does not settle: known columns only, names met before, any case.
    has_only_known = _KNOWN.issuperset(record)
    if not has_only_known and not _has_usual_names(record) and not _COLUMNS.are_usual(record):
        record = _COLUMNS.renamed(record)
    user_id = id_of(record.get("user_id"))
    devices, broken = _devices_of(record)
    attributes = record.get("attributes")
    if attributes is None:
        attributes = {}
    elif type(attributes) is not dict:
        attributes = _attributes_in(attributes)
    if not has_only_known:
        # Exports are flat: other columns are attributes too. Those in `attributes` win.
        columns = {k: v for k, v in record.items() if k not in _KNOWN and (v is None or isinstance(v, _SCALARS))}
        attributes = columns | attributes
    locale, timezone = record.get("locale"), record.get("timezone")
    if locale is not None:
        locale = _text_in(locale, "locale")
    if timezone is not None:
        timezone = _text_in(timezone, "timezone")
    return Recipient(user_id, devices, locale, timezone, attributes, broken)


def _plain_recipient(record: PlainRecord) -> Recipient | None:
    """The recipient, if nothing about the record needs a closer look.

    One function without helpers: it runs for nearly every record of most audiences.
    """
    user_id, locale, timezone = record.user_id, record.locale, record.timezone
    # What is ASCII can be encoded.
    if not (user_id.isascii() and (locale is None or locale.isascii()) and (timezone is None or timezone.isascii())):
        return None
    for device in record.devices:
        token = device.token
        if not (
            len(token) >= _MIN_PLAIN_TOKEN_CHARS
            and token.isascii()
            and (token.isalnum() or (token.isprintable() and " " not in token and token[0] not in "<{"))
            # APNs reaches iOS only: any other device that states it is broken.
            and (device.gateway is None or device.gateway is not _APNS)
        ):
            return None
    devices: tuple[tuple[int, Device], ...] = tuple(enumerate(record.devices))
    broken: tuple[tuple[int, str], ...] = ()
    if len(devices) > 1:
        devices, broken = _once_each(devices, [], set())
    return Recipient(user_id, devices, locale or None, timezone or None, record.attributes or {}, broken)


def user_id_in(record: object) -> str | None:
    """The user id of a record that may be broken; None if it has no valid one."""
    if type(record) is PlainRecord:
        return record.user_id
    if type(record) is not dict:
        return None
    try:
        return id_of((record if _COLUMNS.are_usual(record) else _COLUMNS.renamed(record)).get("user_id"))
    except BrokenRecord:
        return None


def id_of(user_id: object) -> str:
    """The text of a user id in a record. An integer is its decimal text.

    Raises:
        BrokenRecord: it is missing, too long, or no user id.
    """
    if type(user_id) is str:
        if not user_id:
            raise BrokenRecord("user_id: empty")
        try:
            if len(user_id.encode()) > MAX_USER_ID_BYTES:
                raise BrokenRecord(f"user_id: over {MAX_USER_ID_BYTES} bytes")
        except UnicodeEncodeError:
            raise BrokenRecord("user_id: not encodable as UTF-8") from None
        return user_id
    if type(user_id) is int:
        if not -_TOO_LARGE < user_id < _TOO_LARGE:
            raise BrokenRecord("user_id: too long")
        return str(user_id)
    if isinstance(user_id, Decimal | float):
        return str(integer_of(user_id))
    raise BrokenRecord("user_id: missing" if user_id is None else "user_id: not a string or integer")


def _text_in(value: object, field: str) -> str | None:
    if type(value) is not str:
        raise BrokenRecord(f"{field}: not a string")
    if not value.isascii() and not is_encodable(value):
        raise BrokenRecord(f"{field}: not encodable as UTF-8")
    return value or None


def _devices_of(record: dict[str, Any]) -> tuple[tuple[tuple[int, Device], ...], tuple[tuple[int, str], ...]]:
    """Valid and broken devices. A flat record has one device, with index 0.

    Raises:
        BrokenRecord: there is no list of devices, or the flat record's device is broken.
    """
    listed = record.get("devices")
    if type(listed) is str:  # a column of JSON as text
        listed = list_in(listed, "devices")
    if listed is None:
        return ((0, _plain_device(record)),), ()
    if record.get("token") is not None:
        raise BrokenRecord("token: given both in the record and in devices")
    if type(listed) is not list:
        raise BrokenRecord("devices: not a list")
    if not listed:
        raise BrokenRecord("devices: empty")
    working, broken = [], []
    for n, item in enumerate(listed):
        try:
            # Checked here, so that an ordinary device takes one call. With two members both must be token and platform,
            # or `_plain_device` does not find one of them.
            is_plain = type(item) is dict and (len(item) == 2 or _is_plain_device(item))
            working.append((n, _plain_device(item) if is_plain else _device_of(item)))
        except BrokenRecord as error:
            broken.append((n, str(error)))
    # Look for repeated tokens. Two devices mostly have tokens of different lengths, which is quick to see.
    if len(working) > 1 and (len(working) > 2 or len(working[0][1].token) == len(working[1][1].token)):
        return _once_each(working, broken, set())
    return tuple(working), tuple(broken)


def _attributes_in(value: object) -> dict[str, Any]:
    """The attributes in a column of text. Raises BrokenRecord for anything but JSON."""
    if type(value) is not str:
        raise BrokenRecord("attributes: not an object")
    return object_in(value, "attributes") or {}


def without_repeats(recipient: Recipient, seen: set[str]) -> Recipient:
    """The same recipient without the tokens in `seen`, which become broken devices. The others are added to `seen`."""
    devices, broken = _once_each(recipient.devices, list(recipient.broken_devices), seen)
    return msgspec.structs.replace(recipient, devices=devices, broken_devices=broken)


def _once_each(
    working: Iterable[tuple[int, Device]], broken: list[tuple[int, str]], seen: set[str]
) -> tuple[tuple[tuple[int, Device], ...], tuple[tuple[int, str], ...]]:
    """Devices without repeated tokens. A token that is given twice is one phone: only its first device is sent to."""
    kept = []
    for n, device in working:
        # Hexadecimal digits are the same in either case.
        token = device.token.lower() if device.carrier is Gateway.APNS else device.token
        if token in seen:
            broken.append((n, REPEATED))
        else:
            seen.add(token)
            kept.append((n, device))
    broken.sort()
    return tuple(kept), tuple(broken)


_APNS = Gateway.APNS
_PLATFORMS = {platform.value: platform for platform in Platform}
_GATEWAYS: dict[object, Gateway | None] = {gateway.value: gateway for gateway in Gateway} | {None: None}
_ENVIRONMENTS = {environment.value: environment for environment in Environment} | {None: Environment.PRODUCTION}


def _device_of(item: object) -> Device:
    """One device of a list."""
    if type(item) is not dict:
        item = _device_in(item)
    if not _DEVICE_COLUMNS.are_usual(item):
        item = _DEVICE_COLUMNS.renamed(item)
    return _plain_device(item)


def _plain_device(item: dict[str, Any]) -> Device:
    """The device of a dict with its fields. Raises BrokenRecord.

    One function without helpers for the ordinary device, because it runs for every device of an audience.
    """
    token = item.get("token")
    if type(token) is not str:
        if not _DEVICE_COLUMNS.are_usual(item):
            return _plain_device(_DEVICE_COLUMNS.renamed(item))
        raise BrokenRecord("token: missing" if token is None else "token: not a string")
    if not (
        _MIN_PLAIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS
        and token.isascii()
        and (token.isalnum() or (token.isprintable() and " " not in token and token[0] not in "<{"))
    ):
        token = _token_in(token, item)
    try:
        platform, gateway = _PLATFORMS[item["platform"]], _GATEWAYS[item.get("gateway")]
        environment = _ENVIRONMENTS[item.get("environment")]
    except (KeyError, TypeError):
        if not _DEVICE_COLUMNS.are_usual(item):
            return _plain_device(_DEVICE_COLUMNS.renamed(item))
        platform, gateway, environment = _in_any_case(item)
    if gateway is _APNS and platform is not Platform.IOS:
        raise BrokenRecord("gateway: apns reaches ios only")
    return Device(platform, token, gateway, environment)


def _token_in(text: str, item: dict[str, Any]) -> str:
    """The token in a text that does not look like a plain one."""
    if len(text) > MAX_TOKEN_CHARS:
        raise BrokenRecord(f"token: over {MAX_TOKEN_CHARS} characters")
    is_hex = normalised(item.get("platform")) == Platform.IOS and normalised(item.get("gateway")) != Gateway.FCM
    return token_of(text, is_hex=is_hex)


def _device_in(item: object) -> dict[str, Any]:
    """A device that is JSON text within the list."""
    if type(item) is str and item.lstrip().startswith("{"):
        found = object_in(item, "device")
        if found is not None:
            return found
    raise BrokenRecord("device: not an object")


def _in_any_case(item: dict[str, Any]) -> tuple[Platform, Gateway | None, Environment]:
    """Platform, gateway and environment in any case: `iOS`, `ANDROID`."""
    try:
        return (
            _PLATFORMS[normalised(item["platform"])],  # type: ignore[index]
            _GATEWAYS[normalised(item.get("gateway"))],
            _ENVIRONMENTS[normalised(item.get("environment"))],  # type: ignore[index]
        )
    except (KeyError, TypeError):
        raise BrokenRecord(_unknown_value_in(item)) from None


def _unknown_value_in(item: dict[str, Any]) -> str:
    """The reason for the first of these fields whose value is not known."""
    if item.get("platform") is None:
        return "platform: missing"
    tables: dict[str, Any] = {"platform": _PLATFORMS, "gateway": _GATEWAYS, "environment": _ENVIRONMENTS}
    for field, table in tables.items():
        value = normalised(item.get(field))
        if not isinstance(value, str | None) or value not in table:
            return f"{field}: not one of {', '.join(known for known in table if known)}"
    return "device: not readable"
