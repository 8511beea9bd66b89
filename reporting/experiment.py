"""What came of a campaign's goal: on the terminal, as JSON, and in the report's page."""

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from reporting.lift_table import lift_screen, plain_comparison
from reporting.lift_words import HEAD, table_rows
from reporting.outcome import Outcome, WinnerSeen, sentence, through
from reporting.page_words import WHEN
from reporting.pictures import SLIM, WIDE, curve_picture, interval_picture
from reporting.statistics.comparison import Comparison


def plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """For JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(outcome)
    return plain | {"comparison": plain_comparison(outcome.comparison)}


def outcome_screen(outcome: Outcome) -> RenderableType:
    """For the terminal: notes first, because they may make the rest worthless."""
    title = f"Goal: {outcome.goal.name}, within {outcome.goal.window_h} hours"
    parts = [Text(title, style="bold"), *(Text(note, style="bold red") for note in outcome.notes)]
    return Group(*parts, lift_screen(outcome.comparison), Text(through(outcome), style="dim"))


def section(outcome: Outcome | None, winner: WinnerSeen | None = None) -> str:
    """The part of the page; nothing for a campaign without a goal."""
    decided = f'<section class="winner"><p><b>{escape(winner.in_words)}</b></p></section>' if winner else ""
    return decided + (_goal_section(outcome) if outcome is not None else "")


def _goal_section(outcome: Outcome) -> str:
    comparison = outcome.comparison
    notes = "".join(f'<div class="note out_of_proportion">{escape(note)}</div>' for note in outcome.notes)
    verdicts = "".join(f"<p><b>{escape(sentence(lift))}</b></p>" for lift in comparison.lifts)
    when = escape(WHEN[comparison.basis])
    until = f" {escape(words)}" if (words := through(outcome)) else ""
    return (
        f'<section class="goal"><h2>Goal: {escape(outcome.goal.name)}, within {outcome.goal.window_h} hours</h2>'
        f"{notes}{verdicts}"
        f"{_drawn(partial(interval_picture, comparison), 'lifts')}"
        f'<div class="scroll">{_table(comparison)}</div>'
        f"{_drawn(partial(curve_picture, outcome), 'curve')}"
        f'<p class="soft">{escape(comparison.sizes.in_words)} {when}{until}</p></section>'
    )


def _drawn(picture: Callable[[int, str], str], name: str) -> str:
    """A picture for a desk and one for a phone, of which the page shows one: the large one made small is not read."""
    return (
        f'<div class="scroll"><div class="picture wide">{picture(WIDE, name)}</div></div>'
        f'<div class="picture slim">{picture(SLIM, f"{name}-slim")}</div>'
    )


def _table(comparison: Comparison) -> str:
    rows = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table_rows(comparison))
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"
