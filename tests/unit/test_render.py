"""Texts: placeholders, languages, broken records, and the fast plan held equal to Liquid itself."""

import re
import subprocess
import sys
from decimal import Decimal
from typing import Any

import liquid
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifier.content.compile import compiled
from notifier.content.liquid import LiquidTemplate
from notifier.content.render import Renderer
from notifier.content.template import BadTemplate, PlainTemplate
from notifier.content.template_faults import template_faults
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.recipient import Recipient
from notifier.model.spelling import BrokenRecord
from tests.examples import examples


def campaign(message: dict[str, Any], *variants: dict[str, Any]) -> Campaign:
    return read_campaign({"id": "c", "message": message, **({"variants": list(variants)} if variants else {})})


def user(locale: str | None = None, **attributes: object) -> Recipient:
    return Recipient("u1", (), locale, None, attributes)


def said(message: dict[str, Any], recipient: Recipient) -> dict[str, str]:
    """The filled-in fields."""
    renderer = Renderer(campaign(message))
    renderer.check(recipient)
    words = renderer.render("default", recipient)
    return dict(zip(renderer.wording(words.key).slots, words.texts, strict=True))


# -- placeholders


def test_placeholders_are_filled_in_every_field_that_may_have_them() -> None:
    """Title, body, image, deep link and data values."""
    message = {
        "title": "Hi {{ first_name }}",
        "body": "{{ n }} people",
        "image_url": "https://x/{{ pic }}.png",
        "deep_link": "app://{{ user_id }}",
        "data": {"screen": "s-{{ n }}", "plain": "as it is"},
    }
    assert said(message, user(first_name="Ann", n=3, pic="a")) == {
        "title": "Hi Ann",
        "body": "3 people",
        "image_url": "https://x/a.png",
        "deep_link": "app://u1",
        "data.screen": "s-3",
    }


def test_a_missing_attribute_without_a_default_is_a_broken_record() -> None:
    """Not an empty text; null, as exports have it, is missing too."""
    renderer = Renderer(campaign({"title": "Hi {{ first_name }}"}))
    for recipient in (user(), user(first_name=None)):
        with pytest.raises(BrokenRecord, match="attribute `first_name` is missing"):
            renderer.check(recipient)
        with pytest.raises(BrokenRecord):
            renderer.render("default", recipient)


@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [
        ("Hi {{ name | default: 'there' }}", {}, "Hi there"),
        ("Hi {{ name | default: 'there' }}", {"name": ""}, "Hi there"),
        ("{% if name %}Hi {{ name }}{% else %}Hi{% endif %}", {}, "Hi"),
        ("{% if name != blank %}Hi {{ name }}{% else %}Hi{% endif %}", {}, "Hi"),
        ("{% if name == nil %}who?{% endif %}", {}, "who?"),
        ("{{ user.first | upcase }}", {"user": {"first": "ann"}}, "ANN"),
        ("{% for x in xs %}{{ x }},{% endfor %}", {"xs": ["a", "b"]}, "a,b,"),
        ("{{ price }} and {{ price | plus: 1 }}", {"price": Decimal("1.50")}, "1.50 and 2.5"),
        ("{{ tiny }}", {"tiny": Decimal("0.0000001")}, "0.0000001"),
        ("{{ yes }} {{ none_at_all | default: 'x' }}", {"yes": True}, "true x"),
        ("{% raw %}{{ name }}{% endraw %}", {}, "{{ name }}"),
    ],
)
def test_liquid_as_it_is_written_elsewhere(text: str, attributes: dict[str, object], expected: str) -> None:
    """Defaults, conditions on missing attributes, paths, loops, and decimal numbers as they stood in the file."""
    assert said({"title": text}, Recipient("u1", (), None, None, attributes)) == {"title": expected}


def test_a_filter_does_not_hide_a_missing_attribute() -> None:
    """Some of Liquid's filters take missing for 0 or for nothing; a push with a wrong number is worse than none."""
    for text in ("{{ n | plus: 1 }}", "{{ d | date: '%Y' }}", "{{ l | size }}", "{{ a | append: b }}"):
        with pytest.raises(BrokenRecord, match=r"attribute `[ndla]` is missing"):
            said({"title": text}, user())


