"""The sandbox's command line: `python -m sandbox demo | run | faults | audience | up`."""

import json
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console

from notifier.events.triggers import SUFFIXES
from notifier.model.plurals import counted
from sandbox.audience import Recipe, make, write
from sandbox.show import live, print_report
from sandbox.trial import Setting, Trial

if TYPE_CHECKING:
    from sandbox.faults.scenario import Scenario
    from sandbox.schedule import Line
    from sandbox.schedule_run import SendingPlayer

app = typer.Typer(
    help="Everything on this machine: a local AWS, a local Lambda, and stand-ins for FCM and APNs. No account needed.",
    epilog="Example: python -m sandbox demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
HERE = Path(".sandbox")
TIMEOUT_S = 3600.0
NOT_OVER = 3
"""Exit code for a run that did not end: it stopped moving, took too long, or was interrupted."""


def _state_dir() -> Path:
    """A new folder for each sandbox, so that two at the same time share nothing."""
    HERE.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=HERE)).absolute()


@app.command()
def demo(users: Annotated[int, typer.Option(help="Users in the file.")] = 100_000) -> None:
    """Make a batch file, upload it to the sandbox's S3, follow the run, and print its report.

    Example: python -m sandbox demo --users 20000
    """
    console = Console()
    state_dir = _state_dir()
    console.print(
        f"[bold]1/4[/] a batch file of {users:,} users: 2 variants, 10 % control, 1 % dead tokens, some broken"
    )
    recipe = Recipe(users=users, broken=min(12, users // 10), dead_share=0.01, placeholders=True)
    path = make(recipe, state_dir / "demo.json")
    console.print(f"    {path} ({path.stat().st_size / 1e6:.1f} MB)")
    console.print("[bold]2/4[/] starting the sandbox: S3, DynamoDB, Secrets Manager, SQS (moto), Lambda, FCM and APNs")
    with Trial.start(state_dir, Setting()) as trial:
        console.print(f"[bold]3/4[/] dropping it in s3://{trial.sandbox.bucket}/batches/")
        report = _send(trial, path, console)
        if report is None:
            raise typer.Exit(NOT_OVER)
        console.print("[bold]4/4[/] the report")
        print_report(report, console, state_dir)
        raise typer.Exit(_exit_code(trial, report, console))


@app.command()
def schedule(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="schedules/NAME.json; its name is the schedule's.", exists=True)
    ],
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="The first date, in the schedule's zone.")],
    days: Annotated[int, typer.Option(help="How many days.", min=1, max=3660)] = 30,
    outage: Annotated[
        list[str] | None,
        typer.Option(metavar="START/HOURSh", help="Time in which nothing runs, as 2026-03-01T10:00Z/3h; repeatable."),
    ] = None,
    send: Annotated[
        bool,
        typer.Option(
            "--run", help="Also send the occurrences into the stand-ins: each with its account, the last reported."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per occurrence and nothing else.")] = (
        False
    ),
) -> None:
    """Play a schedule's occurrences with a moved clock, by the code that is deployed, without sending anything.

    The folder beside schedules/ (or the file's own) has its queries/ and standing/, as the bucket does. Without an
    audience that exists it lists the times.

    Example: python -m sandbox schedule events/schedules/day-2-engagement.json --from 2026-11-01 --days 30
    """
    from sandbox.local_time_run import LocalTimePlayer  # noqa: PLC0415
    from sandbox.schedule import outage_of  # noqa: PLC0415 - DuckDB and the time zones
    from sandbox.schedule_run import SendingPlayer  # noqa: PLC0415
    from schedules.definition import BrokenSchedule  # noqa: PLC0415

    console = Console(stderr=as_json)
    try:
        outages = [outage_of(one) for one in outage or ()]
        player = SendingPlayer(file, date.fromisoformat(first), days, outages)
        if player.schedule.timetable.users_time is not None:
            player = LocalTimePlayer(file, date.fromisoformat(first), days, outages)
    except BrokenSchedule as error:
        for fault in error.faults:
            console.print(f"[red]{file}[/]: {fault}", highlight=False)
        raise typer.Exit(1) from None
    except ValueError:
        console.print("--from is a date, as 2026-01-01; --outage a time and hours, as 2026-03-01T10:00Z/3h")
        raise typer.Exit(2) from None
    if send:
        _send_schedule(player, console, as_json=as_json)
        return
    lines = player.lines()
    if player.without_audience:
        console.print(f"only the times: {player.without_audience}", highlight=False)
    for line in lines:
        _print_occurrence(line, {}, console, as_json=as_json)


