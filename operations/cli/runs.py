"""`start`, `pause`, `resume`, `cancel`: begins runs and controls them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.console import Console

from notifier.audience import BrokenFile, read_head
from notifier.audience.local import read_local_head
from notifier.events.triggers import SUFFIXES
from notifier.gateway.additions import read_sendable
from notifier.model.audience_faults import AudienceChanged, AudienceUnreachable
from notifier.model.batch_file import BatchFileHead
from notifier.model.campaign import Campaign
from notifier.model.campaign_reading import BrokenCampaign
from notifier.model.plurals import counted
from notifier.model.run import Control, LaneState, Source, source_of
from notifier.model.whole_run import as_one
from operations.cli.cloud import CANNOT_READ, UNREADABLE, USE_ITS_RELEASE, Cloud
from operations.cli.deployment import find_deployment
from operations.cli.errors import KNOWN_ERRORS, CommandError, ExitCode, as_command_error, reports_errors
from operations.cli.options import AsJson, By, Stack, StackFile, Yes, console, notes, print_json, sure, who
from operations.cli.sources import pin_url, unread
from operations.cli.watching import follow

PART_BYTES = 16 * 1024 * 1024
"""Of a multipart upload: larger files are uploaded in parts of this size, several at once."""
NO_SUCH_RUN = "there is no such run"
ANY_TIME_MS = 2**53
"""Later than any lane is due. Only lanes that continue by themselves have such a time."""
FAILED = "failed"
"""The answer of a run that a command over several did not reach."""


@reports_errors
def start(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A batch file on this machine, or the s3://bucket/key of one that is in S3 already."
        ),
    ],
    key: Annotated[
        str | None, typer.Option(help="The key to upload it to. Default: batches/ and the file's name.")
    ] = None,
    yes: Yes = False,
    follow_it: Annotated[bool, typer.Option("--watch", help="Follow the run until it ends.")] = False,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Upload a batch file to the stack's bucket, which starts its run.

    Run `notifier validate` first: it checks every record. `start` checks the campaign only.

    Example: notifier start day-2.json --watch
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    if file.startswith("s3://"):
        source = _source_of(cloud, file)
        _check_is_new(cloud, source.run_id)
        campaign = _checked(file, lambda: read_head(cloud.client("s3"), pin_url(cloud.client("s3"), file)))
        _note_earlier_run(cloud, campaign, source.run_id)
        sure(f"Send {file} to everybody in it?", yes=yes)
        # It is there already: no S3 event comes, so the worker is invoked directly.
        cloud.nudge(source.bucket, source.key, source.version_id)
        run_id = source.run_id
    else:
        path = Path(file)
        _note_earlier_run(cloud, _checked(file, lambda: read_local_head(path)))
        sure(f"Send {file} to everybody in it, by {cloud.deployment.bucket}?", yes=yes)
        run_id = _upload_or_say(cloud, path, key or f"batches/{path.name}")
    if follow_it:
        raise typer.Exit(follow(cloud, run_id, None, as_json=as_json))
    if as_json:
        print_json({"run_id": run_id})
    else:
        console().print(f"started: run {run_id}\nfollow it: notifier watch {run_id}", markup=False)


def _checked(file: str, read: Callable[[], BatchFileHead]) -> Campaign:
    try:
        return read_sendable(read().campaign)
    except BrokenFile as error:
        raise CommandError(ExitCode.NOT_FINE, str(error), f"notifier validate {file}") from None
    except (AudienceChanged, AudienceUnreachable) as error:
        raise unread(error) from None
    except BrokenCampaign as error:
        raise CommandError(ExitCode.NOT_FINE, f"{file}: {error}", f"notifier validate {file} shows more") from None


def _note_earlier_run(cloud: Cloud, campaign: Campaign, run_id: str | None = None) -> None:
    """Print a note, before anything is sent, where another run than this one has sent this campaign id already."""
    owner = cloud.ledger.owner_of(campaign.id)
    # A dry run takes no campaign id: nothing that was sent can be repeated by it.
    if owner in (None, run_id) or campaign.dry_run:
        return
    then = "everybody in this file gets it again" if campaign.again else "the worker refuses it, unless it rehearses"
    notes().print(f"campaign {campaign.id!r} was sent already, by run {owner}: {then}", markup=False)


def upload(cloud: Cloud, path: Path, key: str) -> str:
    """Upload a file to the stack's bucket. Returns its run's id. Raises CommandError for a key that starts no run."""
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - only where something is uploaded

    if not key.startswith("batches/"):
        raise CommandError(ExitCode.USAGE, f"{key}: only what lies under batches/ starts a run", "choose such a key")
    if not key.lower().endswith(SUFFIXES):
        raise CommandError(ExitCode.USAGE, f"{key}: only *.json and *.json.gz start a run", "choose such a key")
    client, bucket = cloud.client("s3"), cloud.deployment.bucket
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
    client.upload_file(str(path), bucket, key, Config=config)
    # The version that the upload made: the run's id is made from it.
    head = client.head_object(Bucket=bucket, Key=key)
    return source_of(bucket, key, head.get("VersionId"), head["ETag"]).run_id


def _check_is_new(cloud: Cloud, run_id: str) -> None:
    """Raise CommandError where the object's run is over, or waits for a person: the worker would do nothing."""
    try:
        lanes = cloud.ledger.lanes_of(run_id)
    except UNREADABLE:
        raise CommandError(ExitCode.NOT_FINE, f"run {run_id} of this file: {CANNOT_READ}", USE_ITS_RELEASE) from None
    if not lanes:
        return
    whole = as_one(lanes)
    why = f": {whole.reason}" if whole.reason else ""
    if whole.state is LaneState.DONE:
        mend = "notifier start FILE uploads it once more, as another run; where its id was sent, give it another"
        raise CommandError(ExitCode.NOT_FINE, f"run {run_id} of this file is over, {whole.status}{why}", mend)
    if whole.status in ("paused", "stopped"):
        problem = f"run {run_id} of this file is {whole.status}{why}"
        raise CommandError(ExitCode.NOT_FINE, problem, f"notifier resume {run_id}")


