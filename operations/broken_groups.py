"""Broken records by their reason, with the first places of each, for people who have to correct them."""

from collections.abc import Iterator

import msgspec

_MAX_REASONS = 50
PLACES = 3
"""Places that are kept of each reason."""
OTHER_REASONS = "other reasons"


class RecordPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record, or one of its devices: `record` counts from 0 within `part`, `device` from 0 within the record."""

    record: int
    part: str = ""
    device: int | None = None

    def __str__(self) -> str:
        device = "" if self.device is None else f" device {self.device}"
        return f"{self.record:,}{device}" + (f" of {self.part}" if self.part else "")


class BrokenGroup(msgspec.Struct):
    """Records and devices that are broken for one reason: how many, and the first places."""

    reason: str
    count: int = 0
    places: list[RecordPlace] = []


def add_broken(groups: list[BrokenGroup], reason: str, place: RecordPlace) -> None:
    """Add a broken record or device to the group of its reason. Reasons beyond 50 share one group."""
    group = next((one for one in groups if one.reason == reason), None)
    # A reason may hold a number or a name from the file: without a bound their list could grow with it.
    if group is None and len(groups) >= _MAX_REASONS:
        reason = OTHER_REASONS
        group = next((one for one in groups if one.reason == reason), None)
    if group is None:
        group = BrokenGroup(reason)
        groups.append(group)
    group.count += 1
    if len(group.places) < PLACES:
        group.places.append(place)


def broken_lines(groups: list[BrokenGroup]) -> Iterator[str]:
    """A line for each reason: how many, and where the first are."""
    for group in sorted(groups, key=lambda one: -one.count):
        yield f"{group.count:,} × {group.reason} ({places_of(group)})"


def places_of(group: BrokenGroup) -> str:
    """`first: records 3, 5, 7 device 1`."""
    what = "record" if len(group.places) == 1 else "records"
    first = "first: " if group.count > len(group.places) else ""
    return f"{first}{what} {', '.join(map(str, group.places))}"