def test_text_in_an_attribute_is_only_text() -> None:
    """An attribute that looks like a template is printed as it is."""
    for text in ("{{ name }}", "{{ name | append: '' }}"):
        assert said({"title": text}, user(name="{{ user_id }}{% if %}")) == {"title": "{{ user_id }}{% if %}"}


def test_an_attribute_named_user_id_wins() -> None:
    """Otherwise the recipient's own id is there."""
    assert said({"title": "{{ user_id }}"}, user()) == {"title": "u1"}
    assert said({"title": "{{ user_id }}"}, user(user_id="other")) == {"title": "other"}
    assert said({"title": "{{ user_id | upcase }}"}, user(user_id="other")) == {"title": "OTHER"}


def test_reasons_hold_nothing_of_the_record() -> None:
    """Reasons are stored and logged; the name of a computed attribute would be a value."""
    for text in (
        "{{ a[secret] }}",
        "{{ [secret] }}",
        "{{ secret | divided_by: 0 }}",
        "{{ secret | times: 'x' | date }}",
    ):
        with pytest.raises(BrokenRecord) as caught:
            said({"title": text}, user(a={}, secret="4711"))
        assert "4711" not in str(caught.value)


def test_what_cannot_be_utf8_is_a_broken_record() -> None:
    """A lone surrogate would fail only when the payload is encoded."""
    for text in ("{{ name }}", "{{ name | append: '' }}", "{{ names }}"):
        with pytest.raises(BrokenRecord, match="not encodable"):
            said({"title": text}, user(name="\ud800", names=["\ud800"]))


THINGS = ["thing"] * 999


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("{% for a in xs %}{% for b in xs %}x{% endfor %}{% endfor %}", "its loops turn over 1,000 times"),
        ("{% for a in xs %}x{% endfor %}" * 40, "its loops turn over 1,000 times"),
        ("{% if s %}{% for a in (1..999) %}x{% endfor %}{% endif %}" * 40, "its loops turn over 1,000 times"),
        ("{% for a in xs %}" + "{% if a == 'x' %}{% endif %}" * 50 + "{% endfor %}", "over 15,000 steps"),
        ("{% for a in xs %}" + "{{ a | upcase }}" * 3 + "{% endfor %}", "over 15,000 steps"),
        ("{{ l | split: '' | uniq | size }}", "over 15,000 steps"),
        ("{{ l" + " | replace: 'x', 'y'" * 200 + " | size }}", "it handles over 500,000 characters"),
        (
            "{% assign a = 'xxxxxxxx' %}{% for i in (1..900) %}{% assign a = a | append: a %}{% endfor %}{{ a }}",
            "`append` makes it too long",
        ),
        (
            "{% assign a='x' %}{% for i in (1..99) %}{% capture a %}{{ a }}{{ a }}{% endcapture %}{% endfor %}{{ a }}",
            "it is longer than 65,536 bytes",
        ),
        ("{{ s | replace: '', s | replace: '', s | replace: '', s | replace: '', s }}", "`replace` makes it too long"),
        (
            "{% assign n = 9 %}{% for i in (1..900) %}{% assign n = n | times: n %}{% endfor %}{{ n }}",
            "`times` makes it too long",
        ),
        ("{% for i in (1..900) %}{{ s }}{{ s }}{{ s }}{% endfor %}", "it "),
    ],
)
def test_a_template_cannot_hang_or_fill_the_memory(text: str, limit: str) -> None:
    """All loops, filters and texts of one filling-in are counted together; the record is broken instead."""
    with pytest.raises(BrokenRecord, match=f"^text is too much work: .*{limit}"):
        said({"title": "x", "body": text}, user(s="x" * 200, l="x" * 9_999, xs=THINGS))


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("{% for i in (1..999) %}x{% endfor %}" * 40, "39,960"),
        (
            "{% for a in (1..900) %}{% for b in (1..900) %}{% for c in (1..2) %}x{% endfor %}{% endfor %}{% endfor %}",
            "2,430",
        ),
    ],
)
def test_loops_that_nobody_can_have_are_a_fault(text: str, turns: str) -> None:
    """They are reported when the campaign is read, before any record."""
    fault = template_faults(campaign({"title": "x", "body": text}))[0]
    assert f"its loops turn {turns}" in fault.problem
    assert fault.problem.endswith("at most 1,000 are allowed")


