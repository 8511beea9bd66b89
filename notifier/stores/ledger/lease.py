"""The worker's part of the ledger: claim, renew, advance, release, finish.

A claim gives the worker a lease on the lane and increments the lane's epoch. Every later write of the worker is
conditional on that epoch, so that a worker that was only slow cannot write after another one has claimed the lane.
"""

import msgspec
from boto3.dynamodb.conditions import Attr, ConditionBase

from notifier.dynamodb import Update
from notifier.lane_commands import lane_key
from notifier.model.cursor import Cursor
from notifier.model.run import (
    LEASE_MS,
    Control,
    Ending,
    Lane,
    LaneHeld,
    LaneLost,
    LaneState,
    LaneTaken,
    UnfinishedClaim,
)
from notifier.model.span import Span
from notifier.stores.ledger.holds import HOLD_EVERY_S, HoldRead, Holds
from notifier.stores.ledger.items import as_json, due_partition, lane_of, text_in

MAX_REASON = 2_000
"""Characters of a reason that are kept: an item holds 400 KB."""

_STATE, _CONTROL = Attr("state"), Attr("control")

IS_READY = _STATE.eq(LaneState.READY.value)
"""The hop before has ended in order, or the lane is new, or an operator has resumed it."""
CANCELLED_WHILE_WAITING = _STATE.is_in(
    [LaneState.RESTING.value, LaneState.PAUSED.value, LaneState.STOPPED.value]
) & _CONTROL.eq(Control.CANCEL.value)
"""A worker has to close the run. Nothing is sent, so the lane may be claimed before it is due."""

STILL_PAUSED = _CONTROL.eq(Control.PAUSE.value)
"""The operator still wants a pause. If not, the lane must become ready instead."""
NOT_CANCELLED = _CONTROL.ne(Control.CANCEL.value)
"""No operator has cancelled the run. If one has, the lane must become ready, so that a worker closes it."""
RELEASED_ONLY_IF: dict[LaneState, ConditionBase] = {
    LaneState.PAUSED: STILL_PAUSED,
    LaneState.STOPPED: NOT_CANCELLED,
    LaneState.RESTING: NOT_CANCELLED,
}
"""What the operator's command must be for a lane to be released into a state in which it waits."""


def rest_is_over(now_ms: int) -> ConditionBase:
    """The lane waited for its time, and that has come."""
    return _STATE.eq(LaneState.RESTING.value) & Attr("due_at").lte(now_ms)


def lease_is_over(now_ms: int) -> ConditionBase:
    """The worker has died, or could not reach the ledger for the length of a lease."""
    return _STATE.eq(LaneState.RUNNING.value) & Attr("lease_until_ms").lt(now_ms)


class _NotWritten(LaneLost):
    """The condition of a write was not met, although the claim is the lane's latest. `found` is the lane as it is."""

    def __init__(self, found: Lane) -> None:
        super().__init__(f"the lane is {found.state.value} at {found.cursor.encode()}")
        self.found = found


class Written(msgspec.Struct, frozen=True):
    """What a lane has after a write, so that the write is recognised when its answer was lost.

    `cursor`, `revision` and `span` are None for a write that does not change them.
    """

    state: LaneState = LaneState.RUNNING
    cursor: Cursor | None = None
    revision: int | None = None
    span: Span | None = None

    def is_in(self, lane: Lane) -> bool:
        """Whether the lane has been written so."""
        return (
            lane.state is self.state
            and (self.cursor is None or lane.cursor == self.cursor)
            and (self.revision is None or lane.revision == self.revision)
            and (self.span is None or lane.span == self.span)
        )


