"""Texts as marketers paste them, from other tools and word processors: what becomes of each, or how it is written."""

from typing import Any

import pytest

from notifier.content.compile import compiled
from notifier.content.template import BadTemplate, UnfitValue
from notifier.content.template_faults import template_faults
from notifier.content.text_checks import faults_in, warnings_of
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.spelling import BrokenRecord


def filled(text: str, attributes: dict[str, Any]) -> str:
    """The text for a user with these attributes."""
    return compiled(text).render({"user_id": "u", **attributes})


# -- another tool's placeholders: refused, with the Liquid form


@pytest.mark.parametrize(
    ("text", "what", "write"),
    [
        # Braze
        ("Hi {{${first_name}}}", "Braze", "{{ first_name }}"),
        ("Hi {{${first_name} | default: 'there'}}", "Braze", "{{ first_name | default: 'there' }}"),
        ("{{custom_attribute.${Favorite Color}}}", "Braze", "{{ ['Favorite Color'] }}"),
        ("{% if ${plan} == 'pro' %}x{% endif %}", "Braze", "{% if plan == 'pro' %}"),
        ("{% if {{${plan}}} == 'pro' %}x{% endif %}", "Braze", "{% if plan == 'pro' %}"),
        # Pinpoint
        ("Hi {{User.UserAttributes.FirstName}}", "Pinpoint", "{{ FirstName }}"),
        ("Hi {{User.UserAttributes.FirstName.[0]}}", "Pinpoint", "{{ FirstName }}"),
        ("{{Attributes.Plan}}", "Pinpoint", "{{ Plan }}"),
        ("{{User.UserId}}", "Pinpoint", "{{ user_id }}"),
        ("{{ attributes.plan | default: 'x' }}", "bare name", "{{ plan | default: 'x' }}"),
        (
            "{{#if User.UserAttributes.Name}}Hi {{User.UserAttributes.Name}}{{else}}Hi{{/if}}",
            "Pinpoint",
            "{% if Name %}Hi {{ Name }}{% else %}Hi{% endif %}",
        ),
        # Handlebars and Mustache
        (
            "Hi {{#if first_name}}{{first_name}}{{/if}}",
            "Handlebars",
            "{% if first_name %}{{ first_name }}{% endif %}",
        ),
        ("{{#if a}}1{{else if b}}2{{/if}}", "Handlebars", "{% if a %}1{% elsif b %}2{% endif %}"),
        ("{{#unless a}}1{{/unless}}", "Handlebars", "{% unless a %}1{% endunless %}"),
        (
            "{{#each xs}}{{this}} {{this.n}}{{/each}}",
            "Handlebars",
            "{% for item in xs %}{{ item }} {{ item.n }}{% endfor %}",
        ),
        ("{{#a}}1{{/a}}{{^a}}2{{/a}}", "Handlebars", "{% if a %}1{% endif %}{% unless a %}2{% endunless %}"),
        ("Hi {{{first_name}}}", "Handlebars", "{{ first_name }}"),
        ("{{! greeting }}Hi {{ first_name }}", "Handlebars", "Hi {{ first_name }}"),
        # Jinja, and what programmers write
        ("{{ x|default('there') }}", "filters", "{{ x| default: 'there' }}"),
        ("{{ x or 'there' }}", "filters", "{{ x | default: 'there' }}"),
        ("{{ x || 'there' }}", "joined by the words", "{{ x | default: 'there' }}"),
        ("{{ x ?? 'there' }}", "filters", "{{ x | default: 'there' }}"),
        ('{{ x | default "there" }}', "filters", '{{ x | default: "there" }}'),
        ("{{ x, default: 'there' }}", "filters", "{{ x | default: 'there' }}"),
        ("{{ x | upper }}", "filters", "{{ x | upcase }}"),
        ("{% set y = x %}{{ y }}", "assign", "{% assign y = x %}"),
        ("{% if x %}1{% elseif y %}2{% endif %}", "elsif", "{% elsif y %}"),
        ("{% if x %}1{% else if y %}2{% endif %}", "elsif", "{% elsif y %}"),
        ("{% if x %}1{% elif y %}2{% endif %}", "elsif", "{% elsif y %}"),
        ("{% if x %}1{% end if %}", "one word", "{% endif %}"),
        ("{% if plan = 'pro' %}x{% endif %}", "==", "{% if plan == 'pro' %}"),
        ("{% if a = 'x=y' and b = 1 %}x{% endif %}", "==", "{% if a == 'x=y' and b == 1 %}"),
        ("{% if a === 1 %}x{% endif %}", "==", "{% if a == 1 %}"),
        ("{% if a && b || c %}x{% endif %}", "and, or", "{% if a and b or c %}"),
        # a word processor, an HTML editor
        ("{{ x | default: ‘there’ }}", "straight", "{{ x | default: 'there' }}"),
        ("{{ x | default: “there” }}", "straight", '{{ x | default: "there" }}'),
        ("{{ x | default: „there“ }}", "straight", '{{ x | default: "there" }}'),
        ("{{ x | default: 'there’ }}", "straight", "{{ x | default: 'there' }}"),
        ("{% if x == ‘a’ %}1{% endif %}", "straight", "{% if x == 'a' %}"),
        ("{{ x | default: &quot;there&quot; }}", "HTML", '{{ x | default: "there" }}'),
        ("{% if x &gt; 1 %}1{% endif %}", "HTML", "{% if x > 1 %}"),
        ("{{ ${x} | default: ‘there’ }}", "straight", "{{ x | default: 'there' }}"),
    ],
)
def test_another_tools_text_is_a_fault_with_its_liquid_form(text: str, what: str, write: str) -> None:
    """Named for what it is, with its place; and what is shown is Liquid that we take."""
    with pytest.raises(BadTemplate) as caught:
        compiled(text)
    assert str(caught.value).startswith("line 1, column ")
    assert what in str(caught.value)
    assert caught.value.mend == f"write {write}"


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("{{ first name }}", "write {{ first_name }}, or {{ ['first name'] }} if the attribute's name has a space"),
        ("{% if not x %}1{% endif %}", "turn it round: {% unless first_name %}Hi{% endunless %}"),
        ("{% if !x %}1{% endif %}", "turn it round: {% unless first_name %}Hi{% endunless %}"),
        ("{% if (x == 1) %}1{% endif %}", "leave the parentheses out, or put one {% if %} into another"),
        ("{{ x ? 'a' : 'b' }}", "write {% if first_name %}Hi{% else %}Hello{% endif %}"),
        ("{{ 'a' if x else 'b' }}", "write {% if first_name %}Hi{% else %}Hello{% endif %}"),
        ("{{ x + 1 }}", "use a filter: {{ points | plus: 1 }}, {{ first_name | append: '!' }}"),
        ("{% abort_message('x') %}", "leave such users out of the audience"),
        ("{% connected_content https://x %}", "put the text itself here: nothing is loaded while sending"),
        ("{{ x", "end a placeholder with }} and a tag with %}"),
        ("{{ x }", "end a placeholder with }} and a tag with %}"),
        ("{{ x %}", "end a placeholder with }} and a tag with %}"),
        ("{% if x }1{% endif %}", "end a placeholder with }} and a tag with %}"),
        ("{% if x %}1", "end it with {% endif %}"),
        ("{{ limit }}", "limit is a word of Liquid's own: write {{ ['limit'] }} for the attribute"),
    ],
)
def test_the_usual_mistakes_are_faults_with_a_mend(text: str, mend: str) -> None:
    """What to write instead."""
    with pytest.raises(BadTemplate) as caught:
        compiled(text)
    assert caught.value.mend == mend


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{\u00a0x\u202f|\u3000default:\u00a0'a\u00a0b' }}", "a\u00a0b"),
        ("{{\u200bx\u2060 | default: '\u200d' }}", "\u200d"),
        ("{%\ufeffif x == blank\u00a0%}a{% endif %}", "a"),
        ("{{ x | default: 'it’s' }}", "it’s"),
        ('{{ x | default: "it\'s" }}', "it's"),
        ("a\u00a0b \u201cc\u201d {{ x | default: 'd' }}", "a\u00a0b \u201cc\u201d d"),
    ],
)
def test_spaces_that_look_like_spaces_are_spaces(text: str, expected: str) -> None:
    """Within a tag, and outside quotes: what is sent stays as it was written."""
    assert filled(text, {"x": ""}) == expected


