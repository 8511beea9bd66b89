"""Prints the catalogue as a table, and a line for each fault that was played."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox.faults.scenario import Scenario
from sandbox.faults.stage import Played, Stage


def list_scenarios(every: Iterable[Scenario], console: Console) -> None:
    """Print the names, what breaks, and what is expected."""
    table = Table(title="Faults (python -m sandbox run FILE --faults NAME)", title_justify="left")
    for name in ("name", "what breaks", "what is expected"):
        table.add_column(name)
    for scenario in every:
        table.add_row(scenario.name, scenario.breaks, scenario.expects)
    console.print(table)


def play_all(chosen: Sequence[Scenario], state_dir: Path, console: Console, *, users: int | None, hurried: bool) -> int:
    """Play them one after the other. Returns the exit code: 0 only if every promise was kept in all of them."""
    began = time.monotonic()
    good = 0
    with Stage.open(state_dir, hurried=hurried) as stage:
        for scenario in chosen:
            played = stage.play(scenario, users=users)
            if played.is_good:
                good += 1
            print_played(scenario, played, console)
    colour = "green" if good == len(chosen) else "red"
    took_s = time.monotonic() - began
    console.print(
        f"[{colour}]{good} of {len(chosen)} faults kept every promise[/], in {took_s:.0f} s; logs in {state_dir}"
    )
    return 0 if good == len(chosen) else 1


def print_played(scenario: Scenario, played: Played, console: Console) -> None:
    """One line, and one more for each promise that was not kept."""
    report, reached = played.report, played.reached
    sign = "[green]kept[/]  " if played.is_good else "[red]BROKEN[/]"
    console.print(
        f"{sign} {scenario.name:<34} {played.took_s:>6.1f} s  {report['status']:<9} devices {report['devices']:>7,}"
        f"  hops {report['hops']:>2}  struck {played.struck:>4,}  requests {reached.requests:>8,}"
        f"  accepted twice {reached.accepted_again:>5,} of possibly {report['possibly_repeated']:>6,}",
        soft_wrap=True,
        highlight=False,
    )
    for promise in played.broken:
        console.print(f"       not so: {promise}", soft_wrap=True, markup=False, highlight=False)
