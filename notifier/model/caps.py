"""Caps: at most so many campaigns of a group for one user in so many days.

A campaign belongs to the group `marketing`, unless it names groups or is essential. The stack's `DefaultCaps` hold for
every campaign of their groups; a campaign's own caps of a group take their place. Stricter ones are free, looser ones
need an approval. The final cut judges them (`audiences.cap_rule`), and counts control users as if they were sent to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta

from notifier.model.quiet_hours import Quiet, read_hours
from notifier.model.time_zones import zone_named
from notifier.model.validation import Fault

if TYPE_CHECKING:
    from notifier.model.campaign import Campaign

MARKETING = "marketing"
"""The group of a campaign that names none."""
MAX_DAYS = 30
"""A run's object is kept for 32 days."""
MOST_CAPS = 10
MOST_GROUPS = 5

GroupName = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}(?![\s\S])", description="A group of campaigns.")]
_DEFAULT = re.compile(r"([a-z0-9_-]{1,32}):([1-9][0-9]{0,2})/([1-9]|[12][0-9]|30)")


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most `most` campaigns of a group for a user in any `days` days in a row, by the user's own calendar."""

    group: GroupName
    most: Annotated[int, Meta(ge=1, le=999, description="Campaigns, this one among them.")]
    days: Annotated[int, Meta(ge=1, le=MAX_DAYS, description="Days in a row, by the user's own calendar.")]

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.most} of {self.group} in {self.days} {'day' if self.days == 1 else 'days'}"

    def is_as_strict_as(self, other: "Cap") -> bool:
        """Whether whoever keeps this one keeps the other one, too."""
        return self.group == other.group and self.most <= other.most and self.days >= other.days


class CapDefaults(msgspec.Struct, frozen=True):
    """What the stack sets: caps for every campaign, and the zone of users who have none. Without it nothing counts.

    `quiet` are the quiet hours of campaigns that say nothing of them.
    """

    caps: tuple[Cap, ...] = ()
    timezone: str = ""
    quiet: Quiet | None = None


