"""Forecasts for a campaign from its counted audience: sizes of the arms, users at night, duration. No I/O."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from approval.request import needs_tick
from notifier.model.audience_counts import Counts
from notifier.model.campaign import HUNDREDTHS, Campaign
from notifier.model.time_zones import zone_named

NIGHT_BEGINS = 22
NIGHT_ENDS = 8


class ArmShare(msgspec.Struct, frozen=True):
    """An arm with its expected users and devices."""

    name: str
    percent: str
    users: int
    platforms: dict[str, int]


class Forecast(msgspec.Struct, frozen=True):
    """A counted audience, and what sending this campaign to it would mean."""

    count: Counts
    at_night: int
    repeated_share: float
    needs_tick: bool
    arms: tuple[ArmShare, ...] = ()
    """Of the test alone where it comes first: who the others are sent by is not known yet."""
    duration_s: int = 0
    is_test_first: bool = False
    is_of_now: bool = False
    """Whether it begins as soon as it is approved: who is reached at night is then known for this moment only."""


def forecast(
    count: Counts, start: datetime, campaign: Campaign | None, per_second: int, ramp_s: int, *, repeats: bool = False
) -> Forecast:
    """The forecast for a planned start (aware).

    Args:
        per_second, ramp_s: the stack's.
        repeats: whether repeated tokens would be sent to: files as they are, not a prepared audience.
    """
    repeated_tokens = count.repeated_tokens if repeats else 0
    devices = count.device_count
    return Forecast(
        count=count,
        at_night=users_at_night(count.timezones, start),
        repeated_share=repeated_tokens / devices if devices else 0.0,
        needs_tick=needs_tick(repeated_tokens, devices),
        arms=shares(count, campaign) if campaign is not None else (),
        is_test_first=campaign is not None and campaign.winner is not None,
        duration_s=duration_s(devices, min(per_second, (campaign and campaign.per_second) or per_second), ramp_s),
    )


def users_at_night(timezones: Mapping[str, int], start: datetime) -> int:
    """Users for whom it is between 22:00 and 08:00 at `start`. Users in unknown time zones are not counted."""
    total = 0
    for name, users in timezones.items():
        # Also counted under names that are no zones: those the audience misspells, and `(others)`.
        zone = zone_named(name)
        if zone is None:
            continue
        hour = start.astimezone(zone).hour
        if hour >= NIGHT_BEGINS or hour < NIGHT_ENDS:
            total += users
    return total


def sent_at_first(campaign: Campaign) -> Decimal:
    """The share of the users whom variants and control group are drawn from: the test, where it comes first."""
    return campaign.winner.test_percent / 100 if campaign.winner else Decimal(1)


def shares(count: Counts, campaign: Campaign) -> tuple[ArmShare, ...]:
    """The expected users of every arm, control included; of the test part where a test comes first."""
    part = sent_at_first(campaign)
    return tuple(
        ArmShare(
            name=name,
            percent=f"{hundredths / 100:g}",
            users=round(count.users * part * hundredths / HUNDREDTHS),
            platforms={p: round(n * part * hundredths / HUNDREDTHS) for p, n in count.platforms.items()},
        )
        for name, hundredths in campaign.arms
    )


def duration_s(devices: int, per_second: int, ramp_s: int) -> int:
    """Expected duration of a run: half speed on average while it ramps up, then full speed."""
    in_ramp = per_second * ramp_s / 2
    if devices <= in_ramp:
        # Over in the ramp: after t seconds per_second * t² / (2 * ramp_s) devices are done, solved for t.
        return max(1, round(math.sqrt(2 * devices * ramp_s / per_second)))
    return max(1, int(ramp_s + (devices - in_ramp) / per_second))


def in_words(seconds: int) -> str:
    """A duration as the pages write it."""
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(timedelta(seconds=seconds).total_seconds() / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
