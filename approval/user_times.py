"""When users of a counted audience would be reached: by their own clocks, and beside quiet hours. No I/O.

Computed with the worker's own rules from the numbers of users by time zone, so that what the form says is what the
final cut does.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from approval.audience import NIGHT_BEGINS, NIGHT_ENDS
from approval.form import Faults
from approval.local_clocks import LocalClock, clocks_of
from notifier.model.audience_counts import Counts
from notifier.model.campaign import Campaign
from notifier.model.caps import CapDefaults, quiet_in_force
from notifier.model.local_time import MAX_LATE_SHARE, QUIET, LocalTime, Start, UserTimes, date_of, first_cut_s
from notifier.model.plurals import counted
from notifier.model.quiet_hours import Quiet, QuietHours
from notifier.model.time_zones import zone_named

MOST_SHOWN = 12
"""Windows that a page lists."""
MOST_ZONES = 3
_BECOMES = {
    "skip": "they get nothing",
    "now": "they get it as soon as it begins",
    "tomorrow": "they get it at this time of the next day",
}


class ReachedAt(msgspec.Struct, frozen=True):
    """Users who are reached from one moment on. `zones` are some of theirs, the largest first."""

    at_ms: int
    users: int
    zones: tuple[str, ...]


class TimesForecast(msgspec.Struct, frozen=True):
    """Users by when they are reached.

    Args:
        moments: the earliest first; empty where all are reached at once.
        more: users of the moments that are not listed.
        assumed: users without a time zone that is known; `fallback` is assumed for them.
        late: users whose hour is past when the run begins; `late_words` says what becomes of them.
        is_refused: whether they are so many that the final cut would refuse the run.
        waiting: users whose push waits for the end of quiet hours.
        dropped: users left out because of quiet hours.
        at_night: users who are reached between 22:00 and 08:00.
        clocks: the users by what their own clock shows then, the most first; unknown zones are left out.
    """

    moments: tuple[ReachedAt, ...]
    more: int
    assumed: int
    fallback: str
    late: int
    late_words: str
    is_refused: bool
    waiting: int
    dropped: int
    at_night: int
    quiet: Quiet | None
    clocks: tuple[LocalClock, ...]

    @property
    def late_sentence(self) -> str:
        """How many would be too late, and what becomes of them; empty where nobody is."""
        if not self.late:
            return ""
        return f"For {counted(self.late, 'user')} the hour is past when it begins: {self.late_words}."


def times_forecast(campaign: Campaign, counts: Counts, defaults: CapDefaults, now: datetime) -> TimesForecast | None:
    """When the users would be reached; None where it is the same moment for all of them.

    Args:
        now: the run begins then, or later, where the campaign says so.
    """
    local, quiet = campaign.local_time, _quiet(campaign, defaults)
    if local is None and quiet is None:
        return None
    begins_s = now.timestamp()
    if campaign.not_before is not None:
        begins_s = max(begins_s, campaign.not_before.timestamp())
    times, plain = _times(local, quiet, begins_s), _times(local, None, begins_s)
    totals: Counter[str] = Counter()
    reached: dict[int, Counter[str]] = {}
    for name, users in _users_by_zone(counts):
        start = times.of(name)
        totals["assumed"] += users * start.is_assumed
        totals["late"] += users * start.is_late
        if start.reason is not None:
            totals[start.reason] += users
            continue
        at_s = int(max(start.not_before or begins_s, begins_s))
        totals["waiting"] += users * _was_moved(start, plain.of(name))
        fallback = local.fallback_timezone if local else (quiet.timezone if quiet else None)
        totals["at_night"] += users * _is_at_night(at_s, name, fallback)
        reached.setdefault(at_s, Counter())[name or ""] += users
    moments = tuple(_moment(at_s, zones) for at_s, zones in sorted(reached.items()))
    return TimesForecast(
        moments=moments[:MOST_SHOWN],
        more=sum(one.users for one in moments[MOST_SHOWN:]),
        assumed=totals["assumed"],
        fallback=local.fallback_timezone if local else (quiet.timezone or "" if quiet else ""),
        late=totals["late"],
        late_words=_late_words(local, totals["late"], counts.users) if local else "",
        is_refused=local is not None and _is_refused(local, totals["late"], counts.users),
        waiting=totals["waiting"],
        dropped=totals[QUIET],
        at_night=totals["at_night"],
        quiet=quiet,
        clocks=clocks_of((datetime.fromtimestamp(at_s, UTC), zones) for at_s, zones in reached.items()),
    )


def own_clock_words(campaign: Campaign | None) -> str:
    """When a campaign in each user's own time reaches them; empty for one that reaches all at the same moment."""
    local = campaign.local_time if campaign is not None else None
    if local is None:
        return ""
    day = f" on {local.date.day} {local.date:%b %Y}" if local.date else ""
    return f"At {local.at} by each user's own clock{day}"


def late_faults(campaign: Campaign, counts: Counts | None, defaults: CapDefaults, now: datetime) -> Faults:
    """A fault where more than 1 % of the users would be too late, and the form does not say what becomes of them."""
    if counts is None or campaign.local_time is None or campaign.local_time.if_past is not UNSET:
        return {}
    found = times_forecast(campaign, counts, defaults, now)
    if found is None or found.late <= counts.users * MAX_LATE_SHARE:
        return {}
    words = f"For {found.late:,} of {counts.users:,} users this hour is past when the sending begins."
    return {"if_past": f"{words} Say what becomes of them, or choose a later day."}


def _late_words(local: LocalTime, late: int, users: int) -> str:
    if local.if_past is not UNSET:
        return _BECOMES[local.if_past]
    return "more than 1 %: the run would be refused" if _is_refused(local, late, users) else _BECOMES["skip"]


def _is_refused(local: LocalTime, late: int, users: int) -> bool:
    """What the final cut does then (`notifier.model.local_time.MAX_LATE_SHARE`)."""
    return local.if_past is UNSET and late > users * MAX_LATE_SHARE


def _quiet(campaign: Campaign, defaults: CapDefaults) -> Quiet | None:
    try:
        return quiet_in_force(campaign, defaults)
    except ValueError:  # no zone is stated anywhere: a fault of the form, or of the stack, which says so itself
        return None


def _times(local: LocalTime | None, quiet: Quiet | None, begins_s: float) -> UserTimes:
    """As the audience function does for a run that begins then (`audiences.run_cut`)."""
    day = date_of(local, begins_s) if local else None
    cut_at_s = max(begins_s, first_cut_s(local, day)) if local and day else begins_s
    hours = QuietHours(quiet, quiet.timezone or "UTC") if quiet else None
    return UserTimes(local, day, hours, cut_at_s)


def _users_by_zone(counts: Counts) -> Iterator[tuple[str | None, int]]:
    yield from counts.timezones.items()
    if counts.without_timezone > 0:
        yield None, counts.without_timezone


def _was_moved(start: Start, without_quiet: Start) -> bool:
    return start.not_before is not None and start.not_before != without_quiet.not_before


def _is_at_night(at_s: int, name: str | None, fallback: str | None) -> bool:
    zone = zone_named(name or "") or zone_named(fallback or "")
    if zone is None:
        return False
    hour = datetime.fromtimestamp(at_s, zone).hour
    return hour >= NIGHT_BEGINS or hour < NIGHT_ENDS


def _moment(at_s: int, zones: Counter[str]) -> ReachedAt:
    names = tuple(name for name, _ in zones.most_common(MOST_ZONES) if name)
    return ReachedAt(at_s * 1000, zones.total(), names)