# -- values that no text can use


@pytest.mark.parametrize(
    "text",
    [
        "{% if points > 100 %}gold{% endif %}",
        "{% if points >= 100 %}gold{% endif %}",
        "{% if 100 < points %}gold{% endif %}",
        "{% if points <= 100.5 %}gold{% endif %}",
        "{% if points == 150 %}gold{% endif %}",
        "{% if points != 150 %}gold{% endif %}",
        "{% unless points == 150 %}gold{% endunless %}",
        "{% case points %}{% when 150 %}gold{% endcase %}",
        "{% if points > least %}gold{% endif %}",
    ],
)
def test_a_number_that_is_text_is_told_where_it_is_compared(text: str) -> None:
    """BigQuery writes INT64 as text, which Liquid finds unequal to every number: named, with its mend."""
    with pytest.raises(UnfitValue) as caught:
        filled(text, {"points": "150", "least": "99"})
    assert str(caught.value) == (
        "`points` is text where a number is compared "
        "(write {% assign points = points | plus: 0 %} first, and compare points)"
    )
    assert caught.value.with_value == f'{caught.value}: it is "150"'
    rewritten = "{% assign points = points | plus: 0 %}{% assign least = least | plus: 0 %}" + text
    assert filled(rewritten, {"points": "150", "least": "99"}) in ("gold", "")