class RunCaps(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run is judged by, and counted in, as it was when it began.

    Args:
        groups: the run counts in these; none for rehearsals, tests and essential campaigns.
        timezone: of users who have none of their own.
    """

    groups: tuple[str, ...] = ()
    caps: tuple[Cap, ...] = ()
    timezone: str = ""

    @property
    def locked(self) -> tuple[str, ...]:
        """The groups that no other cut may be judged by meanwhile, in the order in which they are locked."""
        return tuple(sorted({*self.groups, *(cap.group for cap in self.caps)}))


NO_DEFAULTS = CapDefaults()
NO_CAPS = RunCaps()


def groups_of(campaign: "Campaign") -> tuple[str, ...]:
    """The groups that a campaign belongs to, sorted."""
    if campaign.essential:
        return ()
    return tuple(sorted(campaign.groups or (MARKETING,)))


def caps_of(campaign: "Campaign", defaults: CapDefaults) -> tuple[Cap, ...]:
    """The caps that hold for a campaign: of each of its groups its own, or else the stack's."""
    own = {cap.group for cap in campaign.caps}
    standing = (cap for cap in defaults.caps if cap.group in groups_of(campaign) and cap.group not in own)
    return tuple(sorted({*campaign.caps, *standing}, key=lambda cap: (cap.group, cap.days, cap.most)))


def run_caps(campaign: "Campaign", defaults: CapDefaults, *, rehearse: bool) -> RunCaps:
    """What a run of the campaign is judged by and counted in."""
    if campaign.test:
        return NO_CAPS
    counts = bool(defaults.timezone) and not rehearse
    return RunCaps(groups_of(campaign) if counts else (), caps_of(campaign, defaults), defaults.timezone)


def loosened(campaign: "Campaign", defaults: CapDefaults) -> tuple[str, ...]:
    """How a campaign lets users get more than the stack's caps allow, in words for approvers."""
    if campaign.test:
        return ()
    standing = [cap for cap in defaults.caps if cap.group == MARKETING or cap.group in campaign.groups]
    held = caps_of(campaign, defaults)
    lost = [cap for cap in standing if not any(one.is_as_strict_as(cap) for one in held)]
    return tuple(
        f"campaign.{_field_that_loosens(campaign, cap)}: users may get more than {cap.words}, which DefaultCaps allows"
        for cap in lost
    )


def in_red(campaign: "Campaign", defaults: CapDefaults) -> tuple[str, ...]:
    """What approvers must not overlook of whom the campaign reaches, how often and at what hours; in sentences."""
    essential = ("It is marked as essential: users of the holdout get it too, and it counts for no cap.",)
    looser = (found.partition(": ")[2] for found in loosened(campaign, defaults))
    sentences = (f"{words[0].upper()}{words[1:]}." for words in looser)
    lifted = ("It lifts the quiet hours: phones may ring at any time of the night.",)
    keeps_ttl = isinstance(campaign.quiet, Quiet) and campaign.quiet.ttl == "keep"
    rings = ("Phones that were off may ring in quiet hours: the time to live is not cut.",)
    return (
        *(essential if campaign.essential else ()),
        *(lifted if campaign.quiet is None else ()),
        *(rings if keeps_ttl else ()),
        *sentences,
    )


def _field_that_loosens(campaign: "Campaign", cap: Cap) -> str:
    if campaign.essential:
        return "essential"
    return "caps" if cap.group in groups_of(campaign) else "groups"


def cap_faults(campaign: "Campaign") -> Iterator[Fault]:
    """What types cannot express."""
    if campaign.essential:
        for name in ("caps", "groups"):
            if getattr(campaign, name):
                yield Fault(f"campaign.{name}", "an essential campaign belongs to no group", "leave one of the two out")
        return
    groups = groups_of(campaign)
    for n, group in enumerate(campaign.groups):
        if group in campaign.groups[:n]:
            yield Fault(f"campaign.groups[{n}]", f"`{group}` is named twice")
    for n, cap in enumerate(campaign.caps):
        path = f"campaign.caps[{n}]"
        if cap.group not in groups:
            mend = f"write {_either(groups)}, or name it in campaign.groups"
            yield Fault(f"{path}.group", f"the campaign does not belong to `{cap.group}`", mend)
        if (cap.group, cap.days) in [(one.group, one.days) for one in campaign.caps[:n]]:
            yield Fault(path, f"`{cap.group}` has a cap for {cap.days} days already", "write the stricter one")


def _either(words: Iterable[str]) -> str:
    return " or ".join(f"`{word}`" for word in words)


def read_default_caps(text: str) -> tuple[Cap, ...]:
    """The parameter DefaultCaps: `marketing:3/7,marketing:1/1` is 3 in 7 days and 1 a day. Raises ValueError."""
    found = [_DEFAULT.fullmatch(one) for one in text.split(",")] if text else []
    matches = [one for one in found if one is not None]
    if len(matches) < len(found):
        raise ValueError
    return tuple(Cap(one[1], int(one[2]), int(one[3])) for one in matches)


def read_defaults(environment: Mapping[str, str]) -> CapDefaults:
    """What the stack's parameters say, of a function's environment.

    Raises:
        ValueError: with the parameter, and what to write instead.
    """
    caps_text, timezone = environment.get("DEFAULT_CAPS", ""), environment.get("DEFAULT_TIMEZONE", "")
    try:
        caps = read_default_caps(caps_text)
    except ValueError:
        raise ValueError(f"DefaultCaps is {caps_text!r}: expected caps like marketing:3/7,marketing:1/1") from None
    if timezone and zone_named(timezone) is None:
        raise ValueError(f"DefaultTimezone is {timezone!r}: expected the name of a time zone, as Europe/London")
    if caps and not timezone:
        raise ValueError(
            "DefaultTimezone is not set: DefaultCaps needs it, because days are counted by users' calendars"
        )
    return CapDefaults(caps, timezone, _read_quiet(environment.get("DEFAULT_QUIET_HOURS", ""), timezone))


def quiet_in_force(campaign: "Campaign", defaults: CapDefaults) -> Quiet | None:
    """The campaign's own quiet hours, none where it lifts them, else the stack's; with the zone of users without one.

    Raises:
        ValueError: no zone is stated anywhere.
    """
    quiet = defaults.quiet if campaign.quiet is UNSET else campaign.quiet
    # A person waits for a test push.
    if campaign.test or not quiet:
        return None
    own = campaign.local_time.fallback_timezone if campaign.local_time else ""
    timezone = quiet.timezone or own or defaults.timezone
    if not timezone:
        raise ValueError(
            "campaign.quiet.timezone: missing, and this stack has no DefaultTimezone "
            "(the zone of users without one, for example Europe/London)"
        )
    return msgspec.structs.replace(quiet, timezone=timezone)


def louder(campaign: "Campaign", defaults: CapDefaults) -> tuple[str, ...]:
    """How a campaign may reach users in the stack's quiet hours, or in its own; nothing where it cannot."""
    if campaign.test:
        return ()
    found = ["campaign.quiet lifts the stack's quiet hours"] if campaign.quiet is None and defaults.quiet else []
    if isinstance(campaign.quiet, Quiet) and campaign.quiet.ttl == "keep":
        found.append("campaign.quiet.ttl is keep: phones that were off may ring in quiet hours")
    return tuple(found)


def _read_quiet(text: str, timezone: str) -> Quiet | None:
    if not text:
        return None
    try:
        hours = read_hours(text)
    except ValueError:
        raise ValueError(f"DefaultQuietHours is {text!r}: expected hours like 21:00-08:00") from None
    if not timezone:
        raise ValueError("DefaultTimezone is not set: DefaultQuietHours needs it, for users without a time zone")
    return Quiet(*hours)
