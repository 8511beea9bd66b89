"""Nothing may be written under `rows/`: a bucket policy or a KMS grant that is wrong."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario, Scene


def resume_too_early(scene: Scene) -> None:
    """An operator resumes before anything was changed: the claim finds that no row can be written; it sends nothing."""
    before = asked(scene)
    scene.resume()
    for _ in scene.trial.follow(scene.run_id, 60.0, every_s=0.1):
        pass
    if asked(scene) != before:
        scene.notes.append(f"resumed too early, it asks nobody, not {asked(scene) - before} times")


def asked(scene: Scene) -> int:
    """Requests so far, by the stand-ins' own count. Each phone must have had one at most."""
    counts = scene.trial.gateways.counts()
    again = counts.fcm.repeated_tokens + counts.apns.repeated_tokens
    if again:
        scene.notes.append(f"each phone is asked at most once, but {again} were asked again")
    return counts.fcm.requests + counts.apns.requests


SCENARIO = Scenario(
    name="rows-denied",
    breaks="Every PUT under rows/ answers 403.",
    expects="The run stops and names what to change; each phone is asked at most once, and reported.",
    aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/rows/", times=0, status=403, code="AccessDenied"),),
    finish=resume_too_early,
    status="stopped",
    reason=r"^rows_refused: AccessDenied by S3 for PutObject under s3://[^/]+/rows/run_id=\w+/: .*KmsKeyArns",
    all_accepted=False,
    max_hops=2,
    in_gate=True,
)
