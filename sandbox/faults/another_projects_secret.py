"""The FCM secret is a good one, of another Firebase project than the app's."""

from sandbox.faults.scenario import Scenario, Scene


def correct(scene: Scene) -> None:
    """The right project, and a resume; before that the run must have stopped, and blamed no device of FCM."""
    trial, notes = scene.trial, scene.notes
    lane = trial.ledger.read_lane(scene.run_id)
    if lane is None or lane.status != "stopped" or not (lane.reason or "").startswith("wrong_sender: "):
        notes.append(f"stopped for wrong_sender, not {lane and (lane.status, lane.reason)}")
        return
    if lane.account.outcomes().rejected:
        notes.append(f"no device is rejected, not {lane.account.outcomes().rejected}")
    dead = trial.s3.list_objects_v2(Bucket=trial.sandbox.bucket, Prefix=f"dead-tokens/run_id={scene.run_id}/")
    if dead["KeyCount"]:
        notes.append(f"no token is called dead, but there are {dead['KeyCount']} objects of them")
    if any(row["gateway"] == "fcm" and row["outcome"] != "held" for row in trial.rows(scene.run_id)):
        notes.append("every device of FCM is still to be asked for, but some have a row")
    trial.gateways.behave("")
    scene.resume()


# Not for the gate, where it took most of all: tests/unit/test_worker_endings.py stops and resumes such a run there.
SCENARIO = Scenario(
    name="another-projects-secret",
    breaks="The FCM secret is a good one, of another Firebase project than the app's.",
    expects="The run stops and says so, no token is called dead; corrected and resumed, every device is accepted.",
    behaviour="sandbox.faults.answers:another_project",
    finish=correct,
)