class Leases(Holds):
    """The ledger's part for a lane's worker."""

    # -- claiming -----------------------------------------------------------------------------------------------------

    def claim(
        self, run_id: str, lane: int, function_version: str, owner: str, ends_at_ms: int, gone_version: str = ""
    ) -> Lane:
        """Claim the lane: one conditional write, after which every write of an earlier claim fails.

            worker A   claim(epoch 1) ─── advance ─── killed
            lease                                      └── 30 s ──┐
            worker B                     claim: refused           claim(epoch 2) ───
            worker A'  (was only slow)                                  advance: refused, epoch is 2

        Args:
            function_version: the version of the code that claims. The lane keeps the one of its first claim.
            owner: the name of this invocation, which no other has: the lease's owner. Stored as `holder`.
            ends_at_ms: when this invocation's time is up, for people who watch.
            gone_version: the lane's version of the code, where that was deleted: it goes on with `function_version`.

        Raises:
            LaneTaken: the lane has a worker, is not due, waits for an operator, or is done.
            LaneHeld: the stack is held, and the lane is not cancelled.
        """
        # Read first: what the claim writes depends on how the claim before it has ended. The write is conditional on
        # what was read, so that of several workers that read the same lane one gets it.
        before = self.read_lane(run_id, lane)
        if before is None:
            raise LaneTaken(None)
        # A cancelled lane may be claimed all the same: it sends nothing, and its run can be closed.
        if before.control is not Control.CANCEL and (hold := self.read_hold()) is not None:
            raise LaneHeld(before, hold)
        crashed = before.state is LaneState.RUNNING
        # The version of the first claim, unless it was deleted.
        keeps_version = before.function_version and not gone_version
        version = before.function_version if keeps_version else function_version
        update = (
            _claim_of(before, self._now_ms())
            .set(function_version=version, gone_version=gone_version or before.gone_version)
            .set(holder=owner, ends_at_ms=ends_at_ms)
        )
        item = self._update_if_met(lane_key(run_id, lane), update)
        if item is None:
            # botocore repeats a write whose answer was lost, and the repetition is refused: the epoch has moved on. So
            # a refusal may follow our own success, which `holder` shows.
            item = self._get(lane_key(run_id, lane))
            if item is None or text_in(item, "holder") != owner:
                raise LaneTaken(lane_of(item) if item else before)
        return msgspec.structs.replace(lane_of(item), crashed=crashed)

    # -- working ------------------------------------------------------------------------------------------------------

    def renew(self, lane: Lane) -> Lane:
        """Extend the lease. Returns the lane as it is now: an operator's command may have come.

        Raises:
            LaneLost: another worker has claimed the lane.
        """
        update = self._extended_lease(lane).set(
            fed=lane.may_ask_below, widest=lane.most_devices, trouble=_trouble_of(lane)
        )
        update = _with_speed(update, lane)
        # A late renewal must not lower `fed` (which batches a crash may have reached) or `widest` (their largest size).
        # A lane of the release before has no `widest`: then the second is no condition.
        not_fed_further = ~Attr("fed").gt(lane.may_ask_below)
        not_wider = ~Attr("widest").gt(lane.most_devices)
        return self._with_hold(self._write(lane, update.only_if(not_fed_further, not_wider), Written()))

    def advance(self, before: Lane, after: Lane) -> Lane:
        """Move cursor and counts in one write, and extend the lease.

        Raises:
            LaneLost: another worker has claimed the lane, or a later write of this claim has arrived before this one.
        """
        # An earlier advance that arrives late must not move the cursor back, nor skip what an advance lost in between.
        cursor_is_as_before = Attr("cursor").eq(before.cursor.encode())
        # Account and `asking` can move while the cursor does not: an older write must not undo a newer one. A lane of
        # the release before has no revision.
        is_newer = Attr("revision").not_exists() | Attr("revision").lt(after.revision)
        update = self._extended_lease(before).set(
            cursor=after.cursor.encode(),
            account=as_json(after.account),
            revision=after.revision,
            fed=after.may_ask_below,
            widest=after.most_devices,
            idle_claims=after.idle_claims,
            health=as_json(after.health),
        )
        # Nearly no lane has any: its item stays as it is without them.
        if after.repeats_left or before.repeats_left:
            update = update.set(repeats_left=as_json(after.repeats_left))
        update = _with_leftovers(update, after).only_if(cursor_is_as_before, is_newer)
        try:
            return self._with_hold(self._write(before, update, Written(cursor=after.cursor, revision=after.revision)))
        except _NotWritten as refused:
            found = refused.found
            if found.state is not LaneState.RUNNING or found.cursor == before.cursor:
                raise
        # Only this claim writes in its epoch: an earlier advance of it was written although no answer to it came. This
        # one holds all that the earlier one wrote. Try again from the cursor that was written. Ends: each retry needs a
        # write of this claim that moved it.
        return self.advance(found, after)

    def _with_hold(self, lane: Lane) -> Lane:
        """The lane with the hold of the stack, as it was `HOLD_EVERY_S` ago at most.

        Where it cannot be read the write counts as failed, and is tried again: not knowing is no reason to send.
        """
        now_s = self._now()
        # Also when the clock was set back: then it is not known how old the last reading is.
        if self._hold_read is None or not 0 <= now_s - self._hold_read.at_s < HOLD_EVERY_S:
            self._hold_read = HoldRead(now_s, self.read_hold())
        hold = self._hold_read.hold
        return lane if hold is None else msgspec.structs.replace(lane, held=hold.words)

    def _extended_lease(self, lane: Lane) -> Update:
        lease_until_ms = self._now_ms() + LEASE_MS
        # Due when the lease ends: then the sweeper finds a lane whose worker has died.
        return Update().set(lease_until_ms=lease_until_ms, due=due_partition(lane), due_at=lease_until_ms)

    # -- ending a claim -----------------------------------------------------------------------------------------------

    def release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None = None) -> Lane:
        """End the claim: hand the lane over (`READY`), or let it rest, pause or stop.

        An operator's command may have come since the lane was read last. Then a lane that was resumed does not pause,
        and one that was cancelled does not wait: it becomes ready instead, and due at once.

        Args:
            due_at_ms: when the sweeper is to nudge it; None where it waits for an operator.

        Raises:
            LaneLost: another worker has claimed the lane.
        """
        try:
            return self._release(lane, state, due_at_ms, reason)
        except _NotWritten as refused:
            if state not in RELEASED_ONLY_IF or refused.found.state is not LaneState.RUNNING:
                raise
        return self._release(lane, LaneState.READY, self._now_ms(), None)

    def _release(self, lane: Lane, state: LaneState, due_at_ms: int | None, reason: str | None) -> Lane:
        update = _with_reason(_with_leftovers(Update(), lane), reason).set(state=state.value, lease_until_ms=0)
        # Without a time it leaves the index of due lanes: the sweeper does not find it.
        update = (
            update.remove("due", "due_at")
            if due_at_ms is None
            else update.set(due=due_partition(lane), due_at=due_at_ms)
        )
        if lane.rate_wait is not None:
            # Never removed: its epoch says whether it counts.
            update = update.set(rate_wait=as_json(lane.rate_wait))
        if state is LaneState.RESTING:
            # Only a rest resets the count: nothing was to be done before a known time. Claims that wait for unreachable
            # input (READY with a time) go on counting, so that such a run stops. `Controls` resets it when an operator
            # resumes a lane.
            update = update.set(idle_claims=0)
        if state in RELEASED_ONLY_IF:
            update = update.only_if(RELEASED_ONLY_IF[state])
        return self._write(lane, update, Written(state))

    def finish(self, lane: Lane, ending: Ending, reason: str | None) -> Lane:
        """Note that the lane is done. It stays due until its run is closed, so that a crash in between is repaired.

        Raises:
            LaneLost: another worker has claimed the lane.
        """
        now_ms = self._now_ms()
        update = (
            _with_reason(_with_leftovers(Update(), lane), reason)
            .set(state=LaneState.DONE.value, ending=ending.value, account=as_json(lane.account))
            .set(lease_until_ms=0, due=due_partition(lane), due_at=now_ms + LEASE_MS)
            .set_first(ended_at_ms=now_ms)
        )
        return self._write(lane, update, Written(LaneState.DONE))

    # -- every write of a claim ---------------------------------------------------------------------------------------

    def _write(self, lane: Lane, update: Update, written: Written) -> Lane:
        """Write on the conditions that every write of a claim has.

        Raises:
            LaneLost: another worker has claimed the lane.
            _NotWritten: the claim is still the latest, but another condition is not met.
        """
        no_later_claim = Attr("epoch").eq(lane.epoch)
        # Otherwise a late write would make a lane running again that this claim has released or finished.
        not_released = _STATE.eq(LaneState.RUNNING.value)
        update = update.set(expires_at=self._expires_at()).only_if(no_later_claim, not_released)
        item = self._update_if_met(lane_key(lane.run_id, lane.lane), update)
        if item is not None:
            return lane_of(item)
        # The write may have been done and its answer lost: botocore repeats it, and the repetition is refused. So a
        # refusal counts only after the lane was read.
        found = self.read_lane(lane.run_id, lane.lane)
        if found is None or found.epoch != lane.epoch:
            raise LaneLost(f"epoch {found.epoch if found else 'none'}, ours was {lane.epoch}")
        if not written.is_in(found):
            raise _NotWritten(found)
        return found


