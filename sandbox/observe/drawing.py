"""The map as SVG, and what the pages share: nothing here comes from another host."""

import math
from html import escape

from notifier.model.plurals import counted
from sandbox.observe.service_map import Kind, Node, ServiceMap

_COLUMNS = {Kind.API: 0, Kind.SERVICE: 1, Kind.FUNCTION: 2, Kind.AWS: 3, Kind.REMOTE: 4}
_COLUMN_PX, _ROW_PX, _RADIUS = 240, 142, 31
_GREEN, _RED, _AMBER, _VIOLET = "#1b7f4d", "#c0392b", "#d68910", "#7d3c98"

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --dim: #5d6b79; --line: #d5dce3; --page: #fbfcfd; --card: #fff;
  --red: #c0392b; --amber: #b9770e; --green: #1b7f4d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --dim: #9aa7b4; --line: #36424e; --page: #14191f;
  --card: #1c232b; --red: #ff7b6b; --amber: #f5b041; --green: #58d68d; } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page) }
main { max-width: 1240px; margin: 0 auto; padding: 1.2rem }
h1 { font-size: 1.35rem; margin: 0 0 .2rem } h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem }
a { color: inherit } p.dim, .dim { color: var(--dim) }
section.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem;
  overflow-x: auto }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: 600; color: var(--dim) }
td, th { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
ul.findings { list-style: none; padding: 0; margin: 0 } ul.findings li { padding: .3rem 0 }
.badge { display: inline-block; border-radius: 4px; padding: 0 .45em; font-size: .85em; font-weight: 600; color: #fff }
.badge.failing { background: #c0392b } .badge.slow { background: #b9770e } .badge.fine { background: #1b7f4d }
code { font-size: .92em } form { margin: .4rem 0 }
input[type=search] { font: inherit; padding: .3rem .5rem; width: 28rem;
  max-width: 100%; border: 1px solid var(--line); border-radius: 6px; background: var(--card); color: inherit }
.bar { position: relative; height: 1.1rem; min-width: 320px } .bar i { position: absolute; top: .15rem; bottom: .15rem;
  min-width: 2px; border-radius: 2px; background: #4a90c2 } .bar i.failed { background: #c0392b }
.bar i.lambda { background: #8fa3b5 } .bar i.remote { background: #7d3c98 } .bar i.aws { background: #2e8b74 }
.name { white-space: nowrap } svg text { fill: var(--ink); font: 12px system-ui, sans-serif }
svg .small { fill: var(--dim); font-size: 11px } svg .edge { stroke: var(--dim); fill: none; opacity: .55 }
svg .disc { fill: var(--card) } svg .bad { fill: var(--red); font-weight: 600 } svg .late { fill: var(--amber);
  font-weight: 600 }
"""


def page(title: str, body: str) -> bytes:
    """A whole page."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style><main>{body}</main></html>"
    ).encode()


def duration(ms: float) -> str:
    """As short as it fits into a ring."""
    return f"{ms:,.0f} ms" if ms < 1_000 else f"{ms / 1_000:,.1f} s"


def svg(found: ServiceMap) -> str:
    """The map: a column for each kind, a ring for each node, red for what fails of it."""
    places = _places(found)
    if not places:
        return '<p class="dim">Nothing has been traced yet. Drop a batch file.</p>'
    width = (max(x for x, _ in places.values())) + 140
    height = max(y for _, y in places.values()) + 80
    marks = {(finding.node, finding.what) for finding in found.findings()}
    edges = "".join(_edge(places[a], places[b], calls) for (a, b), calls in sorted(found.edges.items()))
    nodes = "".join(_ring(node, places[node.id], marks) for node in found.nodes.values())
    return (
        f'<svg role="img" aria-label="Service map" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#8896a5"/></marker></defs>{edges}{nodes}</svg>'
    )


def _places(found: ServiceMap) -> dict[str, tuple[float, float]]:
    """The place of each node: its kind is its column; columns without nodes take no room."""
    columns: dict[int, list[Node]] = {}
    for node in sorted(found.nodes.values(), key=lambda node: node.name):
        columns.setdefault(_COLUMNS[node.kind], []).append(node)
    tallest = max((len(nodes) for nodes in columns.values()), default=0)
    places = {}
    for place, column in enumerate(sorted(columns)):
        nodes = columns[column]
        for row, node in enumerate(nodes):
            y = 55 + (row + (tallest - len(nodes)) / 2) * _ROW_PX
            places[node.id] = (110.0 + place * _COLUMN_PX, y)
    return places


def _edge(start: tuple[float, float], end: tuple[float, float], calls: int) -> str:
    (x1, y1), (x2, y2) = start, end
    bend = 50 if x2 > x1 else -90
    way = f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    thickness = 1 + min(math.log10(max(calls, 1)), 4)
    return f'<path class="edge" d="{way}" stroke-width="{thickness:.1f}"><title>{calls:,} documents</title></path>'


def _ring(node: Node, place: tuple[float, float], marks: set[tuple[str, str]]) -> str:
    x, y = place
    around = 2 * math.pi * _RADIUS
    bad = around * node.failing
    colour = _AMBER if (node.name, "slow") in marks else _GREEN
    tone = "bad" if node.failed else "small"
    late = ' class="late"' if (node.name, "slow") in marks else ' class="small"'
    failing = f", {node.failing:.0%} failing" if node.failed else ""
    sign = "" if node.exact or node.kind in (Kind.FUNCTION, Kind.SERVICE) else "≥ "
    calls = f"{sign}{counted(node.calls, 'call')}{failing}"
    p99 = f", p99 {node.p99_ms:,.0f}" if node.p99_ms is not None else ""
    return (
        f'<g data-node="{escape(node.name)}"><circle class="disc" cx="{x}" cy="{y}" r="{_RADIUS}" stroke="{colour}" '
        f'stroke-width="7"/><circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="none" stroke="{_RED}" stroke-width="7" '
        f'stroke-dasharray="{bad:.1f} {around - bad:.1f}" transform="rotate(-90 {x} {y})"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle">{duration(node.mean_ms)}</text>'
        f'<text x="{x}" y="{y + 51}" text-anchor="middle" font-weight="600">{escape(node.name)}</text>'
        f'<text x="{x}" y="{y + 66}" text-anchor="middle" class="{tone}">{calls}</text>'
        f'<text x="{x}" y="{y - 40}" text-anchor="middle"{late}>{escape(node.kind)}{p99}</text></g>'
    )
