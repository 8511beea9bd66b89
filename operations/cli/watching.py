"""`status`, `watch`: the state of a run, once or until it ends."""

import time
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from notifier.model.campaign import CONTROL
from notifier.model.plurals import counted
from notifier.model.run import Ending, Lane, LaneState
from notifier.model.summary import Summary, summary_of
from notifier.model.whole_run import as_one
from operations.cli.cloud import Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.next_step import next_step
from operations.cli.options import AsJson, RunName, Stack, StackFile, console, notes, print_json, print_line
from operations.cli.winners import winner_of
from reporting.page import excluded_in_words, people_in, repeats_in_words
from reporting.slowness import why_slow
from reporting.times import duration, moment

POLL_S = 1.0


class RunView(msgspec.Struct, frozen=True):
    """A run as `status` and `watch` show it; `--json` prints these members.

    Args:
        control: the operator's command that the run follows.
        resumes_at_ms: the end of its rest; None while it does not rest.
        next_step: what an operator should do; empty for nothing.
        code: what became of the version of the code that it began with; empty while it runs that version.
        held: who holds the whole stack, since when and why; empty where it is not held.
        why_slow: what holds it back, in words by name: pace, ramp, slowed gateways, retries, answers, waits.
    """

    summary: Summary
    control: str
    resumes_at_ms: int | None
    next_step: str
    code: str = ""
    held: str = ""
    why_slow: dict[str, str] = {}


def view(cloud: Cloud, run_id: str) -> tuple[RunView, Lane]:
    """The run as it is now, and its lanes as one. Raises CommandError where there is no such run."""
    run, lanes = cloud.read(run_id)
    lane = as_one(lanes)
    step = next_step(lane)
    resting = lane.due_at_ms if lane.state is LaneState.RESTING else None
    summary = summary_of(run, lanes, cloud.deployment.bucket, cloud.approved_by(run))
    hold = cloud.ledger.read_hold()
    held = hold.words if hold is not None else ""
    slow = dict(why_slow(summary, int(cloud.now() * 1000)))
    return RunView(summary, lane.control.value, resting, step, code_of(lane), held, slow), lane


def code_of(lane: Lane) -> str:
    """The version of the code that the run continues with, once the one that it began with was deleted; else empty."""
    if not lane.gone_version:
        return ""
    gone = f"version {lane.gone_version}, with which it began, was deleted"
    return f"version {lane.function_version}; {gone}"