def _claim_of(before: Lane, now_ms: int) -> Update:
    """The claim of a lane that was read as `before`."""
    suspects = before.suspects
    if before.state is LaneState.RUNNING and before.may_ask_below:
        # Its worker never ended the claim: it may have asked for devices of the batches below this mark.
        suspects += (UnfinishedClaim(before.epoch, before.may_ask_below),)
    return (
        Update()
        .set(state=LaneState.RUNNING.value, lease_until_ms=now_ms + LEASE_MS)
        .set(due=due_partition(before), due_at=now_ms + LEASE_MS)
        .set(started_at_ms=before.started_at_ms or now_ms, suspects=as_json(suspects), fed=0)
        # Every claim counts as idle until an advance sets it to 0.
        .add(epoch=1, hop=1, idle_claims=1)
        .remove("reason")
        .only_if(
            Attr("epoch").eq(before.epoch),  # no other worker has claimed it since it was read
            _STATE.eq(before.state.value),  # nor has its worker or an operator changed it: `suspects` is still right
            # and it may be claimed: handed over, due, without a live worker, or to be closed
            IS_READY | rest_is_over(now_ms) | lease_is_over(now_ms) | CANCELLED_WHILE_WAITING,
        )
    )


def _with_leftovers(update: Update, lane: Lane) -> Update:
    """The update with what a claim leaves to the next: time spent, requests without a known answer, the last trouble.

    `asking` is written only in lanes that have it: older releases' lanes go on without.
    """
    update = update.set(sending_ms=lane.sending_ms, suspects=as_json(lane.suspects), trouble=_trouble_of(lane))
    update = _with_speed(update, lane)
    return update if lane.asking is None else update.set(asking=as_json(lane.asking))


def _with_speed(update: Update, lane: Lane) -> Update:
    """With how fast the lane sends, where its worker has measured that already."""
    return update if lane.speed is None else update.set(speed=as_json(lane.speed))


def _with_reason(update: Update, reason: str | None) -> Update:
    return update.remove("reason") if reason is None else update.set(reason=reason[:MAX_REASON])


def _trouble_of(lane: Lane) -> str:
    return lane.trouble[:MAX_REASON]
