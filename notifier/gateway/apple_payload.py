"""The fields of Apple's `aps` and their checks; the same for pushes by APNs and by FCM.

Source: https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification. What belongs to a
Live Activity is refused: its tokens are not a device's, and the notifier sends alerts and background pushes.
"""

import re
from collections.abc import Iterator, Mapping

from notifier.gateway.field_checks import (
    Members,
    either,
    list_of,
    number,
    one_of,
    refused,
    text,
)
from notifier.model.validation import Fault, printable_name

LIVE_ACTIVITY = (
    "timestamp", "event", "content-state", "stale-date", "dismissal-date", "attributes-type", "attributes",
    "input-push-channel", "input-push-token",
)  # fmt: skip
_LIVE = refused("this belongs to a Live Activity, which no campaign can send", "leave it out")
_ZERO_OR_ONE = number(0, 1, whole=True)
_ALERT = Members(
    {
        **dict.fromkeys(
            (
                "title", "subtitle", "body", "launch-image", "title-loc-key", "subtitle-loc-key", "loc-key",
                "action", "action-loc-key", "summary-arg",
            ),
            text,
        ),
        **dict.fromkeys(("title-loc-args", "subtitle-loc-args", "loc-args"), list_of(text)),
        "summary-arg-count": number(0, whole=True),
    }
)  # fmt: skip
_SOUND = Members({"name": text, "critical": _ZERO_OR_ONE, "volume": number(0, 1)}, required=("name",))

APS = Members(
    {
        "alert": either((str, text), (Mapping, _ALERT)),
        "badge": number(0, 2**31 - 1, whole=True),
        "sound": either((str, text), (Mapping, _SOUND)),
        "thread-id": text,
        "category": text,
        "content-available": _ZERO_OR_ONE,
        "mutable-content": _ZERO_OR_ONE,
        "target-content-id": text,
        "interruption-level": one_of("passive", "active", "time-sensitive", "critical"),
        "relevance-score": number(0, 1),
        "filter-criteria": text,
        "url-args": list_of(text),
        **dict.fromkeys(LIVE_ACTIVITY, _LIVE),
    }
)
"""The whole of `aps`."""

APS_KEYS = frozenset(APS.known) - frozenset(LIVE_ACTIVITY)
"""Apple's own keys inside `aps`: an addition by such a name belongs there, also when written beside it.

Those of a Live Activity are not among them: beside `aps` an `event` is the app's own.
"""
_HYPHENATED = {name.replace("-", ""): name for name in APS_KEYS if "-" in name}
_MISPLACED = frozenset({"alert", "badge", "sound", *_HYPHENATED.values()})
"""Names that can only be a mistake beside `aps`. Others, such as `category`, may be the app's own."""


def payload_faults(additions: Mapping[str, object], field: str, *, is_short: bool) -> Iterator[Fault]:
    """The faults of an Apple payload's members: `aps`, and the app's own beside it.

    Args:
        is_short: keys of `aps` may be written beside it, and are put into it.
    """
    for name, value in additions.items():
        at = f"{field}.{printable_name(name)}"
        if name == "aps":
            yield from APS(value, at)
        elif name in APS_KEYS and is_short:
            yield from APS.known[name](value, at)
        elif name in _MISPLACED and not is_short:
            yield Fault(at, "Apple would take it for the app's own", "write it under aps")
        elif (meant := _HYPHENATED.get(re.sub(r"[-_\s]", "", name).lower())) and meant != name:
            yield Fault(at, "Apple would take it for the app's own", f"write {meant}")
