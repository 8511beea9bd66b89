"""`status`, `watch`: a run as it is now, and until it ends."""

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
from notifier.model.run import Ending, Lane, LaneState
from notifier.model.summary import Summary, summary_of
from operations.cli.options import AsJson, RunName, Stack, StackFile, console, notes, print_json, print_line
from operations.cli.place import Cloud, find_place
from operations.cli.trouble import ExitCode, Trouble, tells_trouble
from reporting.page import duration, moment

EVERY_S = 1.0
NEXT_STEP = {
    LaneState.PAUSED: "`notifier resume {run}` goes on, `notifier cancel {run}` ends it",
    LaneState.STOPPED: "mend the reason, then `notifier resume {run}`; or `notifier cancel {run}`",
    LaneState.RESTING: "nothing: it goes on by itself",
}

ANEW = (
    "`notifier cancel {run}`, mend the file, give it a new id and exclude whoever has a row, as docs/operations.md "
    "says (It broke off)"
)
STOPPED_FOR = {
    "payload_refused": f"a run keeps its message: {ANEW}",
    "wrong_sender": (
        "put the key of the app's own Firebase project into the FCM secret, then `notifier resume {run}`; if the tokens"
        f" are another project's: {ANEW}"
    ),
    "wrong_tokens": f"FCM does not know these tokens as its own, such as APNs' under the platform android: {ANEW}",
    "rows_refused": "do what the reason says, then `notifier resume {run}`: it sends once a row can be written",
    "state_refused": "do what the reason says, then `notifier resume {run}`",
    "no_progress": "what failed last is in the reason, and in the log; then `notifier resume {run}`",
    "wrong_topic": (
        "put the app's bundle id into the APNs secret as its topic, then `notifier resume {run}`; if the tokens are"
        f" another app's: {ANEW}"
    ),
    "wrong_environment": (
        "devices of development builds need `environment: sandbox` in the file, the others must not have it, and"
        f" ApnsBaseUrl must be Apple's; a run keeps both: {ANEW}"
    ),
}
"""What helps a stopped run, by the first word of its reason; anything else is mended outside and resumed."""

MEND = "nothing was sent: mend the reason and drop the file again"
MEND_THE_REST = (
    "mend the file; whoever is settled was asked already: give it a new id and exclude them, as "
    "docs/operations.md says (It broke off)"
)


class Seen(msgspec.Struct, frozen=True):
    """A run as `status` shows it."""

    summary: Summary
    control: str
    resumes_at_ms: int | None
    next_step: str
    code: str = ""


def see(cloud: Cloud, run_id: str) -> tuple[Seen, Lane]:
    """The run now. Raises Trouble."""
    run, lane = cloud.read(run_id)
    step = next_step(lane)
    resting = lane.due_at_ms if lane.state is LaneState.RESTING else None
    return Seen(summary_of(run, lane, cloud.place.bucket), lane.control.value, resting, step, code_of(lane)), lane


def code_of(lane: Lane) -> str:
    """What there is to say of the version of the code; empty as long as it is the one that the run began with."""
    if not lane.gone_version:
        return ""
    gone = f"version {lane.gone_version}, with which it began, was deleted"
    return f"version {lane.function_version}; {gone}"


def next_step(lane: Lane) -> str:
    """What to do about a run that does not end well by itself; empty when there is nothing."""
    if lane.ending is Ending.FAILED:
        return MEND_THE_REST if lane.account.devices else MEND
    if lane.ending:
        return ""
    step = NEXT_STEP.get(lane.state, "")
    if lane.state is LaneState.STOPPED:
        step = STOPPED_FOR.get((lane.reason or "").partition(":")[0], step)
    return step.format(run=lane.run_id)


@tells_trouble
def status(run: RunName, stack: Stack = None, stack_file: StackFile = None, as_json: AsJson = False) -> None:
    """Show how a run is now.

    Example: notifier status day-2-engagement-2026-11-21 --stack push
    """
    cloud = Cloud(find_place(stack, stack_file))
    seen, _ = see(cloud, cloud.run_id_of(run))
    if as_json:
        print_json(seen)
    else:
        console().print(shown(seen, None))


