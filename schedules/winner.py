"""Which arm of a test has won, and what goes to the remainder. Pure: the same figures give the same decision.

The test part alone decides, by the interval that is valid at any look: the hour of the decision was declared, but the
users' windows need not be over by then.
"""

import enum
from collections.abc import Mapping

import msgspec

from notifier.model.campaign import CONTROL, Campaign, Variant
from notifier.model.remainder import SUFFIX
from reporting.chi_squared import RatioVerdict
from reporting.statistics.comparison import Basis, Comparison, Experiment, compare
from reporting.statistics.fixed_horizon import Arm
from reporting.statistics.verdict import Finding, percent

WITHOUT_EVIDENCE = "chosen without evidence"


class How(enum.StrEnum):
    """By what it was decided."""

    EVIDENCE = "evidence"
    """The interval of the lift, as it is valid at any look."""
    OTHERWISE = "otherwise"
    """By what was declared for want of evidence."""
    PERSON = "person"


class Decision(msgspec.Struct, frozen=True):
    """What goes to the remainder: an arm; `control`, nothing; or "", a person is to decide.

    `figures` are users and conversions by arm, as they were seen.
    """

    arm: str
    how: How
    words: str
    figures: Mapping[str, tuple[int, int]] = {}


def decided(campaign: Campaign, figures: Mapping[str, tuple[int, int]]) -> Decision:
    """The decision by figures that are complete through its hour."""
    comparison = _compared(campaign, figures)
    if comparison.sizes.verdict is RatioVerdict.OUT_OF_PROPORTION:
        return otherwise(campaign, figures, "the arms are out of proportion: they must not be compared")
    better = {lift.variant for lift in comparison.lifts if lift.verdict.finding is Finding.BETTER}
    worse = {lift.variant for lift in comparison.lifts if lift.verdict.finding is Finding.WORSE}
    variants = [arm.name for arm in comparison.arms if arm.name != CONTROL]
    if any(name == CONTROL for name, _ in campaign.arms):
        if shown := [name for name in variants if name in better]:
            best = max(shown, key=lambda name: _rate(figures, name))
            more = f"; of {len(shown)} that are, the one with the highest rate" if len(shown) > 1 else ""
            return Decision(best, How.EVIDENCE, f"{_said(comparison, best)}{more}", figures)
        if set(variants) <= worse:
            return Decision(CONTROL, How.EVIDENCE, "every variant is worse than no push", figures)
        return otherwise(campaign, figures, "no variant is shown to be better than no push")
    for name in variants:
        if _beats_all(comparison, name):
            return Decision(name, How.EVIDENCE, "better than every other variant", figures)
    return otherwise(campaign, figures, "no variant is shown to be better than every other")


def otherwise(campaign: Campaign, figures: Mapping[str, tuple[int, int]], why: str) -> Decision:
    """The decision for want of evidence, as it was declared."""
    assert campaign.winner is not None
    match campaign.winner.otherwise:
        case "stop":
            return Decision("", How.OTHERWISE, f"{why}: a person is to decide", figures)
        case "best" if all(figures.get(name, (0, 0))[1] for name, _ in campaign.arms):
            # Of equal rates the first in the file: the same figures give the same decision.
            best = max((name for name, _ in campaign.arms), key=lambda name: _rate(figures, name))
            return Decision(best, How.OTHERWISE, f"{why}: the highest rate, {WITHOUT_EVIDENCE}", figures)
        case "best":
            why = f"{why}, and not every arm has a conversion"
    return Decision(CONTROL, How.OTHERWISE, f"{why}: nothing goes to the remainder", figures)


def _compared(campaign: Campaign, figures: Mapping[str, tuple[int, int]]) -> Comparison:
    goal = campaign.goal
    assert goal is not None
    arms = tuple((name, Arm(*figures.get(name, (0, 0)))) for name, _ in campaign.arms)
    control = CONTROL if any(name == CONTROL for name, _ in arms) else None
    shares = tuple(share for _, share in campaign.arms)
    return compare(
        Experiment(arms, control, shares, goal.smallest_lift_percent, control_in_words="no push"), Basis.LOOK
    )


def _beats_all(comparison: Comparison, name: str) -> bool:
    """Of a test without control: each pair is compared once, in one of its two directions."""
    others = [arm.name for arm in comparison.arms if arm.name != name]
    won = {lift.against for lift in comparison.lifts if lift.variant == name and lift.verdict.finding is Finding.BETTER}
    won |= {lift.variant for lift in comparison.lifts if lift.against == name and lift.verdict.finding is Finding.WORSE}
    return bool(others) and won == set(others)


def _rate(figures: Mapping[str, tuple[int, int]], name: str) -> float:
    users, conversions = figures.get(name, (0, 0))
    return conversions / users if users else 0.0


def _said(comparison: Comparison, name: str) -> str:
    [lift] = [lift for lift in comparison.lifts if lift.variant == name]
    assert lift.relative is not None
    return f"{lift.verdict.in_words} (at any look, smallest lift {percent(comparison.smallest_lift_percent / 100)})"


def remainder_campaign(campaign: Campaign, run_id: str, arm: str) -> Campaign:
    """The campaign of the remainder's run: the winning arm and control, by the same experiment."""
    variants: tuple[Variant, ...] = ()
    if campaign.variants:
        [winner] = [one for one in campaign.variants if one.name == arm]
        # Control keeps its share, and so its users; the winner has all others.
        variants = (msgspec.structs.replace(winner, percent=100 - campaign.control_percent),)
    return msgspec.structs.replace(
        campaign,
        id=f"{campaign.id}{SUFFIX}",
        experiment=campaign.salt,
        variants=variants,
        remainder_of=run_id,
        again=False,
        not_before=None,
    )
