"""`start`, `pause`, `resume`, `cancel`: what is done with runs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from notifier.audience import BrokenFile
from notifier.audience.local import read_local_head
from notifier.events.triggers import SUFFIXES
from notifier.gateway.additions import read_sendable
from notifier.model.campaign import BrokenCampaign, Campaign
from notifier.model.run import LaneState, source_of
from operations.cli.options import AsJson, By, Stack, StackFile, Yes, console, notes, print_json, sure, who
from operations.cli.place import Cloud, find_place, split_url
from operations.cli.trouble import ExitCode, Trouble, tells_trouble
from operations.cli.watching import follow

PART_BYTES = 16 * 1024 * 1024


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
        return read_sendable(read_local_head(path).campaign)
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
    if not key.lower().endswith(SUFFIXES):
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
