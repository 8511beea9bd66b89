"""`start`, `status`, `watch`, `pause`, `resume`, `cancel`: what is done with runs."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from notifier.audience import BrokenFile
from notifier.audience.local import read_local_head
from notifier.campaign import CONTROL, BrokenCampaign, Campaign, read_campaign
from notifier.cli.options import (
    AsJson,
    By,
    RunName,
    Stack,
    StackFile,
    Yes,
    console,
    notes,
    print_json,
    print_line,
    sure,
    who,
)
from notifier.cli.place import Cloud, find_place, split_url
from notifier.cli.trouble import ExitCode, Trouble, tells_trouble
from notifier.report.page import duration, moment
from notifier.run import Ending, Lane, LaneState, source_of
from notifier.summary import Summary, summary_of

PART_BYTES = 16 * 1024 * 1024
EVERY_S = 1.0
NEXT_STEP = {
    LaneState.PAUSED: "`notifier resume {run}` goes on, `notifier cancel {run}` ends it",
    LaneState.STOPPED: "mend the reason, then `notifier resume {run}`; or `notifier cancel {run}`",
    LaneState.RESTING: "nothing: it goes on by itself",
}

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


def see(cloud: Cloud, run_id: str) -> tuple[Seen, Lane]:
    """The run now. Raises Trouble."""
    run, lane = cloud.read(run_id)
    step = next_step(lane)
    resting = lane.due_at_ms if lane.state is LaneState.RESTING else None
    return Seen(summary_of(run, lane, cloud.place.bucket), lane.control.value, resting, step), lane


def next_step(lane: Lane) -> str:
    """What to do about a run that does not end well by itself; empty when there is nothing."""
    if lane.ending is Ending.FAILED:
        return MEND_THE_REST if lane.account.devices else MEND
    return "" if lane.ending else NEXT_STEP.get(lane.state, "").format(run=lane.run_id)


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
    """Show the run until it is over."""
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
    yield "file", summary.source
    yield "read", f"{summary.users:,} users, {summary.devices:,} devices, {summary.invalid_records:,} broken"
    speed = f", {rate:,.0f} a second" if rate else ""
    yield "settled", f"{settled_of(seen):,} devices{speed}"
    if summary.excluded:
        yield "excluded", f"{summary.excluded:,} users"
    if summary.unsent:
        yield "unsent", f"{summary.unsent:,} devices"
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


# -- starting ---------------------------------------------------------------------------------------------------------


@tells_trouble
def start(
    file: Annotated[str, typer.Argument(help="A batch file on this machine, or s3://bucket/key of one there already.")],
    key: Annotated[str | None, typer.Option(help="Where to put it. Default: batches/ and its name.")] = None,
    yes: Yes = False,
    follow_it: Annotated[bool, typer.Option("--watch", help="Follow the run until it ends.")] = False,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Drop a batch file in the stack's bucket, which starts its run.

    Run `notifier validate` first: it looks at every record. `start` looks at the campaign only.

    Example: notifier start day-2.json --watch
    """
    cloud = Cloud(find_place(stack, stack_file))
    if file.startswith("s3://"):
        sure(f"Send {file} to everybody in it?", yes=yes)
        run_id = _nudge(cloud, file)
    else:
        path = Path(file)
        _tell_of_earlier(cloud, _checked(path))
        sure(f"Send {file} to everybody in it, by {cloud.place.bucket}?", yes=yes)
        run_id = upload(cloud, path, key or f"batches/{path.name}")
    if follow_it:
        raise typer.Exit(follow(cloud, run_id, None, as_json=as_json))
    if as_json:
        print_json({"run_id": run_id})
    else:
        console().print(f"started: run {run_id}\nfollow it: notifier watch {run_id}", markup=False)


def _checked(path: Path) -> Campaign:
    try:
        return read_campaign(read_local_head(path).campaign)
    except BrokenFile as error:
        raise Trouble(ExitCode.NOT_FINE, str(error), f"notifier validate {path}") from None
    except BrokenCampaign as error:
        raise Trouble(ExitCode.NOT_FINE, f"{path}: {error}", f"notifier validate {path} tells more") from None


