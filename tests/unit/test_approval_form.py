"""The form: what was typed becomes a campaign, or faults beside the fields."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approval.form import (
    Form,
    Malformed,
    Texts,
    flat,
    read_form,
    read_place,
    with_one_more,
    without,
)
from approval.form_campaign import gateway_faults, read_campaign_of
from approval.form_size import length_faults
from approval.pages import Pages
from notifier.model.campaign_reading import read_campaign
from notifier.model.caps import Cap, CapDefaults

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)


def typed(**fields: Any) -> Form:
    """A form as posted; `__` in place of a dot."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return read_form({name: value if isinstance(value, list) else [value] for name, value in named.items()})


def test_a_plain_campaign() -> None:
    """A name and a title are enough."""
    campaign, faults = read_campaign_of(typed(name="c", title="Hi"), NOW)
    assert faults == {}
    assert campaign is not None
    assert campaign.message.title == "Hi"


def test_variants_languages_and_control() -> None:
    """A variant takes over what it does not replace, in every language."""
    form = typed(
        name="c", title="Hi", body="B", languages__0__locale="de", languages__0__title="Hallo",
        variants__0__name="a", variants__0__percent="45,5", variants__0__title="Ho",
        variants__0__languages__0__title="Ha",
        variants__1__name="b", variants__1__percent="44.5", control_percent="10 %",
    )  # fmt: skip
    campaign, faults = read_campaign_of(form, NOW)
    assert faults == {}
    assert campaign is not None
    assert campaign.arms == (("a", 4550), ("b", 4450), ("control", 1000))
    first, second = campaign.message_of("a"), campaign.message_of("b")
    assert (first.title, first.translations and first.translations["de"].title) == ("Ho", "Ha")
    assert (second.title, second.translations and second.translations["de"].title) == ("Hi", "Hallo")


def test_a_placeholder_that_is_none_is_told_with_a_right_one() -> None:
    """Marketing does not know Liquid: the fault shows what to type first, then where, without the parser's words."""
    _, faults = read_campaign_of(typed(name="c", title="Hi {{ first name }}"), NOW)
    assert faults["title"].startswith("Cannot be filled in: write {{ first_name }}, or ")
    assert faults["title"].endswith(" (line 1, column 13: a word cannot be written here).")
    _, faults = read_campaign_of(typed(name="c", title="Hi", body="Hi\n{% if vip %}there"), NOW)
    assert faults["body"] == (
        "Cannot be filled in: end it with {% endif %} (line 2, column 1: {% if %} is not closed)."
    )


FAULTY = {
    "name": {"title": "Hi"},
    "title": {"name": "c"},
    "control_percent": {"name": "c", "title": "Hi", "control_percent": "ten"},
    "variants.0.percent": {"name": "c", "title": "Hi", "variants__0__name": "a", "variants__0__percent": "x"},
    "variants.0.name": {"name": "c", "title": "Hi", "variants__0__name": "Control", "variants__0__percent": "100"},
    "variants.1.name": {
        "name": "c", "title": "Hi", "variants__0__name": "a", "variants__0__percent": "50", "variants__1__name": "a",
        "variants__1__percent": "50",
    },
    "languages.0.locale": {"name": "c", "title": "Hi", "languages__0__title": "Hallo"},
    "languages.1.locale": {
        "name": "c", "title": "Hi", "languages__0__locale": "de", "languages__0__title": "H",
        "languages__1__locale": "DE",
        "languages__1__title": "I",
    },
    "languages.0.title": {"name": "c", "title": "Hi", "languages__0__locale": "de", "languages__0__title": "{{ x"},
    "variants.0.languages.0.title": {
        "name": "c", "title": "Hi", "languages__0__locale": "de", "languages__0__title": "Hallo",
        "variants__0__name": "a",
        "variants__0__percent": "100", "variants__0__title": "Ho",
    },
    "variants.0.body": {
        "name": "c", "title": "Hi", "variants__0__name": "a", "variants__0__percent": "100", "variants__0__body": "{{",
    },
    "per_second": {"name": "c", "title": "Hi", "per_second": "fast"},
    "start": {"name": "c", "title": "Hi", "start": "soon"},
    "latest": {"name": "c", "title": "Hi", "latest": "2026-11-21T13:59"},
    "timezone": {"name": "c", "title": "Hi", "latest": "2026-12-21T13:59", "timezone": "Mars/Olympus"},
    "body": {"name": "c", "body": "{% nonsense %}"},
}  # fmt: skip


