"""What came of a comparison, in words that need no statistics; and why there is no verdict where there is none.

A verdict follows its interval and nothing else, so that no sentence says "better" beside an interval that has 0 in it.
"""

import enum
import math

import msgspec

from notifier.model.plurals import counted
from reporting.statistics.fixed_horizon import Arm, Interval


class Finding(enum.StrEnum):
    """What came of a comparison."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no_difference"
    """At the end: no difference of the size that was declared, in either direction."""
    NOT_SHOWN = "not_shown"
    """At the end: this many users do not show whether there is a difference."""
    NOT_YET = "not_yet"
    """Before the end: cannot tell yet."""
    OUT_OF_PROPORTION = "out_of_proportion"
    """The arms do not have their sizes: no comparison means anything."""
    NO_USERS = "no_users"
    NO_CONVERSIONS = "no_conversions"

    @property
    def is_verdict(self) -> bool:
        """Whether the question is answered."""
        return self in (Finding.BETTER, Finding.WORSE, Finding.NO_DIFFERENCE)


class Verdict(msgspec.Struct, frozen=True):
    """The finding, and its sentence."""

    finding: Finding
    in_words: str


class Situation(msgspec.Struct, frozen=True):
    """What a verdict depends on beside the intervals.

    `against` is what the variant is compared with, in words. `further_conversions` and `further_days` are how many
    more would tell, if the lift is the smallest that matters; None where this experiment has too few users for that.
    """

    against: str
    variant: Arm
    control: Arm
    is_final: bool
    is_out_of_proportion: bool
    smallest_lift: float
    further_conversions: float | None = None
    further_days: float | None = None


def verdict_of(situation: Situation, absolute: Interval | None, relative: Interval | None) -> Verdict:
    """The verdict, from the interval of the lift. The relative one is what people ask for; it may have no value."""
    if refusal := _refusal(situation):
        return refusal
    interval = relative or absolute
    assert interval is not None
    found = span(interval) if relative else _span_of_points(interval)
    if interval.low > 0:
        return Verdict(Finding.BETTER, f"better than {situation.against}: {found}")
    if interval.high < 0:
        return Verdict(Finding.WORSE, f"worse than {situation.against}: {found}")
    if not situation.is_final:
        return Verdict(Finding.NOT_YET, f"cannot tell yet ({found}): {_how_long(situation)}")
    declared = percent(situation.smallest_lift).lstrip("+")
    if relative and -situation.smallest_lift < interval.low and interval.high < situation.smallest_lift:
        return Verdict(
            Finding.NO_DIFFERENCE,
            f"no difference that matters from {situation.against}: {found}, and {declared} was declared to matter",
        )
    return Verdict(
        Finding.NOT_SHOWN, f"no difference from {situation.against} shown: {found}. Too few users to tell more"
    )


def _refusal(situation: Situation) -> Verdict | None:
    variant, control = situation.variant, situation.control
    if situation.is_out_of_proportion:
        return Verdict(Finding.OUT_OF_PROPORTION, "the arms are out of proportion: do not compare")
    if not variant.users or not control.users:
        return Verdict(Finding.NO_USERS, "nothing to compare: one of the two has no users")
    if not variant.conversions and not control.conversions:
        return Verdict(Finding.NO_CONVERSIONS, "nothing to compare: nobody converted in either")
    return None


def _how_long(situation: Situation) -> str:
    lift = f"if the lift is {percent(situation.smallest_lift)}"
    if situation.further_conversions is None:
        return f"too few users are left to tell before the end, {lift}"
    if situation.further_days is not None:
        days = max(1, math.ceil(situation.further_days))
        return f"about {counted(days, 'more day')} at this rate, {lift}"
    return f"about {counted(math.ceil(situation.further_conversions), 'more conversion')} would tell, {lift}"


def span(interval: Interval) -> str:
    """A relative lift in words, from its one end to the other."""
    if math.isinf(interval.high):
        return f"{percent(interval.low)} or more" if interval.low > 0 else f"from {percent(interval.low)} up"
    return f"between {percent(interval.low)} and {percent(interval.high)}"


def _span_of_points(interval: Interval) -> str:
    low, high = (f"{'+' if end >= 0 else '−'}{abs(end * 100):.2f}" for end in (interval.low, interval.high))
    return f"between {low} and {high} percentage points"


def percent(lift: float) -> str:
    """A lift with its sign; one decimal place below 10 %, where it may be what decides."""
    sign, size = "+" if lift >= 0 else "−", abs(lift * 100)
    return f"{sign}{size:,.1f} %" if 0 < size < 9.95 else f"{sign}{size:,.0f} %"