def test_what_fits_a_push_is_never_too_much_work() -> None:
    """A list that is shown in part, loops in loops, and a text of the length of a payload."""
    message = {
        "title": "{% for x in xs limit: 3 %}{{ x | capitalize }}, {% endfor %}{{ xs | size }}",
        "body": "{% for a in (1..30) %}{% for b in (1..30) %}{{ a }}{% endfor %}{% endfor %}",
        "data": {
            "long": "{{ s | upcase }}",
            "found": "{% for x in xs %}{% if x == 'none' %}{{ x }}{% endif %}{% endfor %}",
        },
    }
    values = said(message, user(s="x" * 4_096, xs=THINGS))
    assert values["title"] == "Thing, Thing, Thing, 999"
    assert (len(values["body"]), len(values["data.long"]), values["data.found"]) == (1_530, 4_096, "")


# -- texts that show nothing, and characters that are no text


@pytest.mark.parametrize(
    ("message", "empty", "fine"),
    [
        ({"body": "{% if name != blank %}Hi {{ name }}!{% endif %}"}, [None, "", "  "], ["Ann"]),
        ({"body": "{{ name }}"}, ["", " ", "\u00a0", "\u200b", "\u3164", "\x00", "\n"], ["Ann", "0", "\u2764\ufe0f"]),
        ({"body": "{{ name | default: ' ' }}"}, [None, ""], ["Ann"]),
        ({"title": "{{ name }}", "body": "{{ name }} "}, [""], ["Ann"]),
        ({"title": "", "body": "{{ name | upcase }}"}, [""], ["Ann"]),
        ({"title": "Hi", "body": "{{ name }}"}, [], ["", "Ann"]),
        ({"title": " ", "body": "\u200b{{ name }}"}, [""], ["Ann"]),
        ({"body": "Hi {{ name | default: '' }}"}, [], ["", "Ann"]),
        ({"background": True, "data": {"k": "{{ name }}"}}, [], ["", "Ann"]),
    ],
)
def test_a_record_for_which_nothing_would_be_shown_is_broken(
    message: dict[str, Any], empty: list[str | None], fine: list[str]
) -> None:
    """Title and body with nothing to see, once filled in; what is silent by design is not concerned."""
    renderer = Renderer(campaign(message))
    for name in empty:
        with pytest.raises(BrokenRecord, match=r"^text is empty$"):
            renderer.check(user(name=name))
    for name in fine:
        renderer.check(user(name=name))


def test_an_empty_text_breaks_a_record_for_every_arm_and_in_its_own_language_only() -> None:
    """Else the arms would hold different people."""
    renderer = Renderer(
        campaign(
            {"title": "plain"},
            {"name": "a", "percent": 50},
            {
                "name": "b",
                "percent": 50,
                "message": {"title": "{{ name }}", "translations": {"de": {"title": "Hallo {{ name }}"}}},
            },
        )
    )
    with pytest.raises(BrokenRecord, match=r"^text is empty$"):
        renderer.check(user("fr", name=""))
    renderer.check(user("de", name=""))


@pytest.mark.parametrize(
    ("translations", "field"),
    [
        ({"de": {"title": "", "body": " "}}, "campaign.message.translations.de"),
        ({"de": {"title": "Hallo", "body": ""}, "de-AT": {"title": "\u200b"}}, "campaign.message.translations.de-AT"),
    ],
)
def test_a_translation_that_shows_nothing_is_a_fault(translations: dict[str, Any], field: str) -> None:
    """Found when the campaign is read: it needs no record."""
    assert [fault.field for fault in template_faults(campaign({"title": "x", "translations": translations}))] == [field]


def test_control_characters_of_attributes_are_left_out() -> None:
    """No payload holds them, whichever field and whichever way of filling in; line breaks and tabs stay."""
    message = {
        "title": "{{ n }}",
        "body": "{{ n | append: '!' }}",
        "deep_link": "app://{{ n }}",
        "data": {"k": "{{ n }}"},
    }
    values = said(message, user(n="A\x00\x07n\x1b[0m\tn\r\nB\rC\x7f\x85\x92"))
    assert values["title"] == "An[0m\tn\nB\nC"
    assert values == {
        "title": values["title"],
        "body": values["title"] + "!",
        "deep_link": "app://" + values["title"],
        "data.k": values["title"],
    }