@pytest.mark.parametrize("field", FAULTY)
def test_a_fault_stands_beside_its_field(field: str) -> None:
    """And the campaign is not read."""
    campaign, faults = read_campaign_of(typed(**FAULTY[field]), NOW)
    assert campaign is None
    assert field in faults


def test_times_are_kept_in_utc() -> None:
    """What was typed in a zone is the same moment everywhere."""
    form = typed(name="c", title="Hi", start="2026-12-24T18:00", latest="2026-12-24T20:00", timezone="Europe/Berlin")
    campaign, _ = read_campaign_of(form, NOW)
    assert campaign is not None
    assert campaign.not_before == datetime(2026, 12, 24, 17, 0, tzinfo=UTC)


def test_too_much_is_refused() -> None:
    """A form with more languages than there are, or an endless field, is none of ours."""
    with pytest.raises(Malformed):
        typed(**{f"languages__{n}__title": "x" for n in range(31)})
    with pytest.raises(Malformed):
        typed(title="x" * 20_001)


def test_how_long_a_form_may_be() -> None:
    """Up to 5,000 characters a field, and 180,000 bytes in all as they are stored; the field to shorten is named."""
    assert length_faults(typed(title="x" * 5_000)) == {}
    assert length_faults(typed(title="x" * 5_001, body="y")) == {
        "title": "5,001 characters are too many: at most 5,000 are kept."
    }
    form = Form(title="'" * 3_800, languages=tuple(Texts("de", title="ж" * 1_450, body='"' * 1_400) for _ in range(30)))
    rest = 180_000 - len(msgspec.json.encode(form)) - len(',"body":""')
    assert 0 < rest < 5_000
    assert length_faults(msgspec.structs.replace(form, body="x" * rest)) == {}
    assert length_faults(msgspec.structs.replace(form, body="x" * (rest + 1))) == {
        "body": "All texts together have 180,001 bytes, and at most 180,000 are kept. "
        f"This is the longest, with {rest + 1:,}."
    }


def test_rows_come_and_go() -> None:
    """One more language or variant, or one less, keeps the others in step."""
    form = typed(name="c", title="Hi", languages__0__locale="de", languages__0__title="H")
    form = with_one_more(form, "add_variant")
    assert [variant.percent for variant in form.variants] == ["50", "50"]
    form = with_one_more(form, "add_language")
    assert [len(variant.languages) for variant in form.variants] == [2, 2]
    form = without(form, "languages.0")
    assert [texts.locale for texts in form.languages] == [""]
    assert [len(variant.languages) for variant in form.variants] == [1, 1]
    assert len(without(form, "variants.1").variants) == 1
    assert without(form, "nonsense.1") == form
    for number in ("", "x", "-1", "7", "9" * 12):
        assert without(form, f"variants.{number}") == form
        assert without(form, f"languages.{number}") == form


@given(st.dictionaries(st.sampled_from([
    "name", "title", "body", "languages.0.locale", "languages.0.title", "variants.0.name", "variants.0.percent",
    "variants.0.title", "variants.0.languages.0.title", "control_percent", "start", "latest", "timezone", "per_second",
]), st.lists(st.text(max_size=30), min_size=1, max_size=2)))  # fmt: skip
def test_nothing_that_is_typed_breaks_it(fields: dict[str, list[str]]) -> None:
    """Whatever comes, there is a campaign or there are faults, and the form is read back as it was."""
    form = read_form(fields)
    campaign, faults = read_campaign_of(form, NOW)
    assert (campaign is None) == bool(faults)
    posted: dict[str, list[str]] = {}
    for name, value in flat(form):
        posted.setdefault(name, []).append(value)
    assert read_form(posted) == form


