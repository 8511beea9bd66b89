"""Pictures of what came of a goal, as SVG: intervals side by side, and conversions over time by arm.

Each has a title and a description that says in words what it shows; the figures themselves are in the table beneath.
Nothing is said by a colour alone: a line has its dashes and a sample of it by its name, a cut bar ends in a point.
Colours are classes of the page that shows it, because its rules forbid styles in the markup.
"""

from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import NamedTuple

from notifier.model.campaign import CONTROL
from reporting.chi_squared import RatioVerdict
from reporting.lift_words import from_to
from reporting.outcome import Outcome, sentence
from reporting.page_words import share_in_words
from reporting.statistics.comparison import Comparison, Lift
from reporting.statistics.verdict import percent

WIDE, SLIM = 1000, 340
"""Units of width. Text has the same size in both, so that a phone's picture is not the large one made small."""
_ROW, _FOOT, _LINE, _HEIGHT = 52, 26, 15, 240
_COLOURS = ("accent", "accepted", "rejected", "failed", "held")
"""Classes of the page, one for each arm in turn; control has the last. Each has dashes of its own, too."""
_POINT = 9
"""Length of the point in which a bar ends that goes on beyond the picture."""
_SAMPLE = 22
"""Length of the sample of a line by its name."""
_CUT = "A bar that ends in a point goes on beyond the picture; the figures over it are whole."
_LETTER = 7
"""About the width of a letter."""


