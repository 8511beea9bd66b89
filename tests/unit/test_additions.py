"""What a campaign adds to the gateways' payloads: refused before sending what a gateway would refuse for everybody."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.gateway.additions import addition_faults
from notifier.gateway.apns.message import Prepared as ApnsPrepared
from notifier.gateway.fcm.additions import MESSAGE
from notifier.gateway.fcm.message import Prepared as FcmPrepared
from notifier.gateway.fcm.message import assembled
from notifier.gateway.field_checks import Members
from notifier.gateway.payload import Label
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import read_campaign
from sandbox.gateways import fcm_message as standin
from tests.unit.addition_samples import RIGHT, WRONG, Sample

NOW_S = 1_800_000_000.0


def campaign_of(message: dict[str, Any]) -> Campaign:
    return read_campaign({"id": "c", "message": message})


def standins_take(campaign: Campaign) -> str:
    """Why FCM's stand-in or Apple's limit refuses the message; empty if neither does."""
    label = Label("0" * 20, campaign.id, "default")
    body = FcmPrepared(campaign.message, (), label, assemble=assembled).body("t", (), NOW_S)
    try:
        standin.decode(body)
    except standin.RefusedError as error:
        return str(error)
    apple = ApnsPrepared(campaign.message, (), label, topic="t").body("t", (), NOW_S)
    return "PayloadTooLarge" if len(apple) > 4096 else ""


@pytest.mark.parametrize("sample", WRONG.values(), ids=WRONG.keys())
def test_what_a_gateway_would_refuse_is_refused_before(sample: Sample) -> None:
    """With the place of it, and what to write instead; FCM's stand-in, by rules of its own, refuses it too."""
    campaign = campaign_of(sample.message)
    found = list(addition_faults(campaign))
    place = f"campaign.message.{sample.place}".rstrip(".")
    assert place in [fault.field for fault in found], found
    assert any(sample.mend in str(fault) for fault in found if fault.field == place), found
    assert bool(standins_take(campaign)) is not bool(sample.alone)


@pytest.mark.parametrize("message", RIGHT.values(), ids=RIGHT.keys())
def test_what_the_gateways_take_is_taken(message: dict[str, Any]) -> None:
    """By the product and by the stand-ins."""
    campaign = campaign_of(message)
    assert list(addition_faults(campaign)) == []
    if not any("{%" in str(text) for text in message.values()):
        assert standins_take(campaign) == ""


def test_an_addition_of_a_variant_has_its_place() -> None:
    """Each variant is looked at as it is sent, with the campaign's message below it."""
    variants = [
        {"name": "a", "percent": 50, "message": {"fcm": {"android": {"ttl": 5}}}},
        {"name": "b", "percent": 50, "message": {"title": "y"}},
    ]
    campaign = read_campaign({"id": "c", "message": {"title": "x"}, "variants": variants})
    assert [str(fault) for fault in addition_faults(campaign)] == [
        'campaign.variants[0].message.fcm.android.ttl: the number 5 is not a duration (write "5s")'
    ]


def test_every_fault_is_told_at_once() -> None:
    """Not only the first, which would cost an upload for each."""
    wrong = {"title": "x", "fcm": {"android": {"ttl": 5, "priority": 1, "notification": {"sticky": "no"}}}}
    assert len(list(addition_faults(campaign_of(wrong)))) == 3


def test_the_labels_reach_an_app_that_has_data_of_its_platform() -> None:
    """Android takes its own data instead of the message's: run, campaign and arm are in both."""
    campaign = campaign_of({"title": "x", "fcm": {"android": {"data": {"a": "b"}}, "webpush": {"data": {"c": "d"}}}})
    body = FcmPrepared(campaign.message, (), Label("r", "c", "default"), assemble=assembled).body("t", (), NOW_S)
    message = msgspec.json.decode(body)["message"]
    ours = {"notifier_run": "r", "notifier_campaign": "c", "notifier_arm": "default"}
    assert message["android"]["data"] == {"a": "b", **ours}
    assert message["webpush"]["data"] == {"c": "d", **ours}


