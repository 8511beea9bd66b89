"""People over every zone of the tz database, with a schedule in local time for them: Show 2 of local time."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from notifier.model.time_zones import zone_names

FIRST_ZONE = "Pacific/Kiritimati"
REFUSED = "unavailable-once-120s-"
"""A token that is answered 503 once, with a Retry-After of two minutes."""
NAME = "morning"


ALL_ZONES = tuple(sorted(zone_names()))
FALLBACK = "Europe/London"
WITHIN_S = 10_800


def zone_of(n: int, zones: Sequence[str] = ALL_ZONES) -> str | None:
    """The zone of user n: every zone in turn; one of a hundred users has none."""
    return None if n % 100 == 99 else zones[n % len(zones)]


def clock_of(name: str) -> ZoneInfo:
    """The zone by the data of the package `tzdata`: the machine's may be of another year, and know another law."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data)


def token_of(n: int, zones: Sequence[str] = ALL_ZONES) -> str:
    """User n's token. The users of the first zone are refused at first."""
    return f"{REFUSED if zone_of(n, zones) == FIRST_ZONE else 'ok-'}{n:08d}"


def write(folder: Path, users: int, zones: Sequence[str] = ALL_ZONES) -> Path:
    """A folder as the bucket has it. Returns the schedule's file."""
    (folder / "standing").mkdir(parents=True)
    (folder / "schedules").mkdir()
    with (folder / "standing" / "people.jsonl").open("w", encoding="utf-8") as people:
        for n in range(users):
            zone = zone_of(n, zones)
            user = {"user_id": f"u{n}", "platform": ("android", "ios")[n % 2], "token": token_of(n, zones)}
            people.write(json.dumps(user | ({"timezone": zone} if zone else {})) + "\n")
    schedule = {
        "schedule": {"when": {"cron": "0 9 * * *", "timezone": "Europe/London"}},
        "audience": {"files": ["standing/people.jsonl"]},
        "campaign": {
            "message": {"title": "Good morning", "ttl_s": 43_200},
            "control_percent": 10,
            "local_time": {"at": "09:00", "fallback_timezone": FALLBACK, "within_s": WITHIN_S},
            "quiet": {"from": "21:00", "to": "08:00", "then": "wait"},
        },
    }
    path = folder / "schedules" / f"{NAME}.json"
    path.write_text(json.dumps(schedule), encoding="utf-8")
    return path
