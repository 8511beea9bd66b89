"""What a prepared audience holds: part of its manifest, which the audience function writes and others read."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

MAX_NAMES = 500
"""Locales, time zones and attributes that are counted apart; the others are counted as `OTHER`."""
MAX_NAME_CHARS = 40
OTHER = "(others)"


class AttributeCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one attribute: how many users have no value for it, and some values, where they may be shown."""

    lacking: int
    examples: tuple[str, ...] = ()


class InvalidPlace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row, or one device of a row, that is left out. `row` counts from 0 within the input."""

    input: str
    row: int
    reason: str
    device: int | None = None


class Counts(msgspec.Struct, frozen=True):
    """What the audience holds. `devices` counts by platform, then by gateway."""

    rows: int = 0
    users: int = 0
    devices: Mapping[str, Mapping[str, int]] = {}
    locales: Mapping[str, int] = {}
    timezones: Mapping[str, int] = {}
    attributes: Mapping[str, AttributeCounts] = {}
    repeated_tokens: Annotated[int, Meta(description="Devices left out because another row has their token.")] = 0
    joined_rows: Annotated[int, Meta(description="Rows that were joined to an earlier row of their user.")] = 0
    invalid: Annotated[Mapping[str, int], Meta(description="Rows and devices left out, by reason.")] = {}
    invalid_first: Annotated[tuple[InvalidPlace, ...], Meta(description="The first places of each reason.")] = ()
    null_words: Annotated[
        Mapping[str, Mapping[str, int]],
        Meta(description="By attribute: users whose value is a word for no value, such as `null`."),
    ] = {}
    other_gateway: Annotated[
        Mapping[str, int],
        Meta(description="By platform and gateway (`ios apns`): devices whose token looks like the other gateway's."),
    ] = {}
    longest: Annotated[
        Mapping[str, int], Meta(description="By attribute: the bytes of its longest value, printed, in UTF-8.")
    ] = {}
    samples: Annotated[
        tuple[Mapping[str, Any], ...],
        Meta(description="Users of different kinds, tokens masked, with the attributes that may be shown."),
    ] = ()

    invisible_ends: Annotated[
        int,
        Meta(description="Users whose id begins or ends with white space, a quote or a character that nobody sees."),
    ] = 0

    @property
    def device_count(self) -> int:
        """Devices over all platforms and gateways."""
        return sum(sum(by_gateway.values()) for by_gateway in self.devices.values())

    @property
    def platforms(self) -> dict[str, int]:
        """Devices by platform."""
        return {platform: sum(gateways.values()) for platform, gateways in self.devices.items()}

    @property
    def without_timezone(self) -> int:
        """Users without a time zone."""
        return self.users - sum(self.timezones.values())

    @property
    def left_out(self) -> int:
        """Rows and devices that cannot be read."""
        return sum(self.invalid.values())

    @property
    def are_all_attributes_named(self) -> bool:
        """Whether an attribute that is not in `attributes` is nobody's."""
        return len(self.attributes) < MAX_NAMES
