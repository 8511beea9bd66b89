"""When the users of a file would be asked, if its run began now: who would be late, and for whom a zone is assumed."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from notifier.model.campaign import Campaign
from notifier.model.local_time import (
    MAX_LATE_SHARE,
    QUIET,
    Start,
    UserTimes,
    date_of,
    first_cut_s,
)
from notifier.model.plurals import counted
from notifier.model.quiet_hours import Quiet, QuietHours
from notifier.model.validation import Fault


class TimesFigures(msgspec.Struct):
    """Users by what the final cut would find. `too_late` are those whose hour is past, whatever becomes of them."""

    date: str | None = None
    windows: int = 0
    too_late: int = 0
    quiet: int = 0
    timezone_assumed: int = 0


class TimesCounter:
    """Counts users by their times. The stack's own quiet hours are not known here.

    Args:
        now_s: seconds since the epoch.
    """

    def __init__(self, campaign: Campaign, now_s: float) -> None:
        self._local_time = campaign.local_time
        day, cut_at_s = None, now_s
        if self._local_time is not None:
            day = date_of(self._local_time, now_s)
            cut_at_s = max(now_s, first_cut_s(self._local_time, day))
        quiet = campaign.quiet if isinstance(campaign.quiet, Quiet) else None
        fallback = self._local_time.fallback_timezone if self._local_time else "UTC"
        hours = QuietHours(quiet, quiet.timezone or fallback) if quiet else None
        self._times = UserTimes(self._local_time, day, hours, cut_at_s)
        self._windows: set[tuple[int | None, int | None]] = set()
        self._users = 0
        self.figures = TimesFigures(day.isoformat() if day else None)

    def take(self, timezone: str | None) -> bool:
        """Count a user. False for one who would be left out."""
        start = self._times.of(timezone)
        self._users += 1
        self.figures.timezone_assumed += start.is_assumed
        self.figures.too_late += start.is_late
        self.figures.quiet += start.reason == QUIET
        return self._note_window(start)

    def _note_window(self, start: Start) -> bool:
        if start.reason is not None:
            return False
        self._windows.add((start.not_before, start.not_after))
        self.figures.windows = len(self._windows)
        return True

    def faults(self) -> Iterator[Fault]:
        """Why the final cut would fail."""
        late = self.figures.too_late
        if self._local_time is None or self._local_time.if_past is not UNSET:
            return
        if late > self._users * MAX_LATE_SHARE:
            share = f"{late / self._users:.0%}" if self._users else ""
            problem = f"too late for {counted(late, 'user')} ({share}): their hour of {self.figures.date} is past"
            yield Fault(
                "campaign.local_time", problem, "write if_past (skip, now or tomorrow), or a later local_time.date"
            )

    def warnings(self) -> Iterator[str]:
        """What looks wrong all the same."""
        figures = self.figures
        if figures.too_late and self._local_time is not None and not any(self.faults()):
            becomes = {"skip": "left out", "now": "reached at once", "tomorrow": "reached a day later"}
            are = "is" if figures.too_late == 1 else "are"
            yield (
                f"{counted(figures.too_late, 'user')} {are} too late on {figures.date}: "
                f"{becomes[self._local_time.if_past or 'skip']} (if_past)"
            )
        if figures.quiet:
            yield f"{counted(figures.quiet, 'user')} would be left out: their time is in quiet hours"
        if figures.timezone_assumed and self._local_time is not None:
            without = counted(figures.timezone_assumed, "user")
            yield f"{without} without a known time zone: {self._local_time.fallback_timezone} is assumed"


__all__ = ["TimesCounter", "TimesFigures"]
