"""`lift --sums`: arms compared by means, as revenue a user, from six sums each."""

import csv
import math
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.table import Table

from operations.cli.errors import CommandError, ExitCode
from operations.cli.options import console, print_json
from reporting.statistics.fixed_horizon import Interval, bonferroni_level, holm
from reporting.statistics.means import Sums, cuped, welch

_CONTROL = "control"
_NEEDED, _BEFORE = ("arm", "users", "y", "yy"), ("x", "xx", "xy")
_LIKE = f"a first line {','.join((*_NEEDED, *_BEFORE))} and one for each arm; one of them is {_CONTROL}"
_OVER_ALL = "give sums over all users of each arm: yy of the squares of y, xx of those of x, xy of the products"


class MeanOfArm(msgspec.Struct, frozen=True):
    """One arm; the lift is against control, in units of y. `p_value` is corrected for the number of variants."""

    arm: str
    users: int
    mean: float
    lift: float | None = None
    interval: Interval | None = None
    p_value: float | None = None


def lift_of_sums(path: Path, *, as_json: bool) -> bool:
    """Print the comparison. Returns whether some variant differs from control."""
    arms, has_before = _read(path)
    names = [name for name in arms if name != _CONTROL]
    sums = dict(zip(arms, cuped(list(arms.values())), strict=True)) if has_before else arms
    level = bonferroni_level(len(names))
    try:
        lifts = {name: welch(sums[name], sums[_CONTROL], level) for name in names}
    except ValueError as error:
        raise CommandError(ExitCode.USAGE, f"{path}: {error}", _OVER_ALL) from None
    corrected = dict(zip(names, holm([lifts[name].p_value for name in names]), strict=True))
    found = [MeanOfArm(_CONTROL, arms[_CONTROL].users, sums[_CONTROL].mean)]
    found += [
        MeanOfArm(name, arms[name].users, sums[name].mean, one.difference, one.interval, corrected[name])
        for name, one in lifts.items()
    ]
    if as_json:
        print_json({"arms": msgspec.to_builtins(found), "cuped": has_before, "interval_level": level})
    else:
        _print(found, has_before=has_before)
    return any(one.interval is not None and not one.interval.has(0.0) for one in found)


def _read(path: Path) -> tuple[dict[str, Sums], bool]:
    try:
        # Excel begins a file in UTF-8 with a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        raise CommandError(ExitCode.USAGE, f"{path}: cannot be read as CSV", _LIKE) from None
    if lacking := [name for name in _NEEDED if not rows or name not in rows[0]]:
        raise CommandError(ExitCode.USAGE, f"{path}: no column {', '.join(lacking)}, or another separator", _LIKE)
    has_before = bool(rows) and set(_BEFORE) <= rows[0].keys()
    arms = {str(row.get("arm", "")).strip(): _sums(path, row, has_before=has_before) for row in rows}
    if _CONTROL not in arms or len(arms) < 2 or len(arms) != len(rows):
        raise CommandError(ExitCode.USAGE, f"{path}: not a control group and variants, each once", _LIKE)
    return arms, has_before


def _sums(path: Path, row: dict[str, Any], *, has_before: bool) -> Sums:
    where = f"{path}: {row.get('arm')}"
    try:
        values = [float(row[name]) for name in ("y", "yy", *(_BEFORE if has_before else ()))]
        sums = Sums(int(row["users"]), *values)
    except (KeyError, TypeError, ValueError):
        raise CommandError(ExitCode.USAGE, f"{where}: not numbers", _LIKE) from None
    if not all(map(math.isfinite, values)):
        raise CommandError(ExitCode.USAGE, f"{where}: not numbers", _LIKE)
    # Before anything is divided by it.
    if sums.users < 2:
        raise CommandError(ExitCode.USAGE, f"{where}: an arm needs two users at least", _OVER_ALL)
    if not sums.is_possible:
        raise CommandError(ExitCode.USAGE, f"{where}: no {sums.users:,} users can have these sums", _OVER_ALL)
    return sums


def _print(found: list[MeanOfArm], *, has_before: bool) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("arm", "users", "mean", "lift", "interval", "p"):
        table.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
    for one in found:
        shown = [one.arm, f"{one.users:,}", f"{one.mean:,.4g}"]
        if one.lift is not None and one.interval is not None:
            shown += [
                f"{one.lift:+,.4g}",
                f"{one.interval.low:+,.4g} to {one.interval.high:+,.4g}",
                f"{one.p_value:.2g}",
            ]
        table.add_row(*shown)
    console().print(table)
    how = "what users did before is taken out (CUPED), so that means differ a little from the plain ones. "
    words = f"Means a user, Welch's test; {how if has_before else ''}Valid once, after the last user's window."
    console().print(words, style="dim", markup=False)
