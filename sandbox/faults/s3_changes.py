"""The batch file is overwritten twice while it is sent."""

import time

from notifier.run import source_of
from sandbox.faults.scenario import SLOW, SLOW_ANSWERS, Scenario, Scene


def overwrite(scene: Scene) -> None:
    """Other bytes under the same key, once the first have begun to be sent."""
    while scene.trial.gateways.counts().apns.requests == 0 and not scene.over.wait(0.05):
        pass
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
    until = time.monotonic() + 10
    while time.monotonic() < until:
        lane = scene.trial.ledger.read_lane(run_id)
        if lane is not None and lane.reason is not None:
            if "campaign_exists" not in lane.reason:
                scene.notes.append(f"the second version is refused as campaign_exists, not as {lane.reason}")
            return
        time.sleep(0.1)
    scene.notes.append("the second version is refused within 10 s")


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
