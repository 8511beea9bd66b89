"""A comparison of arms as a table for the terminal, and as plain values for JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reporting.chi_squared import RatioVerdict
from reporting.statistics.comparison import Basis, Comparison
from reporting.statistics.fixed_horizon import Interval
from reporting.statistics.verdict import Finding, percent, span

_STYLES = {
    Finding.BETTER: "bold green",
    Finding.WORSE: "bold red",
    Finding.OUT_OF_PROPORTION: "bold red",
}
WHEN = {
    Basis.FINAL: "Figures after the last user's window, valid once. To look earlier, as often as you like, there is "
    "the always-valid test (--look).",
    Basis.LOOK: "An early look, by the test that is valid at any look. Its intervals are wider than those at the end.",
}
"""What the figures are, by when they were taken."""


def lift_screen(comparison: Comparison) -> RenderableType:
    """Arms, lifts, and a sentence for each."""
    return Group(*_parts(comparison))


def _parts(comparison: Comparison) -> Iterator[RenderableType]:
    yield _arms(comparison)
    for lift in comparison.lifts:
        text = Text(f"{lift.variant}: ", style="bold")
        yield text.append(lift.verdict.in_words, style=_STYLES.get(lift.verdict.finding, ""))
    if comparison.sizes.verdict is not RatioVerdict.ONE_ARM:
        is_bad = comparison.sizes.verdict is RatioVerdict.OUT_OF_PROPORTION
        yield Text(comparison.sizes.in_words, style="bold red" if is_bad else "dim")
    yield Text(WHEN[comparison.basis], style="dim")
    if (n := len(comparison.lifts)) > 1:
        # Otherwise a reader who divides the figures again finds narrower intervals.
        yield Text(
            f"{n} comparisons: each interval holds at {comparison.interval_level:.1%}, so that all hold at "
            f"{comparison.level:.0%}; p-values are corrected for their number.",
            style="dim",
        )


def _arms(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("arm", overflow="fold", min_width=9)
    for name in ("users", "converted", "rate", "95 % of rate", "lift", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    lifts = {lift.variant: lift for lift in comparison.lifts}
    # Without control a variant may be in several comparisons: they are in the sentences alone.
    single = len(lifts) == len(comparison.lifts)
    for arm in comparison.arms:
        lift = lifts.get(arm.name) if single else None
        table.add_row(
            Text(arm.name),
            f"{arm.users:,}",
            f"{arm.conversions:,}",
            f"{arm.rate:.2%}" if arm.rate is not None else "–",
            rates(arm.rate_interval),
            from_to(lift.relative) if lift and lift.relative else "",
            f"{lift.p_value:.2g}" if lift and lift.p_value is not None else "",
        )
    return table


def from_to(interval: Interval) -> str:
    """A lift as it stands in a table: `−12 % to +20 %`."""
    return span(interval).removeprefix("between ").replace(" and ", " to ")


def rates(interval: Interval | None) -> str:
    """A rate from its one end to the other."""
    return f"{interval.low * 100:.2f} to {interval.high:.2%}" if interval else "–"


def plain_comparison(comparison: Comparison) -> dict[str, Any]:
    """For JSON. An interval without an upper end has null there, because JSON has no infinity."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(comparison))
    plain["sizes"]["in_words"] = comparison.sizes.in_words
    return plain


def smallest_lift_in_words(lift: float | None) -> str:
    """What an experiment of this size is likely to show at its end."""
    if lift is None:
        return "With so few users no lift is likely to be shown."
    return f"With so many users a lift of {percent(lift)} is shown four times of five, at the end."
