"""The approval app's previews measure the very bytes that the notifier sends, without the notifier's libraries."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from approval.preview import prepared, previews, recipient_of
from notifier.content.render import Renderer, Wording
from notifier.gateway.apns import message as apns
from notifier.gateway.fcm import message as fcm
from notifier.gateway.payload import Label
from notifier.model.campaign import Campaign, Message
from notifier.model.campaign_reading import read_campaign
from tests.unit.gateway_samples import EVERYTHING, LABEL, message

NOW_S = 1_800_000_000.7
SAMPLES = sorted((Path(__file__).parents[2] / "events" / "batches").glob("*.json"))

_texts = st.text(max_size=20)
_messages = st.fixed_dictionaries(
    {},
    optional={
        "title": st.none() | _texts,
        "body": st.none() | _texts,
        "image_url": st.none() | _texts,
        "deep_link": st.sampled_from([None, "app://people", "https://example.com/é"]),
        "data": st.none() | st.dictionaries(st.sampled_from(["screen", "é", "A"]), _texts),
        "ttl_s": st.sampled_from([0, 86_400]),
        "priority": st.sampled_from(["high", "normal"]),
        "collapse_id": st.none() | _texts,
        "sound": st.sampled_from([None, "default"]),
        "badge": st.sampled_from([None, 0, 3]),
        "background": st.booleans(),
        "apns": st.sampled_from([None, {"thread-id": "x"}, {"aps": {"alert": {"subtitle": "s"}}, "own": [1.5, None]}]),
        "fcm": st.sampled_from([None, {"android": {"notification": {"channel_id": "social"}}, "data": {"more": "1"}}]),
    },
)


def sent(wording: Wording, label: Label, token: str, texts: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The bodies as the notifier makes them, with pyfcm."""
    by_fcm = fcm.Prepared(wording.message, wording.slots, label)
    by_apns = apns.Prepared(wording.message, wording.slots, label, topic="com.example.app")
    return by_fcm.body(token, texts, NOW_S), by_apns.body(token, texts, NOW_S)


def shown(wording: Wording, label: Label, token: str, texts: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The bodies as the approval app makes them."""
    by_fcm, by_apns = prepared(wording, label)
    return by_fcm.body(token, texts, NOW_S), by_apns.body(token, texts, NOW_S)


@given(_messages, st.sets(st.sampled_from(["title", "body", "image_url"])), _texts, st.text(min_size=1, max_size=20))
@example(EVERYTHING, {"title"}, "", "t")
@example({"title": "", "body": ""}, set(), "", "t")
def test_the_bodies_are_the_same(fields: dict[str, Any], slots: set[str], text: str, token: str) -> None:
    """Whatever the message says, and whichever of its texts are filled in later, even by nothing."""
    wording = Wording("question", "", Message(**fields), tuple(sorted(slot for slot in slots if fields.get(slot))))
    texts = (text,) * len(wording.slots)
    assert shown(wording, LABEL, token, texts) == sent(wording, LABEL, token, texts)


def _measured(campaign: Campaign, record: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    """What counts against the limits, as the notifier counts it, for a user of each of the message's languages."""
    renderer, sizes = Renderer(campaign), {}
    for arm in [variant.name for variant in campaign.variants] or ["default"]:
        for locale in ("", *(campaign.message_of(arm).translations or {})):
            words = renderer.render(arm, recipient_of(record, locale))
            wording, label = renderer.wording(words.key), Label("0" * 20, campaign.id, arm)
            by_fcm = fcm.Prepared(wording.message, wording.slots, label)
            by_apns = apns.Prepared(wording.message, wording.slots, label, topic="com.example.app")
            sizes[arm, locale, "android"] = by_fcm.payload_bytes(words.texts)
            sizes[arm, locale, "ios"] = by_apns.payload_bytes(words.texts)
    return sizes


def _previewed(campaign: Campaign, record: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    return {(p.arm, p.locale, p.platform): p.size_bytes for p in previews(campaign, record)}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_sizes_on_the_page_are_the_notifiers(path: Path) -> None:
    """For every arm, language and platform of our sample files."""
    campaign = read_campaign(json.loads(path.read_text(encoding="utf-8"))["campaign"])
    record = {"user_id": "u1", "attributes": {"first_name": 'Ann "é"', "credits": 3}}
    assert _previewed(campaign, record) == _measured(campaign, record)


def test_a_text_that_comes_out_empty_is_still_sent() -> None:
    """Its field stays in the payload, and counts: the page once left it out."""
    texts = {"title": "{% if first_name == 'Bob' %}Hi Bob{% endif %}", "body": "3 people joined"}
    campaign = read_campaign({"id": "day-2", "message": {**texts, "translations": {"de": {"body": "3 sind da"}}}})
    record = {"user_id": "u1", "attributes": {"first_name": "Ann"}}
    sizes = _previewed(campaign, record)
    assert sizes == _measured(campaign, record)
    assert sizes["default", "", "android"] - sizes["default", "de", "android"] == len("3 people joined") - len(
        "3 sind da"
    )


def test_no_library_of_the_senders_is_loaded() -> None:
    """The approval artifact does not ship them."""
    code = (
        "import sys; from notifier.model.campaign_reading import read_campaign; from approval.preview import previews;"
        "assert previews(read_campaign({'id': 'x', 'message': {'title': 'Hi {{ n | upcase }}'}}), {'n': 'a'});"
        "print(sorted({'pyfcm', 'aioapns', 'requests', 'google.auth', 'cryptography', 'hpack'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_pyfcm_makes_is_what_is_assembled() -> None:
    """Of everything that a message can say, byte for byte; pyfcm's next release is held against this."""
    for rehearse in (False, True):
        own = fcm.Prepared(message(**EVERYTHING), (), LABEL, rehearse=rehearse, assemble=fcm.assembled)
        theirs = fcm.Prepared(message(**EVERYTHING), (), LABEL, rehearse=rehearse)
        assert own.body("t", (), NOW_S) == theirs.body("t", (), NOW_S)
