"""What the composer shows beside the form: texts with those above them, what is left to do, the phone's choices."""

from datetime import UTC, datetime

import pytest

from approval.composer import (
    MAIN,
    Shown,
    label_of,
    largest,
    left_to_do,
    panels_of,
    phone_of,
    read_shown,
    reads_of,
    users_of,
)
from approval.form import Form, Texts, VariantForm, first_of_new, with_one_more
from approval.language_reach import language_reach
from approval.preview import campaign_for_preview
from notifier.model.audience_counts import Counts

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
FORM = Form(
    name="c",
    title="Hi {{ first_name | default: 'there' }}",
    body="Main",
    languages=(Texts("de", "Hallo"), Texts("pt-BR")),
    variants=(VariantForm("a", "50"), VariantForm("Short Text", "50", body="Own")),
)
COUNTS = Counts(
    users=10,
    locales={"de-AT": 3, "en": 5},
    longest={"first_name": 9},
    samples=({"user_id": "u1", "attributes": {"first_name": "Ann"}},),
)


def test_an_empty_field_shows_what_is_read_in_its_place() -> None:
    """A language takes over the main text; a variant's language its own language first, then the main text."""
    main, german, portuguese = panels_of(FORM)
    assert (main.key, main.columns[1].texts.body, main.columns[0].above.body) == (MAIN, "Own", "Main")
    assert (german.above.title, german.columns[0].above.title) == (FORM.title, "Hallo")
    assert german.columns[0].above.body == "Main"
    assert portuguese.columns[1].texts_place == "variants.1.languages.1."


def test_how_many_read_each_tab() -> None:
    """By the worker's rules, so that an Austrian reads the German text; nothing before the count."""
    assert reads_of(FORM, language_reach(FORM, COUNTS)) == {MAIN: "7", "0": "3", "1": "0"}
    assert reads_of(FORM, None) == {MAIN: ""}


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("title", "Title"),
        ("start", "Not before"),
        ("languages.0.title", "de: Title"),
        ("languages.7.locale", "New language: Language"),
        ("variants.1.percent", "Short Text: Share"),
        ("variants.1.languages.0.deep_link", "Short Text in de: Link"),
        ("variants.9.languages.9.title", " in : Title"),
        ("sources.0.query", "Another group of users"),
        ("filters.0.column", "Filter"),
        ("", "The form"),
    ],
)
def test_a_field_has_the_name_that_people_read(field: str, label: str) -> None:
    """No path of the form is shown to anybody."""
    assert label_of(field, FORM) == label


def test_what_is_left_is_in_the_order_of_the_page() -> None:
    """The audience before the texts, these before the times; each leads to an element of its own."""
    left = left_to_do(FORM, {"start": "x", "variants.0.title": "x", "title": "x", "audience": "x", "name": "x"})
    assert [one.id for one in left] == ["name", "audience-fault", "title", "variants-0-title", "start"]


def test_only_our_own_choices_are_shown() -> None:
    """Whatever is posted: text, numbers that are none, numbers without an end."""
    assert read_shown({}) == Shown()
    for wrong in ("<script>", "²", "9" * 5_000, "-1", ""):
        names = ("show_platform", "show_state", "show_variant", "show_language", "sample")
        assert read_shown({name: [wrong] for name in names}) == Shown()
    asked = {"show_platform": ["android"], "show_variant": ["99"], "show_language": ["0"], "sample": ["longest"]}
    assert read_shown(asked) == Shown("android", "lock", "99", "0", "longest")


def test_the_phone_of_any_user() -> None:
    """The first of the audience, the longest values, nobody's; a number that there is not is the last variant."""
    campaign, users = campaign_for_preview(FORM, NOW), users_of(COUNTS)
    titles = {
        user: phone_of(FORM, campaign, users, Shown(user=user))["preview"].title
        for user in ("", "0", "longest", "none")
    }
    assert titles == {"": "Hi Ann", "0": "Hi Ann", "longest": f"Hi {'x' * 9}", "none": "Hi there"}
    assert phone_of(FORM, campaign, users, Shown(variant="99"))["preview"].body == "Own"
    assert phone_of(FORM, campaign, {}, Shown())["users"] == (("", "Nobody yet: count the audience"),)
    assert phone_of(FORM, None, users, Shown())["preview"] is None
    found, plain = largest(campaign, COUNTS), largest(campaign, None)
    assert found is not None
    assert plain is not None
    assert found.size_bytes > plain.size_bytes


def test_languages_are_added_by_their_codes() -> None:
    """None twice, in every variant too, and the person goes on in the first new text; without a code with the code."""
    more = with_one_more(FORM, "add_language", "DE, fr, zh_Hant, fr")
    assert [one.locale for one in more.languages] == ["de", "pt-BR", "fr", "zh-Hant"]
    assert {len(one.languages) for one in more.variants} == {2}
    assert first_of_new(FORM, more) == "languages.2.title"
    assert first_of_new(FORM, with_one_more(FORM, "add_language")) == "languages.2.locale"
    assert len(with_one_more(FORM, "add_language", ",".join(f"x{n}" for n in range(99))).languages) == 30
