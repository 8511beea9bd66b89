"""A run in one value: the content of the summary object and the end event, and what the command line shows."""

from collections.abc import Sequence
from typing import Any

import msgspec

from notifier.model.account import SUPPRESSED
from notifier.model.run import Lane, Run
from notifier.model.speed import Speed
from notifier.model.whole_run import as_one, slowest


class Summary(msgspec.Struct, frozen=True):
    """A run's counts. Users in `users`, `excluded` and `arms.assigned`; devices in the rest. Times: epoch ms.

    `possibly_repeated` counts devices, each once; `repeat_requests` the requests that may have been repeats. Both hold
    `unsettled`: devices that were asked for in batches that could not be settled, and are asked again after a resume.

    `excluded_by` says why users are excluded; its values add up to `excluded`.

    `timezone_assumed` counts users without a known time zone, for whom the campaign's own was taken.

    `control` is what an operator asked for last (go, pause, cancel), by whom and when. `put_by` is who put the file
    there, `approved_by` who approved exactly its bytes on the pages: empty without an approval.

    `hops` and `sending_s` are those of all lanes together. `slowest_lane` is the one that is furthest behind, while
    several are under way.

    `speed` is what held the run back, as far as its last invocations have seen; None of a run of an earlier release.

    `outcomes` and `arms` count what is accepted by Apple and Google, never what was delivered or seen.
    """

    run_id: str
    campaign_id: str | None
    status: str
    reason: str | None
    dry_run: bool
    source: str
    put_by: str
    users: int
    devices: int
    invalid_records: int
    excluded: int
    unsent: int
    possibly_repeated: int
    arms: dict[str, Any]
    outcomes: dict[str, Any]
    hops: int
    sending_s: float
    started_at_ms: int | None
    ended_at_ms: int | None
    rows_prefix: str
    repeat_requests: int = 0
    unsettled: int = 0
    excluded_by: dict[str, int] = {}
    lanes: int = 1
    slowest_lane: int | None = None
    control: str = ""
    control_by: str = ""
    control_at_ms: int | None = None
    approved_by: str = ""
    speed: Speed | None = None
    timezone_assumed: int = 0


def summary_of(run: Run, lanes: Lane | Sequence[Lane], bucket: str, approved_by: str = "") -> Summary:
    """The run as the ledger knows it now. `bucket` is where the rows are."""
    lanes = (lanes,) if isinstance(lanes, Lane) else lanes
    lane, behind = as_one(lanes), slowest(lanes)
    account, unsettled = lane.account, lane.unsettled
    # An older release counted requests here, of which a device can have several: at most the devices outside control.
    repeated = account.possibly_repeated
    if SUPPRESSED not in account.excluded_by:
        # With it, devices count that were asked for before their users were suppressed, and are not in `devices`.
        repeated = min(repeated, account.devices - account.outcomes().held)
    return Summary(
        run_id=run.run_id,
        campaign_id=run.campaign_id,
        status=lane.status,
        reason=lane.reason,
        dry_run=account.dry > 0,
        source=f"s3://{run.source.bucket}/{run.source.key}",
        put_by=run.put_by,
        users=account.users,
        devices=account.devices,
        invalid_records=account.invalid_records,
        excluded=account.excluded,
        unsent=account.deferred,
        possibly_repeated=repeated + unsettled,
        arms=msgspec.to_builtins(account.arms),
        outcomes=msgspec.to_builtins(account.outcomes()),
        hops=lane.hop,
        sending_s=lane.sending_ms / 1000,
        started_at_ms=lane.started_at_ms,
        ended_at_ms=lane.ended_at_ms,
        rows_prefix=f"s3://{bucket}/rows/run_id={run.run_id}/",
        repeat_requests=account.repeat_requests + unsettled,
        unsettled=unsettled,
        excluded_by=dict(account.excluded_by),
        lanes=len(lanes),
        slowest_lane=behind.lane if behind else None,
        control=lane.control.value if lane.control_by else "",
        control_by=lane.control_by,
        control_at_ms=lane.control_at_ms,
        approved_by=approved_by,
        speed=lane.speed,
        timezone_assumed=account.timezone_assumed or 0,
    )
