"""`report --holdout`: what all pushes of a time have brought, by the users who got none."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from notifier.model.campaign import CONTROL, HUNDREDTHS, Campaign, Goal
from notifier.model.cut import CUT_LIST
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.plurals import counted
from notifier.model.run import Ending, state_key
from notifier.model.summary import Summary
from operations.cli.cloud import Cloud
from operations.cli.errors import CommandError, ExitCode
from operations.cli.goals import MEMORY_MB, asker_of, declaration_of
from operations.cli.options import notes
from operations.cli.requests import faults, workplace
from reporting.holdout import MIN_SHARE_PERCENT, HoldoutLift
from reporting.proof.evidence import read_object
from reporting.statistics.comparison import SMALLEST_LIFT_PERCENT, Basis, Experiment, compare
from reporting.statistics.fixed_horizon import Arm

_READERS = 8
_WINDOW_H = 1
"""A goal has one in its schema; people have no window of their own here."""


class _Began(msgspec.Struct, frozen=True):
    campaign: Campaign
    holdout: Holdout = NOBODY


def holdout_lift(
    cloud: Cloud, goal: str, since: str, until: str | None, smallest: float = SMALLEST_LIFT_PERCENT
) -> HoldoutLift:
    """The lift of all pushes from a day on, up to another one. Raises CommandError where nothing can be compared."""
    s3, bucket = cloud.client("s3"), cloud.deployment.bucket
    now = datetime.now(UTC)
    first, last = _day(since, "--since"), _day(until, "--until") + timedelta(days=1) if until else now
    if not first < last <= now + timedelta(days=1):
        raise CommandError(ExitCode.USAGE, f"{since} to {until}: no time that has been", "give --since and --until")
    began = list(_runs(s3, bucket, first, last))
    uneven = [summary for summary, _ in began if _is_uneven(s3, bucket, summary)]
    sent = [(summary, state) for summary, state in began if summary not in uneven]
    drawn = sorted({(state.holdout.version, state.holdout.hundredths) for _, state in sent})
    if not drawn and uneven:
        mend = "give a longer time, with campaigns that reached all of their users"
        raise CommandError(ExitCode.NOT_FINE, f"nothing to compare: {_uneven_in_words(uneven)}", mend)
    if not drawn:
        mend = "set HoldoutPercent: those whom campaigns leave out from then on can be compared"
        raise CommandError(ExitCode.NOT_FINE, "no campaign of that time left a holdout out", mend)
    if len(drawn) > 1:
        had = ", ".join(f"version {version} with {hundredths / 100:g} %" for version, hundredths in drawn)
        raise CommandError(ExitCode.NOT_FINE, f"the holdout was changed in that time: {had}", "give a time within one")
    holdout, declared = Holdout(drawn[0][1], drawn[0][0]), declaration_of(s3, bucket, goal)
    from audiences.holdout_conversions import join_holdout  # noqa: PLC0415 - DuckDB is loaded where it is needed

    with faults(), workplace(None, MEMORY_MB) as limits:
        found = join_holdout(
            s3, bucket, [summary.run_id for summary, _ in sent], holdout, Goal(goal, _WINDOW_H), declared, first, last,
            now, limits, asker_of(cloud, declared, limits),
        )  # fmt: skip
    arms = tuple((one.arm, Arm(one.users, one.conversions)) for one in found.groups)
    shares = tuple(holdout.hundredths if name == CONTROL else HUNDREDTHS - holdout.hundredths for name, _ in arms)
    days = (min(now, last) - first) / timedelta(days=1)
    experiment = Experiment(arms, CONTROL, shares, smallest, days, control_in_words="no campaign at all")
    comparison = compare(experiment, Basis.FINAL if found.is_final else Basis.LOOK)
    said = [f"Left out: {_uneven_in_words(uneven)}."] * bool(uneven)
    said += [f"{found.unreadable:,} conversions have a time that cannot be read, and are left out."] * (
        found.unreadable > 0
    )
    if found.unknown_share > MIN_SHARE_PERCENT / 100:
        said.append(
            f"{found.unknown_share:.0%} of those who converted were to get none of these campaigns: it may be so, or "
            "the source has other ids."
        )
    return HoldoutLift(
        goal, first.isoformat(), last.isoformat(), len(sent), holdout.hundredths / 100, holdout.version, comparison,
        found.complete_through, tuple(said),
    )  # fmt: skip


def _runs(s3: Any, bucket: str, first: datetime, last: datetime) -> Iterator[tuple[Summary, _Began]]:
    """Runs that began in the time and left a holdout out: no dry runs, tests and essential ones."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="summaries/run_id=")
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    with ThreadPoolExecutor(_READERS) as pool:
        bodies = pool.map(lambda key: read_object(s3, bucket, key), keys)
        summaries = [msgspec.json.decode(body, type=Summary) for body in bodies if body is not None]
    for summary in summaries:
        began_ms = summary.started_at_ms
        if summary.dry_run or began_ms is None or not first.timestamp() <= began_ms / 1000 < last.timestamp():
            continue
        body = read_object(s3, bucket, state_key(summary.run_id, "campaign"))
        if body is None:
            notes().print(f"{summary.run_id}: left out: what it began with has expired (WorkDays)", markup=False)
            continue
        began = msgspec.json.decode(body, type=_Began)
        if began.holdout.hundredths:
            yield summary, began


def _is_uneven(s3: Any, bucket: str, summary: Summary) -> bool:
    """Whether a run ended early after it had listed its whole holdout: all of that, against a part of the others."""
    if summary.status == Ending.COMPLETED:
        return False
    # A final cut lists before anything is sent. Without one a run judges each user when it comes to them, and the two
    # groups end at the same record.
    key = f"excluded/run_id={summary.run_id}/{CUT_LIST}"
    return bool(s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("KeyCount"))


def _uneven_in_words(uneven: Sequence[Summary]) -> str:
    named = ", ".join(f"{one.campaign_id} ({one.status})" for one in uneven)
    return f"{counted(len(uneven), 'run')} ended before all users were reached: {named}"


def _day(text: str, option: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CommandError(ExitCode.USAGE, f"{option} {text}: not a day", "write it as 2026-11-01") from None
