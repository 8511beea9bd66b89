"""Lifts and rates as texts of a table, and what a comparison's figures are."""

from notifier.model.campaign import CONTROL
from reporting.statistics.comparison import Basis, Comparison
from reporting.statistics.fixed_horizon import Interval
from reporting.statistics.verdict import span

WHEN = {
    Basis.FINAL: "Figures after the last user's window, valid once. To look earlier, as often as you like, there is "
    "the always-valid test (--look).",
    Basis.LOOK: "An early look, by the test that is valid at any look. Its intervals are wider than those at the end.",
}
"""What the figures are, by when they were taken."""


def from_to(interval: Interval) -> str:
    """A lift as it stands in a table: `−12 % to +20 %`."""
    return span(interval).removeprefix("between ").replace(" and ", " to ")


def rates(interval: Interval | None) -> str:
    """A rate from its one end to the other."""
    return f"{interval.low * 100:.2f} to {interval.high:.2%}" if interval else "–"


HEAD = ("arm", "users", "converted", "rate", "95 % of rate", "lift", "p")


def table_rows(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    """The figures of each arm as texts, in the order of `HEAD`."""
    lifts = {lift.variant: lift for lift in comparison.lifts if lift.against == CONTROL}
    return tuple(
        (
            arm.name,
            f"{arm.users:,}",
            f"{arm.conversions:,}",
            f"{arm.rate:.2%}" if arm.rate is not None else "–",
            rates(arm.rate_interval),
            from_to(lift.relative) if (lift := lifts.get(arm.name)) and lift.relative else "",
            f"{lift.p_value:.2g}" if lift and lift.p_value is not None else "",
        )
        for arm in comparison.arms
    )
