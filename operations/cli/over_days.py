"""A schedule's experiment, over its whole history: each of its runs' conversions, joined on this machine."""

import time

import msgspec
from botocore.exceptions import ClientError

from notifier.model.campaign import Campaign
from notifier.model.run import state_key
from notifier.model.summary import summary_of
from operations.cli.cloud import Cloud
from operations.cli.errors import CommandError, ExitCode
from operations.cli.goals import goal_of
from operations.cli.options import notes
from reporting.over_days import OverDays, Time, over_days
from schedules.rules import OccurrenceState
from schedules.store import OccurrenceItem, ScheduleStore

MOST_TIMES = 10_000
"""A year of hourly ones."""


class _Began(msgspec.Struct):
    campaign: Campaign


def schedule_days(cloud: Cloud, name: str) -> OverDays:
    """What a schedule's times say together. Raises CommandError where there is nothing to compare."""
    store = ScheduleStore(cloud.client("dynamodb"), cloud.deployment.table, time.time)
    if store.read(name) is None:
        raise CommandError(ExitCode.NOT_FOUND, f"there is no schedule {name}", "notifier schedules list")
    sent = [one for one in store.history(name, limit=MOST_TIMES) if one.state is OccurrenceState.RUN]
    if not sent:
        raise CommandError(ExitCode.NOT_FINE, f"{name}: no time of it was sent yet", f"notifier schedules show {name}")
    smallest: list[float] = []
    # The oldest first: so the evidence has grown, and so it was looked at.
    times = tuple(_time(cloud, one, smallest) for one in reversed(sent))
    for one in times:
        if one.note:
            notes().print(f"{one.stamp}: {one.note}", markup=False)
    if not smallest:
        mend = "declare campaign.goal in the schedule, and conversions/NAME.json"
        raise CommandError(ExitCode.NOT_FINE, f"{name}: no time of it has figures of a goal", mend)
    # The largest that was declared: a smaller one may have been declared after looking.
    return over_days(name, times, max(smallest))


def _time(cloud: Cloud, one: OccurrenceItem, smallest: list[float]) -> Time:
    s3, bucket = cloud.client("s3"), cloud.deployment.bucket
    try:
        body = s3.get_object(Bucket=bucket, Key=state_key(one.run_id, "campaign"))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        return Time(one.stamp, one.run_id, note="what it began with has expired (WorkDays)")
    campaign = msgspec.json.decode(body, type=_Began).campaign
    if campaign.goal is None:
        return Time(one.stamp, one.run_id, note="it had no goal")
    run, lanes = cloud.read(one.run_id)
    try:
        found = goal_of(cloud, summary_of(run, lanes, bucket), campaign, campaign.goal)
    except CommandError as error:
        return Time(one.stamp, one.run_id, note=f"{error.problem}; {error.mend}")
    smallest.append(campaign.goal.smallest_lift_percent)
    return Time(one.stamp, one.run_id, {arm.name: (arm.users, arm.conversions) for arm in found.comparison.arms})
