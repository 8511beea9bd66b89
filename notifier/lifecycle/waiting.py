"""Waiting for a long task without losing the lane."""

from concurrent.futures import Future
from typing import Any

from notifier.model.ledger import Ledger
from notifier.model.run import HEARTBEAT_MS, LEASE_MS, Lane, LaneLost
from notifier.model.runtime import Clock

LOOK_EVERY_S = 0.02
"""How often the task is looked at."""


def await_task(task: Future[Any], lane: Lane, ledger: Ledger, clock: Clock) -> Lane:
    """Wait until the task is done, renewing the lease. Returns the lane as it is then.

    A renewal that fails is tried again as long as the lease lasts.

    Raises:
        LaneLost: another worker claimed the lane.
    """
    renewed_s = tried_s = clock.monotonic()
    while not task.done():
        clock.sleep(LOOK_EVERY_S)
        now_s = clock.monotonic()
        if (now_s - tried_s) * 1000 < HEARTBEAT_MS:
            continue
        tried_s = now_s
        try:
            lane = ledger.renew(lane)
            renewed_s = now_s
        except LaneLost:
            raise
        except Exception:
            # The next try must still come within the lease: after it another worker may have the lane.
            if (now_s - renewed_s) * 1000 >= LEASE_MS - HEARTBEAT_MS:
                raise
    return lane
