"""`validate`: what the worker would say to a file."""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn

from notifier.audience import AudienceChanged, BrokenFile, IdSet
from notifier.gateway.additions import addition_faults
from notifier.model.campaign import Audience
from notifier.model.campaign_reading import BrokenCampaign
from notifier.model.validation import Fault
from operations.cli.display import print_inspection
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.left_out import lists_of
from operations.cli.options import AsJson, Stack, StackFile, console, notes, print_json
from operations.cli.requests import From, RequestPlace, must_be_prepared, prepared_records
from operations.cli.sources import FileArgument, InputFiles, LazyCloud
from operations.dry_check import Inspector, repeated_keys

USERS_ALONE = "; if it is meant to hold users and no campaign, add --users-only"


@reports_errors
def validate(
    file: FileArgument,
    users_only: Annotated[
        bool, typer.Option("--users-only", help="The file holds users and no campaign: an audience part.")
    ] = False,
    payloads: Annotated[bool, typer.Option("--payloads", help="Show the whole payloads of the previews.")] = False,
    limit: Annotated[
        int, typer.Option(help="How many broken records and repeated tokens to list; 0: all.", min=0)
    ] = 50,
    root: From = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a batch file as the worker will: every fault with its position, arms, payload sizes, three previews.

    Nothing is sent. A file on this machine needs no AWS, unless its audience or
    exclude list is in S3. An audience that is made of files, a stored query, SQL
    or a combination is made here first, by DuckDB.

    Exit 0 if the worker would take the file, 1 if it would refuse it.

    Example: notifier validate day-2.json
    """
    cloud = LazyCloud(stack, stack_file)
    inputs = InputFiles([file], cloud, users_only=users_only)
    inspector = Inspector(inputs.name, addition_faults, limit, time.time(), inputs.locate)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,}"))
    with Progress(*columns, console=notes(), transient=True, disable=as_json) as progress:
        task = progress.add_task("checking users", total=None)
        place = RequestPlace(file, root, stack, stack_file)

        def on_progress(users: int) -> None:
            progress.update(task, completed=users)

        _inspect(inspector, inputs, cloud, place, on_progress, users_only=users_only)
    found = inspector.finish()
    if as_json:
        print_json(found)
    else:
        print_inspection(console(), found, payloads=payloads)
    if not found.is_fine:
        raise typer.Exit(ExitCode.NOT_FINE)


def _inspect(
    inspector: Inspector,
    inputs: InputFiles,
    cloud: LazyCloud,
    place: RequestPlace,
    on_progress: Callable[[int], None],
    *,
    users_only: bool,
) -> None:
    """Check the campaign, then every record. A file that cannot be read to its end is a fault, like any other."""
    head = None
    try:
        if not users_only:
            for beginning in inputs.local_beginnings():
                for path in repeated_keys(beginning):
                    inspector.add_warning(f"{path} is given twice: only the last one counts")
            head = inputs.head()
            campaign = inspector.take_campaign(head.campaign)
            excluded = None
            if campaign is not None and campaign.exclude is not None:
                excluded = _exclude(inspector, inputs, campaign.exclude)
            lists = lists_of(cloud, campaign, excluded, inspector.add_warning)
            if lists is not None:
                inspector.leave_out(lists.reason_of)
        if head is not None and head.audience is not None and must_be_prepared(head.audience):
            _inspect_prepared(inspector, head.audience, place, on_progress)
            return
        inspector.take_records(inputs.pieces(head), on_progress)
    except BrokenCampaign as error:
        for fault in error.faults:
            inspector.add_fault(fault)
    except BrokenFile as error:
        # An audience part is no batch file: the likely slip is a missing option, not a broken file.
        mend = error.mend + (USERS_ALONE if error.mend and not head and not users_only else "")
        inspector.add_fault(Fault("file", str(error), mend))


def _inspect_prepared(
    inspector: Inspector, audience: object, place: RequestPlace, on_progress: Callable[[int], None]
) -> None:
    """Make the audience as the audience function would, then check its records. Raises CommandError."""
    assert isinstance(audience, dict)
    try:
        with prepared_records(audience, place, lambda _what, users: on_progress(users)) as (counts, records):
            inspector.found.prepared = counts
            inspector.take_records(records, on_progress)
    except CommandError as error:
        if error.code not in (ExitCode.NOT_FINE, ExitCode.NOT_FOUND):
            raise
        # What is wrong with the audience is a fault of the file, like any other.
        inspector.add_fault(Fault("audience", error.problem, error.mend))


def _exclude(inspector: Inspector, inputs: InputFiles, exclude: Audience) -> IdSet | None:
    """Leave out the users on the exclude list. A list that cannot be read is a fault: the worker refuses the file."""
    try:
        excluded = inputs.excluded(exclude)
    except (AudienceChanged, BrokenFile) as error:
        inspector.add_fault(Fault("campaign.exclude", str(error), "upload the list, or name the one that is there"))
        # An empty list counts as read: otherwise the report would warn, too, that no stack was named for it.
        excluded = IdSet()
    if excluded is not None:
        inspector.exclude(excluded)
    return excluded
