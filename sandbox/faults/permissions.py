"""What settles batches may not be written: rows, dead tokens, the run's state, the ledger. A permission is missing.

Each is repaired and resumed, or resumed too early, by hand.
"""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.count import tally
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene


def asked(scene: Scene) -> int:
    """Requests so far, by the stand-ins' own count. Each phone must have had one at most."""
    counts = scene.trial.gateways.counts()
    again = counts.fcm.repeated_tokens + counts.apns.repeated_tokens
    if again:
        scene.notes.append(f"each phone is asked at most once, but {again} were asked again")
    return counts.fcm.requests + counts.apns.requests


def stopped_for(scene: Scene, reason: str) -> None:
    """The run must have stopped with a reason that begins so."""
    lane = scene.trial.ledger.read_lane(scene.run_id)
    if lane is None or lane.status != "stopped" or not (lane.reason or "").startswith(reason):
        scene.notes.append(f"stopped for {reason}, not {lane and (lane.status, lane.reason)}")


def resume_too_early(scene: Scene) -> None:
    """An operator resumes before anything was changed: the claim finds that no row can be written; it sends nothing."""
    before = asked(scene)
    scene.resume()
    for _ in scene.trial.follow(scene.run_id, 60.0, every_s=0.1):
        pass
    if asked(scene) != before:
        scene.notes.append(f"resumed too early, it asks no device, not {asked(scene) - before} times")


def allow_rows(scene: Scene) -> None:
    """The policy is changed back, and the run resumed; before that it reports every push without a row."""
    report = scene.trial.report(scene.run_id, 0.0)
    # By the rows: a run counts a batch when all before it have theirs, and the one that was let through may be any.
    rows = tally(scene.trial.rows(scene.run_id))
    settled = rows.rows - rows.outcomes.get("held", 0)
    if not report["possibly_repeated"] == report["unsettled"] == asked(scene) - settled:
        found = {name: report[name] for name in ("possibly_repeated", "repeat_requests", "unsettled", "devices")}
        scene.notes.append(f"all of {asked(scene)} requests that are not settled are reported, not {found}")
    scene.allow()
    scene.resume()


def allow_state(scene: Scene) -> None:
    """Changed back and resumed. Before that nothing was sent."""
    if asked(scene):
        scene.notes.append("nothing is sent while the state cannot be stored")
    stopped_for(scene, "state_refused: AccessDenied by S3 for PutObject under s3://")
    scene.allow()
    scene.resume()


def allow_ledger(scene: Scene) -> None:
    """Changed back, and resumed. Before that the log must name the refusal."""
    reason = "ledger_refused: AccessDeniedException"
    if not any(reason in line for line in scene.trial.log_lines(400)):
        scene.notes.append(f"the log names {reason}")
    stopped_for(scene, reason)
    asked(scene)
    scene.allow()
    scene.resume()


SCENARIOS = (
    # No batch becomes settled: every claim would ask everybody again.
    Scenario(
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
    ),
    # A policy that is changed under a run: what was asked for and has no row must be asked for again, and counted.
    Scenario(
        name="rows-denied-for-a-while",
        breaks="Every PUT under rows/ but the first answers 403, until it is changed back and the run is resumed.",
        expects="The run completes; of each phone without a row there is one more request, and it is counted.",
        aws=(
            AwsRule("s3", Does.REFUSE, "PUT", where="/rows/.*batch", skip=1, times=0, status=403, code="AccessDenied"),
        ),
        finish=allow_rows,
        max_hops=2,
    ),
    # Rows can be written, and yet these batches cannot be settled: their dead tokens come first.
    Scenario(
        name="dead-tokens-denied",
        breaks="Every PUT under dead-tokens/ answers 403; a hundredth of the devices is dead.",
        expects="The run stops and names what to change; resumed too early it asks no device.",
        aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/dead-tokens/", times=0, status=403, code="AccessDenied"),),
        behaviour="sandbox.faults.answers:dead",
        finish=resume_too_early,
        status="stopped",
        reason=r"^rows_refused: AccessDenied by S3 for PutObject under s3://[^/]+/dead-tokens/run_id=\w+/: ",
        all_accepted=False,
        max_hops=2,
    ),
    # Without its state no later hop knows what the run sends.
    Scenario(
        name="state-denied",
        breaks="Every PUT under state/ answers 403, until an operator changes it and resumes the run.",
        expects="The run stops before anything is sent and names what to change; resumed it completes.",
        aws=(AwsRule("s3", Does.REFUSE, "PUT", where="/state/", times=0, status=403, code="AccessDenied"),),
        finish=allow_state,
        max_hops=2,
    ),
    # The claim is let through, and every write after it is not: progress could never be noted.
    Scenario(
        name="ledger-denied",
        breaks="Writes of the worker's progress answer AccessDeniedException, until an operator changes it back.",
        expects="What is under way is settled, and the run stops with the reason; resumed, no device is asked twice.",
        aws=(
            AwsRule(
                "dynamodb",
                Does.REFUSE,
                "UpdateItem",
                where="SET #lease_until_ms = :lease_until_ms, #due = :due",
                skip=3,
                times=0,
                code="AccessDeniedException",
            ),
        ),
        variables=SLOW,
        behaviour=SLOW_ANSWERS,
        finish=allow_ledger,
    ),
)