@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [
        ("{% if plan == 'pro' %}1{% endif %}", {"plan": "pro"}, "1"),
        ("{% if code == 7 %}1{% else %}2{% endif %}", {"code": "seven"}, "2"),
        ("{% if day > '2026-01-01' %}1{% endif %}", {"day": "2026-02-01"}, "1"),
        ("{% if points > 100 %}1{% else %}2{% endif %}", {}, "2"),
        ("{% if points > 100 %}1{% else %}2{% endif %}", {"points": 150}, "1"),
        ("{% if points == '150' %}1{% endif %}", {"points": "150"}, "1"),
        ("{{ points | plus: 1 }}", {"points": "150"}, "151"),
        ("{{ points | times: 2 }}", {"points": " 1.5 "}, "3.0"),
    ],
)
def test_what_can_be_compared_and_counted_is(text: str, attributes: dict[str, Any], expected: str) -> None:
    """Texts with texts, numbers with numbers, nothing with anything; and filters read numbers in texts."""
    assert filled(text, attributes) == expected


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("{{ v | plus: 1 }}", "abc", "`v` is text that is no number"),
        ("{{ v | plus: 1 }}", "", "`v` is text that is no number"),
        ("{{ v | times: 2 }}", "1,500", "`v` is text that is no number"),
        ("{{ v | round }}", [1], "`v` is a list where a number is needed"),
        ("{{ v | plus: 1 }}", True, "`v` is true or false where a number is needed"),
        ("{% if v > 1 %}x{% endif %}", [1], "`v` is a list and cannot be compared"),
        ("{% if v > 1 %}x{% endif %}", {}, "`v` is an object and cannot be compared"),
        ("{% if v > 1 %}x{% endif %}", "high", "`v` is text where a number is compared"),
        ("{% if v contains 'x' %}x{% endif %}", 5, "`v` is no text and no list, and contains nothing"),
        ("{{ v | divided_by: 0 }}", 5, "`v` is nothing that the filter `divided_by` can take"),
        ("{% break %}{{ v }}", 5, "text cannot be made from its attributes"),
    ],
)
def test_no_exception_of_liquids_reaches_a_person(text: str, value: object, reason: str) -> None:
    """Every reason is in plain words: no class's name, and no value of the record."""
    with pytest.raises(BrokenRecord) as caught:
        filled(text, {"v": value})
    assert str(caught.value).startswith(reason)
    assert "Error" not in str(caught.value) + getattr(caught.value, "shown", "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1767607872, "2026-01-05"),
        (1767607872000, "2026-01-05"),
        (1767607872000000, "2026-01-05"),
        (1767607872000000000, "2026-01-05"),
        ("1767607872", "2026-01-05"),
        ("1767607872000", "2026-01-05"),
        ("1.767607872E9", "2026-01-05"),
        ("2026-01-05", "2026-01-05"),
        ("20260105", "2026-01-05"),
        ("2026/01/05", "2026-01-05"),
        ("2026-01-05T23:30:00-05:00", "2026-01-05"),
        ("2026-01-05 10:11:12.12-05:00", "2026-01-05"),
        ("2026-01-05 10:11:12.123456 UTC", "2026-01-05"),
        ("2026-01-05 10:11:12 CET", "2026-01-05"),
        ("Mon, 05 Jan 2026 10:11:12 +0100", "2026-01-05"),
        ("5 January 2026", "2026-01-05"),
        ("Jan 5, 2026 10:11", "2026-01-05"),
        ("", ""),
        ("soon", "soon"),
    ],
)
def test_dates_that_say_which_day_they_are(value: object, expected: str) -> None:
    """ISO 8601, months by name, and numbers since 1970 in whichever unit; the same on every machine."""
    assert filled("{{ t | date: '%Y-%m-%d' }}", {"t": value}) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("05/01/2026", "`t` is a date that may have the day or the month first"),
        ("25/12/2026", "`t` is a date that may have the day or the month first"),
        ("5.1.2026", "`t` is a date that may have the day or the month first"),
        ("05-01-26 10:11", "`t` is a date that may have the day or the month first"),
        ("10:11 05/01/2026", "`t` is a date that may have the day or the month first"),
        ("2026-13-01", "`t` is no date"),
        ("10:30", "`t` is a date without its year or month"),
        ("5", "`t` is a number and no time"),
        (2026, "`t` is a number and no time"),
        ("9" * 60, "`t` is a number and no time"),
        ("Jan 1 " * 9_000, "`t` is no date"),
        ("v2 beta", "`t` is no date"),
        ([1], "`t` is a list and no time"),
        (True, "`t` is true or false and no time"),
    ],
)
def test_a_date_that_could_be_another_is_refused(value: object, reason: str) -> None:
    """With the form that is sure as its mend."""
    with pytest.raises(UnfitValue) as caught:
        filled("{{ t | date: '%Y-%m-%d' }}", {"t": value})
    assert str(caught.value) == f"{reason} (write it as 2026-01-05, or as 2026-01-05T10:11:12Z)"
    assert len(caught.value.with_value) < 200


