"""Texts as lists and mails show them: filled in for nobody in particular."""

import msgspec
import pytest

from approval.form import Form, VariantForm
from approval.list_view import Line, SmallPush
from approval.request import Request
from approval.store import ListedRequest, _listed
from approval.without_user import without_user


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hi", "Hi"),
        ("", ""),
        ("Hi {{ first_name }}, {{ user_id }}", "Hi [first name], [user id]"),
        ("Hi {{ first_name | default: 'there' }}", "Hi there"),
        # Where nothing would be left, what is certain.
        ("{{ first_name | default: '' }}", "…"),
        ("{% if vip %}Only for you{% endif %}", "Only for you"),
        ("{% if vip %}Only for {{ first_name }}{% endif %}", "Only for …"),
        ("{% if vip %}Only for you{% endif %}Hi", "Hi"),
        # What a filter makes of a value says nothing where there is none.
        ("{{ first_name | slice: 0, 3 }}, hi", "[first name], hi"),
        ("{{first_name|slice:0,3|upcase}}, hi", "[first name], hi"),
        ("{{ user_id | slice: 0, 3 }}, hi", "[user id], hi"),
        ("{{ items | size }} new", "[items] new"),
        ("Only {{ price | times: 2 | append: '%}' }}", "Only [price]"),
        ("{{ first_name | default: nick | slice: 0, 3 }}, hi", "[first name], hi"),
        ("{% assign n = first_name | slice: 0, 3 %}{{ n }}, hi", "[first name], hi"),
        ("{{ first_name | default: 'there' | upcase }}, hi", "THERE, hi"),
        ("{{ 'Hi ' | append: first_name }}", "Hi [first name]"),
        # A draft with a fault; one that was cut.
        ("Hi {{ first_name | nonsense }}", "Hi …"),
        ("Hi {{ first_na", "Hi …"),
    ],
)
def test_filled_in_for_nobody(text: str, shown: str) -> None:
    """With defaults, and names for what has none; of a text that was written something is always left."""
    assert without_user(text) == shown


def item_of(form: Form) -> ListedRequest:
    """The item of a list."""
    return _listed(Request("r1", "ann@example.com", 0, 0, form=form))


def test_the_text_that_was_written_first() -> None:
    """A title that is empty for nobody in particular is still this push's, and not another variant's."""
    variants = (
        VariantForm("a", title="{{ first_name | default: '' }}", body="{% if vip %}For you{% endif %}"),
        VariantForm("b", title="Other", body="Also other"),
    )
    item = item_of(Form(variants=variants))
    shown = SmallPush("…", "For you", "")
    assert (Line(item, is_shown=True).push, item.small_title, item.small_text) == (shown, "…", "For you")
    # The same of what was kept before.
    before = msgspec.structs.replace(item, small_title="", small_text=None)
    assert Line(before, is_shown=True).push == shown


def test_a_text_is_filled_in_before_it_is_cut() -> None:
    """A placeholder that is cut in two would be none."""
    text = f"{'x' * 110}{{{{ first_name | default: 'there' }}}}"
    item = item_of(Form(body=text))
    assert (item.push_text, item.small_text) == (text[:120], f"{'x' * 110}there")