# -- faults


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ x", "line 1, column 1"),
        ("a\n{% if x %}", "line 2, column 1: {% if %} is not closed"),
        ("{{ x | frobnicate }}", "there is no filter frobnicate"),
        ("{% include 'secrets' %}", "{% include %} cannot be used"),
        ("{% render 'secrets' %}", "{% render %} cannot be used"),
        ("{{ (1..1000000000) | join }}", "range"),
        ("{% for i in (1..n) %}x{% endfor %}", "range"),
        ("{% if (1..1000000000) contains 'x' %}{% endif %}", "range"),
        ("{{ x }}" + "x" * 20_000, "longer than"),
        ("{% if x %}" * 100 + "{% endif %}" * 100, ""),
    ],
)
def test_a_text_that_is_not_liquid_is_a_fault(text: str, problem: str) -> None:
    """Named by its field, with the position."""
    faults = template_faults(campaign({"title": "x", "body": text}))
    assert [fault.field for fault in faults] == ["campaign.message.body"]
    assert problem in faults[0].problem
    with pytest.raises(BrokenCampaign):
        Renderer(campaign({"title": "x", "body": text}))


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("Hi {{ first name }}", "write {{ first_name }}, or {{ ['first name'] }} if"),
        ("Hi {{ name", "end a placeholder with }}"),
        ("Hi {{ % }}", "as in {{ first_name | default: 'there' }}"),
        ("{{ name | capitalise }}", "perhaps capitalize"),
        ("{{ name | zzz }}", "filters are Liquid's own, such as default"),
        ("{% include 'x' %}", "put the text itself here"),
        ("{% tablerow x in y %}", "tags are assign, break, capture, "),
        ("Hi{% endif %}", "no tag is open here that {% endif %} belongs to"),
        ("Hi{% else %}", "no tag is open here that {% else %} belongs to"),
        ("{% case a %}{% when 1 %}Hi", "end it with {% endcase %}"),
        ("{% if name %}Hi", "end it with {% endif %}"),
        ("{{ x }}" + "x" * 20_000, "shorten it"),
    ],
)
def test_a_text_that_is_not_liquid_has_a_mend(text: str, mend: str) -> None:
    """The message says what to write instead."""
    assert template_faults(campaign({"title": "x", "body": text}))[0].mend.startswith(mend)


def test_faults_are_found_in_every_variant_and_translation() -> None:
    """Each where it is written, once."""
    broken = campaign(
        {"title": "{{", "data": {"k": "{{"}, "translations": {"de": {"body": "{%"}}, "collapse_id": "{{ x }}"},
        {"name": "a", "percent": 50, "message": {"body": "{{", "translations": {"fr": {"title": "{{"}}}},
        {"name": "b", "percent": 50},
    )
    assert [fault.field for fault in template_faults(broken)] == [
        "campaign.message.title",
        "campaign.message.data.k",
        "campaign.message.translations.de.body",
        "campaign.variants[0].message.body",
        "campaign.variants[0].message.translations.fr.title",
        "campaign.message.collapse_id",
    ]


def test_a_language_given_twice_is_a_fault() -> None:
    """`de_AT` and `DE-at` are one."""
    twice = campaign({"title": "x", "translations": {"de_AT": {"title": "a"}, "DE-at": {"title": "b"}}})
    assert [fault.field for fault in template_faults(twice)] == ["campaign.message.translations.DE-at"]


