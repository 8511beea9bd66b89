"""Time zones by their names, and the instants of local times: what `campaign.local_time` and `campaign.quiet` mean.

Offsets are those of the package `tzdata`, at the version in uv.lock, and never those of the machine: two functions of
one run must not disagree about a country's new law. `UTC±hh:mm` is a fixed offset, in quarter hours.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

FIRST_ZONE = timezone(timedelta(hours=14))
"""The zone in which each date begins first: Pacific/Kiritimati's UTC+14."""
LAST_ZONE = timezone(timedelta(hours=-12))
"""The zone in which each date begins last."""
QUARTER_S = 900
"""Windows begin at quarters of an hour."""
_FIXED = re.compile(r"UTC([+-])(\d\d):(\d\d)")


@cache
def zone_names() -> frozenset[str]:
    """The names of all zones of the tz database."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@cache
def fixed_zone_names() -> tuple[str, ...]:
    """The names of all fixed offsets that are known, from the west to the east."""
    return tuple(f"UTC{'-' if m < 0 else '+'}{abs(m) // 60:02d}:{abs(m) % 60:02d}" for m in range(-720, 841, 15))


@lru_cache(maxsize=4096)  # bounded: names come from audiences
def zone_named(name: str) -> tzinfo | None:
    """The zone with this name, of the tz database or `UTC+05:30` (-12:00 to +14:00); None for another text."""
    if found := _FIXED.fullmatch(name):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        is_known = (
            int(minutes) % 15 == 0 and int(minutes) < 60 and timedelta(hours=-12) <= offset <= timedelta(hours=14)
        )
        return timezone(offset) if is_known else None
    if name not in zone_names():
        return None
    place = files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with place.open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def zone_hint(name: str) -> str:
    """What to write in place of a text that is no zone: the zone of this name in other letters, else an example."""
    plain = name.strip().lower().replace(" ", "_")
    meant = next((zone for zone in sorted(zone_names()) if zone.lower() == plain), None)
    return f"write {meant}" if meant else "for example Europe/London"


def instant_of(local: datetime, zone: tzinfo) -> datetime:
    """The instant of a local minute: of one in a gap the first minute after it, of one that comes twice the first.

    Args:
        local: naive.
    """
    # In a gap `fold=0` takes the offset before it, and `fold=1` the one after it (PEP 495): elsewhere, but for minutes
    # that come twice, both are the same instant.
    early = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if early.astimezone(zone).replace(tzinfo=None) == local:
        return early
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return changes_at(before, early, zone)


def a_day_before(moment: datetime) -> datetime:
    """The same time of the day before, by the clock of the moment's zone: on days when that changes 23 or 25 hours."""
    day = moment.date() - timedelta(days=1)
    # By way of UTC, so that a time in a gap is one that there is.
    return moment.replace(year=day.year, month=day.month, day=day.day).astimezone(UTC).astimezone(moment.tzinfo)


def changes_at(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The instant at which a zone's offset changes between two instants that have different ones."""
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    # Every change of the last hundred years is at a whole minute.
    return (after + timedelta(seconds=30)).replace(second=0, microsecond=0)


def next_quarter(instant_s: float) -> int:
    """The instant itself where it is at a quarter of an hour, else the next quarter. Seconds since the epoch."""
    return -int(-instant_s // QUARTER_S) * QUARTER_S
