"""What a campaign brought about: its conversions by arm, compared, in words; and its pictures.

The figures come from `audiences.conversions`; which test is valid is decided by whether the last window is over.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from notifier.model.campaign import CONTROL, Campaign, Goal
from reporting.chi_squared import RatioVerdict
from reporting.lift_table import WHEN, from_to, lift_screen, plain_comparison, rates
from reporting.statistics.comparison import Basis, Comparison, Experiment, Lift, compare
from reporting.statistics.fixed_horizon import Arm

UNKNOWN_ALARM_SHARE = 0.2
"""A larger share of converting users who are in no row of the run is alarming: perhaps the source has other ids."""
_WIDTH, _LABEL, _ROW, _RIGHT = 1000, 190, 46, 150
_CURVE_HEIGHT, _AXIS, _LINE = 240, 62, 15
_COLOURS = ("accent", "accepted", "rejected", "failed", "held")
"""Classes of the page, one for each arm in turn; control has the last."""


class CurvePoint(msgspec.Struct, frozen=True):
    """The share of an arm's users who had converted so many hours after their own push."""

    arm: str
    hours: float
    share: float


class Outcome(msgspec.Struct, frozen=True):
    """What came of the goal. `unknown_share` (0 to 1) is of the converting users who are in no row of this run."""

    goal: Goal
    comparison: Comparison
    curve: tuple[CurvePoint, ...]
    complete_through: str | None
    unknown_share: float
    notes: tuple[str, ...]


class WinnerSeen(msgspec.Struct, frozen=True):
    """The decision on a test's winner, as people see it. `figures` are users and conversions by arm, as it saw them.

    `arm` is what goes to the remainder: `control` is nothing, and "" that nothing is decided.
    """

    state: str
    arm: str = ""
    how: str = ""
    words: str = ""
    figures: Mapping[str, tuple[int, int]] = {}
    decide_at: str | None = None
    decide_by: str | None = None
    decided_at: str | None = None
    by: str = ""
    remainder: str = ""

    @property
    def in_words(self) -> str:
        """One sentence, with its figures."""
        if not self.arm:
            when = f"; decided at {self.decide_at}" if self.decide_at and self.state == "waiting" else ""
            why = f": {self.words}" if self.words else ""
            return f"Winner: {'a person is to decide' if self.state == 'stopped' else 'not decided yet'}{why}{when}"
        sent = {"control": "nothing goes to the remainder"}.get(self.arm, f"{self.arm} goes to the remainder")
        seen = ", ".join(f"{arm} {n:,} of {users:,}" for arm, (users, n) in self.figures.items())
        figures = f" ({seen})" if seen else ""
        run = f" Run: {self.remainder}." if self.remainder else ""
        return f"Winner: {sent}, {self.words}{figures}.{run}"


def outcome_of(
    campaign: Campaign,
    counts: Mapping[str, tuple[int, int]],
    curve: Sequence[tuple[str, float, int]],
    *,
    is_final: bool,
    days: float,
    complete_through: str | None,
    unknown_share: float,
    notes: Sequence[str] = (),
) -> Outcome:
    """The outcome of a campaign with a goal.

    Args:
        counts: users and conversions by arm.
        curve: arm, hours after the push, conversions so far.
        days: since the first push.
    """
    goal = campaign.goal
    assert goal is not None
    arms = tuple((arm, Arm(*counts.get(arm, (0, 0)))) for arm, _ in campaign.arms)
    experiment = Experiment(
        arms,
        CONTROL if CONTROL in dict(arms) else None,
        tuple(share for _, share in campaign.arms),
        goal.smallest_lift_percent,
        days,
        "no push",
    )
    users = {name: arm.users for name, arm in arms}
    points = tuple(CurvePoint(arm, hours, n / users[arm]) for arm, hours, n in curve if users.get(arm))
    said = [*notes]
    if unknown_share > UNKNOWN_ALARM_SHARE:
        said.insert(
            0, f"{unknown_share:.0%} of the converting users are in no row of this run: has the source other ids?"
        )
    comparison = compare(experiment, Basis.FINAL if is_final else Basis.LOOK)
    return Outcome(goal, comparison, points, complete_through, unknown_share, tuple(said))


def sentence(lift: Lift) -> str:
    """The verdict on one variant."""
    return f"{lift.variant}: {lift.verdict.in_words}"


def plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """For JSON."""
    plain: dict[str, Any] = msgspec.to_builtins(outcome)
    return plain | {"comparison": plain_comparison(outcome.comparison)}


def outcome_screen(outcome: Outcome) -> RenderableType:
    """For the terminal: notes first, because they may make the rest worthless."""
    title = f"Goal: {outcome.goal.name}, within {outcome.goal.window_h} hours"
    through = _through(outcome)
    parts = [Text(title, style="bold"), *(Text(note, style="bold red") for note in outcome.notes)]
    return Group(*parts, lift_screen(outcome.comparison), Text(through, style="dim"))


def _through(outcome: Outcome) -> str:
    if outcome.complete_through is None:
        return "Nothing says yet up to when conversions are complete."
    return f"Conversions are complete through {outcome.complete_through[:16].replace('T', ' ')} UTC."


def section(outcome: Outcome | None, winner: WinnerSeen | None = None) -> str:
    """The part of the page; nothing for a campaign without a goal."""
    decided = f'<section class="winner"><p><b>{escape(winner.in_words)}</b></p></section>' if winner else ""
    return decided + (_goal_section(outcome) if outcome is not None else "")


