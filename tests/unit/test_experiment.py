"""What came of a goal: figures, words and pictures are the same, and an odd source is said first."""

import re
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from notifier.model.campaign import Campaign, Goal, Message, Variant
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from reporting.experiment import plain_outcome, section
from reporting.outcome import Outcome, outcome_of
from reporting.pictures import SLIM, WIDE, curve_picture, interval_picture

CAMPAIGN = Campaign(
    "goal",
    Message(title="t"),
    (Variant("question", Decimal(45)), Variant("statement", Decimal(45))),
    Decimal(10),
    goal=Goal("opened_people", 72, 20.0),
)
COUNTS = {"question": (45_000, 3_100), "statement": (45_000, 2_300), "control": (10_000, 500)}
CURVE = [("question", 1.0, 100), ("question", 30.0, 3_100), ("control", 2.0, 500), ("statement", 71.0, 2_300)]


def outcome(counts: dict[str, tuple[int, int]] = COUNTS, **changes: Any) -> Outcome:
    values: dict[str, Any] = {"is_final": True, "days": 5.0, "complete_through": None, "unknown_share": 0.0}
    return outcome_of(CAMPAIGN, counts, CURVE, **(values | changes))


def test_words_and_figures() -> None:
    """Each variant has a sentence against no push, in the order of the campaign; JSON has the same."""
    plain = plain_outcome(outcome())
    words = [lift["verdict"]["in_words"] for lift in plain["comparison"]["lifts"]]
    assert words[0].startswith("better than no push: between +")
    assert words[1].startswith("no difference that matters from no push: ")
    assert [arm["name"] for arm in plain["comparison"]["arms"]] == ["question", "statement", "control"]
    assert plain["curve"][1] == {"arm": "question", "hours": 30.0, "share": 3_100 / 45_000}


def test_an_early_look_says_so() -> None:
    """Before the end only the always-valid interval is there, and how long it still takes."""
    found = outcome(is_final=False)
    assert found.comparison.basis == "look"
    assert "more days at this rate" in found.comparison.lifts[1].verdict.in_words
    # The check of the sizes, too: how often at any look, where the one at the end says how often there.
    assert "this large at some look in at most 100% of all runs" in found.comparison.sizes.in_words
    assert "this large in 100% of all runs" in outcome().comparison.sizes.in_words


def test_other_ids_are_said_first() -> None:
    """A source whose users are in no row has probably other ids."""
    found = outcome(unknown_share=0.98, notes=["later"])
    assert found.notes == ("98% of the converting users are in no row of this run: has the source other ids?", "later")
    assert section(found).index("98%") < section(found).index("better than")


class Balanced(HTMLParser):
    """Every element that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("found", [outcome(), outcome({}), outcome(is_final=False), outcome({"question": (9, 9)})])
def test_the_page_is_whole(found: Outcome) -> None:
    """Whatever the figures are, also none: elements are closed, and no picture reaches beyond its frame."""
    parser = Balanced()
    for drawn in (section(found), interval_picture(found.comparison), curve_picture(found)):
        parser.feed(drawn)
        assert "inf" not in drawn.replace("info", "")
        assert "nan" not in drawn
    assert parser.open == []


def test_out_of_proportion_draws_no_interval() -> None:
    """Where the arms must not be compared the page does not compare them."""
    found = outcome({"question": (45_000, 3_100), "statement": (30_000, 2_300), "control": (10_000, 500)})
    assert interval_picture(found.comparison) == ""
    assert "do not compare" in section(found)


def test_no_goal_no_section() -> None:
    """A campaign without a goal has the page that it always had."""
    assert section(None) == ""


def test_the_goal_is_a_part_of_the_campaign() -> None:
    """It is read with its campaign, refused with its field, and absent from campaigns without one."""
    plain = {"id": "c", "message": {"title": "t"}, "goal": {"name": "opened", "window_h": 24}}
    assert read_campaign(plain).goal == Goal("opened", 24)
    for goal, field in (
        ({"name": "Opened!", "window_h": 24}, "goal.name"),
        ({"name": "o", "window_h": 0}, "goal.window_h"),
    ):
        with pytest.raises(BrokenCampaign, match=field):
            read_campaign(plain | {"goal": goal})
    assert b"goal" not in msgspec.json.encode(read_campaign({"id": "c", "message": {"title": "t"}}))


def test_an_interval_far_from_no_difference_is_seen() -> None:
    """Its end near 0 is inside of the picture: a bar with a length, on the better side, and the words beside it."""
    found = outcome({"question": (4_500, 2_700), "statement": (4_500, 2_000), "control": (1_000, 60)})
    assert found.comparison.lifts[0].relative is not None
    assert found.comparison.lifts[0].relative.low > 1
    for width in (WIDE, SLIM):
        [first, *_] = re.findall(
            r'<rect class="accepted" x="([\d.]+)" y="26" width="([\d.]+)"', interval_picture(found.comparison, width)
        )
        assert width / 2 < float(first[0]) < width
        assert 20 < float(first[1]) <= width / 2


def test_pictures_say_what_they_show() -> None:
    """Title and description are the picture's name for who cannot see it; names of arms are escaped in both."""
    found = outcome()
    for drawn in (interval_picture(found.comparison, SLIM, "a"), curve_picture(found, SLIM, "a")):
        assert 'role="img" aria-labelledby="a-title a-desc"' in drawn
        assert re.search(r'<title id="a-title">\w.*</title><desc id="a-desc">question', drawn)
    assert "better than no push" in interval_picture(found.comparison)
