"""The report's pictures as SVG, which needs no script and no network. Colours are the page's classes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from notifier.model.plurals import counted
from reporting.figures import ArmReport, Bar

WIDTH = 1000
OUTCOMES = ("accepted", "rejected", "failed", "held")
_ROW = 46
_BAR = 30
_OVERHANG = 5
"""Of the stroke that marks an expected length, over and under the bar."""
_LABEL = 190
"""Width of the arms' names, left of the bars."""
_RIGHT = 120
"""Width of the users, right of the bars."""
_MIN_WIDTH = 0.8
"""A smaller part of a bar would be invisible."""
_TIME_LINE_HEIGHT = 240
_AXIS_WIDTH = 62
_AXIS_HEIGHT = 26
_TOP = 12
_MIN_BARS = 8
"""Room for so many bars is always left, so that a short run does not look like one block."""
_TIMES = 6
_TIME_WIDTH = 56
"""Of a clock's time."""
_MAX_NAME = 24


def arms_picture(arms: Sequence[ArmReport]) -> str:
    """One bar for each arm, as long as its assigned users, coloured by outcome; a stroke marks the expected length."""
    if not arms:
        return ""
    widest = max([1.0, *(max(arm.assigned, arm.expected or 0) for arm in arms)])
    scale = (WIDTH - _LABEL - _RIGHT) / widest
    rows = "".join(_arm_row(n, arm, scale) for n, arm in enumerate(arms))
    height = _ROW * len(arms) + 4
    about = "Users assigned to each arm, coloured by what became of their devices"
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{about}">{rows}</svg>'


def _arm_row(n: int, arm: ArmReport, scale: float) -> str:
    top = n * _ROW + 8
    length = arm.assigned * scale
    parts = [
        f'<text x="0" y="{top + 20}">{escape(_short(arm.name))}</text>',
        f'<rect class="track" x="{_LABEL}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="5"/>',
    ]
    by_outcome = {"accepted": arm.accepted, "rejected": arm.refused, "failed": arm.given_up, "held": arm.held}
    x = float(_LABEL)
    for outcome in OUTCOMES:
        devices = by_outcome[outcome]
        # The length is users, the colours are devices: a user with two devices counts once in one, twice in the other.
        width = length * devices / arm.devices if arm.devices else 0.0
        if width:
            title = f"{escape(arm.name)}: {counted(devices, 'device')} {outcome}"
            parts.append(_rect(outcome, x, top, max(width, _MIN_WIDTH), _BAR, title))
        x += width
    if arm.expected is not None:
        at = _LABEL + arm.expected * scale
        title = f"<title>expected {arm.expected:,.0f} users</title>"
        parts.append(
            f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{top - _OVERHANG}" '
            f'y2="{top + _BAR + _OVERHANG}">{title}</line>'
        )
    end = max(length, (arm.expected or 0) * scale) + _LABEL + 10
    parts.append(f'<text x="{end:.1f}" y="{top + 20}">{counted(arm.assigned, "user")}</text>')
    return "".join(parts)


def time_line(bars: Sequence[Bar]) -> str:
    """Pushes a second over time, by outcome. The control group gets none and is not drawn."""
    if not bars:
        return ""
    height, left = _TIME_LINE_HEIGHT, _AXIS_WIDTH
    peak = _nice(max(bar.per_second for bar in bars))
    step = (WIDTH - left) / max(len(bars), _MIN_BARS)
    scale = (height - _AXIS_HEIGHT - _TOP) / peak
    ground = height - _AXIS_HEIGHT
    parts = []
    for share in (0.5, 1.0):
        y = ground - peak * share * scale
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="soft" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{peak * share:,.0f}/s</text>'
        )
    parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH}" y1="{ground}" y2="{ground}"/>')
    for n, bar in enumerate(bars):
        parts += _bar(bar, left + n * step, step, ground, scale)
    parts += _times(bars, left, step, height)
    about = "Pushes a second over the run"
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{about}">{"".join(parts)}</svg>'


def _bar(bar: Bar, x: float, step: float, ground: float, scale: float) -> list[str]:
    parts = []
    y = ground
    gap = 1.0 if step > 4 else 0.0  # between narrow bars a gap would be most of what is seen
    for outcome in ("accepted", "rejected", "failed"):
        tall = getattr(bar, outcome) / bar.seconds * scale
        if tall:
            y -= tall
            title = f"{_clock(bar.at_s)} UTC: {getattr(bar, outcome):,} {outcome}"
            parts.append(_rect(outcome, x, y, step - gap, tall, title))
    return parts


def _rect(kind: str, x: float, y: float, width: float, height: float, title: str) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {box}><title>{title}</title></rect>'


def _times(bars: Sequence[Bar], left: float, step: float, height: int) -> list[str]:
    # Rounded up: at most _TIMES labels, or they would touch.
    every = max(1, -(-len(bars) // _TIMES))
    # The last one would be cut where its bar is close to the edge.
    most = WIDTH - _TIME_WIDTH
    return [
        f'<text class="soft" x="{min(left + n * step, most):.1f}" y="{height - 6}">{_clock(bar.at_s)}</text>'
        for n, bar in enumerate(bars)
        if n % every == 0
    ]


def _clock(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S")


def _nice(value: float) -> float:
    """The next round number that is at least `value`, for the axis."""
    power = 1.0
    while value > power * 10:
        power *= 10
    return next((power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= value), power * 10)


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
