"""What a campaign may add to Apple's payload: the keys of `aps`, and the app's own beside them."""

from collections.abc import Iterator, Mapping

from notifier.gateway.apple_payload import payload_faults
from notifier.model.campaign import Message
from notifier.model.validation import Fault

_FCM_FORM = "this is the form of FCM's apns; here the payload itself is written"


def addition_faults(message: Message, field: str) -> Iterator[Fault]:
    """The faults of the message's additions for Apple; `field` is the message's own."""
    additions = message.apns or {}
    foreign = dict(_foreign(additions))
    for name, mend in foreign.items():
        yield Fault(f"{field}.apns.{name}", _FCM_FORM, mend)
    own = {name: value for name, value in additions.items() if name not in foreign}
    yield from payload_faults(own, f"{field}.apns", is_short=True)
    if "aps" in (message.data or {}):
        yield Fault(f"{field}.data.aps", "this key is Apple's own", "put it under apns")


def _foreign(additions: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Members of FCM's `apns`, which Apple would pass to the app as its own data; each with what to do."""
    for name, value in additions.items():
        inner = value if isinstance(value, Mapping) else {}
        if name == "payload" and "aps" in inner:
            yield name, "write what is in it directly under apns"
        elif name == "headers" and any(str(key).lower().startswith("apns-") for key in inner):
            yield name, "use ttl_s, priority and collapse_id of the message"
        elif name in ("fcm_options", "fcmOptions") and ("analytics_label" in inner or "image" in inner):
            yield name, "write it under fcm.apns"
        elif name in ("live_activity_token", "liveActivityToken"):
            yield name, "leave it out: it is the token of one phone's Live Activity"
