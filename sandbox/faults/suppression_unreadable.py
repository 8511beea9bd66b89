"""The lists of users whom every run leaves out may not be read when a run is to begin."""

import json
from pathlib import Path

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario, Scene
from sandbox.trial import Trial

KEY = "suppression/no-pushes.json"
PATIENCE_S = 240.0


def suppress(trial: Trial, path: Path, _: Path) -> Path:
    """One user of the file wants no pushes."""
    body = json.dumps([json.loads(path.read_bytes())["users"][7]["user_id"]]).encode()
    trial.s3.put_object(Bucket=trial.sandbox.bucket, Key=KEY, Body=body)
    return path


def watch(scene: Scene) -> None:
    """Nothing is asked for while the run waits; at its end the user was left out."""
    trial = scene.trial
    while not scene.over.wait(0.2):
        counts, lane = trial.gateways.counts(), trial.ledger.read_lane(scene.run_id)
        if lane is not None and (lane.reason or "").startswith("suppression_unreadable"):
            if counts.fcm.requests or counts.apns.requests:
                scene.notes.append("nothing is sent without the lists")
            break
    else:
        scene.notes.append("the run waits for the lists, and says so")
        return
    scene.over.wait(PATIENCE_S)
    lane = trial.ledger.read_lane(scene.run_id)
    if lane is None or lane.account.excluded_by != {"suppressed": 1}:
        scene.notes.append(f"one user is left out, not {lane and lane.account.excluded_by}")
    trial.s3.delete_object(Bucket=trial.sandbox.bucket, Key=KEY)


SCENARIO = Scenario(
    name="suppression-unreadable",
    breaks="The worker may not list suppression/ (AccessDenied) at its first claim.",
    expects="The run waits with the reason and sends nothing; at the sweeper's next look it goes on, without the user.",
    aws=(AwsRule("s3", Does.REFUSE, "GET", where="prefix=suppression", times=1, status=403, code="AccessDenied"),),
    remake=suppress,
    act=watch,
    users=200,
    max_hops=2,
    give_up_s=240.0,
)
