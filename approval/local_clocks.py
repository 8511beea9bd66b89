"""What the clock shows where the readers are, when a campaign begins. No I/O."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from approval.audience import NIGHT_BEGINS, NIGHT_ENDS
from notifier.model.time_zones import zone_named

MAX_PLACES = 3


class LocalClock(msgspec.Struct, frozen=True):
    """The time of day of some users, and where they are: `10:00`, `Sun 22 Nov`, `London, Lisbon`."""

    at: str
    day: str
    places: str
    users: int
    is_night: bool


def local_clocks(timezones: Mapping[str, int], start: datetime) -> tuple[LocalClock, ...]:
    """The users by what their clock shows at `start` (aware); the most users first. Unknown zones are left out."""
    return clocks_of([(start, timezones)])


def clocks_of(reached: Iterable[tuple[datetime, Mapping[str, int]]]) -> tuple[LocalClock, ...]:
    """The users by what their clock shows when they are reached, which may be at several moments."""
    by_clock: dict[datetime, list[tuple[int, str]]] = {}
    for moment, timezones in reached:
        for name, users in timezones.items():
            # The audience counts misspelt zones and `(others)` under names that are no zones.
            zone = zone_named(name)
            if zone is not None:
                by_clock.setdefault(moment.astimezone(zone).replace(tzinfo=None), []).append((users, name))
    clocks = [_clock(local, found) for local, found in by_clock.items()]
    return tuple(sorted(clocks, key=lambda clock: clock.users, reverse=True))


def _clock(local: datetime, found: list[tuple[int, str]]) -> LocalClock:
    places = [name.rpartition("/")[2].replace("_", " ") for _, name in sorted(found, reverse=True)]
    more = len(places) - MAX_PLACES
    return LocalClock(
        at=f"{local:%H:%M}",
        day=f"{local:%a} {local.day} {local:%b}",
        places=", ".join(places[:MAX_PLACES]) + (f" and {more} more" if more > 0 else ""),
        users=sum(users for users, _ in found),
        is_night=local.hour >= NIGHT_BEGINS or local.hour < NIGHT_ENDS,
    )
