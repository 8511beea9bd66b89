"""What holds for a campaign, and for a schedule's times, in words for approvers. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from approval.moments import day_words
from notifier.model.campaign import Campaign
from notifier.model.caps import CapDefaults, caps_of, quiet_in_force
from notifier.model.plurals import counted


def caps_words(campaign: Campaign, defaults: CapDefaults) -> str:
    """How many campaigns a user may get: the campaign's own caps, and the stack's where it has none of a group."""
    if campaign.essential:
        return "none: it is essential"
    held = caps_of(campaign, defaults)
    return "; ".join(f"at most {cap.words}" for cap in held) or "none"


def quiet_words(campaign: Campaign, defaults: CapDefaults) -> str:
    """The hours in which nobody gets it, and what becomes of a push in them."""
    if campaign.quiet is None:
        return "lifted: phones may ring at any time of the night"
    try:
        quiet = quiet_in_force(campaign, defaults)
    except ValueError:
        return "its own, and no time zone is known for users without one: it would be refused"
    if quiet is None:
        return "none"
    becomes = "waits for their end" if quiet.then == "wait" else "is not sent"
    return f"{quiet.begins} to {quiet.ends} by each user's own clock; a push in them {becomes}"


def rhythm_words(rhythm: Mapping[str, Any], occurs: str = "") -> Iterator[tuple[str, str]]:
    """When a schedule occurs, and within which limits nobody is asked; by what they are called.

    Args:
        occurs: its rule in words; without them it is shown as it is written.
    """
    when = rhythm.get("when", {})
    if when:
        yield "Occurs", occurs or f"{when.get('cron') or when.get('at', '')}, in {when['timezone']}"
    days = [
        f"{word} {day_words(rhythm[name])}" for name, word in (("starts", "from"), ("ends", "to")) if rhythm.get(name)
    ]
    if days:
        yield "Days", " ".join(days)
    yield "Without a review", "; ".join(_bounds(rhythm.get("limits", {}))) or "always"
    overlap = rhythm.get("overlap", "wait")
    words = "begins after it" if overlap == "wait" else "is left out"
    yield "Overlap", f"while the time before is still sending, the next one {words}"


def _bounds(limits: Mapping[str, Any]) -> Iterator[str]:
    for name, word in (("min_users", "at least"), ("max_users", "at most")):
        if limits.get(name) is not None:
            yield f"{word} {counted(limits[name], 'user')}"
    # What is as by default is not in the file's type.
    if (change := limits.get("max_change", 3.0)) is not None:
        yield f"not {change:g} times as many as before, nor so many times fewer"
