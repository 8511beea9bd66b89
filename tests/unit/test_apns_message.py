"""APNs' payload and headers: every field in its place, texts put in per device, additions last."""

import subprocess
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.gateway.apns.additions import addition_faults
from notifier.gateway.apns.message import Prepared, path
from notifier.gateway.payload import Label
from notifier.model.campaign import Message
from tests.unit.gateway_samples import EVERYTHING, LABEL, message

NOW_S = 1_800_000_000.7
PUSH_ID = "0f6f3d5c-5b9d-5a3e-9c1b-7d2f4e608a0e"


def prepared(message_: Message, slots: tuple[str, ...] = (), label: Label = LABEL) -> Prepared:
    return Prepared(message_, slots, label, topic="com.example.app")


def built(message_: Message, slots: tuple[str, ...] = (), texts: tuple[str, ...] = ()) -> Any:
    """The payload."""
    return msgspec.json.decode(prepared(message_, slots).body("t", texts, NOW_S))


def headers_of(message_: Message, label: Label = LABEL) -> dict[str, str]:
    """The headers by name."""
    lines = prepared(message_, (), label).headers(PUSH_ID, "authorization: bearer x", NOW_S)
    return dict(line.split(": ", 1) for line in lines)


def test_every_field_has_its_place() -> None:
    """What Apple shows inside `aps`, what the app reads beside it, under the names that FCM's data has."""
    assert built(message(**EVERYTHING)) == {
        "aps": {
            "alert": {"title": "Who joined?", "body": "3 people"},
            "sound": "default",
            "badge": 1,
            "mutable-content": 1,
        },
        "screen": "people",
        "image_url": "https://cdn.example.com/a.png",
        "deep_link": "app://people",
        "notifier_run": "run1",
        "notifier_campaign": "day-2",
        "notifier_arm": "question",
    }


def test_headers() -> None:
    """All that Apple asks for; the expiry counts from the sending."""
    assert headers_of(message(**EVERYTHING)) == {
        "authorization": "bearer x",
        "apns-id": PUSH_ID,
        "apns-topic": "com.example.app",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": "day-2",
        "apns-expiration": "1800086400",
        "content-type": "application/json",
    }


def test_texts_are_put_in_for_each_device() -> None:
    """Whatever is in them."""
    payload = built(
        message(title="Hi {{ n }}", image_url="https://i/{{ n }}", data={"k": "{{ n }}"}),
        ("title", "image_url", "data.k"),
        ('A"\\\n', "https://i/1", "é"),
    )
    assert payload["aps"]["alert"] == {"title": 'A"\\\n'}
    assert (payload["image_url"], payload["k"], payload["aps"]["mutable-content"]) == ("https://i/1", "é", 1)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2))
def test_putting_in_is_the_same_as_building(texts: list[str]) -> None:
    """A spliced payload says exactly what was put in, whatever it is."""
    payload = built(message(title="{{ a }}", data={"k": "{{ b }}"}), ("title", "data.k"), (texts[0], texts[1]))
    assert [payload["aps"]["alert"]["title"], payload["k"]] == texts


def test_a_background_message_shows_nothing() -> None:
    """Apple demands priority 5 for it, whatever the message says."""
    background = message(background=True, data={"k": "v"}, priority="high")
    assert built(background)["aps"] == {"content-available": 1}
    headers = headers_of(background)
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("background", "5")


def test_additions_are_merged_last() -> None:
    """Apple's own keys go into `aps` wherever they are written; objects merge, numbers stay numbers."""
    payload = built(
        message(
            title="x",
            sound="default",
            apns={
                "thread-id": "t",
                "aps": {
                    "alert": {"subtitle": "z"},
                    "relevance-score": Decimal("0.5"),
                    "sound": {"name": "a", "critical": 1},
                },
                "own": {"a": [Decimal(1)]},
            },
        )
    )
    assert payload["aps"] == {
        "alert": {"title": "x", "subtitle": "z"},
        "sound": {"name": "a", "critical": 1},
        "thread-id": "t",
        "relevance-score": 0.5,
    }
    assert payload["own"] == {"a": [1]}


def test_an_addition_cannot_rename_a_push() -> None:
    """Whose push it is is not the message's to say; nor can data be taken for Apple's part."""
    odd = message(title="x", data={"aps": "boo"}, apns={"notifier_arm": "other"})
    payload = built(odd)
    assert payload["notifier_arm"] == "question"
    assert payload["aps"] == {"alert": {"title": "x"}}
    assert [fault.field for fault in addition_faults(odd, "m")] == ["m.data.aps"]


def test_now_or_never() -> None:
    """A time to live of 0 is 0; without one the header is left out, and Apple decides."""
    assert headers_of(message(title="x", ttl_s=0))["apns-expiration"] == "0"
    one = prepared(message(title="x", ttl_s=60))
    ends = [one.headers("id", "", now_s, limit_s)[-1] for now_s, limit_s in ((10.5, None), (10.5, 5), (11.0, None))]
    assert ends == ["apns-expiration: 70", "apns-expiration: 15", "apns-expiration: 71"]
    assert "apns-expiration" not in headers_of(message(title="x"))


@pytest.mark.parametrize("campaign_id", ["ok", "with space", "größe", "x" * 128, "y" * 60, "\u2028", "a: b"])
def test_the_collapse_id_is_a_header(campaign_id: str) -> None:
    """At most 64 bytes of printable ASCII, still unique when cut; the message's own is treated alike."""
    made = headers_of(message(title="x"), Label("r", campaign_id, "question"))["apns-collapse-id"]
    own = headers_of(message(title="x", collapse_id=campaign_id + "\r\nx: y"))["apns-collapse-id"]
    for value in (made, own):
        assert 1 <= len(value) <= 64
        assert value.isascii()
        assert value.isprintable()
        assert " " not in value
    assert made != headers_of(message(title="x"), Label("r", campaign_id + "!", "question"))["apns-collapse-id"]


def test_the_whole_body_counts_for_the_size() -> None:
    """4,096 bytes are taken, one more is not."""
    ready = prepared(message(title="x", body="{{ b }}"), ("body",))
    room = 4096 - len(ready.body("t", ("",), NOW_S))
    for length, too_large in ((room, False), (room + 1, True)):
        texts = ("x" * length,)
        assert ready.is_too_large(ready.body("t", texts, NOW_S), texts) is too_large


def test_an_odd_token_stays_within_the_path() -> None:
    """It cannot climb out of it or add a query."""
    assert path("ab12") == "/3/device/ab12"
    assert path("../x?y#z%") == "/3/device/..%2Fx%3Fy%23z%25"


def test_aioapns_is_not_imported_before_it_is_needed() -> None:
    """It costs 0.3 s at a cold start."""
    code = "import sys, notifier.gateway.apns.message, notifier.gateway.apns.auth; print('aioapns' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
