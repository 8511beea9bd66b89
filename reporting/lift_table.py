"""A comparison of arms as a table for the terminal, and as plain values for JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reporting.chi_squared import RatioVerdict
from reporting.lift_words import WHEN, from_to, rates
from reporting.statistics.comparison import Comparison
from reporting.statistics.verdict import Finding, percent

_STYLES = {
    Finding.BETTER: "bold green",
    Finding.WORSE: "bold red",
    Finding.OUT_OF_PROPORTION: "bold red",
}


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