def _send_schedule(player: "SendingPlayer", console: Console, *, as_json: bool) -> None:
    """Play a schedule in a running sandbox: each occurrence with its run's account, and the report of the last."""
    from sandbox.schedule_run import report_of  # noqa: PLC0415

    state_dir, run_id = _state_dir(), ""
    with player.start(state_dir) as trial:
        runs: dict[str, str] = {}
        for line in player.sent(trial, lambda line, run_id: runs.setdefault(line.id, run_id)):
            account: dict[str, Any] = {}
            if line.id in runs:
                run_id = runs[line.id]
                summary = trial.summary(run_id)
                arms = {name: arm["assigned"] for name, arm in summary.arms.items()}
                account = {"run_id": run_id, "status": summary.status, "arms": arms, "outcomes": summary.outcomes}
            _print_occurrence(line, account, console, as_json=as_json)
        if run_id and not as_json:
            report_of(trial, run_id, state_dir)


def _print_occurrence(line: "Line", account: Mapping[str, Any], console: Console, *, as_json: bool) -> None:
    if as_json:
        members = {name: value for name, value in msgspec.to_builtins(line).items() if value != ""}
        sys.stdout.write(json.dumps({**members, **account}) + "\n")
        return
    users = "" if line.users is None else counted(line.users, "user")
    sent = " ".join(f"{name} {n}" for name, n in account.get("arms", {}).items())
    text = f"{line.local}  {line.utc}  {line.state:12} {users:>14}  {account.get('status', '')} {sent}{line.reason}"
    console.print(text, highlight=False)