def _goal_section(outcome: Outcome) -> str:
    comparison = outcome.comparison
    notes = "".join(f'<div class="note out_of_proportion">{escape(note)}</div>' for note in outcome.notes)
    verdicts = "".join(f"<p><b>{escape(sentence(lift))}</b></p>" for lift in comparison.lifts)
    when = escape(WHEN[comparison.basis])
    until = f" {escape(through)}" if (through := _through(outcome)) else ""
    return (
        f'<section class="goal"><h2>Goal: {escape(outcome.goal.name)}, within {outcome.goal.window_h} hours</h2>'
        f"{notes}{verdicts}"
        f'<div class="scroll"><div class="picture">{interval_picture(comparison)}</div></div>'
        f'<div class="scroll">{_table(comparison)}</div>'
        f'<div class="scroll"><div class="picture">{curve_picture(outcome)}</div></div>'
        f'<p class="soft">{escape(comparison.sizes.in_words)} {when}{until}</p></section>'
    )


def _table(comparison: Comparison) -> str:
    lifts = {lift.variant: lift for lift in comparison.lifts if lift.against == CONTROL}
    rows = []
    for arm in comparison.arms:
        lift = lifts.get(arm.name)
        cells = (
            arm.name,
            f"{arm.users:,}",
            f"{arm.conversions:,}",
            f"{arm.rate:.2%}" if arm.rate is not None else "–",
            rates(arm.rate_interval),
            from_to(lift.relative) if lift and lift.relative else "",
            f"{lift.p_value:.2g}" if lift and lift.p_value is not None else "",
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("arm", "users", "converted", "rate", "95 % of rate", "lift", "p"))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def interval_picture(comparison: Comparison) -> str:
    """The lifts side by side: a line from end to end of each interval, and a stroke at no difference."""
    drawn = [lift for lift in comparison.lifts if lift.relative is not None]
    if not drawn or comparison.sizes.verdict is RatioVerdict.OUT_OF_PROPORTION:
        return ""
    # An interval without an end, or far out, is cut at the edge: what matters is on which side of 0 it lies.
    ends = [abs(end) for lift in drawn if lift.relative for end in (lift.relative.low, lift.relative.high)]
    reach = max(0.1, min(1.0, max(ends)))
    middle = _LABEL + (_WIDTH - _LABEL - _RIGHT) / 2
    scale = (_WIDTH - _LABEL - _RIGHT) / 2 / reach
    height = _ROW * len(drawn) + 24
    parts = [f'<line class="mark" x1="{middle}" x2="{middle}" y1="0" y2="{height - 22}"/>']
    for n, lift in enumerate(drawn):
        assert lift.relative is not None
        y = n * _ROW + 22
        low, high = (middle + max(-reach, min(reach, end)) * scale for end in (lift.relative.low, lift.relative.high))
        kind = {"better": "accepted", "worse": "failed"}.get(lift.verdict.finding.value, "held")
        title = f"<title>{escape(sentence(lift))}</title>"
        parts.append(f'<text x="0" y="{y + 4}">{escape(lift.variant[:24])}</text>')
        parts.append(
            f'<rect class="{kind}" x="{low:.1f}" y="{y - 5}" width="{max(high - low, 2):.1f}" height="10" rx="5">'
            f"{title}</rect>"
        )
        words = from_to(lift.relative)
        parts.append(f'<text class="soft" x="{_WIDTH - _RIGHT + 8}" y="{y + 4}">{escape(words)}</text>')
    label = f'<text class="soft" x="{middle}" y="{height - 6}" text-anchor="middle">no difference</text>'
    about = "Lift of each variant, from end to end of its interval"
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{about}">{"".join(parts)}{label}</svg>'


def curve_picture(outcome: Outcome) -> str:
    """The share of each arm that has converted, by the hours since the user's own push."""
    if not outcome.curve:
        return ""
    arms = [arm.name for arm in outcome.comparison.arms]
    top = max(point.share for point in outcome.curve)
    ground, right = _CURVE_HEIGHT - 26, _WIDTH - _RIGHT
    wide, tall = (right - _AXIS) / outcome.goal.window_h, (ground - 12) / top
    parts = [
        f'<line class="grid" x1="{_AXIS}" x2="{right}" y1="{ground}" y2="{ground}"/>',
        f'<text class="soft" x="{_AXIS - 8}" y="16" text-anchor="end">{top:.2%}</text>',
        f'<text class="soft" x="{_AXIS}" y="{_CURVE_HEIGHT - 6}">0 h</text>',
        f'<text class="soft" x="{right}" y="{_CURVE_HEIGHT - 6}" text-anchor="end">{outcome.goal.window_h} h</text>',
    ]
    ends: list[tuple[float, str]] = []
    for n, arm in enumerate(arms):
        colour = _COLOURS[-1] if arm == CONTROL else _COLOURS[n % (len(_COLOURS) - 1)]
        points = [(point.hours, point.share) for point in outcome.curve if point.arm == arm]
        if not points:
            continue
        path = f"M{_AXIS},{ground}" + "".join(
            f" L{_AXIS + min(hours, outcome.goal.window_h) * wide:.1f},{ground - share * tall:.1f}"
            for hours, share in points
        )
        end = ground - points[-1][1] * tall
        parts.append(f'<path class="line {colour}" d="{path}"><title>{escape(arm)}</title></path>')
        ends.append((end, arm))
    below = float(-_LINE)
    for end, arm in sorted(ends):
        # Arms that end close together have their names one below the other.
        below = max(end + 4, below + _LINE)
        parts.append(f'<text x="{right + 8}" y="{below:.1f}">{escape(arm[:20])}</text>')
    about = "Share of each arm that has converted, by hours since the push"
    return f'<svg viewBox="0 0 {_WIDTH} {_CURVE_HEIGHT}" role="img" aria-label="{about}">{"".join(parts)}</svg>'
