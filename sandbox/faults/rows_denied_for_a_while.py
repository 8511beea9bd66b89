"""Nothing may be written under `rows/` from the second batch on, until the bucket's policy is changed back."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.rows_denied import asked
from sandbox.faults.scenario import Scenario, Scene


def allow(scene: Scene) -> None:
    """The policy is changed back, and the run resumed; before that it reports every push without a row."""
    report = scene.trial.report(scene.run_id, 0.0)
    settled = report["devices"] - report["outcomes"]["held"]
    if not report["possibly_repeated"] == report["unsettled"] == asked(scene) - settled:
        found = {name: report[name] for name in ("possibly_repeated", "repeat_requests", "unsettled", "devices")}
        scene.notes.append(f"all of {asked(scene)} requests that are not settled are reported, not {found}")
    scene.allow()
    scene.resume()


SCENARIO = Scenario(
    name="rows-denied-for-a-while",
    breaks="Every PUT under rows/ but the first answers 403, until somebody changes it back and resumes the run.",
    expects="The run completes; of each phone without a row there is one more request, and it is counted.",
    aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/rows/.*batch", skip=1, times=0, status=403, code="AccessDenied"),),
    finish=allow,
    max_hops=2,
)
