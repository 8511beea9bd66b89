"""Caps and holdout over days of three daily campaigns of a group, recomputed from the rows by plain Python.

The cuts are the deployed ones, over a real bucket and table, with a moved clock; the worker forms the batches of rows.
"""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from audiences.cut import CutManifest
from notifier.content.render import Renderer
from notifier.model.arms import Arms
from notifier.model.campaign_reading import read_campaign
from notifier.model.cursor import Cursor
from notifier.model.holdout import Holdout
from notifier.sending.batch_builder import BatchBuilder
from reporting.chi_squared import SUSPICIOUS_P, RatioVerdict, check_ratio, survival
from tests.contract.moto_stores import moto_server
from tests.contract.test_caps import DAY_S, NOON, ZONES, Requests, World, refused

NAMES = ("day-1", "day-2", "day-21")
CAPS = ({"group": "marketing", "most": 1, "days": 1}, {"group": "marketing", "most": 3, "days": 7})
SHARES = {"question": 45, "statement": 45, "control": 10}
HOLDOUT = {"hundredths": 500, "version": "1"}
VARIANTS = [{"name": name, "percent": share} for name, share in SHARES.items() if name != "control"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


def number_of(salt: str, user_id: str) -> int:
    """The published hash."""
    return int(sha256(f"{salt}:{user_id}".encode()).hexdigest()[:15], 16) % 10_000


def arm_of(name: str, user_id: str) -> str:
    """The arm of a user in a daily campaign, which keeps its arms from day to day."""
    number, below = number_of(name, user_id), 0
    for arm, share in SHARES.items():
        below += share * 100
        if number < below:
            return arm
    raise AssertionError(number)


def day_of(user_id: str, now_s: float) -> date:
    """A user's own day."""
    zone = ZONES[int(user_id[1:]) % len(ZONES)]
    moment = datetime.fromtimestamp(now_s, UTC)
    if zone == "UTC+05:30":
        return (moment + timedelta(hours=5.5)).date()
    return moment.astimezone(ZoneInfo(zone if zone and zone != "Mars/Base" else "Europe/London")).date()


class Fortnight:
    """Three daily campaigns, and what their rows say."""

    def __init__(self, world: World, users: int) -> None:
        self.world = world
        self.chance = Random(16)
        self.everybody = [f"u{n}" for n in range(users)]
        self.rows: dict[str, dict[str, str]] = {}
        """By run: the arm of each user with a row."""
        self.planned: dict[str, tuple[str, float]] = {}
        """By run: the campaign's name, and when it began."""

    def send(self, name: str, run_id: str, user_ids: list[str], **about: Any) -> tuple[CutManifest, dict[str, str]]:
        """One run: prepared, cut, and its batches as the worker forms them. Returns whom the cut left out, and why."""
        campaign: dict[str, Any] = {"experiment": name, "variants": VARIANTS, "control_percent": 10}
        manifest = self.world.prepare(user_ids)
        self.world.begin(run_id, *CAPS, manifest=manifest, holdout=HOLDOUT, **campaign, **about)
        cut = self.world.cut_again(run_id)
        self.rows[run_id] = dict(self._formed(run_id, campaign, cut))
        self.planned[run_id] = name, self.world.time.s
        key = f"excluded/run_id={run_id}/cut.json.gz"
        body = gzip.decompress(self.world.s3.get_object(Bucket=self.world.bucket, Key=key)["Body"].read())
        return cut, {one["user_id"]: one["reason"] for one in map(json.loads, body.splitlines())}

    def _formed(self, run_id: str, campaign: dict[str, Any], cut: CutManifest) -> Iterator[tuple[str, str]]:
        read = read_campaign({"id": run_id, "message": {"title": "t"}, **campaign})
        holdout = Holdout(HOLDOUT["hundredths"], HOLDOUT["version"])  # type: ignore[arg-type]
        builder = BatchBuilder(run_id, run_id, Arms(read.salt, read.arms), Renderer(read), (), (), holdout)
        for part in cut.parts:
            body = self.world.s3.get_object(Bucket=self.world.bucket, Key=part.key)["Body"].read()
            records = [json.loads(line) for line in body.splitlines()]
            for n in range(0, len(records), 500):
                batch = builder.form(n // 500, part.first_record + n, records[n : n + 500], Cursor())
                yield from ((push.user_id, push.arm) for push in batch.waiting)

    def expected(self, run_id: str, user_ids: list[str], now_s: float) -> dict[str, str]:
        """Who should be left out of a run, by the rows of the runs before it alone."""
        days: dict[str, list[date]] = defaultdict(list)
        for other, rows in self.rows.items():
            if other != run_id and not other.startswith("rehearsed"):
                for user_id in rows:
                    days[user_id].append(day_of(user_id, self.planned[other][1]))
        reasons = {}
        for user_id in user_ids:
            today = day_of(user_id, now_s)
            if number_of("holdout:1", user_id) < 500:
                reasons[user_id] = "holdout"
            elif any(
                sum(today - timedelta(days=cap["days"]) < day <= today for day in days[user_id]) >= cap["most"]  # type: ignore[operator,arg-type]
                for cap in CAPS
            ):
                reasons[user_id] = "capped"
        return reasons


@pytest.mark.slow
@pytest.mark.parametrize(("days", "users"), [(2, 80), (14, 3_000)], ids=["two days", "a fortnight"])
def test_whom_the_earlier_rows_say_is_left_out(endpoint: str, tmp_path: Path, days: int, users: int) -> None:
    """Exactly those, in each of six and of 42 runs, in the same shares of every arm."""
    world = World(endpoint, tmp_path)
    fortnight, requests = Fortnight(world, users), Requests(world)
    capped, assigned = Counter[str](), Counter[str]()
    for day in range(days):
        for n, name in enumerate(NAMES):
            world.time.s = NOON + day * DAY_S + n * 3 * 3_600
            some = sorted(fortnight.chance.sample(fortnight.everybody, users // 2))
            if n == 1:
                # A rehearsal of the same users right before: judged, and nobody is capped for it. Nor for a draft that
                # is dropped, a request that is rejected and a file that is refused.
                fortnight.send(name, f"rehearsed{day}", some, groups=())
                requests.draft(f"dropped{day}", some, *CAPS)
                requests.rejected(f"rejected{day}", some, *CAPS)
                assert "no_valid_device" in refused(world, f"refused{day}")
            run_id = f"{name}-{day}"
            _, left_out = fortnight.send(name, run_id, some)
            assert left_out == fortnight.expected(run_id, some, world.time.s), run_id
            rows = fortnight.rows[run_id]
            assert rows == {user: arm_of(name, user) for user in some if user not in left_out}
            capped.update(arm_of(name, user) for user, reason in left_out.items() if reason == "capped")
            assigned.update(rows.values())
    counted = {key.split("run_id=")[1].removesuffix(".parquet") for key in world.keys("caps/")}
    assert counted == {f"{name}-{day}" for name in NAMES for day in range(days)}
    for what, found in (("capped", capped), ("assigned", assigned)):
        check = check_ratio([found[arm] for arm in SHARES], list(SHARES.values()))
        print(f"{what}: {dict(found)}, chi-squared {check.chi_squared or 0:.2f}, p {check.p_value or 1:.2f}")  # noqa: T201
        assert check.verdict is RatioVerdict.IN_PROPORTION
    # The users are the same day after day, so that the sizes above are no independent draws. Whether an arm is capped
    # more often than another is shown by the shares within each arm.
    share = sum(capped.values()) / (sum(capped.values()) + sum(assigned.values()))
    chi_squared = sum(
        (capped[arm] - share * both) ** 2 / (share * both) + (capped[arm] - share * both) ** 2 / ((1 - share) * both)
        for arm in SHARES
        for both in (capped[arm] + assigned[arm],)
    )
    shares = {arm: f"{capped[arm] / (capped[arm] + assigned[arm]):.1%}" for arm in SHARES}
    p = survival(chi_squared, len(SHARES) - 1)
    print(f"capped of each arm: {shares}, chi-squared {chi_squared:.2f}, p {p:.2f}")  # noqa: T201
    assert p > SUSPICIOUS_P
