"""What a campaign may add to FCM's message: every field that Google documents, with its type and its range.

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages, and the discovery document of the API
(`fcm:v1`). FCM refuses a whole message for one wrong field, and it would refuse it for every device.
"""

import re
from collections.abc import Iterator, Mapping

from notifier.gateway.apple_payload import APS_KEYS, payload_faults
from notifier.gateway.field_checks import (
    MAX_INT32,
    Check,
    Members,
    an_object,
    duration,
    flag,
    list_of,
    matching,
    moment,
    number,
    one_of,
    refused,
    text,
    texts_by_name,
    web_address,
)
from notifier.model.campaign import FORBIDDEN_DATA_KEY, MAX_TTL_S, Message
from notifier.model.validation import Fault, printable_name

MAX_COLLAPSE_ID_BYTES = 64
ANALYTICS_LABEL = r"[a-zA-Z0-9\-_.~%]{1,50}"
_DATA = texts_by_name(FORBIDDEN_DATA_KEY)
_LABEL = matching(ANALYTICS_LABEL, "a label: 1 to 50 letters of a to z, A to Z, 0 to 9, - _ . ~ %")


def _members(known: Mapping[str, Check], *required: str) -> Members:
    return Members(known, required=required, is_protobuf=True)


def _options(**more: Check) -> Members:
    return _members({"analytics_label": _LABEL, **more})


_FRACTION = number(0, 1)
_LIGHT = _members(
    {
        "color": _members(dict.fromkeys(("red", "green", "blue", "alpha"), _FRACTION)),
        "light_on_duration": duration(),
        "light_off_duration": duration(),
    },
    "color",
    "light_on_duration",
    "light_off_duration",
)
_ANDROID_NOTIFICATION = _members(
    {
        **dict.fromkeys(
            (
                "title", "body", "icon", "sound", "tag", "click_action", "body_loc_key", "title_loc_key",
                "channel_id", "ticker",
            ),
            text,
        ),
        **dict.fromkeys(("body_loc_args", "title_loc_args"), list_of(text)),
        **dict.fromkeys(
            (
                "sticky", "local_only", "default_sound", "default_vibrate_timings", "default_light_settings",
                "bypass_proxy_notification",
            ),
            flag,
        ),
        "color": matching("#[0-9a-fA-F]{6}", "a colour such as #1a2b3c"),
        "image": web_address,
        "event_time": moment,
        "notification_priority": one_of(
            "PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"
        ),
        "visibility": one_of("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
        "proxy": one_of("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
        "notification_count": number(0, MAX_INT32, whole=True),
        "vibrate_timings": list_of(duration()),
        "light_settings": _LIGHT,
    }
)  # fmt: skip
_ANDROID = _members(
    {
        "collapse_key": text,
        "priority": one_of("HIGH", "NORMAL", "high", "normal"),
        "ttl": duration(MAX_TTL_S),
        "restricted_package_name": text,
        "data": _DATA,
        "notification": _ANDROID_NOTIFICATION,
        "fcm_options": _options(),
        **dict.fromkeys(("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"), flag),
    }
)


def _collapse_id(value: object, field: str) -> Iterator[Fault]:
    yield from text(value, field)
    if isinstance(value, str) and not 1 <= len(value.encode("utf-8", "replace")) <= MAX_COLLAPSE_ID_BYTES:
        yield Fault(field, f"not 1 to {MAX_COLLAPSE_ID_BYTES} bytes long", "shorten it")


def _apple_payload(value: object, field: str) -> Iterator[Fault]:
    if isinstance(value, Mapping):
        yield from payload_faults(value, field, is_short=False)
    else:
        yield from an_object(value, field)


_APNS = _members(
    {
        # Other names of Apple's are the credentials', or belong to one push.
        "headers": Members(
            {
                "apns-priority": one_of("10", "5", "1"),
                "apns-push-type": one_of("alert", "background"),
                "apns-expiration": matching("[0-9]{1,12}", "a time in seconds since 1970"),
                "apns-topic": text,
                "apns-collapse-id": _collapse_id,
            }
        ),
        "payload": _apple_payload,
        "fcm_options": _options(image=web_address),
        "live_activity_token": refused("this is the token of one phone's Live Activity", "leave it out"),
    }
)
_ANY_TEXTS = texts_by_name(re.compile("(?!)"))
_WEB_HEADERS = {
    "ttl": matching("[0-9]{1,9}", "a number of seconds"),
    "urgency": one_of("very-low", "low", "normal", "high"),
    "topic": matching("[A-Za-z0-9_-]{1,32}", "a topic: 1 to 32 letters of A to Z, a to z, 0 to 9, - _"),
}
"""Headers of Web Push (https://www.rfc-editor.org/rfc/rfc8030#section-5). Others are left to the push service."""


def _web_headers(value: object, field: str) -> Iterator[Fault]:
    yield from _ANY_TEXTS(value, field)
    for name, one in value.items() if isinstance(value, Mapping) else ():
        if isinstance(one, str) and (check := _WEB_HEADERS.get(str(name).lower())):
            yield from check(one, f"{field}.{printable_name(name)}")


_WEBPUSH = _members(
    {
        "headers": _web_headers,
        "data": _DATA,
        "notification": an_object,
        "fcm_options": _options(link=matching("https://.+", "an https address")),
    }
)
_TARGET = refused("a campaign may not set whom a push is for", "leave it out")

MESSAGE = _members(
    {
        "data": _DATA,
        "notification": _members({"title": text, "body": text, "image": web_address}),
        "android": _ANDROID,
        "apns": _APNS,
        "webpush": _WEBPUSH,
        "fcm_options": _options(),
    }
)
"""What an addition may set. Never whom the push is for."""
_WHOLE = _members({**MESSAGE.known, **dict.fromkeys(("name", "token", "topic", "condition", "fid"), _TARGET)})


def addition_faults(message: Message, field: str) -> Iterator[Fault]:
    """The faults of the message's additions for Google; `field` is the message's own."""
    if message.fcm:
        hints = tuple(_hints(message.fcm, f"{field}.fcm"))
        hinted = {fault.field for fault in hints}
        yield from hints
        yield from (fault for fault in _WHOLE(message.fcm, f"{field}.fcm") if fault.field not in hinted)


def _hints(additions: Mapping[str, object], field: str) -> Iterator[Fault]:
    """Apple's payload where FCM wants it one level deeper: a better message than an unknown name."""
    apns = additions.get("apns")
    for name in apns if isinstance(apns, Mapping) else ():
        if name == "aps" or name in APS_KEYS:
            yield Fault(f"{field}.apns.{name}", "Apple's payload has a place of its own", "write it under payload")


def header_faults(message: Message, field: str) -> Iterator[Fault]:
    """Headers for Apple that are valid, and do not fit the message as it will be sent."""
    apns = MESSAGE.named(message.fcm or {}).get("apns")
    headers = apns.get("headers") if isinstance(apns, Mapping) else None
    if not isinstance(headers, Mapping):
        return
    usual = "background" if message.background is True else "alert"
    if (given := headers.get("apns-push-type", usual)) != usual:
        mend = "set background: true in the message" if given == "background" else "leave it out"
        yield Fault(f"{field}.fcm.apns.headers.apns-push-type", f"the message is of the type {usual}", mend)
    elif usual == "background" and headers.get("apns-priority", "5") != "5":
        problem = "Apple takes a background push with priority 5 only"
        yield Fault(f"{field}.fcm.apns.headers.apns-priority", problem, "leave it out")
