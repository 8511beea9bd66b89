"""Caps: what holds for a campaign, what is looser than the stack allows, and what is wrong with it."""

from typing import Any

import pytest

from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.caps import (
    Cap,
    CapDefaults,
    caps_of,
    groups_of,
    loosened,
    read_default_caps,
    read_defaults,
    run_caps,
)

WEEK, DAY = Cap("marketing", 3, 7), Cap("marketing", 1, 1)
DEFAULTS = CapDefaults((WEEK, DAY), "Europe/London")


def campaign(*caps: Cap, **members: Any) -> Campaign:
    """A campaign with these caps."""
    listed = [{"group": cap.group, "most": cap.most, "days": cap.days} for cap in caps]
    return read_campaign({"id": "c", "message": {"title": "t"}, "caps": listed, **members})


def test_the_groups_of_a_campaign() -> None:
    """`marketing`, unless it names others or is essential."""
    assert groups_of(campaign()) == ("marketing",)
    assert groups_of(campaign(groups=["sales", "news"])) == ("news", "sales")
    assert groups_of(campaign(essential=True)) == ()


def test_what_holds() -> None:
    """Its own caps of a group, else the stack's of its groups; none of an essential one."""
    assert caps_of(campaign(), DEFAULTS) == (DAY, WEEK)
    own = Cap("marketing", 1, 7)
    assert caps_of(campaign(own), DEFAULTS) == (own,)
    news = Cap("news", 2, 2)
    assert caps_of(campaign(news, groups=["news", "marketing"]), DEFAULTS) == (DAY, WEEK, news)
    assert caps_of(campaign(groups=["news"]), DEFAULTS) == ()
    assert caps_of(campaign(essential=True), DEFAULTS) == ()


@pytest.mark.parametrize(
    ("given", "looser"),
    [
        (campaign(), ()),
        (campaign(DAY, WEEK), ()),
        (campaign(Cap("marketing", 1, 7)), ()),
        (campaign(Cap("marketing", 1, 8)), ()),
        (campaign(DAY, Cap("marketing", 2, 7)), ()),
        (campaign(test=True, essential=True), ()),
        (campaign(groups=["news", "marketing"]), ()),
        (campaign(WEEK), ("campaign.caps: users may get more than 1 of marketing in 1 day",)),
        (campaign(DAY), ("campaign.caps: users may get more than 3 of marketing in 7 days",)),
        (campaign(DAY, Cap("marketing", 4, 7)), ("campaign.caps: users may get more than 3 of marketing in 7 days",)),
        (campaign(DAY, Cap("marketing", 3, 6)), ("campaign.caps: users may get more than 3 of marketing in 7 days",)),
        (
            campaign(groups=["news"]),
            (
                "campaign.groups: users may get more than 3 of marketing in 7 days",
                "campaign.groups: users may get more than 1 of marketing in 1 day",
            ),
        ),
        (
            campaign(essential=True),
            (
                "campaign.essential: users may get more than 3 of marketing in 7 days",
                "campaign.essential: users may get more than 1 of marketing in 1 day",
            ),
        ),
    ],
)
def test_what_is_looser(given: Campaign, looser: tuple[str, ...]) -> None:
    """Each cap of the stack that none of the campaign's is as strict as, by the field that says so."""
    assert loosened(given, DEFAULTS) == tuple(f"{words}, which DefaultCaps allows" for words in looser)
    assert loosened(given, CapDefaults()) == ()


def test_what_a_run_is_judged_by_and_counted_in() -> None:
    """A rehearsal is judged and not counted, a test neither; without the stack's zone nothing counts."""
    found = run_caps(campaign(groups=["sales", "marketing"]), DEFAULTS, rehearse=False)
    assert (found.groups, found.caps, found.timezone) == (("marketing", "sales"), (DAY, WEEK), "Europe/London")
    assert found.locked == ("marketing", "sales")
    rehearsed = run_caps(campaign(), DEFAULTS, rehearse=True)
    assert (rehearsed.groups, rehearsed.caps, rehearsed.locked) == ((), (DAY, WEEK), ("marketing",))
    tested = run_caps(campaign(test=True), DEFAULTS, rehearse=False)
    assert (tested.groups, tested.caps, tested.locked) == ((), (), ())
    assert run_caps(campaign(), CapDefaults(), rehearse=False).groups == ()


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"caps": [{"group": "news", "most": 1, "days": 1}]}, "campaign.caps[0].group: the campaign does not"),
        ({"caps": [{"group": "marketing", "most": 0, "days": 1}]}, "campaign.caps[0].most: "),
        ({"caps": [{"group": "marketing", "most": 1, "days": 31}]}, "campaign.caps[0].days: "),
        ({"caps": [{"group": "Marketing", "most": 1, "days": 1}]}, "campaign.caps[0].group: "),
        ({"caps": [{"group": "marketing", "most": 1, "days": 7}, {"group": "marketing", "most": 2, "days": 7}]},
         "campaign.caps[1]: `marketing` has a cap for 7 days already (write the stricter one)"),
        ({"groups": ["news", "news"]}, "campaign.groups[1]: `news` is named twice"),
        ({"essential": True, "caps": [{"group": "marketing", "most": 1, "days": 1}]}, "campaign.caps: an essential"),
        ({"essential": True, "groups": ["news"]}, "campaign.groups: an essential campaign belongs to no group"),
    ],
)  # fmt: skip
def test_faults(members: dict[str, Any], fault: str) -> None:
    """Each names its field, and what to write instead."""
    with pytest.raises(BrokenCampaign) as broken:
        read_campaign({"id": "c", "message": {"title": "t"}, **members})
    assert str(broken.value).startswith(fault)


def test_the_parameter() -> None:
    """A list of group, number and days; anything else is no cap."""
    assert read_default_caps("marketing:3/7,marketing:1/1") == (WEEK, DAY)
    assert read_default_caps("") == ()
    for text in ("marketing", "marketing:0/7", "marketing:3/31", "marketing:3/7,", "Marketing:3/7", "marketing:1000/7"):
        with pytest.raises(ValueError, match=r"^$"):
            read_default_caps(text)


def test_the_environment() -> None:
    """Read whole, or refused with the parameter's name."""
    assert read_defaults({}) == CapDefaults()
    both = {"DEFAULT_CAPS": "marketing:3/7,marketing:1/1", "DEFAULT_TIMEZONE": "Europe/London"}
    assert read_defaults(both) == DEFAULTS
    for wrong, name in (
        ({"DEFAULT_CAPS": "marketing:3/7"}, "DefaultTimezone"),
        ({"DEFAULT_CAPS": "x", "DEFAULT_TIMEZONE": "Europe/London"}, "DefaultCaps"),
        ({"DEFAULT_TIMEZONE": "Europe/Nowhere"}, "DefaultTimezone"),
    ):
        with pytest.raises(ValueError, match=f"^{name} is "):
            read_defaults(wrong)