ODD_TEXTS = (
    "{% if x %}Hi", "{% for x in y %}a", "{% case x %}{% when 1 %}a", "{% comment %}a", "{% raw %}a",
    "{% if x %}a{% endunless %}",
    "{% if x %}{% for y in z %}a{% endif %}", "{% if %}a{% endif %}", "{{ }}", "{% %}", "{{ | upcase }}", "{{ x | }}",
    "{% assign %}", "{% assign x %}", "{% assign x = %}", "{% assign a.b = 1 %}", "{% for %}{% endfor %}",
    "{% for x y %}{% endfor %}", "{% for x in %}{% endfor %}", "{% for i in (1..3 %}{% endfor %}",
    "{% for i in (1..) %}{% endfor %}", "{% for i in c limit %}{% endfor %}", "{% for i in c foo:1 %}{% endfor %}",
    "{{ x == }}", "{% if x & y %}a{% endif %}", "{{ x - 1 }}", "{{ 'abc }}", '{{ "abc }}', "{{ x[ }}", "{{ x. }}",
    "{{ .x }}", "{{ x..y }}", "{{ x: }}", "{{ x,y }}", "{% liquid\nassign x = 1 %}", "{% cycle %}", "{% # a\n b %}",
    "{{ and }}", "{{ x | default: 'a' 'b' }}", "{{ x | append: a b }}", "{% if x contains %}a{% endif %}",
    "{% if x == 1 and %}a{% endif %}", "{% if x or or y %}a{% endif %}", "{{ x | @ }}", "{{ x] }}", "{{ x\\ }}",
    "{{ x | map: a=>b }}", "{{ x || default: 'a' }}", "{{ x % 2 }}", "{{ 1.2.3 }}", "Hi {{ x }} {{ y | }}",
    "{% if x %}" * 60,
    "{{ x | truncate: }} {{ x[] }}", "{% if x %}a{% elsif y and %}b{% endif %}", "{% case x %}{% when %}a{% endcase %}",
    "{% case x y %}{% endcase %}", "{{ x [y }}",
)  # fmt: skip
PARSERS = re.compile(r"expected|unexpected|expression\b|primitive|pipe|rparen|token|found|delimiter|identifier|segment")


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_fault_of_a_text_has_no_word_of_the_parser(text: str) -> None:
    """Where, what and what to write, in words that one understands without having written the parser."""
    [fault] = template_faults(campaign({"title": "x", "body": text}))
    assert re.match(r"not a text we can fill in: line \d+, column \d+: \S", fault.problem), fault.problem
    assert not PARSERS.search(fault.problem + (fault.mend or ""))
    assert "not Liquid" not in fault.problem
    assert fault.mend


@pytest.mark.parametrize(
    ("text", "problem", "mend"),
    [
        ("Hi\n {% if x %}there", "line 2, column 2: {% if %} is not closed", "end it with {% endif %}"),
        ("{% if x %}{% unless y %}a", "line 1, column 11: {% unless %} is not closed", "end it with {% endunless %}"),
        (
            "{% if x %}{% for y in z %}a{% endif %}",
            "line 1, column 31: {% endif %} comes while {% for %} is still open",
            "end that first, with {% endfor %}",
        ),
        ("Hi {{ x }} {{ y | }}", "line 1, column 12: the name of a filter is missing after |", "as in {{ first_name"),
        ('{{ "abc }}', "line 1, column 4: a text in quotes is not closed", 'close it with ", as it begins'),
        ("{% if %}a{% endif %}", "line 1, column 4: {% if %} is not complete", "as in {% if points > 100 %}"),
    ],
)
def test_what_is_said_of_the_usual_faults(text: str, problem: str, mend: str) -> None:
    """The place is that of the tag or placeholder, also where the parser only knows that the text ends."""
    with pytest.raises(BadTemplate) as caught:
        compiled(text)
    assert str(caught.value) == problem
    assert caught.value.mend.startswith(mend)


@given(st.text("{}%|:'\" \nabif.[]()1-", max_size=40))
@settings(max_examples=examples(150))
def test_any_text_compiles_or_is_a_fault(text: str) -> None:
    """Nothing but BadTemplate when compiling, nothing but BrokenRecord when rendering."""
    try:
        compiled(text).render({"a": "x", "b": [1]})
        said = ""
    except BadTemplate as error:
        said = f"{error} {error.mend}"
    except BrokenRecord:
        said = ""
    assert not PARSERS.search(said)


# -- languages and arms


