"""Placeholders held against a counted audience."""

import pytest

from approval.form import Form, Texts, VariantForm
from approval.placeholders import (
    Chip,
    Gap,
    Slip,
    chips,
    gaps,
    lookalike_warnings,
    missing_for,
    placeholder_faults,
    placeholders,
    slips,
)
from notifier.model.audience_counts import MAX_NAMES, AttributeCounts, Counts

COUNT = Counts(users=100, attributes={"first_name": AttributeCounts(10), "city": AttributeCounts(0)})
MANY = Counts(users=5, attributes={f"a{n}": AttributeCounts(2) for n in range(MAX_NAMES)})
"""Of so many attributes not all are counted."""


@pytest.mark.parametrize(
    ("text", "names", "needed"),
    [
        ("Hi", set(), set()),
        ("Hi {{ first_name }}", {"first_name"}, {"first_name"}),
        ("Hi {{ first_name | default: 'you' }}", {"first_name"}, set()),
        ("{{ a }} {{ b | default: 'x' }}", {"a", "b"}, {"a"}),
        ("{{ a | capitalize }} of {{ b | upcase }}", {"a", "b"}, {"a", "b"}),
        ("{{ a | default: 'you' | capitalize }}", {"a"}, set()),
        ("{% if a %}{{ a }}{% else %}you{% endif %}", {"a"}, set()),
        ("{{ a | capitalize | default: 'You' }}", {"a"}, {"a"}),
        ("{% assign n = 1 %}{{ n }}", set(), set()),
        ("{{ n | plus: 1 }} {{ d | date: '%d' }} {{ a }}", {"n", "d", "a"}, {"n", "d", "a"}),
        ("{% if n %}{% if n > 1 %}{{ a }}{% endif %}{% endif %}{{ b | upcase }}", {"n", "a", "b"}, {"b"}),
        ("{{", set(), set()),
        ("{{ user_id }}", {"user_id"}, {"user_id"}),
    ],
)
def test_what_a_text_asks_for(text: str, names: set[str], needed: set[str]) -> None:
    """Every attribute; and those without which a user would get nothing."""
    assert tuple(map(set, placeholders(text))) == (names, needed)


def test_gaps_are_told_once_the_worst_first() -> None:
    """100 users can get something: 10 have no first name, none a last name; all have a city."""
    form = Form(
        title="{{ first_name | default: 'Hi' }}",
        body="{{ city }} {{ user_id }}",
        languages=(Texts(locale="de", title="{{ first_name | default: 'Du' }}"),),
        variants=(VariantForm(name="a", body="{{ last_name }}"),),
    )
    assert gaps(form, COUNT) == (Gap("last_name", 100, 100, True), Gap("first_name", 10, 100, False))
    assert placeholder_faults(form, COUNT) == {
        "variants.0.body": "100 of 100 users have no last_name: they would get nothing. "
        "Give it a default: {{ last_name | default: '…' }}"
    }


def test_a_word_without_its_quotes_is_a_fault_of_the_form() -> None:
    """Before it is submitted: it would be taken for an attribute that no user has."""
    form = Form(title="{{ first_name | default: there }}", body="{{ first_name | default: city }}")
    assert placeholder_faults(form, COUNT) == {
        "title": "there is no attribute of anybody: did you mean 'there', in quotes?"
    }
    assert placeholder_faults(form, MANY) == {}


def test_what_looks_like_a_placeholder_is_a_warning_of_the_form() -> None:
    """Only where some user has an attribute of that name."""
    form = Form(title="Hi {first_name} {name}", body="Hi {first_name}")
    assert lookalike_warnings(form, COUNT) == (
        "{first_name} is sent as it is; for the attribute of this name write {{ first_name }}",
    )
    assert lookalike_warnings(form, None) == ()


def test_nothing_is_said_while_it_is_not_known() -> None:
    """Before the count, and of attributes that the count lumped together."""
    form = Form(title="{{ first_name }}")
    assert gaps(form, None) == ()
    assert placeholder_faults(form, None) == {}
    assert missing_for("rare", MANY) == 0


@pytest.mark.parametrize("text", ["{{ frist_name }}", "Hi {{ frist_name | default: 'you' }}"])
def test_a_slip_in_a_name_is_a_fault_that_says_what_was_meant(text: str) -> None:
    """Also with a default, which everybody would read; of a name that is like none only the missing users are said."""
    assert placeholder_faults(Form(title=text), COUNT) == {"title": "Nobody has frist_name: did you mean first_name?"}
    assert slips(Form(title=text), COUNT) == (Slip("frist_name", "first_name"),)
    assert slips(Form(title="{{ last_name }} {{ user_id }} {{ first_name }}"), COUNT) == ()
    assert slips(Form(title=text), MANY) == ()
    assert slips(Form(title=text), None) == ()


def test_chips_say_who_lacks_what_and_insert_a_default_where_somebody_does() -> None:
    """Real values only of attributes whose values may be shown; a name that cannot be written is no chip."""
    count = Counts(
        users=100,
        attributes={
            "first_name": AttributeCounts(10, ("Ann", "Bob")),
            "city": AttributeCounts(0),
            "points": AttributeCounts(3),
            "last order": AttributeCounts(3),
            "gone": AttributeCounts(100),
        },
    )
    assert chips(count) == (
        Chip("city", 0, (), "{{ city }}"),
        Chip("points", 3, (), "{{ points | default: '' }}"),
        Chip("first_name", 10, ("Ann", "Bob"), "{{ first_name | default: 'there' }}"),
    )
    assert chips(None) == ()
    form = Form(title=" ".join(chip.insert for chip in chips(count)))
    assert placeholder_faults(form, count) == {}
