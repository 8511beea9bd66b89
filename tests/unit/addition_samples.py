"""Messages with additions, as people write them: what is wrong with each, and whether FCM's stand-in says so too."""

from typing import Any

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """A message that must be refused.

    `place` is where, within the message; `mend` is part of what to do. `alone` says why FCM's stand-in takes it: empty
    where it refuses it as well.
    """

    message: dict[str, Any]
    place: str
    mend: str = ""
    alone: str = ""


IGNORED = "Apple ignores what it does not know, and says nothing"
TAKEN_OUT = "it is no part of the message and is not sent"
UNKNOWN = "nobody has documented whether FCM looks at it"


def _android(**fields: Any) -> dict[str, Any]:
    return {"title": "x", "fcm": {"android": fields}}


def _shown(**fields: Any) -> dict[str, Any]:
    return _android(notification=fields)


def _apns(**fields: Any) -> dict[str, Any]:
    return {"title": "x", "fcm": {"apns": fields}}


def _apple(**fields: Any) -> dict[str, Any]:
    return {"title": "x", "apns": fields}


_LIGHT = {"color": {"red": 1}, "light_on_duration": "1s", "light_off_duration": "0.5s"}

WRONG = {
    "ttl as a number": Sample(_android(ttl=86400), "fcm.android.ttl", 'write "86400s"'),
    "ttl without its unit": Sample(_android(ttl="86400"), "fcm.android.ttl", 'write "86400s"'),
    "ttl in hours": Sample(_android(ttl="24h"), "fcm.android.ttl", 'write "86400s"'),
    "ttl over four weeks": Sample(_android(ttl="2419201s"), "fcm.android.ttl", 'at most "2419200s"'),
    "ttl one level up": Sample({"title": "x", "fcm": {"ttl": "5s"}}, "fcm.ttl", "under android", TAKEN_OUT),
    "a number in data": Sample({"title": "x", "fcm": {"data": {"n": 7}}}, "fcm.data.n", 'write "7"'),
    "true in data": Sample({"title": "x", "fcm": {"data": {"n": True}}}, "fcm.data.n", 'write "true"'),
    "an object in data": Sample({"title": "x", "fcm": {"data": {"n": {}}}}, "fcm.data.n", "write a text"),
    "null in data": Sample({"title": "x", "fcm": {"data": {"n": None}}}, "fcm.data.n", "write a text"),
    "data that is a list": Sample({"title": "x", "fcm": {"data": ["n"]}}, "fcm.data", "write an object", TAKEN_OUT),
    "from in data": Sample({"title": "x", "fcm": {"data": {"from": "me"}}}, "fcm.data.from", "rename it"),
    "google.x in data": Sample({"title": "x", "fcm": {"data": {"google.x": "1"}}}, "fcm.data.google.x", "rename it"),
    "gcm.x in data": Sample({"title": "x", "fcm": {"data": {"gcm.x": "1"}}}, "fcm.data.gcm.x", "rename it"),
    "message_type in data": Sample({"title": "x", "fcm": {"data": {"message_type": "1"}}}, "fcm.data.message_type"),
    "from in Android's data": Sample(_android(data={"from": "me"}), "fcm.android.data.from", "rename it"),
    "from in the web's data": Sample({"title": "x", "fcm": {"webpush": {"data": {"from": "a"}}}},
        "fcm.webpush.data.from"),
    "a misspelt field": Sample(_shown(chanel_id="a"), "fcm.android.notification.chanel_id", "write channel_id"),
    "a misspelt platform": Sample({"title": "x", "fcm": {"andriod": {}}}, "fcm.andriod", "write android", TAKEN_OUT),
    "channel_id one level up": Sample(_android(channel_id="a"), "fcm.android.channel_id", "under notification"),
    "a field twice": Sample(_shown(channelId="a", channel_id="b"), "fcm.android.notification.channel_id",
        alone=UNKNOWN),
    "a text for a flag": Sample(_shown(sticky="true"), "fcm.android.notification.sticky", "write true"),
    "a number for a flag": Sample(_android(direct_boot_ok=1), "fcm.android.direct_boot_ok", "write true"),
    "a text for a number": Sample(
        _shown(notification_count="7"), "fcm.android.notification.notification_count", "write 7"
    ),
    "a number too large": Sample(_shown(notification_count=2**31), "fcm.android.notification.notification_count"),
    "a number for a text": Sample(_shown(tag=5), "fcm.android.notification.tag", 'write "5"'),
    "a number for an object": Sample(_android(notification=5), "fcm.android.notification", "write an object"),
    "an unknown priority": Sample(_android(priority="urgent"), "fcm.android.priority", "one of HIGH, NORMAL"),
    "a priority in short": Sample(
        _shown(notification_priority="high"), "fcm.android.notification.notification_priority", 'write "PRIORITY_HIGH"'
    ),
    "a visibility": Sample(_shown(visibility="public"), "fcm.android.notification.visibility", 'write "PUBLIC"'),
    "a colour by name": Sample(_shown(color="red"), "fcm.android.notification.color"),
    "a time without offset": Sample(_shown(event_time="yesterday"), "fcm.android.notification.event_time", "Z"),
    "vibration in ms": Sample(
        _shown(vibrate_timings=[100]), "fcm.android.notification.vibrate_timings[0]", "s"
    ),
    "a light without colour": Sample(
        _shown(light_settings={k: v for k, v in _LIGHT.items() if k != "color"}),
        "fcm.android.notification.light_settings.color",
    ),
    "texts in a text": Sample(_shown(body_loc_args="a"), "fcm.android.notification.body_loc_args", "write a list"),
    "a label with a blank": Sample(
        {"title": "x", "fcm": {"fcm_options": {"analytics_label": "a b"}}}, "fcm.fcm_options.analytics_label"
    ),
    "a label too long": Sample(
        _android(fcm_options={"analytics_label": "a" * 51}), "fcm.android.fcm_options.analytics_label"
    ),
    "a link that is not https": Sample(
        {"title": "x", "fcm": {"webpush": {"fcm_options": {"link": "http://a.example"}}}},
        "fcm.webpush.fcm_options.link"
    ),
    "a header as a number": Sample(_apns(headers={"apns-priority": 5}), "fcm.apns.headers.apns-priority", 'write "5"'),
    "a priority Apple lacks": Sample(_apns(headers={"apns-priority": "7"}), "fcm.apns.headers.apns-priority"),
    "a collapse id too long": Sample(_apns(headers={"apns-collapse-id": "é" * 33}),
        "fcm.apns.headers.apns-collapse-id"),
    "a misspelt header": Sample(
        _apns(headers={"apns-priorty": "5"}), "fcm.apns.headers.apns-priorty", "write apns-priority", UNKNOWN
    ),
    "another push type": Sample(
        _apns(headers={"apns-push-type": "background"}), "fcm.apns.headers.apns-push-type", "background: true", UNKNOWN
    ),
    "urgent, in the background": Sample(
        {"background": True, "fcm": {"apns": {"headers": {"apns-priority": "10"}}}},
        "fcm.apns.headers.apns-priority",
        "leave it out",
        UNKNOWN,
    ),
    "a Live Activity's token": Sample(_apns(live_activity_token="ab"), "fcm.apns.live_activity_token", "leave it out"),
    "Apple's payload at FCM's place": Sample(_apns(aps={"badge": 1}), "fcm.apns.aps", "under payload"),
    "badge beside aps": Sample(_apns(payload={"badge": 1}), "fcm.apns.payload.badge", "under aps", IGNORED),
    "badge as a text, by FCM": Sample(_apns(payload={"aps": {"badge": "7"}}), "fcm.apns.payload.aps.badge", "write 7"),
    "badge as a text": Sample(_apple(aps={"badge": "7"}), "apns.aps.badge", "write 7"),
    "badge as a text, in short": Sample(_apple(badge="7"), "apns.badge", "write 7"),
    "an alert that is a number": Sample(_apple(aps={"alert": 5}), "apns.aps.alert", 'write "5"'),
    "aps that is no object": Sample(_apple(mine=1, aps={"sound": 5}), "apns.aps.sound", 'write "5"'),
    "a misspelt key of aps": Sample(_apple(aps={"thread_id": "a"}), "apns.aps.thread_id", "write thread-id", IGNORED),
    "a misspelt key beside aps": Sample(_apple(threadId="a"), "apns.threadId", "write thread-id", IGNORED),
    "a misspelt key of alert": Sample(
        _apple(aps={"alert": {"sub-title": "a"}}), "apns.aps.alert.sub-title", "write subtitle", IGNORED
    ),
    "an unknown level": Sample(
        _apple(**{"interruption-level": "urgent"}), "apns.interruption-level", "time-sensitive", IGNORED
    ),
    "a level with an underscore": Sample(
        _apple(aps={"interruption-level": "time_sensitive"}), "apns.aps.interruption-level",
        'write "time-sensitive"', IGNORED
    ),
    "a score over 1": Sample(_apple(aps={"relevance-score": 5}), "apns.aps.relevance-score", "from 0 to 1", IGNORED),
    "content-available as true": Sample(_apple(aps={"content-available": True}), "apns.aps.content-available",
        "write 1"),
    "a sound without name": Sample(_apple(aps={"sound": {"critical": 1}}), "apns.aps.sound.name", alone=IGNORED),
    "a Live Activity": Sample(_apple(aps={"content-state": {}}), "apns.aps.content-state", "leave it out", IGNORED),
    "FCM's form for Apple": Sample(
        _apple(payload={"aps": {"badge": 1}}), "apns.payload", "directly under apns", IGNORED
    ),
    "FCM's headers for Apple": Sample(_apple(headers={"apns-priority": "5"}), "apns.headers", "priority", IGNORED),
    "a Live Activity's token for Apple": Sample(_apple(live_activity_token="a"), "apns.live_activity_token",
        alone=IGNORED),
    "a target": Sample({"title": "x", "fcm": {"topic": "all"}}, "fcm.topic", "leave it out", TAKEN_OUT),
    "a placeholder in an addition": Sample(
        _shown(ticker="Hi {{ n }}"), "fcm.android.notification.ticker", "title, body", "it is a text like others"
    ),
    "a picture that is no address": Sample(
        {"title": "x", "image_url": "cat.png"}, "image_url", "https://", "it is a text like others"
    ),
    "a picture of a translation": Sample(
        {"title": "x", "translations": {"de": {"image_url": "cat.png"}}}, "translations.de.image_url",
        alone="not German"
    ),
    "data too large": Sample({"title": "x", "data": {"a": "b" * 4096}}, "", "shorten"),
    "a payload for Apple too large": Sample(_apple(own="b" * 4096), "", "shorten"),
    "a payload by FCM too large": Sample(_apns(payload={"own": "b" * 4096}), "", "shorten"),
    "data of the web too large": Sample({"title": "x", "fcm": {"webpush": {"data": {"a": "b" * 4096}}}}, "", "shorten"),
    "data of Android too large": Sample(_android(data={"a": "b" * 4096}), "", "shorten"),
    "a translation too large": Sample(
        {"title": "x", "translations": {"de": {"body": "b" * 4096}}}, "translations.de", "shorten", "not German"
    ),
}  # fmt: skip