def _upload_or_say(cloud: Cloud, path: Path, key: str) -> str:
    """Upload a file as `upload` does. Interrupted, say whether its run begins all the same."""
    url = f"s3://{cloud.deployment.bucket}/{key}"
    before = _run_id_there(cloud, url)
    try:
        return upload(cloud, path, key)
    except KeyboardInterrupt:
        # One that is cut off does not come to be in S3. A whole one may a moment later, after a second Ctrl-C.
        after = _run_id_there(cloud, url)
        if after is not None and after != before:
            words = f"interrupted after {path} was uploaded: its run {after} begins; `notifier cancel {after}` ends it"
        else:
            words = f"interrupted before {path} was uploaded whole: it is not in S3 (`notifier status {url}` looks)"
        notes().print(words, markup=False)
        raise


def _run_id_there(cloud: Cloud, url: str) -> str | None:
    """The id of the run of what is there now; None where nothing is, or where it may not be looked at."""
    try:
        return _source_of(cloud, url).run_id
    except (ClientError, CommandError):
        return None


def _source_of(cloud: Cloud, url: str) -> Source:
    """The object that is there now. Raises CommandError where there is none."""
    pinned = pin_url(cloud.client("s3"), url)
    return source_of(pinned.bucket, pinned.key, pinned.version_id, pinned.etag)


