"""The final cut of a run: what the run began with, the lists as they are now, and the cut of the prepared audience."""

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from audiences.cap_locks import CapLocks, HeldLocks
from audiences.caps import CapObjects, key_of
from audiences.cut import CutManifest, CutOrder, cut_folder, found_cut, lines_of_part, make_cut, users_of_part
from audiences.cut_rules import Capped, PlannedDay, PreparedUser, Rule, Timed, reason_by_id, reason_of, rules_of
from audiences.destinations import Bucket
from audiences.faults import AudienceFault
from audiences.manifest_format import MAX_USERS_IN_PART, NAME, Manifest, PreparedPart, decode_manifest
from audiences.prepared_lines import id_in, order_of_id
from audiences.reached import MOST, Reached, reached_in_days
from audiences.watch import Progress
from notifier.audience import AudienceChanged, AudienceUnreachable, BrokenFile, IdSet, Suppression, read_ids
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign import Campaign
from notifier.model.caps import NO_CAPS, RunCaps
from notifier.model.cut import Window
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.local_time import LocalTime, UserTimes, date_of, first_cut_s
from notifier.model.preparation import Preparation
from notifier.model.quiet_hours import Quiet, QuietHours
from notifier.model.remainder import OtherPart, other_part_of
from notifier.model.run import state_key
from notifier.model.time_zones import zone_named

ENOUGH_USERS = 200_000
"""Of a larger audience the first parts with so many are looked at: a second's work, and right to some percent."""


class SuppressionUnread(Exception):
    """The users whom every run leaves out cannot be read now: the run waits, however long. The message says why."""


class RunBeginning(msgspec.Struct, frozen=True):
    """What a run began with, as far as the cut needs it: `state/run_id=R/campaign.json`, which the worker stores."""

    campaign: Campaign
    exclude: tuple[PinnedObject, ...]
    prepared: str
    holdout: Holdout = NOBODY
    caps: RunCaps = NO_CAPS
    day: dt.date | None = None
    quiet: Quiet | None = None

    def times(self, now_s: float) -> UserTimes | None:
        """When each user may first be asked, in a run that is cut now; None where all may be asked at any time."""
        local_time = self.campaign.local_time if self.campaign.is_timed else None
        if local_time is None and self.quiet is None:
            return None
        hours = QuietHours(self.quiet, self.quiet.timezone or "UTC") if self.quiet else None
        return UserTimes(local_time, self.day, hours, now_s)


class RulesNow(msgspec.Struct, frozen=True):
    """What a campaign that began now would be judged by, beside the lists."""

    legal: bool = False
    holdout: Holdout = NOBODY
    other_part: OtherPart | None = None
    caps: RunCaps = NO_CAPS
    times: UserTimes | None = None


