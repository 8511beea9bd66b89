"""`notifier validate` says how many users would be late, or left out for quiet hours, before anything is sent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from operations.dry_check import Inspection, Inspector

NOON = datetime.fromisoformat("2026-12-01T12:30:00Z").timestamp()
LOCAL = {"at": "09:00", "fallback_timezone": "Europe/London", "date": "2026-12-01"}


def checked(zones: Sequence[str | None], **campaign: Any) -> Inspection:
    """The findings of a file with one user for each zone, at half past noon in London."""
    inspector = Inspector("x", lambda _: iter(()), 0, NOON)
    inspector.take_campaign({"id": "c", "message": {"title": "t"}, **campaign})
    users: list[object] = [
        {"user_id": f"u{n}", "platform": "android", "token": f"t{n}"} | ({"timezone": zone} if zone else {})
        for n, zone in enumerate(zones)
    ]
    inspector.take_records([users])
    return inspector.finish()


ZONES = ["Asia/Tokyo", "Europe/London", "America/Sao_Paulo", "America/Los_Angeles", None]


def test_too_late_is_a_fault_unless_it_is_written_what_becomes_of_them() -> None:
    """09:00 and three hours are over in Tokyo and London; in São Paulo the window is open, in California it comes."""
    found = checked(ZONES, local_time=LOCAL)
    [fault] = found.faults
    assert fault.field == "campaign.local_time"
    assert "too late for 3 users (60%): their hour of 2026-12-01 is past" in fault.problem
    assert "if_past" in fault.mend
    assert found.times is not None
    assert (found.times.too_late, found.times.timezone_assumed, found.times.windows) == (3, 1, 2)
    assert found.arms["default"].users == 2


@pytest.mark.parametrize(
    ("if_past", "users", "words"),
    [("skip", 2, "left out"), ("now", 5, "reached at once"), ("tomorrow", 5, "reached a day later")],
)
def test_what_becomes_of_them(if_past: str, users: int, words: str) -> None:
    """Written down it is a warning, and the arms have those who would be reached."""
    found = checked(ZONES, local_time=LOCAL | {"if_past": if_past})
    assert found.faults == []
    assert found.arms["default"].users == users
    assert f"3 users are too late on 2026-12-01: {words} (if_past)" in found.warnings
    assert "1 user without a known time zone: Europe/London is assumed" in found.warnings


def test_few_who_are_late_are_named() -> None:
    """One of a hundred is no fault, and is said: whoever writes no `if_past` leaves them out."""
    found = checked(["Asia/Tokyo"] + ["America/Sao_Paulo"] * 99, local_time=LOCAL)
    assert found.faults == []
    assert "1 user is too late on 2026-12-01: left out (if_past)" in found.warnings
    assert [fault.field for fault in checked(["Asia/Tokyo"] * 2 + ["America/Sao_Paulo"] * 99, local_time=LOCAL).faults]


def test_without_a_date_nobody_is_late() -> None:
    """It is the first date on which no hour is past."""
    members = {name: value for name, value in LOCAL.items() if name != "date"}
    found = checked(ZONES, local_time=members)
    assert found.faults == []
    assert found.times is not None
    assert (found.times.date, found.times.too_late) == ("2026-12-02", 0)


def test_quiet_hours() -> None:
    """Dropped ones are counted: in Tokyo it is half past nine in the evening. Without a campaign's times: nothing."""
    quiet = {"from": "21:00", "to": "08:00", "then": "drop"}
    found = checked(ZONES, quiet=quiet)
    assert found.times is not None
    # In California it is half past four in the morning.
    assert found.times.quiet == 2
    assert "2 users would be left out: their time is in quiet hours" in found.warnings
    assert checked(ZONES).times is None
