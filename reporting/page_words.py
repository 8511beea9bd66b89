"""A comparison of arms for readers of pages, who know campaigns and no statistics: shares, chance, sizes.

The figures are those of the report; what a p-value says is said as "so many of 100". The terminal shows the figures
themselves (`lift_words`, `lift_table`).
"""

from notifier.model.campaign import CONTROL
from reporting.chi_squared import RatioCheck, RatioVerdict
from reporting.lift_words import from_to
from reporting.statistics.comparison import Basis, Comparison, Lift
from reporting.statistics.fixed_horizon import Interval
from reporting.statistics.verdict import Finding

HEAD = ("variant", "users", "converted", "of all", "likely between", "against no push", "by chance alone")
HEAD_WORDS = (
    "“Likely between”: of 100 such ranges 95 hold the true share. “By chance alone”: how often so large a difference "
    "would be seen if the pushes had no effect at all."
)
"""What two of the columns mean."""
WHEN = {
    Basis.FINAL: "These figures are final: everybody's time to convert was over when they were counted.",
    Basis.LOOK: "An early look: not everybody's time to convert is over. Look as often as you like, for what is said "
    "here holds at every look; it is less exact than it will be at the end.",
}
"""When the figures were taken, and what that means."""
_CHANCE = 0.01
"""Less often than this, it is said as once in so many."""
_LEAST = 1e-6
"""Less often than this, no number says more."""
_USUAL = 0.5
"""At least as often as not: a bound of a look may be 1, which as a number would only puzzle."""


def share_in_words(share: float) -> str:
    """A share in percent with one decimal place, below 1 % with two: small ones differ there."""
    percent = share * 100
    return f"{percent:.2f} %" if 0 < percent < 0.995 else f"{percent:.1f} %"


def often(p_value: float) -> str:
    """How often something happens by chance: `3 of 100`."""
    if p_value < _LEAST:
        return "less than 1 of 1,000,000"
    return f"1 of {round(1 / p_value):,}" if p_value < _CHANCE else f"{round(p_value * 100)} of 100"


def _bound(p_value: float, basis: Basis) -> str:
    """How often at this look; of an early one how often at any look, at most."""
    at_most = "at most " if basis is Basis.LOOK and p_value >= _LEAST else ""
    return f"{at_most}{often(p_value)}"


def chance_in_words(lift: Lift, basis: Basis) -> str:
    """Whether a difference may be chance; "" where nothing was compared.

    It follows the verdict, as the verdict follows its interval: no sentence calls a difference chance beside one that
    calls it better.
    """
    if lift.p_value is None:
        return ""
    if lift.p_value >= _USUAL:
        return "It may be chance: such a difference is nothing unusual without any effect."
    look = "at some look in " if basis is Basis.LOOK else "in "
    likely = "Probably not chance" if lift.verdict.finding in (Finding.BETTER, Finding.WORSE) else "It may be chance"
    return (
        f"{likely}: such a difference would be seen {look}{_bound(lift.p_value, basis)} campaigns without any effect."
    )


def sizes_in_words(check: RatioCheck) -> str:
    """Whether the arms have the sizes that were asked for, and so may be compared."""
    match check.verdict:
        case RatioVerdict.IN_PROPORTION:
            return "The groups have the sizes that were asked for: they can be compared."
        case RatioVerdict.OUT_OF_PROPORTION if check.p_value is not None:
            return (
                "The groups do NOT have the sizes that were asked for: chance alone makes such a difference in "
                f"{often(check.p_value)} campaigns. Something removed users from one group rather than another: "
                "do not compare them before it is found."
            )
        case _:
            return check.in_words


def table_rows(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    """The figures of each arm as texts, in the order of `HEAD`."""
    lifts = {lift.variant: lift for lift in comparison.lifts if lift.against == CONTROL}
    return tuple(
        (
            arm.name,
            f"{arm.users:,}",
            f"{arm.conversions:,}",
            share_in_words(arm.rate) if arm.rate is not None else "–",
            _likely(arm.rate_interval),
            from_to(lift.relative) if (lift := lifts.get(arm.name)) and lift.relative else "",
            _bound(lift.p_value, comparison.basis) if lift and lift.p_value is not None else "",
        )
        for arm in comparison.arms
    )


def _likely(interval: Interval | None) -> str:
    return f"{share_in_words(interval.low)} to {share_in_words(interval.high)}" if interval else "–"
