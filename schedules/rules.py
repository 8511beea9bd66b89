"""What becomes of an occurrence, by its counts and by the time: pure decisions, without a clock and without a store."""

import enum
from collections.abc import Sequence
from statistics import median

import msgspec

from notifier.model.plurals import counted
from schedules.definition import Limits

HISTORY = 7
"""Prepared occurrences whose median a new one is compared with."""
LEAST_HISTORY = 3
"""With fewer than these before it, min_users and max_users alone are judged."""


class OccurrenceState(enum.StrEnum):
    """What has become of an occurrence. All but `run` and a first `empty` alarm."""

    DUE = "due"
    """Its time has come; nothing was done yet."""
    WAITING = "waiting"
    """For its files to be complete, or for the run before it."""
    PREPARING = "preparing"
    """Its audience is being made."""
    NEEDS_REVIEW = "needs_review"
    """It is outside of the limits: an approver decides, until the time for that is over."""
    RUN = "run"
    """Its batch file was written."""
    EMPTY = "empty"
    """Nobody is in its audience."""
    MISSED = "missed"
    """It was due in an outage, and is too old or not the latest."""
    SKIPPED = "skipped"
    """The run before it was still making first requests."""
    FAILED = "failed"
    """Its audience could not be made; `reason` has the engine's message."""
    EXPIRED = "expired"
    """Nobody decided in time."""
    REJECTED = "rejected"
    """An approver decided that it is not to be sent."""
    ON_HOLD = "on_hold"
    """It was due while everything was on hold, and is too old now."""

    @property
    def is_over(self) -> bool:
        """Nothing more becomes of it."""
        return self not in (
            OccurrenceState.DUE, OccurrenceState.WAITING, OccurrenceState.PREPARING, OccurrenceState.NEEDS_REVIEW,
        )  # fmt: skip


class Verdict(msgspec.Struct, frozen=True):
    """Whether an occurrence of so many users is sent."""

    state: OccurrenceState
    reason: str = ""


def judged(users: int, before: Sequence[int], limits: Limits) -> Verdict:
    """What becomes of a prepared occurrence, by the number of its users.

    The change is judged before emptiness: a query that finds nobody after a week of thousands is a fault to look at.

    Args:
        before: users of the prepared occurrences before it, the latest last, decided on or not.
    """
    if limits.max_users is not None and users > limits.max_users:
        most = counted(limits.max_users, "user")
        return _review(f"{counted(users, 'user')}, and schedule.limits.max_users is {most}")
    if limits.min_users is not None and 0 < users < limits.min_users:
        return _review(f"{counted(users, 'user')}, and schedule.limits.min_users is {limits.min_users:,}")
    if limits.max_change is not None and len(before) >= LEAST_HISTORY:
        usual = median(before[-HISTORY:])
        if users > usual * limits.max_change or users * limits.max_change < usual:
            change = f"schedule.limits.max_change is {limits.max_change:g}"
            return _review(f"{counted(users, 'user')}, and the median of those before is {usual:,.0f}: {change}")
    if users == 0:
        return Verdict(OccurrenceState.EMPTY, "nobody is in its audience")
    return Verdict(OccurrenceState.RUN)


def _review(reason: str) -> Verdict:
    return Verdict(OccurrenceState.NEEDS_REVIEW, reason)
