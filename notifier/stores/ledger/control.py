"""The operators' part of the ledger: pause, resume and cancel a lane."""

from boto3.dynamodb.conditions import Attr

from notifier.dynamodb import Update
from notifier.model.run import LANES_VERSION, Control, Lane, LaneState
from notifier.stores.ledger.items import due_partition, lane_key, lane_of
from notifier.stores.ledger.table import Table

_WAITS_FOR_OPERATOR = (LaneState.PAUSED, LaneState.STOPPED)
_WAITS = (*_WAITS_FOR_OPERATOR, LaneState.RESTING)


class Controls(Table):
    """The ledger's part for operators."""

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
        """Pause, resume or cancel a lane. Its worker, if it has one, reads the command with its next write.

        A lane without a worker is changed at once: resumed or cancelled it becomes ready, paused it waits.

        Args:
            by: who gives the command, for people who look.
            only_if_going: not where another command was given before.
            at_ms: when the command was given; by default now.

        Returns the lane as it is then; None where there is no such run, or it is done.
        """
        at_ms = self._now_ms() if at_ms is None else at_ms
        # Two commands that reach the lanes of a run at the same time: the later one counts for all of them.
        is_latest = Attr("control_at_ms").not_exists() | Attr("control_at_ms").lte(at_ms)
        command = Update().set(control=control.value, control_by=by, control_at_ms=at_ms)
        command = command.only_if(Attr("state").ne(LaneState.DONE.value), is_latest)
        if only_if_going:
            command = command.only_if(Attr("control").eq(Control.GO.value))
        written = self._update_lane(run_id, lane, command)
        if written is None:
            return None
        # The command is written first and alone: a worker that claims the lane in between obeys it all the same, and
        # the second write is refused, because the lane is not in the state any more that it was read in.
        return self._without_worker(control, written) or written

    def _without_worker(self, control: Control, lane: Lane) -> Lane | None:
        """Carry out a command on a lane without a worker. None where its worker will, or nothing is to be done."""
        match control:
            case Control.GO if lane.state in _WAITS_FOR_OPERATOR:
                return self._wake(lane, _WAITS_FOR_OPERATOR)
            # A worker has to close a cancelled run: it settles what is open, and writes the summary.
            case Control.CANCEL if lane.state in _WAITS:
                return self._wake(lane, _WAITS)
            case Control.PAUSE if lane.state in (LaneState.READY, LaneState.RESTING):
                return self._pause_waiting(lane)
        return None

    def _wake(self, lane: Lane, states: tuple[LaneState, ...]) -> Lane | None:
        """Make a lane that waits in one of these states ready, and due now."""
        # An operator has looked at it: claims that settled nothing before count no more.
        update = Update().set(
            state=LaneState.READY.value, due=due_partition(lane), due_at=self._now_ms(), idle_claims=0
        )
        still_waits = Attr("state").is_in([state.value for state in states])
        return self._update_lane(lane.run_id, lane.lane, update.only_if(still_waits))

    def _pause_waiting(self, lane: Lane) -> Lane | None:
        """Pause a lane that waits for its next worker. The sweeper must not find it: it is taken from the index."""
        update = Update().set(state=LaneState.PAUSED.value).remove("due", "due_at")
        not_claimed_meanwhile = Attr("state").eq(lane.state.value)
        return self._update_lane(lane.run_id, lane.lane, update.only_if(not_claimed_meanwhile))

    def _update_lane(self, run_id: str, lane: int, update: Update) -> Lane | None:
        # A release must not change the items of a newer one. Of an item that is not there the condition is not met
        # either, so that no command can make one.
        known_version = Attr("version").lte(LANES_VERSION)
        item = self._update_if_met(lane_key(run_id, lane), update.only_if(known_version))
        return lane_of(item) if item else None
