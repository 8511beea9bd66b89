"""A schedule's experiment over its whole history: each of its times is an experiment, and their evidence multiplies.

A user stays in one arm from time to time, because the experiment is the same; who gets the push a second time may
behave otherwise than the first time. Each time is therefore compared with its own control group, and nothing is pooled
but the evidence: e-values of independent days multiply, so that it may be looked at every day, for weeks.
"""

import math
from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from notifier.model.campaign import CONTROL
from notifier.model.plurals import counted
from reporting.statistics.always_valid import log_e_of, p_of, ratio_interval_of_days, together
from reporting.statistics.fixed_horizon import LEVEL, Arm, Interval, bonferroni_level
from reporting.statistics.verdict import span


class Time(msgspec.Struct, frozen=True):
    """One time of a schedule: its run, and users and conversions by arm. `note` says why there are none."""

    stamp: str
    run_id: str
    figures: dict[str, tuple[int, int]] = {}
    note: str = ""


class LiftOverDays(msgspec.Struct, frozen=True):
    """A variant against control, over all times. `p_value` is valid at any look, and corrected for the variants."""

    variant: str
    times: int
    relative: Interval
    p_value: float
    in_words: str


class OverDays(msgspec.Struct, frozen=True):
    """A schedule's experiment: its times, the oldest first, and what they say together."""

    schedule: str
    smallest_lift_percent: float
    times: tuple[Time, ...]
    lifts: tuple[LiftOverDays, ...]


def over_days(schedule: str, times: Sequence[Time], smallest_lift_percent: float) -> OverDays:
    """What the times say together."""
    names = dict.fromkeys(name for one in times for name in one.figures if name != CONTROL)
    ratio = 1 + smallest_lift_percent / 100
    level = bonferroni_level(len(names), LEVEL)
    lifts = tuple(_lift(name, times, ratio, level, len(names)) for name in names)
    return OverDays(schedule, smallest_lift_percent, tuple(times), lifts)


def _lift(name: str, times: Sequence[Time], ratio: float, level: float, comparisons: int) -> LiftOverDays:
    days = [
        (Arm(*one.figures[name]), Arm(*one.figures[CONTROL]))
        for one in times
        if name in one.figures and CONTROL in one.figures
    ]
    days = [(variant, control) for variant, control in days if variant.users and control.users]
    logs = [log_e_of(variant, control, ratio) for variant, control in days]
    # After each time there was a look: the largest product so far counts.
    looks = [together(logs[: n + 1]) for n in range(len(logs))]
    found = ratio_interval_of_days(days, ratio, level)
    relative = Interval(found.low - 1, found.high - 1)
    words = span(relative) if not (relative.low <= -1 and math.isinf(relative.high)) else "nothing is known yet"
    if relative.low > 0:
        said = f"better than no push: {words}"
    elif relative.high < 0:
        said = f"worse than no push: {words}"
    else:
        said = f"cannot tell yet ({words})"
    over = f"{said}, over {counted(len(days), 'time')}"
    return LiftOverDays(name, len(days), relative, min(1.0, p_of(looks) * comparisons), over)


def days_screen(found: OverDays) -> RenderableType:
    """For the terminal."""
    table = Table(box=None, pad_edge=False)
    arms = list(dict.fromkeys(name for one in found.times for name in one.figures))
    for column in ("time", *arms, ""):
        table.add_column(column)
    for one in found.times:
        cells = [f"{one.figures[arm][1]:,} of {one.figures[arm][0]:,}" if arm in one.figures else "" for arm in arms]
        table.add_row(one.stamp, *cells, Text(one.note))
    title = Text(f"{found.schedule}: {counted(len(found.times), 'time')}, conversions of users", style="bold")
    verdicts = [Text(f"{lift.variant}: {lift.in_words} (p {lift.p_value:.2g}, at any look)") for lift in found.lifts]
    return Group(title, table, *verdicts)
