"""Campaigns: what is refused, with its field and its mend, and what is taken as it is."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.model.account import Account, ArmAccount
from notifier.model.campaign import CONTROL, HUNDREDTHS, MAX_VARIANTS, Campaign, hundredths
from notifier.model.campaign_reading import SHOWN_FAULTS, BrokenCampaign, read_campaign
from notifier.model.plain_words import AS_A_TIME
from notifier.stores.s3_results import _account_in_metadata

BATCHES = Path(__file__).parents[2] / "events" / "batches"


def campaign(**changes: Any) -> dict[str, Any]:
    """A campaign that says little, changed."""
    return {"id": "c", "message": {"title": "Hello"}} | changes


def split(*shares: Any, control: Any = 0) -> dict[str, Any]:
    """A campaign with variants of these percentages."""
    return campaign(variants=[{"name": f"v{n}", "percent": p} for n, p in enumerate(shares)], control_percent=control)


def faults(decoded: object) -> dict[str, str]:
    """What is wrong, by field: problem, and mend in brackets."""
    with pytest.raises(BrokenCampaign) as broken:
        read_campaign(decoded)
    return {fault.field: str(fault).removeprefix(f"{fault.field}: ") for fault in broken.value.faults}


@pytest.mark.parametrize("path", sorted(BATCHES.glob("*.json")), ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    """Every sample batch file has a good campaign, and stays the same through our own JSON."""
    read = read_campaign(json.loads(path.read_text(encoding="utf-8"))["campaign"])
    stored = msgspec.json.Encoder(decimal_format="number").encode(read)
    assert msgspec.json.decode(stored, type=Campaign) == read
    assert sum(share for _, share in read.arms) == HUNDREDTHS


BROKEN: dict[str, tuple[object, dict[str, str]]] = {
    "not an object": ([], {"campaign": "a list is not an object (write an object: {…})"}),
    "nothing": (None, {"campaign": "null is not an object"}),
    "empty": ({}, {"campaign.id": "missing", "campaign.message": "missing"}),
    "no id": (campaign(id=""), {"campaign.id": "is empty"}),
    "long id": (campaign(id="x" * 129), {"campaign.id": "has 129 characters (128 at most)"}),
    "id with a line": (campaign(id="a\n"), {"campaign.id": "has a line break, a tab or another control character"}),
    "id with a NUL": (campaign(id="a\0b"), {"campaign.id": "has a line break, a tab or another control character"}),
    "number as id": (campaign(id=7), {"campaign.id": 'the number 7 is not a text (write "7")'}),
    "unknown": (campaign(titel=1), {"campaign.titel": "unknown field (known: id, message, variants"}),
    "misspelled": (
        campaign(control_precent=1),
        {"campaign.control_precent": "unknown field (did you mean control_percent? known: id, message, variants"},
    ),
    "unknown inside": (
        campaign(message={"title": "T", "subtitle": "S"}),
        {"campaign.message.subtitle": "unknown field (did you mean title? known: title, body"},
    ),
    "nothing to say": (
        campaign(message={}),
        {"campaign.message": "neither title nor body (add one, or set background: true)"},
    ),
    "empty texts": (campaign(message={"title": "", "body": ""}), {"campaign.message": "neither title nor body"}),
    "a variant says nothing": (
        campaign(message={"image_url": "u"}, variants=[{"name": "a", "percent": 100}]),
        {"campaign.variants[0].message": "neither title nor body"},
    ),
    "a background text": (
        campaign(message={"background": True, "title": "T"}),
        {"campaign.message": "a background message shows nothing (leave out title, body, sound and badge)"},
    ),
    "a background sound": (
        campaign(message={"background": True, "sound": "default"}),
        {"campaign.message": "a background message shows nothing"},
    ),
    "ttl": (
        campaign(message={"title": "T", "ttl_s": 2_419_201}),
        {"campaign.message.ttl_s": "the number 2419201 is more than 2419200 (2419200 at most)"},
    ),
    "negative ttl": (
        campaign(message={"title": "T", "ttl_s": -1}),
        {"campaign.message.ttl_s": "the number -1 is less than 0"},
    ),
    "priority": (
        campaign(message={"title": "T", "priority": "urgent"}),
        {"campaign.message.priority": 'the text "urgent" is not known here (one of high, normal)'},
    ),
    "data of numbers": (
        campaign(message={"title": "T", "data": {"a": 1}}),
        {"campaign.message.data.a": 'the number 1 is not a text (write "1")'},
    ),
    "reserved data": (
        campaign(
            message={"title": "T", "data": {"From": "x", "google.y": "", "notifier_run": "", "fromage": "fine"}},
            variants=[{"name": "a", "percent": 50}, {"name": "b", "percent": 50}],
        ),
        {
            "campaign.message.data.From": "this key is reserved (rename it)",
            "campaign.message.data.google.y": "this key is reserved",
            "campaign.message.data.notifier_run": "this key is reserved",
        },
    ),
    "aps": (campaign(message={"title": "T", "apns": {"aps": 1}}), {"campaign.message.apns.aps": "not an object"}),
    "translation": (
        campaign(message={"title": "T", "translations": {"de": {"titel": "H"}, "x": {}}}),
        {
            "campaign.message.translations.de.titel": "unknown field (did you mean title? known: title, body, image",
            "campaign.message.translations.x": "has 1 character (2 at least)",
        },
    ),
    "locale": (
        campaign(message={"title": "T", "translations": {"x": {}}}),
        {"campaign.message.translations.x": "has 1 character (2 at least)"},
    ),
    "translations that would hide a variant": (
        campaign(
            message={"title": "T", "translations": {"de": {"title": "H"}}},
            variants=[{"name": "a", "percent": 100, "message": {"title": "U"}}],
        ),
        {"campaign.variants[0].message.translations": "replaces title, but the campaign's translations (de)"},
    ),
    "every variant": (
        campaign(variants=[{"name": "A", "percent": 1}, 7, {"percent": "x"}]),
        {
            "campaign.variants[0].name": "not a name that an arm can have (1 to 32 of a-z, 0-9, - and _, for",
            "campaign.variants[1]": "the number 7 is not an object",
            "campaign.variants[2].name": "missing",
            "campaign.variants[2].percent": 'the text "x" is not a number (write a number, such as 45 or 12.5)',
        },
    ),
    "control as a name": (
        campaign(variants=[{"name": "control", "percent": 100}]),
        {"campaign.variants[0].name": "`control` is reserved (use control_percent)"},
    ),
    "a name twice": (
        campaign(variants=[{"name": "a", "percent": 50}, {"name": "a", "percent": 50}]),
        {"campaign.variants[1].name": "`a` is used twice"},
    ),
    "too many variants": (split(*[1] * 41), {"campaign.variants": "has 41 entries (40 at most)"}),
    "a pace of none": (campaign(per_second=0), {"campaign.per_second": "the number 0 is less than 1"}),
    "a time without an offset": (
        campaign(not_before="2026-11-21T20:00:00"),
        {"campaign.not_before": f'the text "2026-11-21T20:00:00" has no offset from UTC ({AS_A_TIME})'},
    ),
    "no time": (
        campaign(abort_after="soon"),
        {"campaign.abort_after": f'the text "soon" is not a time ({AS_A_TIME})'},
    ),
    "a number for a time": (
        campaign(abort_after=5),
        {"campaign.abort_after": f"the number 5 is not a time ({AS_A_TIME})"},
    ),
    "over before it begins": (
        campaign(not_before="2026-11-21T20:00:00Z", abort_after="2026-11-21T20:00:00Z"),
        {"campaign.abort_after": "not later than not_before: nothing would be sent"},
    ),
    "a number for a flag": (
        campaign(dry_run=1),
        {"campaign.dry_run": "the number 1 is not true or false (write true)"},
    ),
    "no parts to exclude": (
        campaign(exclude={"parts": []}),
        {"campaign.exclude.parts": "is empty"},
    ),
    "a part without a key": (
        campaign(exclude={"parts": [{"key": "k"}, {"bucket": "b"}]}),
        {"campaign.exclude.parts[1].key": "missing"},
    ),
    "several at once": (
        campaign(id=1, dry_run="no", message={"badge": -1}),
        {
            "campaign.id": 'the number 1 is not a text (write "1")',
            "campaign.dry_run": 'the text "no" is not true or false',
            "campaign.message.badge": "the number -1 is less than 0",
        },
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    """Each fault is named by its field, says what is wrong, and how to mend it where that is not plain."""
    decoded, expected = BROKEN[name]
    found = faults(decoded)
    assert found.keys() == expected.keys()
    for field, problem in expected.items():
        assert found[field].startswith(problem)


@pytest.mark.parametrize(
    "place",
    [
        lambda bad: campaign(id=bad),
        lambda bad: campaign(experiment=bad),
        lambda bad: campaign(message={"title": bad}),
        lambda bad: campaign(message={"title": "T", "data": {"k": bad}}),
        lambda bad: campaign(message={"title": "T", "data": {bad: "v"}}),
        lambda bad: campaign(message={"title": "T", "translations": {"de": {"body": bad}}}),
        lambda bad: campaign(message={"title": "T", "apns": {"a": [{"b": bad}]}}),
        lambda bad: campaign(message={"title": "T", "fcm": {bad: 1}}),
        lambda bad: campaign(exclude={"parts": [{"key": bad}]}),
        lambda bad: campaign() | {bad: 1},
    ],
)
def test_lone_surrogates(place: Any) -> None:
    """JSON can escape what UTF-8 cannot encode: it is refused in any field, and the message itself can be encoded."""
    with pytest.raises(BrokenCampaign, match="lone surrogate") as broken:
        read_campaign(place("a\ud800"))
    str(broken.value).encode()


@pytest.mark.parametrize("control", ["\0", "\a", "\x1b", "\x7f", "\x85", "\x92"])
@pytest.mark.parametrize(
    "place",
    [
        lambda bad: {"title": bad},
        lambda bad: {"title": "T", "body": bad},
        lambda bad: {"title": "T", "deep_link": bad},
        lambda bad: {"title": "T", "collapse_id": bad},
        lambda bad: {"title": "T", "sound": bad},
        lambda bad: {"title": "T", "data": {"k": bad}},
        lambda bad: {"title": "T", "data": {bad: "v"}},
        lambda bad: {"title": "T", "translations": {"de": {"body": bad}}},
        lambda bad: {"title": "T", "apns": {"aps": {"category": bad}}},
        lambda bad: {"title": "T", "fcm": {"data": {"k": bad}}},
    ],
)
def test_control_characters(place: Any, control: str) -> None:
    """None of them may reach a payload: each is refused in any field, by its number and without the character."""
    with pytest.raises(BrokenCampaign, match=f"has the control character U\\+{ord(control):04X}") as broken:
        read_campaign(campaign(message=place(f"a{control}b")))
    assert str(broken.value).isprintable()


def test_line_breaks_of_windows_are_line_feeds() -> None:
    """A file written there is not at fault; tabs and line feeds stay as they are."""
    read = read_campaign(campaign(message={"title": "a\tb", "body": "a\r\nb\rc\n", "apns": {"k": ["x\r\ny"]}}))
    assert (read.message.title, read.message.body, read.message.apns) == ("a\tb", "a\nb\nc\n", {"k": ["x\ny"]})


@pytest.mark.parametrize("blank", [" ", "\n\t", "\u00a0", "\u200b\u2060", "\u3164", "\ufeff"])
def test_a_message_that_shows_nothing_says_nothing(blank: str) -> None:
    """White space and characters without a width are not a text; a background message needs none."""
    message = {"title": blank, "body": blank}
    assert faults(campaign(message=message)) == {
        "campaign.message": "neither title nor body (add one, or set background: true)"
    }


def test_many_faults() -> None:
    """A file of nothing but faults is reported in a few lines; all of them are there for who asks."""
    with pytest.raises(BrokenCampaign, match=r"and 9980 more$") as broken:
        read_campaign(campaign(**{f"x{n}": n for n in range(10_000)}))
    assert len(broken.value.faults) == 10_000
    assert len(str(broken.value)) < 300 * SHOWN_FAULTS


@pytest.mark.parametrize(
    ("percents", "control", "shares"),
    [
        ([33.33, 56.67], 10, (3333, 5667, 1000)),
        ([Decimal("33.33"), Decimal("56.67")], Decimal(10), (3333, 5667, 1000)),
        (["33.33", "56.67"], "10.00", (3333, 5667, 1000)),
        ([0.1, 0.2, 99.7], 0, (10, 20, 9970)),
        ([0.07, 0.29, 0.57, 99.07], 0, (7, 29, 57, 9907)),
        ([100], 0, (10000,)),
        ([0, 100], 0, (0, 10000)),
        ([Decimal("1E+1"), 90], 0, (1000, 9000)),
        ([0], 100, (0, 10000)),
    ],
)
def test_percentages(percents: list[Any], control: Any, shares: tuple[int, ...]) -> None:
    """They are exact to the hundredth, however they are written; control comes last, and not at all at zero."""
    read = read_campaign(split(*percents, control=control))
    assert tuple(share for _, share in read.arms) == shares
    assert (CONTROL in dict(read.arms)) == (control != 0)


@pytest.mark.parametrize(
    ("percents", "control", "total"),
    [([45, 46], 10, "101"), ([33.33, 33.33, 33.33], 0, "99.99"), ([100], 0.01, "100.01"), ([0], 0, "0")],
)
def test_sums(percents: list[Any], control: Any, total: str) -> None:
    """Anything but exactly 100 is refused, with what it is."""
    found = faults(split(*percents, control=control))
    assert found == {
        "campaign.variants": f"percentages sum to {total}, not 100 (variants and control_percent together)"
    }


@pytest.mark.parametrize(
    "percent",
    [33.333, Decimal("0.001"), -1, 100.01, 101, 1e300, Decimal("NaN"), Decimal("Infinity"), Decimal("1E-999999")],
)
def test_not_a_percentage(percent: Any) -> None:
    """Three places, outside 0 to 100, not a number: named at its place, and no sum is reckoned with it."""
    found = faults(split(50, percent))
    assert list(found) == ["campaign.variants[1].percent"]
    assert "is not a percentage (0 to 100 with at most two decimal places)" in found["campaign.variants[1].percent"]


@pytest.mark.parametrize("percent", ["", "45%", "NaN?", True, None, [], float("nan"), float("inf")])
def test_no_number_at_all(percent: Any) -> None:
    """It is a fault of that field, never an exception of another kind."""
    assert list(faults(campaign(control_percent=percent))) == ["campaign.control_percent"]


@given(st.decimals())
def test_hundredths(percent: Decimal) -> None:
    """Any decimal is either exact hundredths of 0 to 100, or none."""
    found = hundredths(percent)
    if found is not None:
        assert found == percent * 100
        assert 0 <= found <= HUNDREDTHS
    else:
        assert not percent.is_finite() or not 0 <= percent <= 100 or percent * 100 % 1


@pytest.mark.parametrize(
    "campaign_id", ["Woche 47 · früh", "a/b#c:d", "🎉" * 128, " ", "日本", "x" * 128, "\u200b", "Ώ"]
)
def test_odd_ids(campaign_id: str) -> None:
    """Every text without control characters is an id, and the salt of its arms."""
    read = read_campaign(campaign(id=campaign_id))
    assert (read.id, read.salt) == (campaign_id, campaign_id)
    assert read_campaign(campaign(experiment=campaign_id)).salt == campaign_id


def test_messages() -> None:
    """Each field of a variant replaces the campaign's; the others stay."""
    read = read_campaign(
        campaign(
            message={"title": "T", "body": "B", "data": {"a": "1"}, "badge": 1},
            variants=[
                {"name": "a", "percent": 50, "message": {"title": "U", "data": {}, "badge": 0}},
                {"name": "b", "percent": 50},
            ],
        )
    )
    changed = read.message_of("a")
    assert (changed.title, changed.body, changed.data, changed.badge) == ("U", "B", {}, 0)
    assert read.message_of("b") == read.message


def test_variants_with_translations_of_their_own() -> None:
    """A variant that replaces a translated text may do so once it says what becomes of the translations."""
    base = {"title": "T", "body": "B", "translations": {"de": {"title": "H"}}}
    for change in ({"title": "U", "translations": {}}, {"body": "C"}):
        read = read_campaign(campaign(message=base, variants=[{"name": "a", "percent": 100, "message": change}]))
        assert read.message_of("a").body == change.get("body", "B")


def test_arms_of_the_most_variants_fit() -> None:
    """The users of every arm of a batch fit into the 2 KB of metadata that S3 allows."""
    arms = {f"{n:032d}": ArmAccount(assigned=500) for n in range(MAX_VARIANTS)} | {CONTROL: ArmAccount(assigned=500)}
    account = Account(500, 10**6, 10**6, 500, -(10**6), 10**6, 10**6, arms)
    assert len("account" + "epoch" + "1" * 10 + _account_in_metadata(account)) < 2048
