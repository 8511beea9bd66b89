"""The ledger's part for a run of several lanes: opens them, reads them, gives all of them a command, closes the run.

Each lane is claimed, worked on and swept for itself. What concerns the run is written to each of its lanes, the first
one first: it is there from the beginning, and the last write of the opening is to it.

    opening   lane 0: its version ── lanes 1, 2, … n-1 ── lane 0: its span ── passes on the command it finds there
    command                  lane 0 ── reads the lanes ── lanes 1 … n-1

Whichever of the two writes to lane 0 comes first, the other one sees it: no lane misses a command. It is passed on with
the time when it was given, so that it never replaces a later one; and once more by each claim of lane 0, in case the
worker that opened the lanes died before it had.
"""

from collections.abc import Iterable, Sequence

from boto3.dynamodb.conditions import Attr, Key

from notifier.dynamodb import Item, Items, Update, query_of
from notifier.lane_commands import command_lane, command_run, lane_key
from notifier.model.run import (
    LANES_VERSION,
    Control,
    Lane,
    LaneState,
    LedgerTooNew,
    first_due_ms,
    waiting_state,
)
from notifier.model.span import Span
from notifier.stores.ledger.control import Controls
from notifier.stores.ledger.items import as_json, due_partition, lane_of, new_lane, run_key
from notifier.stores.ledger.lease import Leases, Written


class RunLanes(Leases, Controls):
    """The ledger's part for runs of several lanes."""

    def lanes_of(self, run_id: str) -> tuple[Lane, ...]:
        """All lanes of a run, by number; none of an unknown run.

        Raises:
            LedgerTooNew: a newer release wrote one of them.
        """
        is_lane = Key("pk").eq(f"run#{run_id}") & Key("sk").begins_with("lane#")
        # Consistent: whether a lane is the last one to end is decided by what is read here.
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, ConsistentRead=True, **query_of(is_lane)
        )
        items: list[Item] = [item for page in pages for item in page["Items"]]
        if any(int(item["version"]["N"]) > LANES_VERSION for item in items):
            raise LedgerTooNew(f"a lane of run {run_id} is of a newer release")
        return tuple(lane_of(item) for item in items)

    def open_lanes(self, lane: Lane, spans: Sequence[Span], rest_until_ms: int | None = None) -> Lane:
        """Enter the further lanes of a run, and what its first lane sends. Repeatable until that is written.

        Args:
            lane: the first lane, which the caller has claimed.
            rest_until_ms: no lane rests longer than until this time.

        Returns the first lane. The others are ready, and due in a moment in case they are not nudged; those whose
        window opens later rest until then.

        Raises:
            LaneLost: another worker has claimed the first lane.
        """
        # First: a release that knows one lane only, after a rollback, leaves the run alone from here on.
        lane = self._write(lane, Update().set(version=LANES_VERSION), Written())
        now_ms = self._now_ms()
        for number, span in enumerate(spans[1:], 1):
            other = Lane(
                lane.run_id,
                number,
                control=lane.control,
                control_by=lane.control_by,
                control_at_ms=lane.control_at_ms,
                cursor=span.start,
                state=waiting_state(span, now_ms),
                due_at_ms=first_due_ms(span, now_ms, rest_until_ms),
                function_version=lane.function_version,
                span=span,
            )
            # A lane that a claim before this one entered stays as it is: it may be at work.
            self._put_new(**new_lane(other), version=LANES_VERSION)
        # Last: a claim of the first lane that finds its span there need not look whether the others are.
        first = spans[0]
        partition = due_partition(Lane(lane.run_id, span=first))
        update = Update().set(span=as_json(first), due=partition)
        opened = self._write(lane, update, Written(span=first))
        # Given before or meanwhile: a lane that was entered with it may have no worker yet, and then waits at once. A
        # resume, too: a lane of an opening that was cut short, or a pause that was slow, may say otherwise.
        if opened.control is not Control.GO or opened.control_at_ms is not None:
            for number in range(1, len(spans)):
                self._pass_on(opened, number)
        return opened

    def pass_on_command(self, lane: Lane) -> None:
        """Give the lanes of a run the last command that its first lane has, where they have an earlier one or none.

        Args:
            lane: the first lane. If its worker died when it had opened the lanes, the command is there alone.
        """
        if lane.control_at_ms is None:
            return
        for other in self.lanes_of(lane.run_id):
            has_it = (other.control_at_ms or 0) >= lane.control_at_ms
            if lane.control is Control.CANCEL:
                # It counts over what was given later, too.
                has_it = other.control is Control.CANCEL
            if other.lane and other.state is not LaneState.DONE and not has_it:
                self._pass_on(lane, other.lane)

    def _pass_on(self, lane: Lane, number: int) -> None:
        # By the time when it was given: an operator's next command may have reached the lane before this one does.
        at_ms = self._now_ms() if lane.control_at_ms is None else lane.control_at_ms
        command_lane(
            Items(self._client, self._table),
            lane.run_id,
            number,
            lane.control,
            lane.control_by,
            at_ms,
            is_final=lane.control is Control.CANCEL,
        )

    def control_run(self, run_id: str, control: Control, by: str) -> tuple[Lane, ...]:
        """Pause, resume or cancel all lanes of a run. Returns those that are not done; none of an unknown run."""
        items = Items(self._client, self._table)
        return tuple(map(lane_of, command_run(items, run_id, control, by, self._now_ms())))

    def close_run(self, run_id: str, lanes: Iterable[int] = (0,)) -> None:
        """Note that the run's summary and event are out, and take its lanes from what is due.

        Raises:
            botocore.exceptions.ClientError: one of the lanes is not done.
        """
        self._update(run_key(run_id), Update().set_first(closed_at_ms=self._now_ms()))
        # Last: until then the sweeper finds the lanes, and a crash before it only means that the run is closed again.
        for number in lanes:
            self._update(lane_key(run_id, number), _NOT_DUE_WHEN_DONE)

    def await_others(self, lane: Lane) -> None:
        """Take a lane that is done from what is due, because others of its run are not: the last one closes the run.

        Raises:
            botocore.exceptions.ClientError: the lane is not done.
        """
        self._update(lane_key(lane.run_id, lane.lane), _NOT_DUE_WHEN_DONE)


_NOT_DUE_WHEN_DONE = Update().remove("due", "due_at").only_if(Attr("state").eq(LaneState.DONE.value))
