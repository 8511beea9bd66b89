"""What is wrong with a value, in words that a person without msgspec's manual understands."""

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.events.triggers import Drop, LaneNudge, UnknownEvent, nudges
from notifier.model.campaign import Audience, Campaign, Message, Variant
from notifier.model.campaign_reading import BrokenCampaign, read_audience, read_campaign
from notifier.model.plain_words import described, quoted
from notifier.model.validation import shape_faults

JARGON = re.compile(
    r"[Ee]xpected `|`(str|int|bool|object|array|datetime|null|decimal)|regex|RFC|Error|Struct|\.\.\.|Invalid"
)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.text(max_size=50),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)),
    max_leaves=8,
)
KINDS: tuple[Any, ...] = (Campaign, Message, Variant, Audience, Drop, LaneNudge)


@given(st.sampled_from(KINDS), st.data())
def test_no_fault_speaks_of_types(kind: Any, data: st.DataObject) -> None:
    """Any value in any field of the public format, or of an event."""
    names = kind.__struct_fields__
    wrong = data.draw(st.dictionaries(st.sampled_from(names), JSON, min_size=1, max_size=4))
    for fault in shape_faults(wrong, kind, "campaign"):
        spoken = fault.problem + fault.mend
        assert not JARGON.search(re.sub(r'"[^"]*"', "", spoken)), fault
        assert fault.problem


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (7, "the number 7"),
        (Decimal("0.5"), "the number 0.5"),
        (10**50, "the number of over 40 digits"),
        ("", "an empty text"),
        ('a"\n\0', 'the text "a\\"\\n\ufffd"'),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_a_value_in_words(value: object, words: str) -> None:
    """With its kind; no control character, and no more than 40 characters."""
    assert described(value) == words
    assert len(quoted("x" * 1000)) == 43


def test_members_of_a_mapping_have_places() -> None:
    """Each of them, and not the mapping as a whole."""
    with pytest.raises(BrokenCampaign) as broken:
        read_campaign({"id": "c", "message": {"title": "x", "data": {"a": 1, "b": "fine", "c": None}}})
    assert [str(fault) for fault in broken.value.faults] == [
        'campaign.message.data.a: the number 1 is not a text (write "1")',
        "campaign.message.data.c: null is not a text (write a text)",
    ]


def test_an_audience_says_which_part() -> None:
    """By its place in the list."""
    with pytest.raises(BrokenCampaign, match=r'audience.parts\[1\].key: the number 5 is not a text \(write "5"\)'):
        read_audience({"parts": [{"key": "a"}, {"key": 5}]})
    with pytest.raises(BrokenCampaign, match=r"audience: a list is not an object"):
        read_audience(["a"])


def test_an_event_says_what_is_wrong() -> None:
    """An operator who starts a run by hand reads it."""
    with pytest.raises(UnknownEvent, match=r'^event.key: the number 7 is not a text \(write "7"\)$'):
        nudges({"bucket": "b", "key": 7})
    with pytest.raises(UnknownEvent, match=r"^an S3 event without the member 's3'$"):
        nudges({"Records": [{"eventName": "ObjectCreated:Put"}]})
    with pytest.raises(UnknownEvent, match="not of the usual kinds"):
        nudges({"Records": 5})


def test_msgspec_still_says_what_is_translated() -> None:
    """Its sentences are no contract: a release that words them otherwise must not go unnoticed."""
    with pytest.raises(msgspec.ValidationError, match=r"^Expected `str`, got `int`"):
        msgspec.convert(5, str)


def test_a_number_that_python_will_not_print() -> None:
    """Over 4,300 digits it refuses to."""
    assert described(10**5000) == "the number of over 40 digits"
