"""The ledger in memory: methods and exceptions of `DynamoLedger`, over one dictionary."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from notifier.model.account import Account
from notifier.model.hold import Hold
from notifier.model.lane_membership import Member, Membership, lapsed
from notifier.model.ledger import Approval
from notifier.model.preparation import Preparation, PreparationState, Stage
from notifier.model.run import (
    HAND_OVER_MS,
    LEASE_MS,
    Control,
    Ending,
    Lane,
    LaneHeld,
    LaneLost,
    LaneState,
    LaneTaken,
    Run,
    UnfinishedClaim,
    first_due_ms,
    waiting_state,
)
from notifier.model.span import Span
from notifier.preparation_items import COUNT, CountRequest
from notifier.stores.ledger import MAX_REASON
from notifier.stores.ledger.preparations import ASKED_MS
from tests.twins.trouble import StoreError, Trouble, Troubles, no_trouble

WAITING = (LaneState.PAUSED, LaneState.STOPPED)
LaneKey = tuple[str, int]
Condition = Callable[[Lane], bool]


class MemoryLedger:
    """Holds runs, lanes and campaign ids.

    Args:
        now: seconds since the epoch.
        troubles: what goes wrong with a worker's write.
        watch: is shown every change of a lane, before and after.
    """

    def __init__(
        self,
        now: Callable[[], float],
        troubles: Troubles = no_trouble,
        watch: Callable[[Lane, Lane], None] = lambda _, __: None,
    ) -> None:
        self._now = now
        self.troubles = troubles
        self._watch = watch
        self._runs: dict[str, Run] = {}
        self._lanes: dict[LaneKey, Lane] = {}
        self._owners: dict[LaneKey, str] = {}
        self._campaigns: dict[str, str] = {}
        self.preparations: dict[str, Preparation] = {}
        self.decisions: dict[str, int] = {}
        """When the winner of a test is to be decided, by run."""
        self._members: dict[str, Member] = {}
        self.hold: Hold | None = None
        self.too_new: set[str] = set()
        """Runs that a release which knows one lane only leaves alone."""
        self.approved: dict[tuple[str, str], Approval] = {}
        """What was approved, by bucket and key."""
        self.unreadable: dict[str, Exception] = {}
        """Runs whose lane cannot be read by a sweep, and why."""

    # -- runs ---------------------------------------------------------------------------------------------------------

    def open_run(self, run: Run) -> Run:
        """Enter a run and its lane, unless they are there already."""
        found = self._runs.setdefault(run.run_id, run)
        if (run.run_id, 0) not in self._lanes:
            self._lanes[run.run_id, 0] = Lane(run.run_id, due_at_ms=self._now_ms() + HAND_OVER_MS)
        return found

    def read_run(self, run_id: str) -> Run | None:
        """The run, or None."""
        return self._runs.get(run_id)

    def read_lane(self, run_id: str, lane: int = 0) -> Lane | None:
        """The lane, or None."""
        found = self._lanes.get((run_id, lane))
        return _copied(found) if found else None

    def name_campaign(self, run_id: str, campaign_id: str) -> None:
        """Note which campaign a run sends."""
        self._runs[run_id] = msgspec.structs.replace(self._runs[run_id], campaign_id=campaign_id)

    def take_campaign(self, campaign_id: str, run_id: str, *, again: bool) -> bool:
        """Make the run the owner of its campaign id, if there is none."""
        return self._campaigns.setdefault(campaign_id, run_id) == run_id or again

    def name_audience(self, run: Run, campaign_id: str, objects: Iterable[tuple[str, str]]) -> None:
        """Enter a run under its audience: only people look there."""

    def ask_for_preparation(self, run_id: str, request: str, bucket: str) -> Preparation:
        """Enter a preparation, unless there is one."""
        asked = Preparation(run_id, PreparationState.ASKED, request, bucket, due_at_ms=self._now_ms() + ASKED_MS)
        return self.preparations.setdefault(run_id, asked)

    def ask_for_count(self, run_id: str, began_at_ms: int) -> str:
        """Enter that a run is to be counted for caps, unless that is entered already."""
        name, request = f"{COUNT}{run_id}", msgspec.json.encode(CountRequest(began_at_ms)).decode()
        due_at_ms = self._now_ms() + ASKED_MS
        asked = Preparation(name, PreparationState.ASKED, request, "", due_at_ms=due_at_ms, stage=Stage.CAPS)
        self.preparations.setdefault(name, asked)
        return name

    def ask_for_cut(self, run_id: str) -> Preparation:
        """Enter the final cut, unless it is entered already."""
        found = self.preparations[run_id]
        if found.stage is Stage.PREPARE and found.state is PreparationState.PREPARED:
            asked = PreparationState.ASKED
            due_at_ms = self._now_ms() + ASKED_MS
            found = Preparation(run_id, asked, found.request, found.bucket, due_at_ms=due_at_ms, stage=Stage.CUT)
            self.preparations[run_id] = found
        return found

    def read_preparation(self, run_id: str) -> Preparation | None:
        """The run's preparation, or None."""
        return self.preparations.get(run_id)

    def end_preparation(self, run_id: str) -> None:
        """The worker has seen how it ended."""
        found = self.preparations.get(run_id)
        if found is not None and found.state.is_over and found.state is not PreparationState.CANCELLED:
            self.preparations[run_id] = msgspec.structs.replace(found, due_at_ms=None)

    def cancel_preparation(self, run_id: str) -> None:
        """The audience is not wanted any more."""
        found = self.preparations.get(run_id)
        if found is not None and not found.state.is_over:
            cancelled = PreparationState.CANCELLED
            due_at_ms = self._now_ms() if found.queries else None
            self.preparations[run_id] = msgspec.structs.replace(found, state=cancelled, due_at_ms=due_at_ms)

    def due_preparations(
        self, now_ms: int, on_unreadable: Callable[[str, Exception], None] = lambda _key, _error: None
    ) -> Iterator[Preparation]:
        """Those that are to be looked at."""
        yield from [one for one in self.preparations.values() if one.due_at_ms is not None and one.due_at_ms <= now_ms]

    def put_off_preparation(self, found: Preparation, due_at_ms: int) -> bool:
        """Move its time on. False when another sweep was faster."""
        if self.preparations[found.run_id].due_at_ms != found.due_at_ms:
            return False
        self.preparations[found.run_id] = msgspec.structs.replace(found, due_at_ms=due_at_ms)
        return True

    def close_run(self, run_id: str, lanes: Iterable[int] = (0,)) -> None:
        """Note that the run's summary and event are out."""
        run = self._runs[run_id]
        if run.closed_at_ms is None:
            self._runs[run_id] = msgspec.structs.replace(run, closed_at_ms=self._now_ms())
        for number in lanes:
            self.await_others(self._lanes[run_id, number])

    # -- lanes --------------------------------------------------------------------------------------------------------

    def lanes_of(self, run_id: str) -> tuple[Lane, ...]:
        """All lanes of a run, by number."""
        return tuple(_copied(self._lanes[key]) for key in sorted(self._lanes) if key[0] == run_id)

    def open_lanes(self, lane: Lane, spans: Sequence[Span], rest_until_ms: int | None = None) -> Lane:
        """Enter the further lanes of a run, and what its first lane sends."""
        lane = self._write("open lanes", lane, {})
        self.too_new.add(lane.run_id)
        for number, span in enumerate(spans[1:], 1):
            # A call of its own for each, as in the real one: a worker may die between two of them.
            if self.troubles("open lane") is not Trouble.NONE:
                raise StoreError("open lane")
            other = Lane(
                lane.run_id,
                number,
                control=lane.control,
                control_by=lane.control_by,
                control_at_ms=lane.control_at_ms,
                cursor=span.start,
                state=waiting_state(span, self._now_ms()),
                due_at_ms=first_due_ms(span, self._now_ms(), rest_until_ms),
                function_version=lane.function_version,
                span=span,
            )
            self._lanes.setdefault((lane.run_id, number), other)
        opened = self._write("open lanes", lane, {"span": spans[0]})
        if opened.control is not Control.GO or opened.control_at_ms is not None:
            for number in range(1, len(spans)):
                self._pass_on(opened, number)
        return opened

    def pass_on_command(self, lane: Lane) -> None:
        """Give the lanes the command of the first one, where they have an earlier one or none."""
        for other in self.lanes_of(lane.run_id):
            has_it = (other.control_at_ms or 0) >= (lane.control_at_ms or 0)
            if lane.control is Control.CANCEL:
                has_it = other.control is Control.CANCEL
            if other.lane and other.state is not LaneState.DONE and not has_it:
                self._pass_on(lane, other.lane)

    def _pass_on(self, lane: Lane, number: int) -> None:
        # A call of its own for each, as above.
        if self.troubles("pass on") is not Trouble.NONE:
            raise StoreError("pass on")
        at_ms = lane.control_at_ms
        if lane.control is Control.CANCEL:
            at_ms = max(at_ms or 0, self._lanes[lane.run_id, number].control_at_ms or 0)
        self.set_control(lane.run_id, lane.control, lane.control_by, number, at_ms=at_ms)

    def control_run(self, run_id: str, control: Control, by: str) -> tuple[Lane, ...]:
        """Pause, resume or cancel all lanes of a run."""
        lanes = [lane for (run, _), lane in sorted(self._lanes.items()) if run == run_id]
        # A cancel counts over what was given later, too.
        least = {lane.lane: (lane.control_at_ms or 0) if control is Control.CANCEL else 0 for lane in lanes}
        now_ms = self._now_ms()
        changed = [self.set_control(run_id, control, by, n, at_ms=max(now_ms, at)) for n, at in least.items()]
        return tuple(lane for lane in changed if lane is not None)

    def await_others(self, lane: Lane) -> None:
        """A lane is done before others of its run."""
        found = self._lanes[lane.run_id, lane.lane]
        if found.state is not LaneState.DONE:
            raise StoreError("the lane is not done")
        self._put(found, due_at_ms=None)

    def approval(self, bucket: str, key: str) -> Approval | None:
        """Which bytes were approved under this key, and by whom."""
        return self.approved.get((bucket, key))

    # -- a worker's writes --------------------------------------------------------------------------------------------

    def await_decision(self, run_id: str, after_ms: int) -> None:
        self.decisions.setdefault(run_id, self._now_ms() + after_ms)

    def note_opened(self, run_id: str, counted_by: str = "") -> None:
        """Note that the run's campaign is stored."""
        run = self._runs[run_id]
        if run.opened_at_ms is None:
            self._runs[run_id] = msgspec.structs.replace(run, opened_at_ms=self._now_ms(), counted_by=counted_by)

    def claim(
        self, run_id: str, lane: int, function_version: str, owner: str, ends_at_ms: int, gone_version: str = ""
    ) -> Lane:
        """Claim the lane. Raises LaneTaken."""
        before = self._lanes.get((run_id, lane))
        if before is None:
            raise LaneTaken(None)
        if before.control is not Control.CANCEL and self.hold is not None:
            raise LaneHeld(_copied(before), self.hold)
        trouble = self.troubles("claim")
        if trouble is Trouble.LOST:
            raise StoreError("claim")
        now_ms = self._now_ms()
        found = self._lanes[run_id, lane]
        if (found.epoch, found.state) != (before.epoch, before.state) or not _is_free(found, now_ms):
            raise LaneTaken(_copied(found))
        before = found
        crashed = before.state is LaneState.RUNNING
        suspects = before.suspects
        if crashed and before.may_ask_below:
            suspects += (UnfinishedClaim(before.epoch, before.may_ask_below),)
        self._owners[run_id, lane] = owner
        claimed = self._put(
            before,
            state=LaneState.RUNNING,
            lease_until_ms=now_ms + LEASE_MS,
            due_at_ms=now_ms + LEASE_MS,
            function_version=function_version if gone_version else before.function_version or function_version,
            gone_version=gone_version or before.gone_version,
            started_at_ms=before.started_at_ms or now_ms,
            ends_at_ms=ends_at_ms,
            suspects=suspects,
            may_ask_below=0,
            reason=None,
            epoch=before.epoch + 1,
            hop=before.hop + 1,
            idle_claims=before.idle_claims + 1,
        )
        if trouble is Trouble.UNANSWERED:
            raise StoreError("claim: no answer")
        return msgspec.structs.replace(claimed, crashed=crashed)

    def renew(self, lane: Lane) -> Lane:
        """Extend the lease. Raises LaneLost."""
        renewed = self._write(
            "renew",
            lane,
            {"may_ask_below": lane.may_ask_below, "most_devices": lane.most_devices, "trouble": lane.trouble}
            | {"speed": lane.speed}
            | self._leased(),
            unless=lambda found: found.may_ask_below > lane.may_ask_below or found.most_devices > lane.most_devices,
        )
        return self._with_hold(renewed)

    def advance(self, before: Lane, after: Lane) -> Lane:
        """Move cursor and counts, and extend the lease. Raises LaneLost."""
        names = (
            "cursor",
            "may_ask_below",
            "most_devices",
            "suspects",
            "account",
            "sending_ms",
            "idle_claims",
            "health",
            "trouble",
            "speed",
        )
        changes = {
            name: getattr(after, name) for name in (*names, "revision", "asking", "repeats_left")
        } | self._leased()
        return self._with_hold(self._write("advance", before, changes, cursor=True))

    def _with_hold(self, lane: Lane) -> Lane:
        return lane if self.hold is None else msgspec.structs.replace(lane, held=self.hold.words)

    def release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None = None) -> Lane:
        """End the lease; the lane is ready at once where an operator's command forbids waiting. Raises LaneLost."""
        try:
            return self._release(lane, state, due_at_ms, reason)
        except _ControlChanged:
            return self._release(lane, LaneState.READY, self._now_ms(), None)

    def _release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None) -> Lane:
        changes: dict[str, Any] = {
            "state": state,
            "lease_until_ms": 0,
            "sending_ms": lane.sending_ms,
            "suspects": lane.suspects,
            "asking": lane.asking,
            "trouble": lane.trouble,
            "speed": lane.speed,
            "rate_wait": lane.rate_wait,
            "due_at_ms": due_at_ms,
            "reason": reason and reason[:MAX_REASON],
        }
        if state is LaneState.RESTING:
            changes["idle_claims"] = 0
        return self._write("release", lane, changes, unless=_contrary(state))

    def finish(self, lane: Lane, ending: Ending, reason: str | None) -> Lane:
        """The lane is done. Raises LaneLost."""
        now_ms = self._now_ms()
        changes = {
            "state": LaneState.DONE,
            "lease_until_ms": 0,
            "due_at_ms": now_ms + LEASE_MS,
            "ending": ending,
            "ended_at_ms": now_ms,
            "account": lane.account,
            "sending_ms": lane.sending_ms,
            "suspects": lane.suspects,
            "asking": lane.asking,
            "trouble": lane.trouble,
            "speed": lane.speed,
            "reason": reason and reason[:MAX_REASON],
        }
        return self._write("finish", lane, changes)

    def _write(
        self,
        name: str,
        lane: Lane,
        changes: dict[str, Any],
        *,
        cursor: bool = False,
        unless: Condition | None = None,
    ) -> Lane:
        trouble = self.troubles(name)
        if trouble is Trouble.LOST:
            raise StoreError(name)
        if trouble is Trouble.REPEATED:
            self._write_once(lane, changes, cursor=cursor, unless=unless)
        written = self._write_once(lane, changes, cursor=cursor, unless=unless)
        if trouble is Trouble.UNANSWERED:
            raise StoreError(f"{name}: no answer")
        return written

    def _write_once(self, lane: Lane, changes: dict[str, Any], *, cursor: bool, unless: Condition | None) -> Lane:
        found = self._lanes.get((lane.run_id, lane.lane))
        if found is None or found.epoch != lane.epoch:
            raise LaneLost(f"epoch {found.epoch if found else 'none'}, ours was {lane.epoch}")
        stopped = unless is not None and unless(found)
        is_newer = changes.get("revision", found.revision + 1) > found.revision
        follows = not cursor or found.cursor == lane.cursor
        if found.state is LaneState.RUNNING and not stopped and follows and is_newer:
            return self._put(found, **changes)
        if (
            found.state is changes.get("state", LaneState.RUNNING)
            and changes.get("cursor", found.cursor) == found.cursor
            and changes.get("revision", found.revision) == found.revision
            and changes.get("span", found.span) == found.span
        ):
            return _copied(found)
        if found.state is LaneState.RUNNING and stopped:
            raise _ControlChanged
        if found.state is not LaneState.RUNNING:
            raise LaneLost(found.state.value)
        if not is_newer:
            raise LaneLost("an older write")
        return self._put(found, **changes)

    # -- operators and the sweeper ------------------------------------------------------------------------------------

    def read_hold(self) -> Hold | None:
        """The hold, or None."""
        return self.hold

    def set_hold(self, by: str, reason: str) -> Hold:
        """Hold the stack; the time of one that is held stays."""
        self.hold = Hold(by, reason, self.hold.since_ms if self.hold else self._now_ms())
        return self.hold

    def release_hold(self, by: str) -> bool:
        """Release it."""
        was, self.hold = self.hold, None
        return was is not None

    def set_control(
        self,
        run_id: str,
        control: Control,
        by: str,
        lane: int = 0,
        *,
        only_if_going: bool = False,
        at_ms: int | None = None,
    ) -> Lane | None:
        """Pause, resume or cancel a lane. None when it is done, unknown, or has a cancel or a later command."""
        at_ms = self._now_ms() if at_ms is None else at_ms
        found = self._lanes.get((run_id, lane))
        if found is not None and found.control is Control.CANCEL is not control:
            return None
        if found is not None and (found.control_at_ms or 0) > at_ms:
            return None
        if found is None or found.state is LaneState.DONE or (only_if_going and found.control is not Control.GO):
            return None
        changes: dict[str, Any] = {"control": control, "control_by": by, "control_at_ms": at_ms}
        wakes = {Control.GO: WAITING, Control.CANCEL: (*WAITING, LaneState.RESTING)}.get(control, ())
        if found.state in wakes:
            changes |= {"state": LaneState.READY, "due_at_ms": self._now_ms(), "idle_claims": 0}
        elif control is Control.PAUSE and found.state in (LaneState.READY, LaneState.RESTING):
            changes |= {"state": LaneState.PAUSED, "due_at_ms": None}
        return self._put(found, **changes)

    def due(self, now_ms: int, on_unreadable: Callable[[str, Exception], None] | None = None) -> Iterator[Lane]:
        """Lanes whose appointment has passed, the earliest first."""
        lanes = [lane for lane in self._lanes.values() if lane.due_at_ms is not None and lane.due_at_ms <= now_ms]
        for lane in sorted(lanes, key=lambda lane: lane.due_at_ms or 0):
            if lane.run_id not in self.unreadable:
                yield _copied(lane)
            elif on_unreadable is None:
                raise self.unreadable[lane.run_id]
            else:
                on_unreadable(f"run#{lane.run_id}", self.unreadable[lane.run_id])

    def put_off(self, lane: Lane, due_at_ms: int) -> bool:
        """Move a due lane's `due_at_ms`. False when another was faster."""
        found = self._lanes.get((lane.run_id, lane.lane))
        was = (lane.due_at_ms, lane.epoch, lane.state)
        if found is None or (found.due_at_ms, found.epoch, found.state) != was:
            return False
        state = LaneState.READY if lane.state is LaneState.RESTING else lane.state
        self._put(found, due_at_ms=due_at_ms, state=state)
        return True

    def alive(self, now_ms: int) -> int:
        """How many lanes share FCM's budget."""
        return self.membership(now_ms).fcm_users(now_ms)

    def membership(self, now_ms: int) -> Membership:
        """Who shares."""
        soon = range(now_ms, now_ms + LEASE_MS + 1)
        lanes = [lane for lane in self._lanes.values() if lane.span is None and lane.state is LaneState.RUNNING]
        return Membership(dict(self._members), sum(lane.due_at_ms in soon for lane in lanes))

    def join(self, members: Mapping[str, Member], now_ms: int) -> Membership:
        """Enter lanes, or enter them again."""
        self._members |= members
        return self.membership(now_ms)

    def leave(self, name: str, now_ms: int) -> None:
        """Let a lane lapse."""
        if name in self._members:
            self._members[name] = lapsed(self._members[name], now_ms)

    # -- plumbing -----------------------------------------------------------------------------------------------------

    def _put(self, before: Lane, **changes: Any) -> Lane:
        after = _copied(msgspec.structs.replace(before, **changes))
        self._lanes[before.run_id, before.lane] = after
        self._watch(before, after)
        return _copied(after)

    def _leased(self) -> dict[str, Any]:
        until_ms = self._now_ms() + LEASE_MS
        return {"lease_until_ms": until_ms, "due_at_ms": until_ms}

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


class _ControlChanged(Exception):
    """An operator's command came while the worker drained."""


def _is_free(lane: Lane, now_ms: int) -> bool:
    match lane.state:
        case LaneState.READY:
            return True
        case LaneState.RUNNING:
            return lane.lease_until_ms < now_ms
        case LaneState.RESTING if lane.due_at_ms is not None and lane.due_at_ms <= now_ms:
            return True
        case LaneState.DONE:
            return False
        case _:
            return lane.control is Control.CANCEL


def _contrary(state: LaneState) -> Condition | None:
    match state:
        case LaneState.PAUSED:
            return lambda found: found.control is not Control.PAUSE
        case LaneState.STOPPED | LaneState.RESTING:
            return lambda found: found.control is Control.CANCEL
        case _:
            return None


def _copied(lane: Lane) -> Lane:
    """The lane with an account of its own, as one that was written and read again."""
    account = msgspec.convert(msgspec.to_builtins(lane.account), Account)
    return msgspec.structs.replace(lane, account=account, crashed=False, held="")