@app.command()
def run(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A batch file, plain or gzip.", exists=True, dir_okay=False)
    ],
    function_timeout_s: Annotated[
        float | None, typer.Option(help="Timeout of the function that sends. Default: the template's.")
    ] = None,
    recurse_below_ms: Annotated[
        int | None,
        typer.Option(help="With less time left than this, continue in a new invocation. Default: the template's."),
    ] = None,
    memory_mb: Annotated[
        int | None, typer.Option(help="Memory of the function that sends. Default: the template's.")
    ] = None,
    latency_ms: Annotated[
        str | None, typer.Option(help="How long FCM and APNs take to answer: MEDIAN:P99 in ms, such as 60:400.")
    ] = None,
    ramp_s: Annotated[
        int, typer.Option(help="Seconds in which sending speeds up to full rate; 60 in the template.")
    ] = 0,
    faults: Annotated[str, typer.Option(help="Inject this fault; `python -m sandbox faults` lists them.")] = "",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Run in rehearse mode: everything but the push itself.")
    ] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run the function in this process, for a debugger.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option("--from", help="First upload its audiences/, standing/ and queries/.", file_okay=False),
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="Give up after this long.")] = TIMEOUT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Send one batch file through the whole sandbox. Exit 0 only if the run completed.

    Example: python -m sandbox run audience.json --function-timeout-s 12 --recurse-below-ms 6000

    Example: python -m sandbox run events/batches/query.json --from events
    """
    if not file.name.lower().endswith(SUFFIXES):
        # Another file under batches/ starts nothing: the sandbox would wait for its run in vain.
        message = f"{file}: only *.json and *.json.gz start a run; `notifier convert` makes an audience of a table"
        raise typer.BadParameter(message, param_hint="FILE")
    console = Console(stderr=as_json)
    if faults:
        raise typer.Exit(_run_with_faults(file, faults, console, as_json=as_json))
    setting = Setting(
        function_timeout_s=function_timeout_s,
        recurse_below_ms=recurse_below_ms,
        memory_mb=memory_mb,
        latency_ms=_pair(latency_ms) if latency_ms else None,
        ramp_s=ramp_s,
        mode="rehearse" if rehearse else "live",
    )
    state_dir = _state_dir()
    with Trial.start(state_dir, setting, in_process=in_process) as trial:
        if root is not None:
            trial.upload(root)
        report = _send(trial, file, console, in_process=in_process, timeout_s=timeout_s)
        if report is None:
            raise typer.Exit(NOT_OVER)
        if as_json:
            sys.stdout.write(json.dumps(report) + "\n")
        else:
            print_report(report, console, state_dir)
        raise typer.Exit(_exit_code(trial, report, console))


def _fault(name: str, option: str) -> "Scenario":
    from sandbox.faults.catalogue import scenario  # noqa: PLC0415 - only here

    try:
        return scenario(name)
    except LookupError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _run_with_faults(path: Path, name: str, console: Console, *, as_json: bool) -> int:
    """Run one file under one fault. Returns the exit code: 0 only if every promise was kept."""
    from sandbox.faults.stage import Stage  # noqa: PLC0415 - only here
    from sandbox.faults.table import print_played  # noqa: PLC0415

    chosen = _fault(name, "--faults")
    state_dir = _state_dir()
    with Stage.open(state_dir, hurried=False) as stage:
        played = stage.play(chosen, path)
    if as_json:
        report = played.report | {"fault": name, "struck": played.struck, "broken": played.broken}
        report["reached"] = msgspec.to_builtins(played.reached)
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        print_report(played.report, console, state_dir)
        print_played(chosen, played, console)
    return 0 if played.is_good else 1


def _pair(text: str) -> tuple[float, float]:
    try:
        median, p99 = map(float, text.split(":"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not MEDIAN:P99, such as 60:400", param_hint="--latency-ms") from None
    return median, p99


def _send(
    trial: Trial, path: Path, console: Console, *, in_process: bool = False, timeout_s: float = TIMEOUT_S
) -> dict[str, Any] | None:
    """Upload a file and follow its run. Returns the report; None where the run did not end, which is printed then."""
    trial.stock()
    began = time.monotonic()
    run_id = trial.drop(path)
    try:
        if in_process:
            trial.work_here(run_id)
        live(trial, run_id, console, timeout_s)
    except (TimeoutError, KeyboardInterrupt) as stopped:
        _print_unfinished(trial, run_id, stopped, console)
        return None
    return trial.report(run_id, began)


def _exit_code(trial: Trial, report: dict[str, Any], console: Console) -> int:
    """0 for a completed run; for any other the end of the log is printed, which says why."""
    if report["status"] == "completed":
        return 0
    _print_log(trial, console)
    return 1


def _print_unfinished(trial: Trial, run_id: str, stopped: BaseException, console: Console) -> None:
    lane = trial.ledger.read_lane(run_id)
    status = lane.status if lane else "never reached the function"
    console.print(f"[red]{str(stopped) or 'interrupted'}[/] run {run_id}: {status}")
    _print_log(trial, console)


def _print_log(trial: Trial, console: Console) -> None:
    for line in trial.log_lines():
        console.print(line, markup=False, highlight=False, style="dim")


@app.command()
def faults(
    every: Annotated[bool, typer.Option("--all", help="Play all of them.")] = False,
    name: Annotated[list[str] | None, typer.Option(help="Play this one; repeat the option for more.")] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Play the quick ones, which `make test` plays.")] = False,
    users: Annotated[int | None, typer.Option(help="Users in each file. Default: what each fault needs.")] = None,
    real_times: Annotated[
        bool, typer.Option("--real-times", help="Recover from crashes after 30 s, as on AWS, not after 3 s.")
    ] = False,
) -> None:
    """List the faults, or play them: each in a run of its own, with its account checked against what was received.

    Example: python -m sandbox faults --all
    """
    from sandbox.faults.catalogue import scenarios  # noqa: PLC0415 - only here
    from sandbox.faults.table import list_scenarios, play_all  # noqa: PLC0415

    console = Console()
    chosen = [_fault(one, "--name") for one in name or ()]
    chosen = chosen or [one for one in scenarios().values() if (every and not one.by_hand) or (gate and one.in_gate)]
    if not chosen:
        list_scenarios(scenarios().values(), console)
        return
    raise typer.Exit(play_all(chosen, _state_dir(), console, users=users, hurried=not real_times))


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the approval pages; 0: any free one.")] = 0,
    outside_port: Annotated[int, typer.Option(help="Port of mails and phones; 0: any free one.")] = 0,
    observe_port: Annotated[int, typer.Option(help="Port of the service map; 0: any free one.")] = 0,
) -> None:
    """Start a sandbox and keep it running: approval pages, mails, phones, a bucket to upload files to, traces.

    Example: python -m sandbox up --port 8000
    """
    from sandbox.up import stay_up  # noqa: PLC0415 - only here

    console = Console()
    console.print("Starting S3, DynamoDB, Lambda, FCM, APNs, the approval pages …")
    stay_up(_state_dir(), console, (port, outside_port, observe_port))


@app.command()
def audience(
    users: Annotated[int, typer.Option(help="Users in the file.", min=0)] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same file.")] = 1,
    broken: Annotated[int, typer.Option(help="Broken records among them, of every kind in turn.")] = 0,
    duplicates: Annotated[int, typer.Option(help="Records that repeat an earlier token.")] = 0,
    ios_share: Annotated[float, typer.Option(help="Share of iOS devices, 0 to 1.")] = 0.5,
    prefix: Annotated[
        str,
        typer.Option(
            help="Prefix of each token; it decides the answer, such as `dead-`: see python -m sandbox.gateways --help."
        ),
    ] = "",
    placeholders: Annotated[bool, typer.Option("--placeholders", help="Title and body contain placeholders.")] = False,
    variants: Annotated[int, typer.Option(help="Variants of the message.", min=1, max=100)] = 2,
    campaign_id: Annotated[str, typer.Option(help="Default: made from seed and size.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write. Default: standard output.")
    ] = None,
) -> None:
    """Make a batch file, for trying and timing.

    Example: python -m sandbox audience --users 200000 -o audience.json
    """
    recipe = Recipe(
        users,
        seed=seed,
        broken=broken,
        duplicates=duplicates,
        ios_share=ios_share,
        prefix=prefix,
        placeholders=placeholders,
        campaign_id=campaign_id,
        variants=variants,
    )
    if output is None:
        write(recipe, sys.stdout)
        return
    try:
        make(recipe, output)
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from None


def _interrupt(*_: object) -> None:
    """Handles SIGTERM as Ctrl-C, so that every `with` ends what it has started."""
    raise KeyboardInterrupt


def main() -> None:
    """The entry point."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
