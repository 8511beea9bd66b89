"""FCM's payload: every field in its place, texts put in per device, additions last."""

import subprocess
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.gateway.fcm.additions import addition_faults
from notifier.gateway.fcm.message import Prepared, analytics_label, path
from notifier.gateway.payload import Label
from notifier.model.campaign import Message
from sandbox.gateways import fcm_message as standin
from tests.unit.gateway_samples import EVERYTHING, LABEL, message

NOW_S = 1_800_000_000.7


def built(message_: Message, slots: tuple[str, ...] = (), texts: tuple[str, ...] = (), token: str = "t") -> Any:
    """The message of a request; the stand-in, as strict as FCM, has looked at it."""
    body = Prepared(message_, slots, LABEL).body(token, texts, NOW_S)
    standin.decode(body)
    return msgspec.json.decode(body)["message"]


def test_each_push_has_its_own_token_and_time() -> None:
    """Whatever was asked before: the token is this device's, and the expiry counts from this request."""
    prepared = Prepared(message(title="x", ttl_s=60), (), LABEL)
    asked = [("t", NOW_S), ('"é\\', NOW_S), ("t", NOW_S + 9), ("u", NOW_S)]
    bodies = [msgspec.json.decode(prepared.body(token, (), now_s))["message"] for token, now_s in asked]
    assert [(one["token"], one["apns"]["headers"]["apns-expiration"]) for one in bodies] == [
        ("t", "1800000060"),
        ('"é\\', "1800000060"),
        ("t", "1800000069"),
        ("u", "1800000060"),
    ]


def test_every_field_has_its_place() -> None:
    """The whole of it, for Android, iPhones with FCM tokens, and browsers."""
    assert built(message(**EVERYTHING)) == {
        "token": "t",
        "notification": {"title": "Who joined?", "body": "3 people", "image": "https://cdn.example.com/a.png"},
        "data": {
            "screen": "people",
            "deep_link": "app://people",
            "notifier_run": "run1",
            "notifier_campaign": "day-2",
            "notifier_arm": "question",
        },
        "android": {
            "priority": "HIGH",
            "ttl": "86400s",
            "collapse_key": "day-2",
            "notification": {"tag": "day-2", "sound": "default", "notification_count": 1},
        },
        "apns": {
            "headers": {
                "apns-priority": "10",
                "apns-push-type": "alert",
                "apns-collapse-id": "day-2",
                "apns-expiration": "1800086400",
            },
            "payload": {"aps": {"sound": "default", "badge": 1, "mutable-content": 1}},
            "fcm_options": {"image": "https://cdn.example.com/a.png"},
        },
        "webpush": {
            "headers": {"Urgency": "high", "Topic": "w3jWNKCyMZY1tMAD7SXt-XWolw5ViEER", "TTL": "86400"},
            "notification": {"tag": "day-2"},
        },
        "fcm_options": {"analytics_label": "day-2.question"},
    }


def test_texts_are_put_in_for_each_device() -> None:
    """Whatever is in them, in every place where the field may be."""
    filled = built(
        message(
            title="Hi {{ n }}", deep_link="https://x/{{ n }}", image_url="https://i/{{ n }}", data={"k": "{{ n }}"}
        ),
        ("title", "image_url", "deep_link", "data.k"),
        ('A"\\\n', "https://i/1", "https://x/1", "é"),
        token='to"ken',
    )
    assert filled["token"] == 'to"ken'
    assert filled["notification"] == {"title": 'A"\\\n', "image": "https://i/1"}
    assert filled["apns"]["fcm_options"] == {"image": "https://i/1"}
    assert filled["webpush"]["fcm_options"] == {"link": "https://x/1"}
    assert (filled["data"]["k"], filled["data"]["deep_link"]) == ("é", "https://x/1")


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), st.text('ab:-"\\', min_size=1)
)
def test_putting_in_is_the_same_as_building(texts: list[str], token: str) -> None:
    """A spliced payload equals the payload of a message that says so from the start."""
    spliced = msgspec.json.decode(
        Prepared(message(title="{{ a }}", data={"k": "{{ b }}"}), ("title", "data.k"), LABEL).body(token, texts, NOW_S)
    )
    title, value = texts
    said = spliced["message"]
    assert (said["token"], said["notification"]["title"], said["data"]["k"]) == (token, title, value)


def test_a_background_message_shows_nothing() -> None:
    """Data only; the push type for Apple says so."""
    said = built(message(background=True, data={"k": "v"}))
    assert "notification" not in said
    assert "notification" not in said["android"]
    assert said["android"]["priority"] == "NORMAL"
    assert said["apns"]["payload"] == {"aps": {"content-available": 1}}
    assert said["apns"]["headers"]["apns-priority"] == "5"
    assert said["apns"]["headers"]["apns-push-type"] == "background"
    assert "notification" not in said["webpush"]