def test_what_the_gateways_would_refuse_is_told_at_its_field() -> None:
    """A picture that is no address, and a text over 4,096 bytes: by the form's own fields."""
    form = Form(name="c", title="x", body="y", image_url="cat.png", languages=(Texts("de", body="b" * 4096),))
    campaign, faults = read_campaign_of(form, datetime(2026, 11, 21, tzinfo=UTC))
    assert campaign is not None
    assert faults == {}
    assert gateway_faults(form, campaign) == {
        "image_url": "Not a web address (write it as in https://cdn.example.com/a.png)."
    }
    pictured = msgspec.structs.replace(form, image_url="")
    campaign, _ = read_campaign_of(pictured, datetime(2026, 11, 21, tzinfo=UTC))
    assert campaign is not None
    [(field, fault)] = gateway_faults(pictured, campaign).items()
    assert field == "languages.0.locale"
    assert fault.startswith("4,232 bytes for FCM")


def test_essential_campaigns_and_caps() -> None:
    """As they are ticked and typed; what is no cap is named at its field, and so is what cannot be both."""
    form = typed(name="c", title="Hi", caps="marketing:3/7, marketing:1/1")
    campaign, faults = read_campaign_of(form, NOW)
    assert campaign is not None
    assert (campaign.caps, campaign.essential) == ((Cap("marketing", 3, 7), Cap("marketing", 1, 1)), False)
    assert read_form({name: [value] for name, value in flat(form)}).caps == form.caps
    campaign, _ = read_campaign_of(typed(name="c", title="Hi", essential="yes"), NOW)
    assert campaign is not None
    assert campaign.essential
    for wrong in ({"caps": "3 a week"}, {"caps": "marketing:1/7", "essential": "yes"}, {"caps": "news:1/7"}):
        campaign, faults = read_campaign_of(typed(name="c", title="Hi", **wrong), NOW)
        assert campaign is None
        assert list(faults) == ["caps"]


def test_what_approvers_see_in_red() -> None:
    """An essential campaign, and each of the stack's caps that the campaign is looser than."""
    pages = Pages(CapDefaults((Cap("marketing", 3, 7),), "Europe/London"))
    show = pages._environment.from_string("{% for one in campaign|in_red %}{{ one }}|{% endfor %}").render
    plain = {"id": "c", "message": {"title": "t"}}
    looser = "Users may get more than 3 of marketing in 7 days, which DefaultCaps allows.|"
    assert show(campaign=read_campaign(plain)) == ""
    assert show(campaign=read_campaign(plain | {"caps": [{"group": "marketing", "most": 4, "days": 7}]})) == looser
    essential = "It is marked as essential: users of the holdout get it too, and it counts for no cap.|"
    assert show(campaign=read_campaign(plain | {"essential": True})) == essential + looser


def test_what_the_law_obliges_to_send() -> None:
    """Only where it is ticked is the campaign marked, and it stays ticked in the form."""
    form = typed(name="c", title="Recall", legal="yes")
    campaign, _ = read_campaign_of(form, NOW)
    assert campaign is not None
    assert campaign.legal
    assert read_form({name: [value] for name, value in flat(form)}).legal
    campaign, _ = read_campaign_of(typed(name="c", title="Hi"), NOW)
    assert campaign is not None
    assert not campaign.legal


def test_a_block_by_its_number_on_the_page() -> None:
    """Empty blocks are dropped when a form is read: a button below them means the block that it is in."""
    fields = {
        "sources.0.files": [""], "sources.2.query": ["q"], "sources.4.schedule": ["s"],
        "filters.0.column": [""], "filters.1.column": ["country"],
        "languages.0.locale": [""], "languages.1.locale": ["de"],
        "variants.0.name": [""], "variants.1.name": ["b"],
    }  # fmt: skip
    form = read_form(fields)
    assert [one.schedule or one.query for one in form.sources] == ["q", "s"]
    assert [read_place(fields, f"sources.{n}") for n in range(6)] == ["", "", "sources.0", "", "sources.1", ""]
    for group in ("filters", "languages", "variants"):
        assert (read_place(fields, f"{group}.0"), read_place(fields, f"{group}.1")) == ("", f"{group}.0")
        assert not getattr(without(form, read_place(fields, f"{group}.1")), group)
    assert [read_place(fields, place) for place in ("", "sources", "sources.x", "other.0")] == [""] * 4
