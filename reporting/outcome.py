"""What a campaign brought about: its conversions by arm, compared, in words; and who won a test.

The figures come from `audiences.conversions`; which test is valid is decided by whether the last window is over.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from notifier.model.campaign import CONTROL, Campaign, Goal
from notifier.model.conversion_counts import ConversionCounts
from reporting.statistics.comparison import Basis, Comparison, Experiment, Lift, compare
from reporting.statistics.fixed_horizon import Arm

DAY_S = 86_400
UNKNOWN_ALARM_SHARE = 0.2
"""A larger share of converting users who are in no row of the run is alarming: perhaps the source has other ids."""


class CurvePoint(msgspec.Struct, frozen=True):
    """The share of an arm's users who had converted so many hours after their own push."""

    arm: str
    hours: float
    share: float


class Outcome(msgspec.Struct, frozen=True):
    """What came of the goal. `unknown_share` (0 to 1) is of the converting users who are in no row of this run."""

    goal: Goal
    comparison: Comparison
    curve: tuple[CurvePoint, ...]
    complete_through: str | None
    unknown_share: float
    notes: tuple[str, ...]


class WinnerSeen(msgspec.Struct, frozen=True):
    """The decision on a test's winner, as people see it. `figures` are users and conversions by arm, as it saw them.

    `arm` is what goes to the remainder: `control` is nothing, and "" that nothing is decided.
    """

    state: str
    arm: str = ""
    how: str = ""
    words: str = ""
    figures: Mapping[str, tuple[int, int]] = {}
    decide_at: str | None = None
    decide_by: str | None = None
    decided_at: str | None = None
    by: str = ""
    remainder: str = ""

    @property
    def in_words(self) -> str:
        """One sentence, with its figures."""
        if not self.arm:
            when = f"; decided at {self.decide_at}" if self.decide_at and self.state == "waiting" else ""
            why = f": {self.words}" if self.words else ""
            return f"Winner: {'a person is to decide' if self.state == 'stopped' else 'not decided yet'}{why}{when}"
        sent = {"control": "nothing goes to the remainder"}.get(self.arm, f"{self.arm} goes to the remainder")
        seen = ", ".join(f"{arm} {n:,} of {users:,}" for arm, (users, n) in self.figures.items())
        figures = f" ({seen})" if seen else ""
        run = f" Run: {self.remainder}." if self.remainder else ""
        return f"Winner: {sent}, {self.words}{figures}.{run}"


def outcome_of(
    campaign: Campaign,
    counts: Mapping[str, tuple[int, int]],
    curve: Sequence[tuple[str, float, int]],
    *,
    is_final: bool,
    days: float,
    complete_through: str | None,
    unknown_share: float,
    notes: Sequence[str] = (),
) -> Outcome:
    """The outcome of a campaign with a goal.

    Args:
        counts: users and conversions by arm.
        curve: arm, hours after the push, conversions so far.
        days: since the first push.
    """
    goal = campaign.goal
    assert goal is not None
    arms = tuple((arm, Arm(*counts.get(arm, (0, 0)))) for arm, _ in campaign.arms)
    experiment = Experiment(
        arms,
        CONTROL if CONTROL in dict(arms) else None,
        tuple(share for _, share in campaign.arms),
        goal.smallest_lift_percent,
        days,
        "no push",
    )
    users = {name: arm.users for name, arm in arms}
    points = tuple(CurvePoint(arm, hours, n / users[arm]) for arm, hours, n in curve if users.get(arm))
    said = [*notes]
    if unknown_share > UNKNOWN_ALARM_SHARE:
        said.insert(
            0,
            f"{unknown_share * 100:.0f} % of the converting users are in no row of this run: has the source other ids?",
        )
    comparison = compare(experiment, Basis.FINAL if is_final else Basis.LOOK)
    return Outcome(goal, comparison, points, complete_through, unknown_share, tuple(said))


def outcome_of_counts(campaign: Campaign, found: ConversionCounts, counted_at_s: float, *, is_over: bool) -> Outcome:
    """The outcome of a campaign with a goal by counted conversions. First its notes, where they are not to be trusted.

    Args:
        is_over: of its run. Of one that goes on later, as a paused one, the last window has not begun.
    """
    notes = [f"{found.changed}."] if found.changed else []
    if found.unreadable:
        notes.append(f"{found.unreadable:,} conversions have a time that cannot be read, and are left out.")
    began_s = datetime.fromisoformat(found.first_at).timestamp()
    return outcome_of(
        campaign,
        found.figures,
        [(point.arm, point.hours, point.conversions) for point in found.curve],
        is_final=found.is_final and is_over,
        days=max(0.0, counted_at_s - began_s) / DAY_S,
        complete_through=found.complete_through,
        unknown_share=found.unknown_share,
        notes=notes,
    )


def sentence(lift: Lift) -> str:
    """The verdict on one variant."""
    return f"{lift.variant}: {lift.verdict.in_words}"


def through(outcome: Outcome) -> str:
    """Up to when its figures are complete."""
    if outcome.complete_through is None:
        return "Nothing says yet up to when conversions are complete."
    return f"Conversions are complete through {outcome.complete_through[:16].replace('T', ' ')} UTC."
