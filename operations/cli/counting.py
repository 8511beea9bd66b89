"""`count`: how many users and devices an audience holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.text import Text

from notifier.audience import AudienceChanged, BrokenFile, read_head
from notifier.audience.local import read_local_head
from notifier.model.batch_file import BatchFileHead
from notifier.model.campaign_reading import BrokenCampaign, read_campaign
from notifier.model.suspicious_values import warnings_in
from operations.cli.audiences import Memory, Show, Work, inputs_of, progress_of
from operations.cli.display import print_counts
from operations.cli.errors import CommandError, ExitCode, reports_errors
from operations.cli.left_out import Lists, in_words, lists_of
from operations.cli.options import AsJson, Stack, StackFile, console, print_json
from operations.cli.requests import From, RequestPlace, faults, must_be_prepared, workplace
from operations.cli.sources import InputFiles, LazyCloud, pin_url, s3_client
from operations.dry_check.judgement import unknown_zones

if TYPE_CHECKING:
    from audiences.build import Order
    from audiences.database import Limits
    from notifier.model.audience_counts import Counts

_SCHEME = "s3://"


@reports_errors
def count(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="A batch file, or files of users: here, or s3://bucket/key; folders and prefixes (ending in /), and "
            "globs. JSON, CSV, Parquet; plain, gzip or zstd.",
        ),
    ],
    root: From = None,
    show: Show = None,
    memory_mb: Memory = 400,
    work: Work = None,
    stack: Stack = None,
    stack_file: StackFile = None,
    as_json: AsJson = False,
) -> None:
    """Count the audience that these files make: users with all their devices, one push per token.

    Of a batch file whose audience is made of files, a stored query, SQL or a
    combination, that audience is made here and counted.

    With a stack named, also how many would be left out as of now: users on its
    suppression lists, the holdout, the batch file's own exclude list.

    Exit 0 if there is a valid device, 1 if there is none.

    Example: notifier count s3://push-campaigns/audiences/2026-11-28/

    Example: notifier count events/batches/query.json --from events
    """
    with workplace(work, memory_mb) as limits, faults(), progress_of(as_json) as on_progress:
        from audiences.build import prepared  # noqa: PLC0415 - DuckDB is loaded where it is needed
        from audiences.watch import LastProgress  # noqa: PLC0415

        head = _head(source, stack, stack_file)
        order = _order(source, head, RequestPlace(source[0], root, stack, stack_file), limits, stack, stack_file)
        if show:
            order = msgspec.structs.replace(order, show=tuple(show))
        own = msgspec.structs.replace(limits, work=limits.work / "database")
        warnings = list[str]()
        lists = _lists(source, head, LazyCloud(stack, stack_file), warnings.append)
        with prepared(order, own, LastProgress(on_progress), only_counts=lists is None) as (made, found):
            now = lists.of_users(made.user_ids()) if lists is not None else None
    warnings = [*warnings_of(found), *warnings]
    if as_json:
        print_json(msgspec.to_builtins(found) | {"warnings": warnings, "now": msgspec.to_builtins(now)})
        return
    print_counts(console(), found)
    if now is not None:
        console().print(Text(in_words(now.users, now.left_out)))
    for warning in warnings:
        console().print(Text(f"! {warning}", style="yellow"))


def warnings_of(counts: "Counts") -> Iterator[str]:
    """What looks wrong in an audience without a campaign: any attribute might be used by a text."""
    yield from warnings_in(counts.null_words, counts.other_gateway, None, counts.invisible_ends)
    yield from unknown_zones(counts.timezones)


def _lists(
    source: list[str], head: BatchFileHead | None, cloud: LazyCloud, warn: Callable[[str], object]
) -> Lists | None:
    """Who would be left out as of now: by the campaign, where the source is a batch file."""
    campaign, exclude = None, None
    if head is not None:
        try:
            campaign = read_campaign(head.campaign)
            exclude = (
                InputFiles(source, cloud, users_only=False).excluded(campaign.exclude) if campaign.exclude else None
            )
        except (BrokenCampaign, AudienceChanged, BrokenFile, CommandError):
            # Its faults are `validate`'s; the stack's own lists hold for any campaign.
            warn("the campaign's own rules are not counted: see notifier validate")
    return lists_of(cloud, campaign, exclude, warn)


def _order(
    source: list[str],
    head: BatchFileHead | None,
    place: RequestPlace,
    limits: "Limits",
    stack: str | None,
    stack_file: Path | None,
) -> "Order":
    """What the sources make: a batch file's audience, or files of users."""
    from audiences.build import Order  # noqa: PLC0415

    if head is not None and head.audience is not None:
        return place.order(_request(source[0], head.audience), limits)
    inputs = inputs_of(source, limits, stack, stack_file)
    if head is not None:
        inputs = tuple(msgspec.structs.replace(one, in_batch_file=True) for one in inputs)
    return Order({"files": source}, inputs)


def _head(source: list[str], stack: str | None, stack_file: Path | None) -> BatchFileHead | None:
    """The keys of a batch file; None where the sources are files of users."""
    try:
        if len(source) == 1 and not source[0].endswith("/") and _is_one_object(source[0]):
            if not source[0].startswith(_SCHEME):
                return read_local_head(Path(source[0]))
            client = s3_client(stack, stack_file)
            return read_head(client, pin_url(client, source[0]))
    except BrokenFile:
        return None
    for name in source:
        if len(source) > 1 and Path(name).is_file() and _is_batch_file(Path(name)):
            raise CommandError(ExitCode.USAGE, f"{name}: a batch file beside other files", "count it apart")
    return None


def _is_one_object(name: str) -> bool:
    return Path(name).is_file() or (name.startswith(_SCHEME) and not set(name) & set("*?["))


def _is_batch_file(path: Path) -> bool:
    try:
        read_local_head(path)
    except BrokenFile:
        return False
    return True


def _request(name: str, audience: object) -> dict[str, Any]:
    """The audience of a batch file as a request. Raises CommandError for what is none."""
    try:
        must_be_prepared(audience)
    except BrokenCampaign as error:
        raise CommandError(ExitCode.NOT_FINE, f"{name}: {error}", "correct the audience") from None
    assert isinstance(audience, dict)
    return audience