RIGHT: dict[str, dict[str, Any]] = {
    "nothing": {"title": "x"},
    "in the background": {"background": True, "data": {"a": "b"}},
    "every duration": _android(ttl="3.5s", collapse_key="a", priority="high"),
    "in camelCase": _android(collapseKey="a", notification={"channelId": "b", "lightSettings": _LIGHT}),
    "all of Android": _shown(
        color="#1a2b3c", event_time="2026-11-21T20:00:00Z", notification_priority="PRIORITY_MAX", visibility="SECRET",
        proxy="DENY", notification_count=0, vibrate_timings=["0.1s", "2s"], light_settings=_LIGHT, sticky=False,
        body_loc_args=["a"], image="https://a.example/b.png",
    ),
    "headers": _apns(headers={"apns-priority": "5", "apns-collapse-id": "a" * 64, "apns-expiration": "0"}),
    "an iPhone's payload": _apns(payload={"own": [1], "aps": {"badge": 1}}, fcm_options={"analytics_label": "a.b~c"}),
    "only the app's own, by FCM": _apns(payload={"own": [1]}),
    "only the app's own": _apple(own={"event": 1}, event="signup", timestamp=5),
    "all of aps": _apple(
        aps={
            "alert": {"subtitle": "a", "loc-args": ["b"]}, "badge": 0, "sound": {"name": "a", "critical": 1,
            "volume": 0.5},
            "thread-id": "a", "category": "b", "mutable-content": 1, "relevance-score": 0.5, "filter-criteria": "c",
            "interruption-level": "time-sensitive", "target-content-id": "d", "content-available": 1,
        }
    ),
    "aps in short": _apple(**{"thread-id": "a", "sound": "b.caf", "alert": "c"}),
    "a browser": {"title": "x", "fcm": {"webpush": {"headers": {"TTL": "5", "Urgency": "low"},
    "notification": {"a": [1]}}}},
    "a picture by placeholder": {"title": "x", "image_url": "{{ picture }}"},
    "a long text by placeholder": {"title": "x", "body": "{% if a %}" + "b" * 5000 + "{% endif %}"},
}  # fmt: skip
