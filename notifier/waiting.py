"""Waiting for a long task without losing the lane."""

from typing import Protocol

from notifier.background import Task
from notifier.deadline import Clock
from notifier.run import HEARTBEAT_MS, Lane

LOOK_EVERY_S = 0.02


class Renewing(Protocol):
    """The ledger, as far as a lease goes."""

    def renew(self, lane: Lane) -> Lane: ...


def await_task(task: Task, lane: Lane, ledger: Renewing, clock: Clock) -> Lane:
    """Wait until the task is done, renewing the lease. Returns the lane as it is then.

    Raises:
        LaneLost: another worker holds it.
    """
    renewed_at = clock.monotonic()
    while not task.done():
        clock.sleep(LOOK_EVERY_S)
        if (clock.monotonic() - renewed_at) * 1000 >= HEARTBEAT_MS:
            lane = ledger.renew(lane)
            renewed_at = clock.monotonic()
    return lane
