"""The operators' part of the ledger: pause, resume and cancel a lane."""

from notifier.dynamodb import Items
from notifier.lane_commands import command_lane
from notifier.model.run import Control, Lane
from notifier.stores.ledger.items import lane_of
from notifier.stores.ledger.table import Table


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
        items = Items(self._client, self._table)
        item = command_lane(items, run_id, lane, control, by, at_ms, only_if_going=only_if_going)
        return lane_of(item) if item else None
