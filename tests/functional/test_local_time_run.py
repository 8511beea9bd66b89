"""A schedule in local time, sent by the deployed functions with a moved clock, by what the stand-ins saw.

What each user's clock showed is computed here with zoneinfo alone. `python -m sandbox schedule … --run` plays the same.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.gateways.noted import arrivals
from sandbox.local_time_run import LocalTimePlayer
from tests.zone_people import ALL_ZONES, FALLBACK, FIRST_ZONE, WITHIN_S, clock_of, token_of, write, zone_of

FEW_ZONES = (FIRST_ZONE, "Europe/London", "America/Los_Angeles")
MINUTES = 10 * 60


def play(folder: Path, users: int, zones: Sequence[str], first: str, days: int) -> tuple[Path, list[Any], int, int]:
    """Play it. Returns the arrivals' file, the runs' summaries, the worker's invocations and the lanes."""
    schedule = write(folder / "bucket", users, zones)
    player = LocalTimePlayer(schedule, date.fromisoformat(first), days)
    state = folder / "state"
    state.mkdir()
    runs: dict[str, str] = {}
    with player.start(state) as trial:
        lines = list(player.sent(trial, lambda line, run_id: runs.setdefault(line.id, run_id)))
        summaries = [trial.summary(runs[line.id]) for line in lines]
        rows = [list(trial.rows(runs[line.id])) for line in lines]
        worker = trial.sandbox.function("WorkerFunction").name
        invocations = trial.sandbox.lambda_.figures(worker).invocations
        for found in rows:
            assert len({row["user_id"] for row in found}) == len(found) == users, "one row for each device"
    return player.clock.arrivals, summaries, invocations, sum(one.lanes for one in summaries)


def check(file: Path, summaries: list[Any], users: int, zones: Sequence[str], first: str, days: int) -> None:
    """Each push in its window, by the clock of the user and of the stand-ins; refused ones again within minutes."""
    asked: dict[str, list[float]] = {}
    for at_s, token in arrivals(file):
        asked.setdefault(token, []).append(at_s)
    dates = [date.fromisoformat(first) + timedelta(days=n) for n in range(days)]
    held = Counter[str]()
    for n in range(users):
        zone, token = clock_of(zone_of(n, zones) or FALLBACK), token_of(n, zones)
        if token not in asked:
            held["control"] += 1
            continue
        is_refused = zone_of(n, zones) == FIRST_ZONE
        # Every day its push; of the first zone one more request, when the first one of all was refused.
        assert len(asked[token]) == days + is_refused
        if is_refused:
            assert 120 <= asked[token][1] - asked[token][0] <= MINUTES
            del asked[token][1]
        for day, at_s in zip(dates, asked[token], strict=True):
            shown = datetime.fromtimestamp(at_s, zone).replace(tzinfo=None) - datetime.combine(day, datetime.min.time())
            assert timedelta(hours=9) <= shown < timedelta(hours=9, seconds=WITHIN_S), (zone, shown)
    for summary in summaries:
        assert summary.status == "completed"
        assert summary.excluded_by == {}, "nobody is too late"
        assert summary.outcomes["failed"] == {}
        assert summary.outcomes["held"] == held["control"]
        assert summary.timezone_assumed == users // 100


@pytest.mark.slow
def test_a_day_in_three_zones(tmp_path: Path) -> None:
    """UTC+14, London and Los Angeles on a day on which London's clocks change; rests cost no invocation."""
    day = "2027-03-28"
    file, summaries, invocations, lanes = play(tmp_path, 120, FEW_ZONES, day, 1)
    check(file, summaries, 120, FEW_ZONES, day, 1)
    assert lanes == 3
    # The file, the audience that was made, the cut that was made; each lane in its window; the first zone's once more.
    assert invocations <= 3 + lanes + 1


@pytest.mark.slow
def test_two_days_in_all_zones(tmp_path: Path) -> None:
    """20,000 users over all zones of the tz database, two days, of which one changes clocks in Europe."""
    day = "2027-03-27"
    file, summaries, invocations, lanes = play(tmp_path, 20_000, ALL_ZONES, day, 2)
    check(file, summaries, 20_000, ALL_ZONES, day, 2)
    assert lanes > 60
    assert invocations <= 2 * (3 + 1) + lanes