def interval_picture(comparison: Comparison, width: int = WIDE, name: str = "lifts") -> str:
    """The lifts side by side: a bar from end to end of each interval, and a line at no difference.

    Args:
        name: begins the ids in it, which must be the only ones of the page.
    """
    drawn = [lift for lift in comparison.lifts if lift.relative is not None]
    if not drawn or comparison.sizes.verdict is RatioVerdict.OUT_OF_PROPORTION:
        return ""
    # An interval without an end, or far out, is cut at the edge: what matters is on which side of 0 it lies. Its end
    # near 0 is never cut, or nothing of it would be seen.
    ends = [sorted((abs(lift.relative.low), abs(lift.relative.high))) for lift in drawn if lift.relative]
    reach = max(0.1, min(max(1.0, *(2 * near for near, _ in ends)), max(far for _, far in ends)))
    ground = _ROW * len(drawn)
    middle, scale = width / 2, (width / 2 - 8) / reach
    cut = any(_is_cut(lift, reach) for lift in drawn)
    parts = [
        f'<line class="mark" x1="{middle}" x2="{middle}" y1="24" y2="{ground + 4}"/>',
        f'<text class="soft" x="{middle}" y="{ground + 20}" text-anchor="middle">no difference</text>',
        # Nothing falls by more than everything.
        f'<text class="soft" x="0" y="{ground + 20}">{percent(-reach) if reach <= 1 else ""}</text>',
        f'<text class="soft" x="{width}" y="{ground + 20}" text-anchor="end">{percent(reach)}</text>',
    ]
    for n, lift in enumerate(drawn):
        parts += _interval(lift, n * _ROW, middle, scale, width)
    about = " ".join(f"{sentence(lift)}." for lift in drawn)
    foot = ground + _FOOT
    if cut:
        about += f" {_CUT}"
        for words in wrap(f"▸ {_CUT}", width // _LETTER):
            foot += _LINE
            parts.append(f'<text class="soft" x="0" y="{foot - 4}">{words}</text>')
    return _svg(name, width, foot, "Lift of each variant, from end to end of its interval", about, parts)


def _is_cut(lift: Lift, reach: float) -> bool:
    """Whether the picture has no room for all of its interval."""
    return lift.relative is not None and (lift.relative.high > reach or lift.relative.low < -reach)


def _interval(lift: Lift, top: int, middle: float, scale: float, width: int) -> list[str]:
    """One lift: its name, its interval in words, and its bar beneath both."""
    assert lift.relative is not None
    half = width / 2 - 8
    low, high = (middle + max(-half, min(half, end * scale)) for end in (lift.relative.low, lift.relative.high))
    kind = {"better": "accepted", "worse": "failed"}.get(lift.verdict.finding.value, "held")
    words = from_to(lift.relative)
    # The words are never cut: they are the figures.
    room = max(4, width // _LETTER - len(words) - 2)
    bar = f'<rect class="{kind}" x="{low:.1f}" y="{top + 26}" width="{max(high - low, 2):.1f}" height="10" rx="5">'
    points = []
    # Where it is cut its end is a point in place of a round one: an arrow to what there is no room for.
    if lift.relative.high * scale > half:
        points.append(_point(kind, high - _POINT, width, top + 31))
    if lift.relative.low * scale < -half:
        points.append(_point(kind, low + _POINT, 0, top + 31))
    return [
        f'<text x="0" y="{top + 16}">{escape(_short(lift.variant, room))}</text>',
        f'<text class="soft" x="{width}" y="{top + 16}" text-anchor="end">{escape(words)}</text>',
        f"{bar}<title>{escape(sentence(lift))}</title></rect>",
        *points,
    ]


def _point(kind: str, x: float, tip: float, y: float) -> str:
    """The end of a bar that is cut, wider than the bar."""
    title = "<title>it goes on beyond the picture</title>"
    return f'<polygon class="{kind} cut" points="{x:.1f},{y - 10} {tip:.1f},{y} {x:.1f},{y + 10}">{title}</polygon>'


def curve_picture(outcome: Outcome, width: int = WIDE, name: str = "curve") -> str:
    """The share of each arm that has converted, by the hours since the user's own push."""
    if not outcome.curve:
        return ""
    arms = [arm.name for arm in outcome.comparison.arms]
    top, hours = max(point.share for point in outcome.curve), outcome.goal.window_h
    left, right, ground = 52, width - min(190, width // 3), _HEIGHT - _FOOT
    wide, tall = (right - left) / hours, (ground - 12) / top
    parts = _axes(left, right, ground, top, hours)
    ends: list[_End] = []
    said: list[str] = []
    for n, arm in enumerate(arms):
        points = [(point.hours, point.share) for point in outcome.curve if point.arm == arm]
        if not points:
            continue
        path = f"M{left},{ground}" + "".join(
            f" L{left + min(at, hours) * wide:.1f},{ground - share * tall:.1f}" for at, share in points
        )
        colour = _COLOURS[-1] if arm == CONTROL else _COLOURS[n % (len(_COLOURS) - 1)]
        parts.append(f'<path class="line {colour}" d="{path}"><title>{escape(arm)}</title></path>')
        at, share = points[-1]
        ends.append(_End(ground - share * tall, left + min(at, hours) * wide, arm, colour))
        said.append(f"{arm} {share_in_words(points[-1][1])} after {points[-1][0]:.0f} hours")
    parts += _names(ends, right + 8, width)
    about = f"{'; '.join(said)}."
    title = "Share of each arm that has converted, by hours since the push"
    return _svg(name, width, _HEIGHT, title, about, parts)


def _axes(left: float, right: float, ground: float, top: float, hours: int) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = ground - (ground - 12) * share
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if share:
            words = share_in_words(top * share)
            parts.append(f'<text class="soft" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x, at = left + (right - left) * share, f"{hours * share:g} h"
        parts.append(f'<text class="soft" x="{x:.1f}" y="{ground + 18}" text-anchor="{anchor}">{at}</text>')
    return parts


class _End(NamedTuple):
    """Where the line of an arm ends."""

    y: float
    x: float
    arm: str
    colour: str


def _names(ends: Sequence[_End], x: float, width: int) -> list[str]:
    """The key: each arm's name, with a sample of its line, beside the line's end; close ones one below the other."""
    parts, below = [], float(-_LINE)
    begins = x + _SAMPLE + 6
    letters = int(width - begins) // _LETTER
    for end in sorted(ends):
        below = max(end.y + 4, below + _LINE)
        y = below - 4
        # A thin line leads there: of names below each other it says which is whose.
        parts.append(f'<line class="grid" x1="{end.x:.1f}" y1="{end.y:.1f}" x2="{x}" y2="{y:.1f}"/>')
        parts.append(f'<path class="line {end.colour}" d="M{x},{y:.1f} h{_SAMPLE}"/>')
        parts.append(f'<text x="{begins}" y="{below:.1f}">{escape(_short(end.arm, letters))}</text>')
    return parts


def _svg(name: str, width: int, height: float, title: str, about: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{escape(about)}</desc>{"".join(parts)}</svg>'
    )


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: max(1, letters - 1)]}…"
