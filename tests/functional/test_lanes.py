"""One campaign on several functions: the whole way in the sandbox."""

import json
from pathlib import Path

import pytest

from sandbox.audience import Recipe, campaign, users
from sandbox.trial import Setting, Trial

USERS = 4_200
LANES = 3


@pytest.mark.slow  # two lanes of a prepared run: tests/deployment/test_least_privilege
def test_a_file_that_asks_for_lanes(tmp_path: Path) -> None:
    """It is prepared first and sent by three chains of invocations: every device once, one summary, one end."""
    recipe = Recipe(users=USERS)
    value = {"campaign": campaign(recipe) | {"lanes": LANES}, "users": list(users(recipe))}
    path = tmp_path / "lanes.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with Trial.start(tmp_path / "sandbox", Setting()) as trial:
        run_id = trial.drop(path)
        for _ in trial.follow(run_id, 120.0):
            pass
        lanes = trial.ledger.lanes_of(run_id)
        assert len(lanes) == LANES
        assert all(lane.account.settled == lane.account.devices > 0 for lane in lanes)
        summary = trial.summary(run_id)
        rows = list(trial.rows(run_id))
        counts = trial.gateways.counts()
        stored = trial.s3.get_object(Bucket=trial.sandbox.bucket, Key=f"summaries/run_id={run_id}/summary.json")
        announced = json.loads(stored["Body"].read())
    assert (summary.status, summary.users, summary.devices, summary.lanes) == ("completed", USERS, USERS, LANES)
    assert len({(row["record"], row["device"]) for row in rows}) == len(rows) == USERS
    assert {row["record"] for row in rows} == set(range(USERS))
    sent = counts.fcm.distinct_tokens + counts.apns.distinct_tokens
    assert sent == USERS - summary.outcomes["held"]
    assert (counts.fcm.repeated_tokens, counts.apns.repeated_tokens, summary.possibly_repeated) == (0, 0, 0)
    assert (announced["status"], announced["devices"], announced["lanes"]) == ("completed", USERS, LANES)
