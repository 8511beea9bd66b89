"""Decides when the ledger is written, and which news a write carries. One write is under way at a time."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from notifier.model.run import HEARTBEAT_MS, Lane
from notifier.sending.asking import AskingList
from notifier.sending.lane_writer import LaneWriter
from notifier.sending.reach import Reach
from notifier.sending.trouble_log import TroubleLog, kind_of

WRITE_EVERY_S = 0.25
"""The cursor is written at most this often: one write carries all that was settled in between."""


class Carried(NamedTuple):
    """What the ledger write under way carries: it is still to be written if that write fails."""

    account: bool = False
    asking: bool = False


class CheckpointWriter:
    """Writes a lane's news: what is settled, the list of deferred batches, how far a crash can reach, a trouble.

    Args:
        revision: of the last write.
    """

    def __init__(
        self, lane_writer: LaneWriter, asking: AskingList, reach: Reach, troubles: TroubleLog, revision: int
    ) -> None:
        self._lane_writer = lane_writer
        self._asking = asking
        self._reach = reach
        self._troubles = troubles
        self._revision = revision
        self._has_moved = False
        """The account has changed since the last write began."""
        self._carried = Carried()
        self.speed = lane_writer.lane.speed
        """How fast the lane sends, for the next renewal."""

    def note_moved(self) -> None:
        """The account or the cursor has changed."""
        self._has_moved = True

    @property
    def has_news(self) -> bool:
        """Something is settled, or the list has changed, that no write carries yet."""
        return self._has_moved or self._asking.has_changed

    def write(self, settled: Callable[[], Lane], *, urgent: bool, may_list: bool) -> None:
        """Take in a finished write and begin the next one, if there is anything to write.

        Args:
            settled: the lane with everything that is settled.
            urgent: write now, however short ago the last write was.
            may_list: the list of deferred batches may be written.

        Raises:
            LaneLost: another worker claimed the lane.
            LeaseOver: the ledger could not be reached for the length of a lease.
        """
        if not self._lane_writer.collect():
            # Not written: what it carried goes into the next write, together with what was settled since.
            self._has_moved = self._has_moved or self._carried.account
            self._asking.has_changed = self._asking.has_changed or self._carried.asking
        if self._lane_writer.may_write:
            self._begin(settled, urgent=urgent, may_list=may_list)

    def _begin(self, settled: Callable[[], Lane], *, urgent: bool, may_list: bool) -> None:
        lane, since_s = self._lane_writer.lane, self._lane_writer.since_s
        wants_room = self._reach.is_beyond(lane)
        moves = self._has_moved and (urgent or wants_room or since_s >= WRITE_EVERY_S)
        # A list that has changed is written at once: batches wait for it before they are asked for.
        if moves or (self._asking.has_changed and may_list):
            self._lane_writer.advance(self._with_news(settled()))
        # A renewal carries the marks and the trouble, and returns the operator's command: the heartbeat.
        elif wants_room or self._has_new_trouble(lane, since_s) or since_s * 1000 >= HEARTBEAT_MS:
            self._carried = Carried()
            self._lane_writer.renew(self._with_marks(lane))

    def _with_news(self, settled: Lane) -> Lane:
        """The lane as the next write is to leave it. Everything that is settled counts as carried from here on."""
        self._carried = Carried(account=self._has_moved, asking=True)
        # The account can move while the cursor does not: the revision orders such writes, where one arrives late.
        self._revision += 1
        # A changed list of `asking` alone is no progress: nothing was settled.
        idle_claims = 0 if self._has_moved else self._lane_writer.lane.idle_claims
        self._has_moved = self._asking.has_changed = False
        return msgspec.structs.replace(settled, revision=self._revision, idle_claims=idle_claims)

    def _with_marks(self, lane: Lane) -> Lane:
        return msgspec.structs.replace(
            lane,
            # After the end of the reading the mark begins at 0 again, and the ledger's round is the one before: keep
            # its mark.
            may_ask_below=max(self._reach.may_ask_below, lane.may_ask_below),
            most_devices=self._reach.most_devices,
            trouble=self._troubles.last or lane.trouble,
            speed=self.speed,
        )

    def _has_new_trouble(self, lane: Lane, since_s: float) -> bool:
        """Whether there is trouble that the ledger does not have: a hop that is killed cannot write it later."""
        trouble = self._troubles.last
        return bool(trouble) and kind_of(trouble) != kind_of(lane.trouble) and since_s >= WRITE_EVERY_S
