"""What a run's campaign brought about: its conversions, fetched and joined on this machine."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from notifier.model.campaign import Campaign, Goal
from notifier.model.goal_source import what_changed
from notifier.model.remainder import other_part_of
from notifier.model.run import Ending
from notifier.model.summary import Summary
from operations.cli.cloud import Cloud
from operations.cli.conversion_queries import ask_here, warehouses_of
from operations.cli.errors import CommandError, ExitCode
from operations.cli.requests import faults, workplace
from reporting.outcome import Outcome, outcome_of_counts

if TYPE_CHECKING:
    from audiences.conversions import Ask, Declaration
    from audiences.database import Limits

MEMORY_MB = 1024
_DAY_S = 86_400


def goal_of(cloud: Cloud, summary: Summary, campaign: Campaign, goal: Goal) -> Outcome:
    """What came of the campaign's goal. Raises CommandError where its conversions cannot be read."""
    client, bucket, run_id = cloud.client("s3"), cloud.deployment.bucket, summary.run_id
    if summary.dry_run:
        raise CommandError(ExitCode.NOT_FINE, "this was a dry run: nobody got a push", "there is nothing to compare")
    place = f"conversions/{goal.name}.json"
    body = _stored(client, bucket, place)
    from audiences.conversions import join, read_declaration  # noqa: PLC0415 - DuckDB is loaded where it is needed

    now = datetime.now(UTC)
    with faults(), workplace(None, MEMORY_MB) as limits:
        declared, others = read_declaration(body, place), other_part_of(campaign)
        ask = asker_of(cloud, declared, limits)
        joined = join(client, bucket, run_id, goal, declared, now, limits, ask, other_part=others)
    changed = what_changed(goal, lambda key: body if key == place else _found(client, bucket, key))
    is_over = summary.status in {ending.value for ending in Ending}
    found = msgspec.structs.replace(joined, changed=changed)
    return outcome_of_counts(campaign, found, now.timestamp(), is_over=is_over)


def asker_of(cloud: Cloud, declared: "Declaration", limits: "Limits") -> "Ask":
    """What runs the stored queries of a declaration."""
    from audiences.conversions import no_queries  # noqa: PLC0415 - DuckDB is loaded where it is needed

    if declared.query is None and declared.complete.query is None:
        return no_queries
    return ask_here(cloud.client("s3"), cloud.deployment.bucket, warehouses_of(cloud), limits)


def declaration_of(client: Any, bucket: str, goal: str) -> "Declaration":
    """Where a goal's conversions are. Raises CommandError."""
    from audiences.conversions import read_declaration  # noqa: PLC0415 - DuckDB is loaded where it is needed

    place = f"conversions/{goal}.json"
    body = _stored(client, bucket, place)
    with faults():
        return read_declaration(body, place)


def _stored(client: Any, bucket: str, place: str) -> bytes:
    body = _found(client, bucket, place)
    if body is None:
        problem = f"s3://{bucket}/{place} is missing"
        raise CommandError(ExitCode.NOT_FOUND, problem, "it says where conversions are")
    return body


def _found(client: Any, bucket: str, key: str) -> bytes | None:
    try:
        body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        return None
    return body