# -- held against an audience


def record(**attributes: object) -> dict[str, Any]:
    """A record with these attributes."""
    return {"user_id": "u", "platform": "android", "token": "t" * 20, "attributes": attributes}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Hi {{ first_name | default: there }}", "there"),
        ("{% if plan == pro %}x{% endif %}y", "pro"),
        ("{% if plan != pro %}x{% endif %}y", "pro"),
        ("{% if plan contains pro %}x{% endif %}y", "pro"),
        ("{% case plan %}{% when pro %}x{% endcase %}y", "pro"),
        ("{{ first_name | append: suffix }}", "suffix"),
    ],
)
def test_a_word_without_its_quotes_is_a_fault_before_anything_is_sent(text: str, word: str) -> None:
    """It would be taken for an attribute that no record has: empty in one place, never equal in another."""
    read = read_campaign({"id": "c", "message": {"title": "T", "body": text}})
    records = [record(first_name="Ann", plan="pro"), record(first_name="", plan="x"), 7]
    found = list(faults_in(read, records))
    assert [(fault.field, fault.problem, fault.mend) for fault in found] == [
        ("campaign.message.body", f"`{word}` is no attribute of anybody", f"did you mean '{word}', in quotes?")
    ]
    assert list(faults_in(read, [*records, record(**{"first_name": "Ann", "plan": "x", word: "pro"})])) == []


@pytest.mark.parametrize(
    "text",
    [
        "{{ first_name | default: nickname | default: 'there' }}",
        "{% assign there = 'x' %}{{ first_name | default: there }}",
        "{% for x in xs %}{{ first_name | default: x }}{% endfor %}",
        "{{ first_name | default: user_id }}",
        "{{ first_name | default: 'there' }}",
    ],
)
def test_what_the_text_itself_knows_or_does_without_is_no_fault(text: str) -> None:
    """Its own variables, the user's id, and what a later default replaces."""
    read = read_campaign({"id": "c", "message": {"title": "T", "body": text}})
    assert list(faults_in(read, [record(first_name="Ann")])) == []


