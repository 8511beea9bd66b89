"""Holdout and caps in the deployed code: who is left out of which run, against plain Python over the rows."""

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from notifier.model.run import Control
from sandbox.trial import Setting, Trial
from sandbox.wait import wait_until

USERS = 300
SETTING = Setting(
    parameters={"HoldoutPercent": "10", "HoldoutVersion": "3", "DefaultCaps": "marketing:1/1", "DefaultTimezone": "UTC"}
)


def number_of(salt: str, user_id: str) -> int:
    """As docs/operations.md says it."""
    return int(sha256(f"{salt}:{user_id}".encode()).hexdigest()[:15], 16) % 10_000


def send(trial: Trial, folder: Path, name: str, first: int = 0, **campaign: Any) -> tuple[Any, dict[str, str]]:
    """A file with its users in it, through everything: its summary, and the arm of each user with a row."""
    users = [{"user_id": f"u{n}", "platform": "android", "token": f"token-of-{n:012d}"} for n in range(first, USERS)]
    written = {"id": name, "message": {"title": "Hi"}, "control_percent": 20, **campaign}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"campaign": written, "users": users}), encoding="utf-8")
    run_id = trial.drop(path)
    for _ in trial.follow(run_id, 120, 0.2):
        pass
    wait_until(lambda: trial.sandbox.lambda_.wait_idle(1), 60, "all has ended")
    return trial.summary(run_id), {row["user_id"]: row["arm"] for row in trial.rows(run_id)}


@pytest.mark.slow  # the rules of caps: tests/contract/test_caps
def test_who_is_left_out(tmp_path: Path) -> None:
    """The holdout of the stack's share and version, then the caps, control users too; a test push reaches everybody.

    A file without a cap of its own is prepared for those of the stack; one that is looser is refused.
    """
    everybody = {f"u{n}" for n in range(USERS)}
    held_out = {user for user in everybody if number_of("holdout:3", user) < 1_000}
    assert 15 < len(held_out) < 45
    with Trial.start(tmp_path / "sandbox", SETTING) as trial:
        first, reached = send(trial, tmp_path, "first", first=100)
        second, others = send(trial, tmp_path, "second")
        tested, all_ = send(trial, tmp_path, "tested", test=True, control_percent=0)
        refused, nobody = send(trial, tmp_path, "refused", essential=True)
        keys = trial.s3.list_objects_v2(Bucket=trial.sandbox.bucket, Prefix="caps/")["Contents"]
    assert (first.status, first.reason) == ("completed", None)
    assert first.excluded_by == {"holdout": len(held_out - {f"u{n}" for n in range(100)})}
    assert set(reached) == {f"u{n}" for n in range(100, USERS)} - held_out
    arms = {user: "control" if number_of("first", user) >= 8_000 else "default" for user in reached}
    assert reached == arms
    assert set(others) == {f"u{n}" for n in range(100)} - held_out
    assert second.excluded_by == {"holdout": len(held_out), "capped": len(reached)}
    assert (set(all_), tested.excluded_by) == (everybody, {})
    assert refused.status == "failed"
    assert refused.reason.startswith(
        "not_approved: campaign.essential: users may get more than 1 of marketing in 1 day"
    )
    assert not nobody
    assert Counter(one["Key"].split("/")[1] for one in keys) == {"group=marketing": 2}


@pytest.mark.slow
def test_a_cancelled_run_and_a_plain_file(tmp_path: Path) -> None:
    """Without the stack's caps a file is sent as it is, and counted after; a cancelled run counts whom it reached."""
    cap: Any = {"caps": [{"group": "marketing", "most": 1, "days": 1}]}
    with Trial.start(tmp_path / "sandbox", Setting(parameters={"DefaultTimezone": "UTC"})) as trial:
        _, plain = send(trial, tmp_path, "plain", first=250)
        users = [{"user_id": f"u{n}", "platform": "android", "token": f"token-of-{n:012d}"} for n in range(2_000)]
        body = {"campaign": {"id": "slow", "message": {"title": "Hi"}, "per_second": 100, **cap}, "users": users}
        path = tmp_path / "slow.json"
        path.write_text(json.dumps(body), encoding="utf-8")
        run_id = trial.drop(path)
        wait_until(lambda: (lane := trial.ledger.read_lane(run_id)) and lane.account.settled >= 500, 120, "500 settled")
        trial.ledger.control_run(run_id, Control.CANCEL, "ann")
        for _ in trial.follow(run_id, 120, 0.2):
            pass
        assert trial.sandbox.lambda_.wait_idle(30)
        slow = {row["user_id"] for row in trial.rows(run_id)}
        last, rows = send(trial, tmp_path, "last", **cap)
    assert set(plain) == {f"u{n}" for n in range(250, USERS)}
    assert len(slow) < 1_900
    assert not slow & set(plain)
    everybody = {f"u{n}" for n in range(USERS)}
    assert set(rows) == everybody - slow - set(plain)
    assert last.excluded_by == {"capped": USERS - len(rows)}
