"""The times of a form as a batch file has them: start and end, each user's own time, quiet hours. No I/O."""

from datetime import UTC, datetime
from typing import Any

from approval.form import MAX_DIGITS, Faults, Form
from notifier.model.local_time import MAX_WITHIN_S
from notifier.model.time_zones import zone_named

HOUR_S = 3600
TIME_FIELDS = {
    "local_time": "start",
    "local_time.at": "start",
    "local_time.date": "start",
    "local_time.fallback_timezone": "timezone",
    "local_time.within_s": "within_h",
    "local_time.if_past": "if_past",
    "quiet": "quiet_to",
    "quiet.from": "quiet_from",
    "quiet.to": "quiet_to",
    "quiet.then": "quiet_then",
    "quiet.timezone": "timezone",
}
"""The form's field for each place of a campaign that says when."""


def decoded_times(form: Form, faults: Faults) -> dict[str, Any]:
    """The members of a campaign that say when. Adds what is wrong with the fields to `faults`."""
    decoded: dict[str, Any] = {}
    if form.local:
        decoded |= _local_time(form, faults)
    elif start := moment(form.start, form.timezone, "start", faults):
        decoded["not_before"] = start
    if latest := moment(form.latest, form.timezone, "latest", faults):
        decoded["abort_after"] = latest
    match form.quiet:
        case "own":
            decoded["quiet"] = {
                "from": form.quiet_from,
                "to": form.quiet_to,
                "then": form.quiet_then or "wait",
                "timezone": form.timezone or "UTC",
            }
            for field in ("quiet_from", "quiet_to"):
                if not getattr(form, field):
                    faults[field] = "A time of day, such as 21:00."
        case "none":
            decoded["quiet"] = None  # written out, it lifts the stack's quiet hours
    return decoded


def _local_time(form: Form, faults: Faults) -> dict[str, Any]:
    """The start as a date and a time of day of each user, and the form's zone for users without one."""
    start = naive(form.start, "start", faults)
    if start is None:
        faults.setdefault("start", "Which day, and at what time by each user's own clock?")
        return {}
    found: dict[str, Any] = {
        "at": f"{start:%H:%M}",
        "date": start.date().isoformat(),
        "fallback_timezone": form.timezone or "UTC",
    }
    if form.within_h:
        hours = int(form.within_h) if form.within_h.isdecimal() and len(form.within_h) < MAX_DIGITS else 0
        if 1 <= hours <= MAX_WITHIN_S // HOUR_S:
            found["within_s"] = hours * HOUR_S
        else:
            faults["within_h"] = f"Whole hours, from 1 to {MAX_WITHIN_S // HOUR_S}."
    if form.if_past:
        found["if_past"] = form.if_past
    return {"local_time": found}


def naive(text: str, field: str, faults: Faults) -> datetime | None:
    """A typed date and time, without a zone; None for an empty or a wrong one."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        faults[field] = "A date and time."
        return None


def moment(text: str, timezone: str, field: str, faults: Faults) -> datetime | None:
    """A typed date and time in UTC; None for an empty or a wrong one."""
    if not text:
        return None
    zone = zone_named(timezone or "UTC")
    if zone is None:
        faults["timezone"] = "Not a time zone."
        return None
    # A browser's datetime-local field has no zone: the form has one for both times.
    local = naive(text, field, faults)
    if local is None:
        return None
    try:
        return local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:  # in UTC it would be in the year 0 or 10000
        faults[field] = "A date and time of this century."
        return None
