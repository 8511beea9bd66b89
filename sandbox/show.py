"""Prints a trial for the terminal: one live line while it runs, then tables."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from notifier.model.campaign import CONTROL
from notifier.model.plurals import counted
from notifier.model.run import Lane
from sandbox.trial import Trial

PLAIN_EVERY_S = 2.0
"""Without a terminal the line is printed this often."""
_SMOOTHING = 0.3
"""The share that the latest figure has in a smoothed one."""


def live(trial: Trial, run_id: str, console: Console, timeout_s: float) -> None:
    """Follow the run until it is over. Raises TimeoutError."""
    speed = _Speed()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as line:
            for lane in trial.follow(run_id, timeout_s):
                line.update(progress_line(lane, speed.of(lane)))
        return
    printed_at = 0.0
    for lane in trial.follow(run_id, timeout_s):
        rate = speed.of(lane)
        if time.monotonic() - printed_at >= PLAIN_EVERY_S:
            printed_at = time.monotonic()
            console.print(progress_line(lane, rate), soft_wrap=True)


class _Speed:
    """Devices settled in a second, smoothed."""

    def __init__(self) -> None:
        self._before: tuple[float, int] | None = None
        self._rate = 0.0

    def of(self, lane: Lane | None) -> float:
        now_s = time.monotonic()
        if lane is None:
            return 0.0
        done = lane.account.settled
        if self._before is not None and now_s > self._before[0]:
            rate = (done - self._before[1]) / (now_s - self._before[0])
            self._rate = (1 - _SMOOTHING) * self._rate + _SMOOTHING * rate if self._rate else rate
        self._before = (now_s, done)
        return self._rate


def progress_line(lane: Lane | None, rate: float) -> Text:
    """Users, pushes/s, accepted, rejected, held, hop, and the time left in the invocation."""
    if lane is None:
        return Text("waiting for the function's first claim …")
    outcomes = lane.account.outcomes()
    left_s = max((lane.ends_at_ms or 0) / 1000 - time.time(), 0.0)
    return Text(
        f"{lane.status:<9} {lane.account.users:>9,} users  {rate:>7,.0f} pushes/s  accepted {outcomes.accepted:,}  "
        f"rejected {sum(outcomes.rejected.values()):,}  failed {sum(outcomes.failed.values()):,}  "
        f"held {outcomes.held:,}  hop {lane.hop}  {left_s:,.0f} s left in it"
    )


def print_report(report: dict[str, Any], console: Console, state_dir: Path) -> None:
    """The run's account as tables, and where everything is."""
    if report["dry_run"]:
        console.print("[yellow]A rehearsal: no phone was asked to ring.[/]")
    colour = "green" if report["status"] == "completed" else "red"
    reason = f": {report['reason']}" if report["reason"] else ""
    console.print(f"run {report['run_id']} [{colour}]{report['status']}[/]{reason}")
    console.print(_arms(report))
    reasons = _reasons(report)
    if reasons.row_count:
        console.print(reasons)
    console.print(_figures(report))
    console.print(
        f"rows    {report['rows_prefix']}  (newline-delimited JSON, gzip, one row per device)", soft_wrap=True
    )
    console.print(f"logs    {state_dir / 'aws' / 'logs'}", soft_wrap=True)


def _arms(report: dict[str, Any]) -> Table:
    table = Table(
        title="By arm (users assigned; devices accepted by Apple and Google, and the rest)", title_justify="left"
    )
    table.add_column("arm")
    for name in ("assigned", "accepted", "rejected", "failed", "held"):
        table.add_column(name, justify="right")
    for name, arm in sorted(report["arms"].items(), key=lambda item: (item[0] == CONTROL, item[0])):
        table.add_row(name, *(f"{arm[column]:,}" for column in ("assigned", "accepted", "rejected", "failed", "held")))
    return table


def _reasons(report: dict[str, Any]) -> Table:
    table = Table(title="By reason", title_justify="left")
    table.add_column("outcome")
    table.add_column("reason")
    table.add_column("devices", justify="right")
    for outcome in ("rejected", "failed"):
        for reason, n in sorted(report["outcomes"][outcome].items(), key=lambda item: -item[1]):
            table.add_row(outcome, reason, f"{n:,}")
    for name in ("invalid_records", "excluded", "unsent", "unsettled", "possibly_repeated", "repeat_requests"):
        if report[name]:
            table.add_row(name.replace("_", " "), "", f"{report[name]:,}")
    return table


def _figures(report: dict[str, Any]) -> Table:
    gateways = report["gateways"]
    asked = sum(gateways[name]["requests"] for name in gateways)
    twice = sum(gateways[name]["repeated_tokens"] for name in gateways)
    settled = report["devices"] - report["unsent"]
    pushes = max(asked, 1)
    table = Table(title="The run", title_justify="left", show_header=False)
    table.add_row("users read, devices", f"{report['users']:,}, {report['devices']:,}")
    table.add_row("the stand-ins counted", f"{counted(asked, 'request')}, {counted(twice, 'token')} more than once")
    table.add_row("hops, invocations", f"{report['hops']}, {report['invocations']}")
    table.add_row("time", f"{report['duration_s']:.1f} s from drop to end, {report['sending_s']:.1f} s sending")
    table.add_row("speed here", f"{settled / max(report['sending_s'], 0.001):,.0f} devices/s while sending")
    table.add_row(
        "the function", f"{report['cpu_s'] / pushes * 1e6:.0f} µs of CPU a push, {report['peak_rss_mb']} MB at most"
    )
    return table
