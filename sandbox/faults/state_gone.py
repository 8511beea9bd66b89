"""What a run began with expires while the run is paused, and its audience is another by then."""

import json
from pathlib import Path

from notifier.model.run import Control
from sandbox.faults.parted import name_audience
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene
from sandbox.trial import Trial


def with_an_audience(trial: Trial, path: Path, folder: Path) -> Path:
    """The audience is named without its version, as most are."""
    return name_audience(trial, path, folder)


def pause(scene: Scene) -> None:
    """Pause the run once it sends."""
    scene.wait_for_requests()
    scene.trial.ledger.set_control(scene.run_id, Control.PAUSE, "the scenario")


def expire_and_resume(scene: Scene) -> None:
    """The state is deleted, other users are put under the audience's key, and the run is resumed."""
    s3, bucket = scene.trial.s3, scene.trial.sandbox.bucket
    s3.delete_object(Bucket=bucket, Key=f"state/run_id={scene.run_id}/campaign.json")
    [part] = json.loads(scene.path.read_bytes())["audience"]["parts"]
    users = s3.get_object(Bucket=bucket, Key=part["key"])["Body"].read().splitlines()
    s3.put_object(Bucket=bucket, Key=part["key"], Body=b"\n".join(reversed(users)))
    scene.resume()


SCENARIO = Scenario(
    name="state-gone",
    breaks="A run is paused; its object under state/ expires, and its audience's key holds other users by then.",
    expects="Resumed, it fails as state_gone, with what was sent accounted; no push goes to the other audience.",
    remake=with_an_audience,
    act=pause,
    finish=expire_and_resume,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    users=3_000,
    status="failed",
    reason=r"^state_gone: .*WorkDays",
    all_accepted=False,
)
