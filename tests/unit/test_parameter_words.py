"""What a stored query's parameters are called in the composer, and what may be filled in."""

import msgspec
import pytest

from approval.pages import Pages
from approval.parameter_words import choices, hint, label
from notifier.model.stored_query import Parameter


def parameter(**about: object) -> Parameter:
    return msgspec.convert(about, Parameter)


@pytest.mark.parametrize(
    ("name", "about", "called", "says"),
    [
        (
            "since",
            {"type": "date", "default": "2026-10-01", "description": "The earliest last visit."},
            "The earliest last visit", "A date. If empty: 2026-10-01.",
        ),
        ("min_orders", {"type": "integer"}, "Min orders", "A whole number, such as 3. It must be filled in."),
        ("share", {"type": "number", "default": 1.5}, "Share", "A number, such as 2.5. If empty: 1.5."),
        ("only_active", {"type": "boolean", "default": True}, "Only active", "Yes or no. If empty: yes."),
        ("suffix", {"type": "text", "default": ""}, "Suffix", "A text. May be left empty."),
        ("brands", {"type": "texts", "default": []}, "Brands", "Texts, each on a line of its own. May be left empty."),
        ("city", {"type": "text", "choices": ["Berlin", "Bonn"]}, "City", "One of 2 choices. It must be filled in."),
        ("brands", {"type": "texts", "choices": ["a", "b"], "default": ["a"]}, "Brands", "Any of these. If empty: a."),
        ("_", {"type": "texts"}, "_", "Texts, each on a line of its own. It must be filled in."),
        (
            "n_days",
            {"type": "integer", "description": f"{'Long ' * 20}words."},
            "N days", f"{'Long ' * 20}words. A whole number, such as 3. It must be filled in.",
        ),
    ],
)  # fmt: skip
def test_a_parameter(name: str, about: dict[str, object], called: str, says: str) -> None:
    """Its description where it is short, else its name as words; type or choices; what an empty field takes."""
    found = parameter(**about)
    assert (label(name, found), hint(name, found)) == (called, says)


def test_choices_have_words() -> None:
    """True and false are yes and no; what is sent stays what the query takes."""
    assert choices(parameter(type="boolean")) == (("true", "yes"), ("false", "no"))
    assert choices(parameter(type="boolean", choices=[True])) == (("true", "yes"),)
    assert choices(parameter(type="integer", choices=[1, 2])) == (("1", "1"), ("2", "2"))
    assert choices(parameter(type="integer")) == ()


@pytest.mark.parametrize("kind", ["text", "integer", "number", "date", "boolean", "texts"])
def test_the_field_has_its_label_and_its_hint(kind: str) -> None:
    """Whatever its type, both are tied to what is filled in; a script in a description does nothing."""
    environment = Pages()._environment
    found = parameter(type=kind, description="What <b>it</b> is.")
    macro = '{% from "_fields.html" import parameter_field %}{{ parameter_field("p.x_y", "x_y", one, (), {}) }}'
    html = environment.from_string(macro).render(one=found)
    assert '<label for="p-x_y">What &lt;b&gt;it&lt;/b&gt; is</label>' in html
    assert 'id="p-x_y" name="p.x_y"' in html
    assert 'aria-describedby="p-x_y-fault p-x_y-hint"' in html
    assert "It must be filled in.</span>" in html
