"""A year of schedules with outages: the deployed tick against an independent computation that looks at the clock."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sandbox.schedule import Line, Player, outage_of
from tests.unit.test_timetable import RHYTHMS, ZONES, expected

CATCH_UP = timedelta(hours=2.5)
ON_TIME = timedelta(minutes=5)
OUTAGES = (
    "2026-01-31T03:10Z/3h", "2026-01-31T07:30Z/3h", "2026-02-15T00:05Z/3h",
    "2026-03-08T05:30Z/3h",  # clocks are put forward in New York
    "2026-03-29T00:00Z/3h",  # and in London
    "2026-05-30T20:00Z/48h", "2026-07-05T23:58Z/48h", "2026-08-31T06:56Z/3h", "2026-08-31T12:00Z/3h",
    "2026-10-03T14:00Z/3h",  # and, by half an hour, on Lord Howe Island
    "2026-10-24T12:00Z/48h",  # put back in London
    "2026-11-01T04:40Z/3h",  # and in New York
)  # fmt: skip


def states(found: list[tuple[str, datetime]]) -> dict[str, str]:
    """What becomes of each occurrence: of those that were due in an outage the latest, if it is not too late."""
    outages = [
        (datetime.fromisoformat(start), datetime.fromisoformat(start) + timedelta(hours=int(hours.removesuffix("h"))))
        for start, _, hours in (text.partition("/") for text in OUTAGES)
    ]
    become = {}
    for n, (stamp, utc) in enumerate(found):
        become[stamp] = "run"
        for begin, end in outages:
            if begin <= utc < end and end - utc > ON_TIME:
                is_latest = n + 1 == len(found) or found[n + 1][1] > end
                become[stamp] = "caught up" if is_latest and end - utc <= CATCH_UP else "missed"
    return become


IN_THE_GATE = {*((zone, "daily") for zone in ZONES), ("Europe/London", "monthly"), ("Australia/Lord_Howe", "weekly")}
"""The others, of which the hourly ones take seconds each, are played by `pytest -m slow`."""
CASES = [
    pytest.param(zone, rhythm, marks=[] if (zone, rhythm) in IN_THE_GATE else [pytest.mark.slow])
    for zone in ZONES
    for rhythm in RHYTHMS
]


@pytest.mark.parametrize(("zone", "rhythm"), CASES)
def test_a_year_with_outages(tmp_path: Path, zone: str, rhythm: str) -> None:
    """Outages of three hours and of two days: each occurrence is a run, is caught up, or is missed, as computed."""
    cron, matches = RHYTHMS[rhythm]
    wanted = states(expected(ZoneInfo(zone), matches))
    lines = played(tmp_path, zone, cron)
    assert [line.id for line in lines] == [f"often-{stamp}" for stamp in wanted]
    assert {line.id.removeprefix("often-"): line.state for line in lines} == {
        stamp: "missed" if state == "missed" else "run" for stamp, state in wanted.items()
    }
    assert all(line.users == 3 for line in lines if line.state == "run")
    assert all(line.reason for line in lines if line.state == "missed")


def test_the_outages_show_something() -> None:
    """Over all zones and rhythms some are caught up, some are missed for a later one, some because they are too old."""
    found = [states(expected(ZoneInfo(zone), matches)) for zone in ZONES for _, matches in RHYTHMS.values()]
    counts = {name: sum(list(one.values()).count(name) for one in found) for name in ("run", "caught up", "missed")}
    assert counts["caught up"] > 40
    assert counts["missed"] > 700
    assert counts["run"] > 40_000


def played(folder: Path, zone: str, cron: str) -> list[Line]:
    """The year, played."""
    (folder / "standing").mkdir()
    (folder / "schedules").mkdir()
    rows = [{"user_id": f"u{n}", "platform": "ios", "token": f"{n:064x}"} for n in range(3)]
    (folder / "standing" / "users.jsonl").write_text("\n".join(map(json.dumps, rows)))
    schedule = {
        "schedule": {"when": {"cron": cron, "timezone": zone}, "catch_up_s": int(CATCH_UP.total_seconds())},
        "audience": {"files": ["standing/users.jsonl"]},
        "campaign": {"message": {"title": "Hi"}},
    }
    path = folder / "schedules" / "often.json"
    path.write_text(json.dumps(schedule))
    return Player(path, date(2026, 1, 1), 365, map(outage_of, OUTAGES)).lines()