@reports_errors
def pause(
    run: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Run ids, s3://bucket/key, or campaign ids.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run that sends or rests.")] = False,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Pause runs: no push begins later than 5 seconds from now; requests in flight finish.

    Example: notifier pause --all
    """
    if bool(run) == every:
        raise CommandError(ExitCode.USAGE, "which runs?", "name some, or add --all")
    cloud = Cloud(find_deployment(stack, stack_file))
    run_ids = alive(cloud) if every else [cloud.run_id_of(name) for name in run or ()]
    _control(cloud, "pause", run_ids, by, as_json=as_json)


@reports_errors
def resume(
    run: Annotated[list[str], typer.Argument(metavar="RUN", help="Run ids, s3://bucket/key, or campaign ids.")],
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Continue runs that are paused or stopped, from where they were.

    Example: notifier resume day-2-engagement-2026-11-21
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    _control(cloud, "resume", [cloud.run_id_of(name) for name in run], by, as_json=as_json)


@reports_errors
def cancel(
    run: Annotated[list[str], typer.Argument(metavar="RUN", help="Run ids, s3://bucket/key, or campaign ids.")],
    yes: Yes = False,
    by: By = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """End runs for good. What was sent stays accounted.

    Example: notifier cancel day-2-engagement-2026-11-21 --yes
    """
    cloud = Cloud(find_deployment(stack, stack_file))
    run_ids = [cloud.run_id_of(name) for name in run]
    sure(f"End {counted(len(run_ids), 'run')} for good?", yes=yes)
    _control(cloud, "cancel", run_ids, by, as_json=as_json)


def alive(cloud: Cloud) -> list[str]:
    """Ids of the runs that send, are between two invocations, or rest. Paused and stopped runs are not among them."""
    # The sweeper's index has exactly these lanes: those with a time at which something must happen.
    return sorted(cloud.ledger.due_runs(ANY_TIME_MS))


def _control(cloud: Cloud, action: str, run_ids: list[str], by: str | None, *, as_json: bool) -> None:
    """Give a command to every run, and print each answer at once. One that fails keeps no other from its command."""
    answers = []
    for run_id in run_ids:
        try:
            answer = _said(cloud, action, cloud.command(action, run_id, who(by)))
        except KNOWN_ERRORS as error:
            failed = as_command_error(error)
            if len(run_ids) == 1:
                raise failed from None
            answer = {"status": FAILED, "run_id": run_id, "reason": failed.problem, "mend": failed.mend}
        answers.append(answer)
        if not as_json:
            _print_answer(console(), action, answer)
    if as_json:
        print_json(answers)
    elif not answers:
        console().print("no run is sending or resting")
    if any(answer["status"] == FAILED for answer in answers):
        raise typer.Exit(ExitCode.UNREACHABLE)
    refused = [answer["reason"] for answer in answers if answer["status"] == "refused"]
    if refused:
        raise typer.Exit(ExitCode.NOT_FOUND if set(refused) == {NO_SUCH_RUN} else ExitCode.NOT_FINE)


def _said(cloud: Cloud, action: str, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer, of a command that was refused with the reason that the ledger knows."""
    if answer["status"] != "refused":
        return answer
    try:
        lanes = cloud.ledger.lanes_of(answer["run_id"])
    except UNREADABLE:
        return answer | {"reason": f"{CANNOT_READ}: {USE_ITS_RELEASE}"}
    if not lanes:
        reason = NO_SUCH_RUN
    elif (whole := as_one(lanes)).state is LaneState.DONE:
        reason = f"it is over ({whole.status}): there is nothing to {action}"
    elif whole.control is Control.CANCEL:
        reason = "it is cancelled, and ends within a minute: nothing takes that back"
    else:
        return answer
    return answer | {"reason": reason}


def _print_answer(out: Console, action: str, answer: dict[str, Any]) -> None:
    if answer["status"] == FAILED:
        mend = f" ({answer['mend']})" if answer["mend"] else ""
        out.print(f"run {answer['run_id']}: {action} is NOT noted: {answer['reason']}{mend}", markup=False)
        return
    # The worker reads the command with its next write to the ledger, at least each 2.5 s.
    is_stopping = answer["status"] == "running" and action != "resume"
    soon = "; no push begins later than 5 seconds from now" if is_stopping else ""
    if answer.get("by_ledger"):
        soon += "; Lambda has no room for the control function, so the command is in the ledger itself"
    noted = f"{action} is noted{soon}; it is {answer['status']} now"
    # A reason is why the command was refused.
    out.print(f"run {answer['run_id']}: {answer.get('reason') or noted}", markup=False)
