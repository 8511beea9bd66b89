"""When requests may start: first ones only within the lane's window, and none in a user's quiet hours.

Judged when a request would start, first ones and repeats alike, by the clock of the worker. Answers are values: a time
to wait for, or the reason why a device has failed.
"""

import math

from notifier.model.local_time import QUIET, TOO_LATE
from notifier.model.quiet_hours import QuietHours, Spell

MARGIN_S = 1.0
"""A request that starts later than this before the end of a window, or before quiet hours, might arrive in them."""


class SendTimes:
    """The times of one lane.

    Args:
        not_after: no first request from then on, in seconds since the epoch; None for no limit.
        quiet: the run's quiet hours; None for none.
    """

    def __init__(self, not_after: float | None = None, quiet: QuietHours | None = None) -> None:
        self._not_after = math.inf if not_after is None else not_after
        self._quiet = quiet
        self.is_free = not_after is None and quiet is None
        """Whether every request may start at any time, so that nothing needs to be looked at."""

    def obstacle(self, timezone: str | None, now_s: float, *, is_first: bool) -> float | str | None:
        """What keeps a request from starting now: the time to wait for, or why the device has failed; None for nothing.

        Args:
            timezone: of the user, as the record has it.
            is_first: the device was never asked for.
        """
        if is_first and now_s + MARGIN_S > self._not_after:
            return TOO_LATE
        if self._quiet is None:
            return None
        spell = self._quiet_spell(self._quiet, timezone, now_s)
        if spell is None:
            return None
        if self._quiet.drops:
            return QUIET
        # Waited for, its window would be over.
        return TOO_LATE if is_first and spell.end >= self._not_after else spell.end

    def _quiet_spell(self, quiet: QuietHours, timezone: str | None, now_s: float) -> Spell | None:
        """The quiet hours that a request which starts now is in, or would arrive in."""
        spell = quiet.at(timezone, now_s)
        if not spell.is_quiet and spell.end - now_s <= MARGIN_S:
            spell = quiet.at(timezone, spell.end)
        return spell if spell.is_quiet else None


def ttl_left_s(quiet: QuietHours, timezone: str | None, now_s: float) -> int:
    """Seconds until the user's next quiet hours: a push that is kept longer would ring in them. At least 1."""
    spell = quiet.at(timezone, now_s)
    return max(int(spell.end - now_s), 1) if not spell.is_quiet else 1


ALWAYS = SendTimes()
"""Every request may start at any time."""
