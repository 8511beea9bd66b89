"""Whose data time zones are of: the package's, whatever the machine has."""

import json
import shutil
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from approval.audience import users_at_night
from approval.form_times import moment
from approval.local_clocks import local_clocks
from schedules.definition import read_schedule

MORNING = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
"""In London; 18:00 in Tokyo."""


@pytest.fixture
def another_law(tmp_path: Path) -> Iterator[None]:
    """A machine on which London has Tokyo's time."""
    (tmp_path / "Europe").mkdir()
    with files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").open("rb") as data:
        (tmp_path / "Europe" / "London").write_bytes(data.read())
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    assert datetime(2026, 12, 1, tzinfo=zoneinfo.ZoneInfo("Europe/London")).utcoffset()
    yield
    zoneinfo.reset_tzpath(to=before)
    zoneinfo.ZoneInfo.clear_cache()
    shutil.rmtree(tmp_path)


@pytest.mark.usefixtures("another_law")
def test_the_machines_zones_are_not_asked() -> None:
    """A schedule's times, the readers' clocks, who would be woken, a start: all of them as the worker sends."""
    body = {
        "schedule": {"when": {"cron": "0 9 * * *", "timezone": "Europe/London"}},
        "audience": {"files": ["standing/a.jsonl"]},
        "campaign": {"message": {"title": "t"}},
    }
    schedule = read_schedule("daily", json.dumps(body).encode())
    assert next(iter(schedule.timetable.after(datetime(2026, 12, 1, tzinfo=UTC)))).utc == MORNING
    assert [clock.at for clock in local_clocks({"Europe/London": 1}, MORNING)] == ["09:00"]
    assert users_at_night({"Europe/London": 1}, datetime(2026, 12, 1, 14, 0, tzinfo=UTC)) == 0
    assert moment("2026-12-01T09:00", "Europe/London", "start", {}) == MORNING