@reports_errors
def status(run: RunName, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Show the current state of a run.

    Example: notifier status day-2-engagement-2026-11-21 --stack push
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    run_id = cloud.run_id_of(run)
    seen, _ = view(cloud, run_id)
    winner = winner_of(cloud, run_id)
    if as_json:
        print_json(seen if winner is None else {**msgspec.to_builtins(seen), "winner": winner})
    else:
        console().print(screen(seen, None))
        if winner is not None:
            console().print(Text(winner.in_words))


@reports_errors
def watch(
    run: RunName,
    timeout_s: Annotated[float | None, typer.Option(help="Stop following after this long; the run goes on.")] = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it ends, is paused or stops. Exit 0 only if it completed.

    With --json one line is printed for each change.

    Example: notifier watch s3://push-campaigns/batches/day-2.json
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    raise typer.Exit(follow(cloud, cloud.run_id_of(run), timeout_s, as_json=as_json))


def follow(cloud: Cloud, run_id: str, timeout_s: float | None, *, as_json: bool) -> ExitCode:
    """Show the run until it is over. On Ctrl-C a note says that only the following has ended, and not the run."""
    try:
        return _follow(cloud, run_id, timeout_s, as_json=as_json)
    except KeyboardInterrupt:
        notes().print(
            f"the run goes on; `notifier pause {run_id}` stops it, `notifier watch {run_id}` follows it again"
        )
        raise


def _follow(cloud: Cloud, run_id: str, timeout_s: float | None, *, as_json: bool) -> ExitCode:
    last_status = ""
    until = time.monotonic() + timeout_s if timeout_s is not None else None
    changes = changes_of(lambda: view(cloud, run_id), time.sleep, time.monotonic, until)
    if as_json:
        for seen, _ in changes:
            print_line(seen)
            last_status = seen.summary.status
    else:
        # Rich repaints four times a second; what changes is polled once.
        with Live(console=console(), refresh_per_second=4) as live:
            for seen, rate in changes:
                live.update(screen(seen, rate))
                last_status = seen.summary.status
    return ExitCode.FINE if last_status == Ending.COMPLETED.value else ExitCode.NOT_FINE


def changes_of(
    read: Callable[[], tuple[RunView, Lane]],
    sleep: Callable[[float], object],
    clock: Callable[[], float],
    until: float | None = None,
) -> Iterator[tuple[RunView, float | None]]:
    """The run at each change, with the devices settled per second since the poll before.

    Ends when the run has ended, when only an operator can continue it, or at `until`.

    Raises:
        CommandError: the run cannot be read. One that does not exist yet is waited for: its file was just uploaded.
    """
    before: RunView | None = None
    devices, at = 0, clock()
    while True:
        try:
            seen, lane = read()
        except CommandError as error:
            # S3's event reaches the worker a second or two after the upload: only then there is a run.
            is_awaited = error.code is ExitCode.NOT_FOUND and before is None
            if not is_awaited or _is_late(clock(), until):
                raise
            sleep(POLL_S)
            continue
        now, settled = clock(), settled_of(seen)
        # The first poll has no rate: when its devices were settled is not known.
        rate = (settled - devices) / (now - at) if before is not None and now > at else None
        if seen != before:
            yield seen, rate
        before, devices, at = seen, settled, now
        # A run that waits for an operator goes on only by a command: following it further would never end.
        is_over = lane.ending is not None or lane.state in (LaneState.PAUSED, LaneState.STOPPED)
        if is_over or _is_late(now, until):
            return
        sleep(POLL_S)


def _is_late(now: float, until: float | None) -> bool:
    return until is not None and now > until


def settled_of(seen: RunView) -> int:
    """Devices that have an outcome."""
    outcomes = seen.summary.outcomes
    rejected, failed = sum(outcomes["rejected"].values()), sum(outcomes["failed"].values())
    return int(outcomes["accepted"] + outcomes["held"] + rejected + failed)


def screen(seen: RunView, rate: float | None) -> RenderableType:
    """What the terminal shows of a run."""
    summary = seen.summary
    colours = {"completed": "green", "running": "cyan", "failed": "red", "stopped": "red"}
    head = Text()
    if summary.dry_run:
        head.append("DRY RUN, nothing is sent  ", style="bold yellow")
    head.append(summary.status, style=f"bold {colours.get(summary.status, 'yellow')}")
    head.append(f"  {summary.campaign_id or '(not opened yet)'}  ")
    head.append(f"run {summary.run_id}", style="dim")
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    if seen.held:
        facts.add_row(Text("on hold", style="bold yellow"), Text(f"{seen.held} (notifier release)"))
    for name, value in _facts(seen, rate):
        facts.add_row(Text(name, style="dim"), Text(value))
    parts: list[RenderableType] = [head, facts]
    if summary.arms:
        parts.append(_arms(summary))
    return Group(*parts)


def _facts(seen: RunView, rate: float | None) -> Iterator[tuple[str, str]]:
    summary = seen.summary
    if summary.reason:
        yield "reason", summary.reason
    if seen.next_step:
        yield "what to do", seen.next_step
    if seen.control == "pause" and summary.status == "running":
        yield "asked", "to pause: it stops within seconds"
    if seen.resumes_at_ms:
        yield "rests until", moment(seen.resumes_at_ms)
    if seen.code:
        yield "code", seen.code
    yield "file", summary.source
    yield from people_in(summary)
    users, devices = counted(summary.users, "user"), counted(summary.devices, "device")
    yield "read", f"{users}, {devices}, {summary.invalid_records:,} broken"
    speed = f", {rate:,.0f} a second" if rate else ""
    yield "settled", f"{counted(settled_of(seen), 'device')}{speed}"
    if summary.excluded:
        yield "excluded", f"{counted(summary.excluded, 'user')}: {excluded_in_words(summary)}"
    if summary.unsent:
        yield "unsent", counted(summary.unsent, "device")
    if summary.unsettled:
        # Not "lost": the gateway may have had each of them, and the next claim finds out by asking again.
        sent = f"{counted(summary.unsettled, 'device')} {'was' if summary.unsettled == 1 else 'were'}"
        yield "not settled", f"{sent} asked for without a row; a resume asks again"
    if summary.possibly_repeated:
        yield "possibly repeated", repeats_in_words(summary)
    begun, ended = summary.started_at_ms, summary.ended_at_ms
    took = f", took {duration((ended - begun) / 1000)}" if begun and ended else ""
    yield "began", f"{moment(begun)}, {counted(summary.hops, 'hop')}{_lanes(summary)}{took}"
    yield from seen.why_slow.items()


def _lanes(summary: Summary) -> str:
    """Over how many lanes a run is spread; nothing of a run of one."""
    if summary.lanes == 1:
        return ""
    behind = "" if summary.slowest_lane is None else f" (the slowest is lane {summary.slowest_lane})"
    return f" of {summary.lanes} lanes{behind}"


def _arms(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("arm")
    for name in ("assigned", "accepted", "rejected", "failed", "held"):
        table.add_column(name, justify="right")
    for name, arm in sorted(summary.arms.items(), key=lambda item: (item[0] == CONTROL, item[0])):
        table.add_row(
            Text(name),
            f"{arm['assigned']:,}",
            f"{arm['accepted']:,}",
            _by_reason(arm["rejected"]),
            _by_reason(arm["failed"]),
            f"{arm['held']:,}",
        )
    return table


def _by_reason(reasons: dict[str, int]) -> Text:
    if not reasons:
        return Text("0")
    listed = ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda item: -item[1])[:4])
    return Text(f"{sum(reasons.values()):,} ({listed})")
