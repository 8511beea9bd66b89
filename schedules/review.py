"""Until when an approver decides on an occurrence that is outside of its limits: never until a time in quiet hours."""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from notifier.model.quiet_hours import Quiet, QuietHours, read_hours

DAY_S = 86_400


def hours_in_force(campaign: Mapping[str, Any], default: str) -> QuietHours | None:
    """The campaign's own quiet hours, else the stack's; None without any.

    Args:
        default: the parameter DefaultQuietHours: `21:00-08:00`, or "".
    """
    # A campaign that lifts the stack's hours may ring at night. Its approvers sleep all the same.
    if own := campaign.get("quiet"):
        return QuietHours(msgspec.convert(own, Quiet), "UTC")
    try:
        return QuietHours(Quiet(*read_hours(default)), "UTC") if default else None
    except ValueError:
        # Hours that leave no hour of the day. Each run is refused for them, with the reason.
        return None


def decide_until_s(now_s: float, within_s: int, hours: QuietHours | None, zone: tzinfo) -> float:
    """The end of the time to decide, in seconds since the epoch.

    Where it would be in quiet hours, the time that lies in these does not count: two hours from 20:30 on, with quiet
    hours from 21:00 to 08:00, end at 09:30. An end at 08:00 sharp would leave nobody the time to look. For the same
    reason a time that begins in quiet hours is counted from their end on: ten hours from 22:05 on end at 18:00.

    Args:
        zone: the schedule's: by its clock the approvers' night is judged.
    """
    if hours is not None and (rest := hours.spell(zone, now_s)).is_quiet:
        now_s = rest.end
    until_s = now_s + within_s
    while hours is not None and (rest := hours.spell(zone, until_s)).is_quiet:
        begun_s = max(_begin_s(hours, zone, until_s), now_s)
        until_s = rest.end + (until_s - begun_s)
        now_s = rest.end
    return until_s


def after_hold_s(held_s: float, now_s: float, until_s: float, hours: QuietHours | None, zone: tzinfo) -> float:
    """The end of the time to decide after a hold: outside of quiet hours as much is left as when the hold began.

    Args:
        held_s: when the hold began.
        now_s: when it ended.
        until_s: the end of the time to decide as it was.
    """
    if hours is None:
        return now_s + (until_s - held_s)
    left_s, at_s = 0.0, held_s
    while at_s < until_s:
        spell = hours.spell(zone, at_s)
        if not spell.is_quiet:
            left_s += min(spell.end, until_s) - at_s
        at_s = spell.end
    at_s = now_s
    # Up to the beginning of quiet hours is not enough: an end is never in them.
    while (spell := hours.spell(zone, at_s)).is_quiet or spell.end - at_s <= left_s:
        if not spell.is_quiet:
            left_s -= spell.end - at_s
        at_s = spell.end
    return at_s + left_s


def _begin_s(hours: QuietHours, zone: tzinfo, quiet_s: float) -> float:
    """When the quiet hours began that an instant is in."""
    # From a day before it on: no quiet hours last longer than 23.
    spell = hours.spell(zone, quiet_s - DAY_S)
    while spell.end <= quiet_s:
        spell = hours.spell(zone, spell.end)
    return spell.begin