def test_the_narrowest_translation_wins_field_by_field() -> None:
    """`de-AT` falls back to `de`, and that to the message's own; `_` and case do not matter."""
    message = {
        "title": "Hello",
        "body": "Body",
        "translations": {"DE": {"title": "Hallo", "body": "Text"}, "de_AT": {"title": "Servus"}},
    }
    renderer = Renderer(campaign(message))
    for locale, key, title, body in [
        ("de-AT", "de-at", "Servus", "Text"),
        ("de_at", "de-at", "Servus", "Text"),
        ("de-CH-1996", "de", "Hallo", "Text"),
        ("DE_DE.UTF-8", "de", "Hallo", "Text"),
        ("fr", "", "Hello", "Body"),
        (None, "", "Hello", "Body"),
    ]:
        words = renderer.render("default", user(locale))
        message_ = renderer.wording(words.key).message
        assert (words.key, message_.title, message_.body) == (("default", key), title, body)


def test_a_record_is_broken_by_any_arm() -> None:
    """Else the arms would hold different people; only the recipient's own language counts."""
    renderer = Renderer(
        campaign(
            {"title": "plain", "translations": {}},
            {"name": "a", "percent": 50},
            {
                "name": "b",
                "percent": 50,
                "message": {"title": "{{ name }}", "translations": {"de": {"title": "{{ vorname | upcase }}"}}},
            },
        )
    )
    for locale, missing in ((None, "name"), ("de", "vorname")):
        with pytest.raises(BrokenRecord, match=f"`{missing}`"):
            renderer.check(user(locale))
    renderer.check(user(name="x"))
    renderer.check(user("de", vorname="x"))


def test_static_words_are_one_object() -> None:
    """So that a payload is prepared once, and nothing is made per recipient."""
    renderer = Renderer(campaign({"title": "Hi", "translations": {"de": {"title": "Hallo"}}}))
    assert renderer.is_static
    assert renderer.render("default", user()) is renderer.render("default", user("fr"))
    assert renderer.render("default", user("de")) is renderer.render("default", user("de-DE"))
    assert not Renderer(campaign({"title": "Hi {{ x }}"})).is_static


def test_any_number_of_locales_is_bounded() -> None:
    """A file with a million odd locales does not fill the memory."""
    renderer = Renderer(campaign({"title": "Hi"}))
    for n in range(5_000):
        renderer.render("default", user(f"xx-{n}"))
    assert len(renderer._by_locale) <= 2_000


def test_liquid_is_not_imported_without_placeholders() -> None:
    """It costs 0.3 s at a cold start."""
    code = (
        "import sys; from notifier.model.campaign_reading import read_campaign;"
        "from notifier.content.render import Renderer;"
        "Renderer(read_campaign({'id': 'c', 'message': {'title': 'Hi'}})); print('liquid' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# -- the fast plan

_names = st.sampled_from(["name", "n", "first_name", "user_id"])
_texts = st.text(st.characters(exclude_characters="{}%", exclude_categories=["Cs"]), max_size=8)
_defaults = st.text(st.characters(exclude_characters="{}%'\"", exclude_categories=["Cs"]), max_size=8)
_outputs = st.one_of(
    st.builds("{{{{ {} }}}}".format, _names),
    st.builds("{{{{{} | default: '{}'}}}}".format, _names, _defaults),
    st.builds("{{{{- {} -}}}}".format, _names),
)
_values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text("ab", max_size=2), st.integers(), max_size=2),
)


@given(st.lists(st.one_of(_texts, _outputs), max_size=6).map("".join), st.dictionaries(_names, _values))
@settings(max_examples=examples(150))
def test_the_fast_plan_prints_what_liquid_prints(source: str, values: dict[str, object]) -> None:
    """For every text made of words and plain outputs, with the attributes all there or defaulted."""
    template = compiled(source)
    assert isinstance(template, PlainTemplate)
    if template.required <= values.keys():
        assert template.render(values) == liquid.Environment().from_string(source).render(values)
    else:
        with pytest.raises(BrokenRecord):
            template.render(values)


def test_what_is_not_plain_goes_through_liquid() -> None:
    """Other filters, other arguments, paths, literals."""
    for text in (
        "{{ a | upcase }}",
        "{{ a.b }}",
        "{{ 'x' }}",
        "{{ a | default: b }}",
        "{{ a | default: 'x', allow_false: true }}",
    ):
        assert isinstance(compiled(text), LiquidTemplate)
