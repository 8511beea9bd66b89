"""The questions of a night, asked of a run with faults by the command line: why it is slow, and who paused it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from approval.runs import Runs
from sandbox.trial import Setting, Trial
from sandbox.up import write_stack_file
from sandbox.wait import wait_until

pytestmark = pytest.mark.slow

USERS = 6_000


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A sandbox with a ramp, short invocations, and gateways that have a bad night."""
    setting = Setting(
        function_timeout_s=14.0, recurse_below_ms=7_000, ramp_s=20, behaviour="sandbox.faults.answers:bad_night"
    )
    with Trial.start(tmp_path_factory.mktemp("slow") / "sandbox", setting) as started:
        yield started


def people() -> Iterator[dict[str, Any]]:
    """A third on iOS, the others on Android."""
    for n in range(USERS):
        ios = n % 3 == 0
        yield {
            "user_id": f"u{n}",
            "platform": "ios" if ios else "android",
            "token": f"{n:064x}" if ios else f"token-{n}",
        }


def show(text: str) -> None:
    """Print, for `-s`: the answers are for people."""
    sys.stdout.write(f"{text}\n")


def ask(trial: Trial, folder: Path, *words: str) -> tuple[Any, float]:
    """A command's answer as JSON, and the seconds to it."""
    began = time.monotonic()
    stack_file = write_stack_file(trial.sandbox, folder / "stack.json")
    environment = {**os.environ, "NOTIFIER_STACK_FILE": str(stack_file)}
    command = [str(Path(sys.executable).parent / "notifier"), *words, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    show(f"\n{took_s:.1f} s  notifier {' '.join(words)}")
    return json.loads(done.stdout), took_s


def test_the_questions_of_a_night(trial: Trial, tmp_path: Path) -> None:
    """Each question has its answer in `status` while the run sends, and in `report` afterwards, within seconds."""
    path = tmp_path / "night.json"
    campaign = {"id": "night", "message": {"title": "Hi", "ttl_s": 60}, "per_second": 600}
    path.write_text(json.dumps({"campaign": campaign, "users": list(people())}), "utf-8")
    run_id = trial.drop(path)
    wait_until(lambda: (lane := trial.ledger.read_lane(run_id)) and lane.account.settled > 1_000, 90, "1,000 settled")
    while_sending, _ = ask(trial, tmp_path, "status", run_id)
    for name, text in while_sending["why_slow"].items():
        show(f"    {name:14} {text}")
    assert "per_second" in while_sending["why_slow"]["pace"]
    assert "APNs half within 2,000 ms" in while_sending["why_slow"]["answers"]
    assert "FCM UNAVAILABLE" in while_sending["why_slow"]["asked again"]
    ask(trial, tmp_path, "pause", run_id, "--by", "ann")
    wait_until(lambda: (lane := trial.ledger.read_lane(run_id)) and lane.status == "paused", 60, "paused")
    paused, _ = ask(trial, tmp_path, "status", run_id)
    assert paused["summary"]["control_by"] == "ann"
    ask(trial, tmp_path, "resume", run_id, "--by", "bob")
    for lane in trial.follow(run_id, 180):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    assert lane.status == "completed"
    report, _ = ask(trial, tmp_path, "report", run_id)
    speed = report["summary"]["speed"]
    assert speed["gaps"] >= 1  # it hopped, and was paused
    assert speed["endpoints"]["fcm"]["retries"]["UNAVAILABLE"] > 100
    assert speed["endpoints"]["fcm"]["limited_ms"] > 0
    show(json.dumps(speed, indent=1))
    failed = sum(report["summary"]["outcomes"]["failed"].values())
    asked_again, _ = ask(trial, tmp_path, "retry", run_id, "-o", str(tmp_path / "again.json"))
    show(f"    {asked_again['devices']} of {failed} failed devices in {asked_again['campaign_id']}")
    assert asked_again["devices"] == failed > 20


def test_the_questions_of_a_run_with_lanes(trial: Trial, tmp_path: Path) -> None:
    """How far the ramp is, which lane is behind, what slows a gateway, who approved: while it sends."""
    path = tmp_path / "lanes.json"
    campaign = {"id": "wide", "message": {"title": "Hi", "ttl_s": 60}, "lanes": 2, "per_second": 250}
    path.write_text(json.dumps({"campaign": campaign, "users": list(people())}), "utf-8")
    approve(trial, path, "batches/lanes.json")
    run_id = trial.drop(path, "batches/lanes.json")
    wait_until(lambda: is_under_way(trial, run_id), 120, "both lanes send")
    seen, _ = ask(trial, tmp_path, "status", run_id)
    for name, text in seen["why_slow"].items():
        show(f"    {name:14} {text}")
    assert "RampSeconds" in seen["why_slow"]["ramp"]
    assert "2 min" not in seen["why_slow"]["waits"]  # preparing is no wait between workers
    assert "of 2" in seen["why_slow"]["slowest lane"]
    assert seen["summary"]["approved_by"] == "cat@example.com"
    for lane in trial.follow(run_id, 180):  # noqa: B007 - the last one counts
        pass
    assert lane is not None
    assert lane.status == "completed"
    report, _ = ask(trial, tmp_path, "report", run_id)
    assert report["summary"]["approved_by"] == "cat@example.com"
    assert report["summary"]["speed"]["endpoints"]["fcm"]["retries"]["UNAVAILABLE"] > 100


def is_under_way(trial: Trial, run_id: str) -> bool:
    """Whether both lanes have settled something and neither is through."""
    lanes = trial.ledger.lanes_of(run_id)
    return len(lanes) == 2 and all(lane.account.settled > 0 and lane.status == "running" for lane in lanes)


def approve(trial: Trial, path: Path, key: str) -> None:
    """Record that the file's bytes are approved under its key, by what the pages record it with."""
    runs = Runs(trial.sandbox.client("dynamodb"), trial.sandbox.table, None, "")
    runs.record_approval(
        trial.sandbox.bucket, key, path.read_bytes(), "r1", ["cat@example.com"], int(time.time()) + 900
    )