@tells_trouble
def watch(
    run: RunName,
    timeout_s: Annotated[float | None, typer.Option(help="Stop looking after this long.")] = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it ends, is paused or stops. Exit 0 only if it completed.

    With --json one line is printed at each change.

    Example: notifier watch s3://push-campaigns/batches/day-2.json
    """
    cloud = Cloud(find_place(stack, stack_file))
    raise typer.Exit(follow(cloud, cloud.run_id_of(run), timeout_s, as_json=as_json))


def follow(cloud: Cloud, run_id: str, timeout_s: float | None, *, as_json: bool) -> ExitCode:
    """Show the run until it is over, or until nobody wants to look any more: then it is told that the run goes on."""
    try:
        return _follow(cloud, run_id, timeout_s, as_json=as_json)
    except KeyboardInterrupt:
        notes().print(f"the run goes on; `notifier pause {run_id}` stops it, `notifier watch {run_id}` looks again")
        raise


def _follow(cloud: Cloud, run_id: str, timeout_s: float | None, *, as_json: bool) -> ExitCode:
    status_ = ""
    until = time.monotonic() + timeout_s if timeout_s is not None else None
    changes = watched(lambda: see(cloud, run_id), time.sleep, time.monotonic, until)
    if as_json:
        for seen, _ in changes:
            print_line(seen)
            status_ = seen.summary.status
    else:
        with Live(console=console(), refresh_per_second=4) as live:
            for seen, rate in changes:
                live.update(shown(seen, rate))
                status_ = seen.summary.status
    return ExitCode.FINE if status_ == Ending.COMPLETED.value else ExitCode.NOT_FINE


def watched(
    read: Callable[[], tuple[Seen, Lane]],
    sleep: Callable[[float], object],
    clock: Callable[[], float],
    until: float | None = None,
) -> Iterator[tuple[Seen, float | None]]:
    """The run at each change, with devices settled a second since the last look, until nothing moves it any more."""
    before: Seen | None = None
    at = clock()
    devices: int | None = None
    while True:
        try:
            seen, lane = read()
        except Trouble as trouble:
            not_begun = trouble.code is ExitCode.NOT_FOUND and before is None
            if not not_begun or (until is not None and clock() > until):
                raise
            sleep(EVERY_S)
            continue
        now = clock()
        settled = settled_of(seen)
        rate = (settled - devices) / (now - at) if devices is not None and now > at else None
        if seen != before:
            yield seen, rate
        before, at, devices = seen, now, settled
        over = lane.ending is not None or lane.state in (LaneState.PAUSED, LaneState.STOPPED)
        if over or (until is not None and now > until):
            return
        sleep(EVERY_S)


def settled_of(seen: Seen) -> int:
    """Devices that have an outcome."""
    outcomes = seen.summary.outcomes
    rejected, failed = sum(outcomes["rejected"].values()), sum(outcomes["failed"].values())
    return int(outcomes["accepted"] + outcomes["held"] + rejected + failed)


def shown(seen: Seen, rate: float | None) -> RenderableType:
    """A run for people."""
    summary = seen.summary
    colours = {"completed": "green", "running": "cyan", "failed": "red", "stopped": "red"}
    head = Text()
    if summary.dry_run:
        head.append("DRY RUN, nothing is sent  ", style="bold yellow")
    head.append(summary.status, style=f"bold {colours.get(summary.status, 'yellow')}")
    head.append(f"  {summary.campaign_id or '(not opened yet)'}  ")
    head.append(f"run {summary.run_id}", style="dim")
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _facts(seen, rate):
        facts.add_row(Text(name, style="dim"), Text(value))
    parts: list[RenderableType] = [head, facts]
    if summary.arms:
        parts.append(_arms(summary))
    return Group(*parts)


def _facts(seen: Seen, rate: float | None) -> Iterator[tuple[str, str]]:
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
    yield "read", f"{summary.users:,} users, {summary.devices:,} devices, {summary.invalid_records:,} broken"
    speed = f", {rate:,.0f} a second" if rate else ""
    yield "settled", f"{settled_of(seen):,} devices{speed}"
    if summary.excluded:
        yield "excluded", f"{summary.excluded:,} users"
    if summary.unsent:
        yield "unsent", f"{summary.unsent:,} devices"
    if summary.unsettled:
        yield "not settled", f"{summary.unsettled:,} devices were asked for and have no row; a resume asks again"
    if summary.possibly_repeated:
        requests = f"{summary.repeat_requests:,} requests"
        yield "possibly repeated", f"{summary.possibly_repeated:,} devices, {requests}"
    begun, ended = summary.started_at_ms, summary.ended_at_ms
    took = f", took {duration((ended - begun) / 1000)}" if begun and ended else ""
    yield "began", f"{moment(begun)}, {summary.hops} hop{'' if summary.hops == 1 else 's'}{took}"


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
