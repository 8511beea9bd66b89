"""Reasons to end a hop that lie outside of it: the operator's command, the campaign's times, the invocation's time.

Pure: the hop reads them at the start of each turn, and decides what a reason means for the batches that are open.
"""

import math
from collections.abc import Iterator

from notifier.model.run import Control, Lane
from notifier.model.runtime import Deadline
from notifier.sending.hop_exit import Departure, Exit, Plan


def outside_reasons(lane: Lane, plan: Plan, deadline: Deadline, now_s: float) -> Iterator[Departure]:
    """All reasons that hold now, in any order: of several the highest `Exit` wins.

    Args:
        lane: as the ledger last returned it, with the operator's command.
        now_s: seconds since the epoch.
    """
    if lane.control is Control.CANCEL:
        yield Departure(Exit.CANCEL, lane.cancel_reason)
    elif lane.control is Control.PAUSE:
        yield Departure(Exit.PAUSE)
    if lane.held:
        # Due at once: the sweeper nudges nothing while the stack is held, and everything that is due afterwards.
        yield Departure(Exit.REST, lane.held, due_at=now_s)
    if plan.abort_after is not None and now_s >= plan.abort_after:
        yield Departure(Exit.ABORT, "abort_after has passed")
    # The lane was nudged before its time, by its first event or by an operator.
    if plan.not_before is not None and now_s < plan.not_before:
        # Not beyond `abort_after`: a run that is aborted must be ended then.
        yield Departure(Exit.REST, due_at=min(plan.not_before, plan.abort_after or math.inf))
    if deadline.is_near():
        yield Departure(Exit.HAND_OVER)
