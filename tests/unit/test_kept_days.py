"""How late a campaign may begin: not later than its files are kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifier.model.campaign_reading import read_campaign
from notifier.model.kept_days import KEPT_BY_DEFAULT, KeptDays, read_kept_days, start_fault

MADE = datetime(2026, 11, 21, 14, tzinfo=UTC)
ZONE = {"at": "18:00", "fallback_timezone": "Europe/London"}


def fault_of(kept: KeptDays = KEPT_BY_DEFAULT, **members: Any) -> str:
    """The fault of a campaign whose file is made at MADE; empty for none."""
    campaign = read_campaign({"id": "c", "message": {"title": "t"}, **members})
    return str(start_fault(campaign, kept, MADE.timestamp()) or "")


def after(**passed: int) -> str:
    """A time so long after MADE."""
    return (MADE + timedelta(**passed)).isoformat()


def test_the_last_moment() -> None:
    """Two days before the first of its files is deleted; the fault says when, and which parameters to raise."""
    assert fault_of() == ""
    assert fault_of(not_before=after(days=28)) == ""
    assert fault_of(not_before=after(days=28, seconds=1)) == (
        "campaign.not_before: later than the files of a run are kept (BatchFileDays and WorkDays: 30 days): it would "
        "be cancelled before it begins (begin by 2026-12-19 14:00 UTC, or raise BatchFileDays and WorkDays)"
    )
    assert "(ResultDays: 10 days)" in fault_of(KeptDays(results=10), not_before=after(days=9))


def test_a_date_of_the_users() -> None:
    """By the first zone's hour; without a date it is the next one, which is never too late."""
    assert fault_of(local_time=ZONE) == ""
    assert fault_of(local_time=ZONE | {"date": "2026-12-19"}) == ""
    assert fault_of(local_time=ZONE | {"date": "2026-12-20"}).startswith("campaign.local_time.date: later than")


@pytest.mark.parametrize("days", [1, 2])
def test_files_that_are_kept_for_a_day_or_two(days: int) -> None:
    """A start within twelve hours is never refused."""
    kept = KeptDays(batch_files=days)
    assert fault_of(kept, not_before=after(hours=12)) == ""
    assert fault_of(kept, not_before=after(hours=13)) != ""


def test_files_that_are_kept_for_ever() -> None:
    """S3 takes more days than a calendar has."""
    assert fault_of(KeptDays(10**9, 10**9, 10**9), not_before=after(days=20_000)) == ""


def test_the_environment() -> None:
    """What the stack sets; where it sets nothing, or there is none, what the template has."""
    assert read_kept_days({}) == read_kept_days({"WORK_DAYS": ""}) == KEPT_BY_DEFAULT
    given = {"BATCH_FILE_DAYS": "90", "WORK_DAYS": "60", "RESULT_DAYS": "61"}
    assert read_kept_days(given) == KeptDays(90, 60, 61)
    assert (read_kept_days(given).least, read_kept_days(given).parameters) == (60, "WorkDays")
