"""What came of a goal: figures, words and pictures are the same, and an odd source is said first."""

import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

import approval.pages
import reporting
from notifier.model.campaign import Campaign, Goal, Message, Variant
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from reporting.experiment import plain_outcome, section
from reporting.outcome import Outcome, outcome_of
from reporting.pictures import SLIM, WIDE, curve_picture, interval_picture

APPROVAL = Path(approval.pages.__file__).parent
REPORT = Path(reporting.__file__).parent / "page.html"
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
    assert found.notes == ("98 % of the converting users are in no row of this run: has the source other ids?", "later")
    assert "--" not in section(found), "a flag of the command line"
    assert section(found).index("98 %") < section(found).index("better than")


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


@pytest.mark.parametrize("width", [WIDE, SLIM])
def test_a_bar_that_is_cut_says_so(width: int) -> None:
    """It ends in a point within the frame, and the key and the text for listeners say so; a whole bar has neither."""
    counts = {"question": (4_500, 9), "statement": (4_500, 2_300), "control": (1_000, 1)}
    cut = interval_picture(outcome(counts).comparison, width)
    points = re.findall(r'<polygon class="\w+ cut" points="([^"]+)"><title>it goes on', cut)
    assert points
    assert all(0 <= float(at.split(",")[0]) <= width for one in points for at in one.split())
    assert "goes on beyond the picture; the figures over it are whole." in re.sub(r"</text>.*?>(?=\w)", " ", cut)
    assert "goes on beyond" in cut[cut.index("<desc") : cut.index("</desc>")]
    assert "goes on beyond" not in interval_picture(outcome().comparison, width)


@pytest.mark.parametrize("width", [WIDE, SLIM])
def test_each_line_has_its_key(width: int) -> None:
    """By each name is a sample of its arm's own line, and a thin line from where that one ends."""
    drawn = curve_picture(outcome(), width)
    lines = re.findall(r'<path class="line (\w+)" d="M[^"]+"><title>(\w+)</title>', drawn)
    key = re.findall(
        r'<line class="grid" x1="([\d.]+)" y1="([\d.]+)"[^>]*/><path class="line (\w+)" d="M[\d.,]+ h22"/>'
        r"<text[^>]*>(\w+)",
        drawn,
    )
    assert {(colour, arm) for *_, colour, arm in key} == set(lines)
    assert len({colour for colour, _ in lines}) == 3
    for x, y, colour, _ in key:
        [end] = re.findall(rf'<path class="line {colour}" d="[^"]*L([\d.]+),([\d.]+)"><title>', drawn)
        assert (x, y) == end


@pytest.mark.parametrize("sheet", [APPROVAL / "campaign.css", REPORT])
def test_lines_differ_without_colour(sheet: Path) -> None:
    """On both pages each class of a line has dashes of its own; one is whole."""
    styles = re.findall(r"\.line\.(\w+) ?\{([^}]*)\}", sheet.read_text())
    dashes = {kind: "" for kind, _ in styles}
    for kind, style in styles:
        if found := re.search(r"stroke-dasharray: ?([\d ]+)", style):
            dashes[kind] = found[1].strip()
    assert set(dashes) == {"accent", "accepted", "rejected", "failed", "held"}
    assert len(set(dashes.values())) == len(dashes)


def test_pictures_say_what_they_show() -> None:
    """Title and description are the picture's name for who cannot see it; names of arms are escaped in both."""
    found = outcome()
    for drawn in (interval_picture(found.comparison, SLIM, "a"), curve_picture(found, SLIM, "a")):
        assert 'role="img" aria-labelledby="a-title a-desc"' in drawn
        assert re.search(r'<title id="a-title">\w.*</title><desc id="a-desc">question', drawn)
    assert "better than no push" in interval_picture(found.comparison)
