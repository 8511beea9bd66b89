"""Nothing may be written under `state/`: what every hop needs cannot be stored."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario, Scene


def allow(scene: Scene) -> None:
    """Changed back and resumed. Before that nothing was sent."""
    counts = scene.trial.gateways.counts()
    if counts.fcm.requests + counts.apns.requests:
        scene.notes.append("nothing is sent while the state cannot be stored")
    lane = scene.trial.ledger.read_lane(scene.run_id)
    if lane is None or not (lane.reason or "").startswith(
        "state_refused: AccessDenied by S3 for PutObject under s3://"
    ):
        scene.notes.append(f"stopped for state_refused, not {lane and (lane.status, lane.reason)}")
    scene.allow()
    scene.resume()


SCENARIO = Scenario(
    name="state-denied",
    breaks="Every PUT under state/ answers 403, until somebody changes it and resumes the run.",
    expects="The run stops before anything is sent and names what to change; resumed it completes.",
    aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/state/", times=0, status=403, code="AccessDenied"),),
    finish=allow,
    max_hops=2,
)