class LeftOutNow(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most `users` get the push; so many of them, by reason, would be left out as of that time.

    Args:
        looked_at: so many users the numbers were estimated from: the first ones, who are a random sample.
        reached: of all of them, how many have had one, two, and three or more campaigns in the last days, under `1`,
            `2` and `3`, of those that count for caps; None where the stack counts none.
    """

    users: int
    left_out: Mapping[str, int]
    as_of: str
    looked_at: int
    reached: Mapping[str, int] | None = None


class S3Cutter:
    """Makes the final cuts of a stack's runs.

    Args:
        client: a boto3 S3 client.
        bucket: the stack's.
        suppression: the prefix of the user ids that every run leaves out.
        caps: whom other runs have reached.
        locks: of groups of campaigns.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        suppression: str,
        caps: CapObjects,
        locks: CapLocks,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self._destination = Bucket(client, bucket)
        self._suppression = suppression
        self._caps = caps
        self._locks = locks
        self._now = now

    def __call__(self, preparation: Preparation, work: Path, on_progress: Progress) -> str:
        """Make the cut and return the key of its manifest.

        Raises:
            SuppressionUnread, GroupLocked: the run has to wait.
            LockLost: a later attempt has to make it.
            AudienceFault, BrokenFile, AudienceChanged, AudienceUnreachable: it cannot be made.
        """
        run_id = preparation.run_id
        began = self._began_with(run_id)
        on_progress("the final cut: reading who is left out", 0)
        as_of = self._as_of()
        prepared = self._prepared(began.prepared)
        # One that is made needs no lock: what it counts is known.
        locked = began.caps.locked
        groups = locked if locked and found_cut(self._destination, run_id) is None else ()
        with self._locks.held(groups, run_id) as locks:
            times = began.times(self._now())
            day_of = PlannedDay(self._instant_of(began.campaign, times), began.caps.timezone)
            order = CutOrder(
                run_id=run_id,
                attempt=time.time_ns() // 1_000_000,
                prepared=began.prepared,
                parts=prepared.parts,
                rules=(
                    *rules_of(
                        self._excluded(began), self._suppressed(began), began.holdout, other_part_of(began.campaign)
                    ),
                    *self._cap_rule(run_id, began.caps, day_of, work / "caps", locks.renew),
                ),
                as_of=as_of,
                # All parts but the last are full.
                max_users=prepared.parts[0].users if len(prepared.parts) > 1 else MAX_USERS_IN_PART,
                devices=prepared.counts.devices,
                day_of=day_of if began.caps.groups else None,
                write_users=self._caps.write,
            )
            if times is not None:
                order = in_windows(order, times, began.campaign.local_time)
            count = Counting(self._caps, began.caps.groups, locks, work)

            def renewing(what: str, users: int) -> None:
                on_progress(what, users)
                locks.renew()

            make_cut(order, self.client, self._destination, work, renewing, count)
        return cut_folder(run_id) + NAME

    def _instant_of(self, campaign: Campaign, times: UserTimes | None) -> Callable[[PreparedUser], float]:
        """When a user is to be asked first: as their window opens, else as soon as the run begins."""
        not_before = campaign.not_before.timestamp() if campaign.not_before else 0.0
        begins = max(self._now(), not_before)
        if times is None:
            return lambda _user: begins
        return lambda user: max(times.of(user.timezone).not_before or 0, begins)

    def _cap_rule(
        self, run_id: str, caps: RunCaps, day_of: PlannedDay, work: Path, on_object: Callable[[], object]
    ) -> tuple[Rule, ...]:
        if not caps.caps:
            return ()
        return (Capped(self._caps.judge(run_id, caps.caps, work, on_object).is_capped, day_of),)

    def left_out_now(
        self, manifest: str, exclude: Sequence[PinnedObject], now: RulesNow, work: Path, enough: int = ENOUGH_USERS
    ) -> LeftOutNow:
        """Whom the final cut would leave out if the run began now: approvers see it. Nothing is written.

        Args:
            enough: when so many users were looked at, the numbers of a larger audience are estimated.

        Raises:
            SuppressionUnread, AudienceFault, BrokenFile, AudienceChanged, AudienceUnreachable: it is not known.
        """
        as_of, prepared = self._as_of(), self._prepared(manifest)
        excluded = read_ids(self.client, exclude) if exclude else IdSet()
        now_s = self._now()
        # No lock: what is counted meanwhile makes it another estimate, and nothing is sent by it.
        day_of = PlannedDay(lambda _: now_s, now.caps.timezone)
        capped = self._cap_rule("", now.caps, day_of, work / "caps", lambda: None)
        timed = () if now.times is None else (Timed(now.times),)
        suppressed = IdSet() if now.legal else self._read_suppressed()
        rules = (*rules_of(excluded, suppressed, now.holdout, now.other_part), *capped, *timed)
        reached = self._reached(now.caps.timezone, work / "reached")
        found, times, users, looked_at = Counter[str](), Counter[int](), prepared.counts.users, 0
        for part in prepared.parts if rules or reached else ():
            # Users stand in the order of a hash: the first parts are a random sample, and a page waits for the answer.
            if looked_at >= enough:
                break
            looked_at += part.users
            self._look_at(part, rules, reached, work / "parts", found, times)
        scale = users / looked_at if looked_at else 1
        return LeftOutNow(
            users,
            {reason: round(n * scale) for reason, n in sorted(found.items())},
            as_of,
            looked_at or users,
            None if reached is None else {str(n): round(times[n] * scale) for n in range(1, MOST + 1)},
        )

    def _reached(self, timezone: str, work: Path) -> Reached | None:
        """Who has had campaigns in the last days; None where the stack has no zone: then nobody is counted."""
        if not timezone:
            return None
        today = dt.datetime.fromtimestamp(self._now(), zone_named(timezone) or dt.UTC).date()
        return reached_in_days(self._caps, today, work)

    def _look_at(
        self,
        part: PreparedPart,
        rules: Sequence[Rule],
        reached: Reached | None,
        work: Path,
        found: Counter[str],
        times: Counter[int],
    ) -> None:
        """Count a part's users, by why they are left out and by how many campaigns they have had."""
        reason_of_id = reason_by_id(rules)
        if reason_of_id is None:
            for some in users_of_part(self.client, part, work):
                found.update(reason for user in some if (reason := reason_of(user, rules)) is not None)
                if reached:
                    times.update(reached.times(user.hash) for user in some)
            return
        for lines in lines_of_part(self.client, part, work):
            ids = [id_in(line) for line in lines]
            if rules:
                found.update(reason for one in ids if (reason := reason_of_id(one)) is not None)
            if reached:
                times.update(reached.times(order_of_id(one)) for one in ids)

    def times_now(self, campaign: Campaign, quiet: Quiet | None) -> UserTimes | None:
        """When each user might be asked, if a run of the campaign began now."""
        now_s, local_time = self._now(), campaign.local_time if campaign.is_timed else None
        day = date_of(local_time, now_s) if local_time else None
        cut_at_s = max(now_s, first_cut_s(local_time, day)) if local_time and day else now_s
        return RunBeginning(campaign, (), "", day=day, quiet=quiet).times(cut_at_s)

    def _as_of(self) -> str:
        return dt.datetime.fromtimestamp(self._now(), dt.UTC).isoformat(timespec="seconds")

    def _began_with(self, run_id: str) -> RunBeginning:
        stored = self._destination.read(state_key(run_id, "campaign"))
        if stored is None:
            raise AudienceFault("what the run began with (under state/) was deleted or has expired (WorkDays)")
        return msgspec.json.decode(stored, type=RunBeginning)

    def _prepared(self, key: str) -> Manifest:
        data = self._destination.read(key)
        if data is None:
            name = f"s3://{self._destination.bucket}/{key}"
            raise AudienceFault(f"{name}: the prepared audience is gone", "start the run again with a new file")
        return decode_manifest(data)

    def _excluded(self, began: RunBeginning) -> IdSet:
        return read_ids(self.client, began.exclude) if began.exclude else IdSet()

    def _suppressed(self, began: RunBeginning) -> IdSet:
        """Those whom every run leaves out, as they are now. None for what the law obliges to send."""
        return IdSet() if began.campaign.legal else self._read_suppressed()

    def _read_suppressed(self) -> IdSet:
        try:
            return Suppression(self.client, self._destination.bucket, self._suppression).read()
        except (BrokenFile, AudienceChanged, AudienceUnreachable) as error:
            raise SuppressionUnread(f"the users whom every run leaves out cannot be read: {error}") from None


class Counting(msgspec.Struct, frozen=True):
    """Counts the users of a run for caps: their objects take the place of those of an earlier attempt."""

    objects: CapObjects
    groups: tuple[str, ...]
    locks: HeldLocks
    work: Path

    def __call__(self, cut: CutManifest) -> None:
        """Raises LockLost."""
        if not self.groups:
            return
        self.locks.renew(at_once=True)
        for group in self.groups:
            for one in list(self.objects.of_group(group)):
                # Midnight has passed between two attempts.
                if one.run_id == cut.run_id and one.day.isoformat() not in cut.caps:
                    self.objects.write((), self.work / "nobody.parquet")
                    self.objects.put(one.key, self.work / "nobody.parquet")
            for day, key in cut.caps.items():
                self.objects.copy(key, key_of(group, dt.date.fromisoformat(day), cut.run_id))


def in_windows(order: CutOrder, times: UserTimes, local_time: LocalTime | None) -> CutOrder:
    """The order of a cut whose users may first be asked at different times, each in a window."""
    windows = times.windows()
    number_of = {window: number for number, window in enumerate(windows)}

    def window_of(user: PreparedUser) -> int:
        start = times.of(user.timezone)
        return number_of[start.not_before, start.not_after]

    return msgspec.structs.replace(
        order,
        # The last rule: who is left out for any other reason is not counted as late.
        rules=(*order.rules, Timed(times)),
        windows=tuple(Window(0, 0, 0, 0, _utc(begin), _utc(end)) for begin, end in windows) or order.windows,
        window_of=window_of,
        is_assumed=lambda user: times.of(user.timezone).is_assumed,
        late_is_fault=local_time is not None and local_time.if_past is UNSET,
    )


def _utc(at_s: int | None) -> str | None:
    return None if at_s is None else dt.datetime.fromtimestamp(at_s, dt.UTC).isoformat(timespec="seconds")
