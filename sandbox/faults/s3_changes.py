"""The batch file is overwritten twice while it is sent."""

from notifier.model.run import source_of
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene
from sandbox.wait import WaitedInVain, wait_until


def overwrite(scene: Scene) -> None:
    """Other bytes under the same key, once the first have begun to be sent."""
    scene.wait_for_requests()
    for n in (1, 2):
        body = scene.path.read_bytes() + b" " * n
        scene.trial.s3.put_object(Bucket=scene.trial.sandbox.bucket, Key=scene.key, Body=body)


def check(scene: Scene) -> None:
    """The later versions were refused."""
    bucket, s3 = scene.trial.sandbox.bucket, scene.trial.s3
    for version in s3.list_object_versions(Bucket=bucket, Prefix=scene.key)["Versions"]:
        run_id = source_of(bucket, scene.key, version["VersionId"], version["ETag"]).run_id
        if run_id != scene.run_id:
            _expect_refused(scene, run_id)


def _expect_refused(scene: Scene, run_id: str) -> None:
    def reason_of() -> str | None:
        lane = scene.trial.ledger.read_lane(run_id)
        return lane.reason if lane else None

    try:
        reason = wait_until(reason_of, 10, "a reason")
    except WaitedInVain:
        scene.notes.append("the second version is refused within 10 s")
        return
    if "campaign_exists" not in reason:
        scene.notes.append(f"the second version is refused as campaign_exists, not as {reason}")


SCENARIO = Scenario(
    name="s3-changes",
    breaks="The batch file is overwritten twice while it is sent.",
    expects="The run goes on with its own version; the new ones are refused: their campaign was sent already.",
    act=overwrite,
    finish=check,
    variables=SLOW,
    behaviour=SLOW_ANSWERS,
    in_gate=True,
)
