"""The report as a table for the terminal."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from notifier.model.plurals import counted
from reporting.chi_squared import RatioVerdict
from reporting.figures import Bar, Report
from reporting.page import people_in, repeats_in_words
from reporting.slowness import why_slow
from reporting.times import duration, moment

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BARS = 60
_TIME = slice(11, 19)
"""Of a moment: hours, minutes and seconds."""


def screen(report: Report) -> RenderableType:
    """The contents of the page as text."""
    return Group(*_parts(report))


def _parts(report: Report) -> Iterator[RenderableType]:
    summary = report.summary
    yield Text(report.headline, style="bold yellow" if summary.dry_run else "bold")
    campaign = summary.campaign_id or "–"
    yield Text(f"{campaign} · {summary.status} · run {summary.run_id} · {moment(summary.started_at_ms)}", style="dim")
    if summary.reason:
        yield Text(summary.reason, style="bold red")
    yield arms(report)
    style = "bold red" if report.ratio.verdict is RatioVerdict.OUT_OF_PROPORTION else ""
    yield Text(report.ratio.in_words, style=style)
    yield Text(report.why_assigned, style="dim")
    if report.time_line:
        yield Panel(Text(sparkline(report.time_line)), title="pushes over time", title_align="left", expand=False)
    yield _reasons(report)
    yield _work(report)


def arms(report: Report) -> Table:
    """One row for each arm."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("arm", overflow="fold", min_width=9)
    for name in ("share", "assigned", "expected", "accepted", "rejected", "failed", "held"):
        table.add_column(name, justify="right")
    for arm in report.arms:
        table.add_row(
            Text(arm.name),
            f"{arm.percent:g} %" if arm.percent is not None else "",
            f"{arm.assigned:,}",
            f"{arm.expected:,.0f}" if arm.expected is not None else "",
            f"{arm.accepted:,}",
            f"{arm.refused:,}",
            f"{arm.given_up:,}",
            f"{arm.held:,}",
        )
    return table


def sparkline(bars: tuple[Bar, ...]) -> str:
    """Pushes a second as one line of blocks, with the times and the peak."""
    width = -(-len(bars) // _BARS)
    # Of bars that share a block the highest counts, so that the peak of the line is the peak in the words below it.
    rates = [max(bar.per_second for bar in bars[n : n + width]) for n in range(0, len(bars), width)]
    peak = max(rates)
    line = "".join(_BLOCKS[round(rate / peak * (len(_BLOCKS) - 1)) if peak else 0] for rate in rates)
    begun, ended = moment(bars[0].at_s * 1000)[_TIME], moment((bars[-1].at_s + bars[-1].seconds) * 1000)[_TIME]
    return f"{line}\n{begun} to {ended} UTC, at most {peak:,.0f}/s"


def _reasons(report: Report) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, title="rejected and failed", title_justify="left")
    table.add_column("arm")
    table.add_column("outcome")
    table.add_column("reason")
    table.add_column("devices", justify="right")
    for arm in report.arms:
        for outcome, reasons in (("rejected", arm.rejected), ("failed", arm.failed)):
            for reason, n in sorted(reasons.items(), key=lambda item: -item[1]):
                table.add_row(Text(arm.name), outcome, Text(reason), f"{n:,}")
    return table if table.row_count else Text("nothing was rejected, nothing failed", style="dim")


def _work(report: Report) -> Table:
    summary = report.summary
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    speed = f"{report.pushes_per_s:,.0f}/s while sending" if report.pushes_per_s else "–"
    for name, value in (
        *people_in(summary),
        ("took", f"{duration(report.duration_s)}, {counted(summary.hops, 'hop')}, {speed}"),
        *why_slow(summary),
        ("dead tokens", f"{report.dead_tokens:,} (under dead-tokens/run_id={summary.run_id}/)"),
        ("broken", counted(summary.invalid_records, "record or device", "records or devices")),
        ("unsent", counted(summary.unsent, "device")),
        (
            "possibly repeated",
            repeats_in_words(summary),
        ),
        ("rows", f"{report.rows:,}, {'as' if report.rows_agree else 'NOT as'} the ledger says · {summary.rows_prefix}"),
        ("cost", f"about ${report.cost.total_usd:.4f} on AWS ({report.cost.basis})"),
    ):
        table.add_row(Text(name, style="dim"), Text(value))
    return table
