"""What all pushes of a time have brought: users who got none, the holdout, against everybody else."""

from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from notifier.model.plurals import counted
from reporting.lift_table import lift_screen, plain_comparison
from reporting.statistics.comparison import Comparison

MIN_SHARE_PERCENT = 20
"""More converting users than this whom no campaign was for are worth a sentence."""


class HoldoutLift(msgspec.Struct, frozen=True):
    """The comparison, and what it is of. Times: ISO 8601, UTC."""

    goal: str
    since: str
    until: str
    runs: int
    percent: float
    version: str
    comparison: Comparison
    complete_through: str | None
    notes: tuple[str, ...] = ()


def holdout_screen(found: HoldoutLift) -> RenderableType:
    """For the terminal."""
    title = Text(f"{found.goal}: all pushes against none", style="bold")
    about = (
        f"{counted(found.runs, 'run')} from {found.since[:10]} to {found.until[:10]}, {found.percent:g} % held out "
        f"(version {found.version}). Conversions complete through: {found.complete_through or 'not known'}."
    )
    said = [Text(f"! {note}", style="yellow") for note in found.notes]
    return Group(title, Text(about, style="dim"), *said, lift_screen(found.comparison))


def plain_holdout(found: HoldoutLift) -> dict[str, Any]:
    """For JSON."""
    about: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(found, comparison=None))
    return {**about, "comparison": plain_comparison(found.comparison)}
