"""Intervals and tests that are valid once: when the last user's window is over. An earlier look needs `always_valid`.

Reasons for the methods: Newcombe's interval keeps its level where the textbook's (Wald) does not, with few conversions;
MOVER-R makes the relative lift of the same limits, so that the two hardly ever disagree about significance.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec

LEVEL = 0.95
"""The level of an interval when nothing else is asked for."""
_NORMAL = NormalDist()


class Arm(msgspec.Struct, frozen=True):
    """One arm: users, each counted once, and those of them with at least one conversion in their window."""

    users: int
    conversions: int

    @property
    def rate(self) -> float:
        """The share of users who converted. An arm without users has none."""
        return self.conversions / self.users


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high`."""

    low: float
    high: float

    def has(self, value: float) -> bool:
        """Whether a value is within."""
        return self.low <= value <= self.high


def normal_quantile(probability: float) -> float:
    """z: a standard normal value is below it with this probability."""
    return _NORMAL.inv_cdf(probability)


def two_sided_p(z: float) -> float:
    """How often chance alone makes a standard normal value at least this far from 0."""
    # erfc keeps its precision far out, where 1 - cdf would be 0.
    return math.erfc(abs(z) / math.sqrt(2))


def wilson(arm: Arm, level: float = LEVEL) -> Interval:
    """Wilson's score interval of one arm's rate. Wilson 1927, J. Am. Stat. Assoc. 22:209."""
    n, z = arm.users, normal_quantile((1 + level) / 2)
    middle = (arm.rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(arm.rate * (1 - arm.rate) / n + z * z / (4 * n * n))
    # Exactly 0 and 1 at the borders: rounding would leave a rate that is outside of its own interval.
    low = 0.0 if arm.conversions == 0 else max(middle - half, 0.0)
    return Interval(low, 1.0 if arm.conversions == n else min(middle + half, 1.0))


def absolute_lift(variant: Arm, control: Arm, level: float = LEVEL) -> Interval:
    """The difference of the rates. Newcombe's hybrid score interval: Stat. Med. 17:873 (1998), method 10."""
    ours, theirs = wilson(variant, level), wilson(control, level)
    difference = variant.rate - control.rate
    return Interval(
        difference - math.hypot(variant.rate - ours.low, theirs.high - control.rate),
        difference + math.hypot(ours.high - variant.rate, control.rate - theirs.low),
    )


def relative_lift(variant: Arm, control: Arm, level: float = LEVEL) -> Interval | None:
    """The ratio of the rates, minus 1. MOVER-R on Wilson's limits: Donner and Zou, Stat. Methods Med. Res. 21:347.

    None where nobody in the control group converted: a ratio to nothing has no meaning.
    """
    if control.conversions == 0:
        return None
    ours, theirs = wilson(variant, level), wilson(control, level)
    product = variant.rate * control.rate

    def both(own: float, other: float) -> tuple[float, float, float]:
        mine = own * (2 * variant.rate - own)
        its = other * (2 * control.rate - other)
        # The root is of 0 in exact arithmetic where both are at their estimates; rounding may leave it negative.
        return mine, its, math.sqrt(max(product * product - mine * its, 0.0))

    mine, _, root = both(ours.low, theirs.high)
    # The textbook's (product - root) / its, expanded: `its` is 0 where the limit is twice the rate.
    low = mine / (product + root) if mine > 0 else 0.0
    _, its, root = both(ours.high, theirs.low)
    high = (product + root) / its
    return Interval(low - 1, high - 1)


def pooled_z(variant: Arm, control: Arm) -> float:
    """z of the two-proportion test with a pooled rate: its square is chi-squared without continuity correction.

    0 where nobody or everybody converted: the arms do not differ.
    """
    users = variant.users + control.users
    pooled = (variant.conversions + control.conversions) / users
    variance = pooled * (1 - pooled) * (1 / variant.users + 1 / control.users)
    return (variant.rate - control.rate) / math.sqrt(variance) if variance else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the given order. Holm, Scand. J. Stat. 6:65 (1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    # The smallest p is multiplied by their number, the next by one less; none may fall below the one before it.
    for rank, n in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min((len(p_values) - rank) * p_values[n], 1.0))
        adjusted[n] = largest
    return adjusted


def bonferroni_level(comparisons: int, level: float = LEVEL) -> float:
    """The level of each of several intervals that hold together at `level`. Holm's correction has no intervals."""
    return 1 - (1 - level) / max(comparisons, 1)
