"""What the findings amount to: whether the worker would refuse the audience, and what looks wrong all the same."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from notifier.content.compile import compiled
from notifier.content.texts import sources_of
from notifier.lifecycle.admission import EXEMPT_BELOW, JUDGED_RECORDS, MAX_BROKEN_SHARE
from notifier.model.audience_counts import OTHER
from notifier.model.campaign import HUNDREDTHS, Campaign, hundredths
from notifier.model.campaign_reading import ENDS_BEFORE_THE_WINNER, ends_before_the_winner
from notifier.model.kept_days import KEPT_BY_DEFAULT, start_fault
from notifier.model.plurals import counted
from notifier.model.suspicious_values import warnings_in
from notifier.model.time_zones import zone_named
from notifier.model.user_rows import joined_rows_note
from notifier.model.validation import Fault
from operations.broken_groups import PLACES
from operations.dry_check.figures import AudienceFigures
from operations.dry_check.inspection import Inspection

_SHOWN = 5
"""Of unknown time zones, by name."""


def audience_faults(figures: AudienceFigures, broken_at_first: int) -> Iterator[Fault]:
    """Why the worker would refuse the audience as a whole; there `notifier.lifecycle.admission` decides.

    Args:
        broken_at_first: broken records among the first `JUDGED_RECORDS`.
    """
    if not figures.devices:
        problem = "the audience is empty: there is nobody to send to"
        if figures.records:
            groups = figures.broken[:PLACES]
            reasons = "; ".join(f"{group.reason} (record {group.places[0]})" for group in groups)
            problem = f"of {counted(figures.records, 'record')} none can be sent to: {reasons}"
        yield Fault("users", problem, "the worker refuses such a file; see the reasons")
        return
    # As admission does, which decides by the first records before anything is sent.
    judged = min(figures.records, JUDGED_RECORDS)
    share = broken_at_first / judged
    # In a small file a few broken records are a large share, and say little about the file.
    if judged >= EXEMPT_BELOW and share > MAX_BROKEN_SHARE:
        problem = f"{share:.0%} of the first {judged} records are broken: the worker would refuse the file"
        yield Fault("users", problem, "see the broken records below; is it the right file?")


def campaign_warnings(campaign: Campaign, now_s: float, *, exclude_is_read: bool) -> Iterator[str]:
    """What looks wrong in the campaign alone."""
    if campaign.exclude is not None and not exclude_is_read:
        yield "the exclude list was not read, as no stack is named: the arms may be smaller"
    if campaign.abort_after and campaign.abort_after.timestamp() <= now_s:
        yield f"abort_after ({campaign.abort_after.isoformat()}) is over: nothing would be sent"
    elif ends_before_the_winner(campaign, campaign.not_before or datetime.fromtimestamp(now_s, UTC)):
        yield f"abort_after is {ENDS_BEFORE_THE_WINNER}"
    # Which days a stack has set nobody asked: whether its worker refuses this is for it to say.
    if late := start_fault(campaign, KEPT_BY_DEFAULT, now_s):
        yield f"{late}. This is by the defaults; your stack may keep them longer"
    if hundredths(campaign.control_percent) == HUNDREDTHS:
        yield "control_percent is 100: everybody is in the control group, and nobody gets a push"


def unknown_zones(timezones: Mapping[str, int]) -> Iterator[str]:
    """A warning where users have time zones by names that are none, as `CEST`, `+02:00` or `europe/berlin`."""
    unknown = {name: users for name, users in timezones.items() if name != OTHER and zone_named(name) is None}
    if unknown:
        users = sum(unknown.values())
        have, they = ("has", "it") if users == 1 else ("have", "them")
        names = ", ".join(list(unknown)[:_SHOWN])
        yield (
            f"{counted(users, 'user')} {have} a time zone that is none ({names}): local time and quiet hours take "
            f"{they} for one without; write Europe/Berlin, or UTC+02:00"
        )


def audience_warnings(found: Inspection, campaign: Campaign | None, not_hex: int) -> Iterator[str]:
    """What looks wrong in the records.

    Args:
        campaign: only attributes that its texts use matter; without one, any might be used.
        not_hex: tokens for APNs that are not hexadecimal.
    """
    figures = found.figures
    if joined := joined_rows_note(figures.records, figures.users):
        yield joined
    names = _names_used(campaign) if campaign else None
    yield from warnings_in(figures.null_words, figures.other_gateway, names, figures.invisible_ends)
    yield from unknown_zones(figures.timezones)
    if not_hex:
        are = "is" if not_hex == 1 else "are"
        yield (
            f"{counted(not_hex, 'token')} for APNs {are} not hexadecimal, as Apple's are: "
            "APNs would refuse them as BadDeviceToken"
        )
    if n := figures.repeated_tokens:
        repeat, phones = ("device repeats", "that phone") if n == 1 else ("devices repeat", "those phones")
        yield f"{n:,} {repeat} a token: {phones} would be asked for more than once"
    if n := figures.invalid_records:
        are, they = ("record or device is", "it") if n == 1 else ("records or devices are", "they")
        yield f"{n:,} {are} broken: {they} would be skipped and listed"
    for gateway, sizes in found.payloads.items():
        if n := sizes.too_large:
            are = "is" if n == 1 else "are"
            yield f"{counted(n, 'payload')} for {gateway} {are} over {sizes.limit:,} bytes: rejected"


def _names_used(campaign: Campaign) -> frozenset[str]:
    """The attributes that the campaign's texts ask for."""
    return frozenset[str]().union(*(compiled(text).roots for _, text in sources_of(campaign)))