@pytest.mark.parametrize(
    ("field", "address", "problem"),
    [
        ("image_url", "http://a.example/b.png", "by https:// only"),
        ("image_url", "x", "not a web address"),
        ("image_url", "https://", "not a web address"),
        ("image_url", "javascript:alert(1)", "not a web address"),
        ("deep_link", "javascript:alert(1)", "are never sent"),
        ("deep_link", "JavaScript:{{ code }}", "are never sent"),
        ("deep_link", "data:text/html,x", "are never sent"),
        ("deep_link", "file:///etc/passwd", "are never sent"),
        ("deep_link", "vbscript:x", "are never sent"),
        ("deep_link", "htps:/x", "did you mean https://"),
        ("deep_link", "http:x", "no web address"),
        ("deep_link", "https://", "no web address"),
        ("deep_link", "//x", "no scheme"),
        ("deep_link", "/people/{{ id }}", "no scheme"),
        ("deep_link", "people", "no scheme"),
        ("deep_link", "app://a b", "white space"),
        ("deep_link", "app:", "nothing follows"),
    ],
)
def test_an_address_that_no_phone_would_open(field: str, address: str, problem: str) -> None:
    """Is refused at its field, in a translation as in the message; the gateways themselves would take it."""
    campaign = campaign_of({"title": "x", field: address, "translations": {"de": {"title": "y", field: address}}})
    assert [fault.field for fault in addition_faults(campaign)] == [
        f"campaign.message.{field}",
        f"campaign.message.translations.de.{field}",
    ]
    assert all(problem in str(fault) for fault in addition_faults(campaign))


@pytest.mark.parametrize(
    "address",
    ["app://people", "https://example.com/a?b=1", "HTTP://example.com", "tel:+491234", "{{ link }}",
     "{% if a %}x{% endif %}", "app{{ n }}://x", "https://{{ host }}/", "my-app:path"],
)  # fmt: skip
def test_links_that_are_taken(address: str) -> None:
    """A web address or an app's own; what a placeholder holds is known for each user only."""
    assert list(addition_faults(campaign_of({"title": "x", "deep_link": address}))) == []


def test_a_translation_is_of_a_language() -> None:
    """By its BCP 47 tag, in the notations of phones: a word of English would match no user's locale."""
    for good in ("de", "pt-BR", "zh_Hant_TW", "sr-Latn", "es-419"):
        assert list(addition_faults(campaign_of({"title": "x", "translations": {good: {"title": "y"}}}))) == []
    [fault] = addition_faults(campaign_of({"title": "x", "translations": {"German": {"title": "y"}}}))
    assert str(fault) == (
        "campaign.message.translations.German: no language (write its BCP 47 tag, such as de, pt-BR or zh-Hant)"
    )


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        "a", "", "7", "true", "5s", "0.1s", "86400", "3000000s", "HIGH", "PUBLIC", "DENY", "PRIORITY_LOW",
        "#aabbcc", "10",
        "https://a.example/b", "2026-11-21T20:00:00Z", "alert", "ä" * 40, True, False, 0, 1, 5, -1, 2**31, 0.5,
        None, [],
        ["a"], ["5s"], [1], {}, {"a": "b"}, {"a": 1}, {"from": "x"}, {"aps": {}}, {"aps": {"badge": 1}},
        {"aps": {"badge": "1"}},
        {"name": "a"}, {"aps": {"alert": "a", "x": 1}}, {"apns-priority": "5"}, {"apns-collapse-id": "b"},
    ]
)  # fmt: skip


def additions_of(members: Members) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of known and unknown names, with values that fit and others."""
    inner = {
        name: st.one_of(VALUES, additions_of(check)) if isinstance(check, Members) else VALUES
        for name, check in members.known.items()
    }
    names = st.lists(st.sampled_from([*inner, "other"]), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: inner.get(name, VALUES) for name in chosen}))


@given(additions_of(MESSAGE), st.dictionaries(st.sampled_from(["aps", "badge", "alert", "own", "sound"]), VALUES))
def test_no_addition_that_is_taken_is_refused_by_fcm(fcm: dict[str, Any], apns: dict[str, Any]) -> None:
    """The stand-in's rules, written apart from ours, find nothing in what ours let pass."""
    try:
        campaign = campaign_of({"title": "x", "fcm": fcm, "apns": apns})
    except ValueError:
        return  # refused already for its own shape
    if not list(addition_faults(campaign)):
        assert standins_take(campaign) == ""
