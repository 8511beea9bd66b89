"""The worker may not write its progress any more in the middle of a run: a role or a key policy that was changed."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.rows_denied import asked
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene


def allow(scene: Scene) -> None:
    """Changed back, and resumed. Before that the log must name the refusal."""
    trial = scene.trial
    if not any("ledger_refused: AccessDeniedException" in line for line in trial.log_lines(400)):
        scene.notes.append("the log names ledger_refused: AccessDeniedException")
    lane = trial.ledger.read_lane(scene.run_id)
    if lane is None or not (lane.reason or "").startswith("ledger_refused: AccessDeniedException"):
        scene.notes.append(f"stopped for ledger_refused, not {lane and (lane.status, lane.reason)}")
    asked(scene)
    scene.allow()
    scene.resume()


SCENARIO = Scenario(
    name="ledger-denied",
    breaks="Writes of the worker's progress answer AccessDeniedException, until somebody changes it back.",
    expects="What is under way is settled, and the run stops with the reason; resumed, nobody is asked twice.",
    aws=(
        AwsRule(
            "dynamodb",
            Does.REFUSE,
            "UpdateItem",
            where="SET lease_until_ms = :lease, due = :due",
            skip=3,
            times=0,
            code="AccessDeniedException",
        ),
    ),
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    finish=allow,
)
