"""A campaign from its goal to the winner, the remainder and the report, in the sandbox.

Only the decision's clock is moved: the worker, the audience function and the command line are the deployed ones. With
`SHOW=FOLDER` the report's page is kept there.
"""

import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from notifier.decision_items import DecisionState
from notifier.model.arms import Arms, bucket_of
from operations.cli import app
from sandbox.audience import Recipe, users
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from tests.moved_winners import decided

USERS = 3_000
CAMPAIGN: dict[str, Any] = {
    "id": "welcome", "message": {"title": "Welcome", "body": "b"},
    "variants": [{"name": "warm", "percent": 40}, {"name": "short", "percent": 40, "message": {"title": "Hi"}}],
    "control_percent": 20, "goal": {"name": "opened", "window_h": 24, "smallest_lift_percent": 50},
    "winner": {"test_percent": 50, "decide_after_h": 2, "decide_by_h": 4},
}  # fmt: skip
RATES = {"warm": 25, "short": 60, "control": 10}
"""Of 100 users of an arm, how many convert."""
ARMS = Arms("welcome", (("warm", 4000), ("short", 4000), ("control", 2000)))


def arm_of(user_id: str) -> str:
    """By the public hash."""
    return ARMS.names[ARMS.index_of(user_id.encode())]


def is_tested(user_id: str) -> bool:
    """The same of the part."""
    return bucket_of("welcome:test", user_id) < 5_000


def put_conversions(trial: Trial, ids: list[str]) -> None:
    """An hour after the test some of each arm have opened the app; the source is complete for long."""
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    lines = [
        json.dumps({"user_id": one, "event": "opened", "at": at})
        for one in ids
        if int(sha256(f"does {one}".encode()).hexdigest()[:8], 16) % 100 < RATES[arm_of(one)]
    ]
    declared = {"files": ["standing/opened/"], "complete": {"marker": "standing/through"}}
    through = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    for key, body in (
        ("conversions/opened.json", json.dumps(declared)), ("standing/opened/1.jsonl", "\n".join(lines)),
        ("standing/through", through),
    ):  # fmt: skip
        trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=key, Body=body.encode())


def ended(trial: Trial, run_id: str) -> dict[str, str]:
    """Wait for a run; the arm of each user with a row."""
    for _ in trial.follow(run_id, 240, 0.2):
        pass
    assert trial.summary(run_id).status == "completed"
    return {row["user_id"]: row["arm"] for row in trial.rows(run_id)}


@pytest.mark.slow
def test_from_the_goal_to_the_report(tmp_path: Path) -> None:
    """Half is tested, the better text goes to the other half, each user is in one run, and both runs are proved."""
    people = list(users(Recipe(users=USERS, broken=0)))
    ids = [str(one["user_id"]) for one in people]
    with Trial.start(tmp_path / "sandbox", Setting()) as trial:
        stack_file = write_stack_file(trial.sandbox, tmp_path / "stack.json")
        put_conversions(trial, ids)
        path = tmp_path / "welcome.json"
        path.write_text(json.dumps({"campaign": CAMPAIGN, "users": people}))
        run_id = trial.drop(path)
        tested = ended(trial, run_id)
        assert tested == {one: arm_of(one) for one in ids if is_tested(one)}
        found = decided(trial, run_id)
        assert (found.state, found.arm, found.how) == (DecisionState.SENT, "short", "evidence")
        rest = ended(trial, found.remainder)
        assert {one: "control" if arm == "control" else "short" for one, arm in rest.items()} == rest
        assert set(rest) == set(ids) - set(tested)
        assert all((arm_of(one) == "control") == (arm == "control") for one, arm in rest.items())
        assert trial.summary(found.remainder).excluded_by == {"test_part": len(tested)}

        environment = {"NOTIFIER_STACK_FILE": str(stack_file)}

        def command(*arguments: str) -> str:
            result = CliRunner().invoke(app, [*arguments], env=environment)
            assert result.exit_code == 0, result.output
            return result.stdout

        seen = json.loads(command("status", run_id, "--json"))
        assert (seen["winner"]["arm"], seen["winner"]["remainder"]) == ("short", found.remainder)
        page = tmp_path / "report.html"
        report = json.loads(command("report", run_id, "--json", "--html", str(page)))
        assert "short goes to the remainder, better than no push" in report["winner"]["in_words"]
        assert report["goal"]["notes"] == [], "the remainder's users are no unknown ones"
        arms = {one["name"]: one["users"] for one in report["goal"]["comparison"]["arms"]}
        assert arms == Counter(tested.values()), "the remainder's users are none of the test's figures"
        for name in (run_id, found.remainder):
            assert json.loads(command("audit", name, "--json"))["conclusion"] == "proved"
    assert "Winner: short goes to the remainder" in page.read_text()
    if folder := os.environ.get("SHOW"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "report.html").write_bytes(page.read_bytes())