def _tell_of_earlier(cloud: Cloud, campaign: Campaign) -> None:
    """Say before anything happens that this id was sent already."""
    owner = cloud.ledger.owner_of(campaign.id)
    if owner is None or campaign.dry_run:
        return
    then = "everybody in this file is asked again" if campaign.again else "the worker refuses it, unless it rehearses"
    notes().print(f"campaign {campaign.id!r} was sent already, by run {owner}: {then}", markup=False)


def upload(cloud: Cloud, path: Path, key: str) -> str:
    """Put a file in the stack's bucket. Returns its run's id."""
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - only where something is uploaded

    if not key.startswith("batches/"):
        raise Trouble(ExitCode.USAGE, f"{key}: only what lies under batches/ starts a run", "choose such a key")
    if not key.endswith((".json", ".json.gz")):
        raise Trouble(ExitCode.USAGE, f"{key}: only *.json and *.json.gz start a run", "choose such a key")
    client, bucket = cloud.client("s3"), cloud.place.bucket
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
    client.upload_file(str(path), bucket, key, Config=config)
    head = client.head_object(Bucket=bucket, Key=key)
    return source_of(bucket, key, head.get("VersionId"), head["ETag"]).run_id


def _nudge(cloud: Cloud, url: str) -> str:
    bucket, key = split_url(url)
    head = cloud.client("s3").head_object(Bucket=bucket, Key=key)
    source = source_of(bucket, key, head.get("VersionId"), head["ETag"])
    cloud.nudge(bucket, key, source.version_id)
    return source.run_id


# -- pausing ----------------------------------------------------------------------------------------------------------


@tells_trouble
def pause(
    run: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Run ids, s3://bucket/key, or campaign ids.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run that is alive.")] = False,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Pause runs: no push begins later than 5 seconds from now; those on their way finish.

    Example: notifier pause --all
    """
    if bool(run) == every:
        raise Trouble(ExitCode.USAGE, "which runs?", "name some, or say --all")
    cloud = Cloud(find_place(stack, stack_file))
    run_ids = alive(cloud) if every else [cloud.run_id_of(name) for name in run or ()]
    _control(cloud, "pause", run_ids, by, as_json=as_json)


@tells_trouble
def resume(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids, s3://bucket/key, or campaign ids.")],
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Go on with runs that are paused or stopped, where they were.

    Example: notifier resume day-2-engagement-2026-11-21
    """
    cloud = Cloud(find_place(stack, stack_file))
    _control(cloud, "resume", [cloud.run_id_of(name) for name in run], by, as_json=as_json)


@tells_trouble
def cancel(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids, s3://bucket/key, or campaign ids.")],
    yes: Yes = False,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """End runs for good. What was sent stays accounted.

    Example: notifier cancel day-2-engagement-2026-11-21 --yes
    """
    cloud = Cloud(find_place(stack, stack_file))
    run_ids = [cloud.run_id_of(name) for name in run]
    sure(f"End {len(run_ids)} run(s) for good?", yes=yes)
    _control(cloud, "cancel", run_ids, by, as_json=as_json)


def alive(cloud: Cloud) -> list[str]:
    """Runs that are sending, handed over, or resting."""
    far_ms = 2**53
    lanes = cloud.ledger.due(far_ms)
    return sorted({lane.run_id for lane in lanes if lane.state is not LaneState.DONE})


def _control(cloud: Cloud, action: str, run_ids: list[str], by: str | None, *, as_json: bool) -> None:
    answers = [cloud.control({"action": action, "run_id": run_id, "by": who(by)}) for run_id in run_ids]
    if as_json:
        print_json(answers)
    else:
        _print_answers(console(), action, answers)
    if any(answer["status"] == "refused" for answer in answers):
        raise typer.Exit(ExitCode.NOT_FINE)


def _print_answers(out: Console, action: str, answers: list[dict[str, Any]]) -> None:
    if not answers:
        out.print("no run is alive")
    for answer in answers:
        soon = "; no push begins later than 5 seconds from now" if answer["status"] == "running" else ""
        noted = f"{action} is noted{soon if action != 'resume' else ''}; it is {answer['status']} now"
        told = answer.get("reason") or noted
        out.print(f"run {answer['run_id']}: {told}", markup=False)