def test_additions_are_merged_last() -> None:
    """Objects merge, other values are replaced, numbers stay numbers; Apple's reach iPhones with FCM tokens too."""
    said = built(
        message(
            title="x",
            sound="default",
            apns={"thread-id": "t", "aps": {"relevance-score": Decimal("0.5")}, "own": 1},
            fcm={"android": {"notification": {"channel_id": "social", "sound": "ping"}, "direct_boot_ok": True}},
        )
    )
    assert said["android"]["notification"] == {"tag": "day-2:question", "sound": "ping", "channel_id": "social"}
    assert said["android"]["direct_boot_ok"] is True
    assert said["apns"]["payload"] == {"aps": {"sound": "default", "thread-id": "t", "relevance-score": 0.5}, "own": 1}


def test_an_alert_added_for_apple_keeps_title_and_body() -> None:
    """FCM would take an alert as the whole of it."""
    said = built(message(title="x", body="y", apns={"aps": {"alert": {"subtitle": "z"}}}))
    assert said["apns"]["payload"]["aps"]["alert"] == {"title": "x", "body": "y", "subtitle": "z"}


def test_an_addition_cannot_redirect_a_push_or_rename_it() -> None:
    """Whom it is for, and whose it is, are not the message's to say."""
    odd = message(title="x", fcm={"token": "evil", "topic": "all", "data": {"notifier_arm": "other"}, "android": "no"})
    said = built(odd)
    assert (said["token"], said["data"]["notifier_arm"], "topic" in said) == ("t", "question", False)
    places = [fault.field for fault in addition_faults(odd, "m")]
    assert places == ["m.fcm.token", "m.fcm.topic", "m.fcm.data.notifier_arm", "m.fcm.android"]


def test_a_rehearsal_validates_only() -> None:
    """FCM checks and does not send."""
    for rehearse in (False, True):
        body = Prepared(message(title="x"), (), LABEL, rehearse=rehearse).body("t", (), NOW_S)
        assert msgspec.json.decode(body)["validate_only"] is rehearse


def test_now_or_never() -> None:
    """A time to live of 0 is 0 everywhere; without one nothing is said and the gateways' defaults hold."""
    said = built(message(title="x", ttl_s=0))
    assert said["android"]["ttl"] == "0s"
    assert said["apns"]["headers"]["apns-expiration"] == "0"
    assert said["webpush"]["headers"]["TTL"] == "0"
    unsaid = built(message(title="x"))
    assert "ttl" not in unsaid["android"]
    assert "apns-expiration" not in unsaid["apns"]["headers"]


@pytest.mark.parametrize("campaign_id", ["ok", "with space", "größe", "x" * 128, "a" * 44, 'a"b', "\u2028"])
def test_names_made_of_the_campaign_are_what_fcm_takes(campaign_id: str) -> None:
    """An analytics label of 50 characters and a collapse id of 64 bytes, still unique when cut."""
    label = Label("r", campaign_id, "question")
    body = Prepared(message(title="x"), (), label).body("t", (), NOW_S)
    standin.decode(body)
    headers = msgspec.json.decode(body)["message"]["apns"]["headers"]
    assert len(headers["apns-collapse-id"].encode()) <= 64
    assert headers["apns-collapse-id"].isascii()
    assert analytics_label(label) != analytics_label(Label("r", campaign_id + "!", "question"))


def test_only_notification_and_data_count_for_the_size() -> None:
    """4,096 bytes are not refused for the options and the token beside them; the stand-in agrees."""
    prepared = Prepared(message(title="x", body="{{ b }}"), ("body",), LABEL)
    verdicts = {}
    for length in (3000, 3900, 4200):
        texts = ("x" * length,)
        body = prepared.body("t" * 163, texts, NOW_S)
        verdicts[length] = prepared.is_too_large(body, texts)
        if not verdicts[length]:
            standin.decode(body)
    assert verdicts == {3000: False, 3900: False, 4200: True}


def test_headers_and_path() -> None:
    """Constant but for the credentials."""
    headers = Prepared(message(title="x"), (), LABEL).headers("id", "authorization: Bearer x", NOW_S)
    assert headers == ["authorization: Bearer x", "content-type: application/json"]
    assert path("my-project") == "/v1/projects/my-project/messages:send"


def test_pyfcm_is_not_imported_before_it_is_needed() -> None:
    """It costs 0.3 s at a cold start."""
    code = (
        "import sys, notifier.gateway.fcm.message, notifier.gateway.fcm.auth;"
        "print(sorted({'pyfcm', 'requests', 'google.auth'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