def test_values_that_do_not_fit_for_many_are_a_fault_that_names_them() -> None:
    """However few the records are; with the value only for who looks at them."""
    read = read_campaign({"id": "c", "message": {"title": "T", "body": "{% if points > 100 %}x{% endif %}y"}})
    for shown, quoted in ((True, ': it is "150"'), (False, "")):
        fault = next(faults_in(read, [record(points="150")], with_values=shown))
        assert fault.field == "campaign.message.body"
        assert fault.problem == (
            "cannot be filled in for 1 of 1 record: `points` is text where a number is compared "
            f"(write {{% assign points = points | plus: 0 %}} first, and compare points){quoted}"
        )
    assert list(faults_in(read, [record(points="150"), *[record(points=1)] * 4])) == []


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("Hi {first_name}", "{first_name} is sent as it is; for the attribute of this name write {{ first_name }}"),
        ("Hi ${first_name}", "${first_name} is sent as it is"),
        ("Hi %FIRST_NAME%", "%FIRST_NAME% is sent as it is"),
        ("Hi %(first_name)s", "%(first_name)s is sent as it is"),
        ("Hi *|FIRST NAME|*", "*|FIRST NAME|* is sent as it is"),
        ("Hi [First Name]", "[First Name] is sent as it is"),
        ("Hi <%= first_name %>", "<%= first_name %> is sent as it is"),
        ("Hi *|FNAME|*", "*|FNAME|* is sent as it is; a placeholder here is {{ the_attributes_name }}"),
        ("Hi <%= name %>", "<%= name %> is sent as it is; a placeholder here is {{ the_attributes_name }}"),
        ("Hi [%name%]", "[%name%] is sent as it is; a placeholder here is {{ the_attributes_name }}"),
        ("Hi $first_name!", "$first_name is sent as it is"),
        ("Hi {\u200b{ first_name }}", "is sent as it is"),
        ("Hi \uff5b\uff5bfirst_name\uff5d\uff5d", "is sent as it is"),
        ("Hi {# all #} {{ first_name }}", "{# … #} is no comment here and is sent"),
        ("Hi {{ First_Name }}", "nobody has the attribute `First_Name`; did you mean `first_name`?"),
        ("Hi {{ frist_name | default: 'x' }}", "nobody has the attribute `frist_name`; did you mean `first_name`?"),
        ("{{ Address }}", "nobody has the attribute `Address`: it is Pinpoint's"),
        ("{{ Location.City }}", "nobody has the attribute `Location`: it is Pinpoint's"),
    ],
)
def test_what_is_sent_and_was_hardly_meant_is_a_warning(text: str, warning: str) -> None:
    """What looks like a placeholder of a known attribute, and attributes that no record has."""
    read = read_campaign({"id": "c", "message": {"title": "T", "body": text}})
    found = list(warnings_of(read, {"first_name"}))
    assert len(found) == 1
    assert found[0].startswith("campaign.message.body: ")
    assert warning in found[0]


@pytest.mark.parametrize("text", ["Save 50% {today} [now] <3 $5", "Hi {{ first_name }} {name}", "{'first_name': 1}"])
def test_other_signs_are_no_warning(text: str) -> None:
    """Braces, percents and brackets are signs like others, unless an attribute's name is in them."""
    read = read_campaign({"id": "c", "message": {"title": "T", "body": text}})
    assert list(warnings_of(read, {"first_name"})) == []


def test_a_campaigns_fault_has_place_and_mend() -> None:
    """As the worker, `validate` and the form show it."""
    read = read_campaign({"id": "c", "message": {"title": "Hi {{${first_name}}}"}})
    assert str(BrokenCampaign(template_faults(read))) == (
        "campaign.message.title: not a text we can fill in: line 1, column 6: this is how Braze writes it "
        "(write {{ first_name }})"
    )
