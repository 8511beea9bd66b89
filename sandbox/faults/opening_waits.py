"""S3 cannot be read when a run is to begin."""

from sandbox.aws_faults import AwsRule, Does
from sandbox.faults.scenario import Scenario, Scene

PATIENCE_S = 240.0


def watch(scene: Scene) -> None:
    """No invocation may end as a crash, which Lambda would repeat."""
    lambda_, name = scene.trial.sandbox.lambda_, scene.trial.sandbox.function("WorkerFunction").name
    before = lambda_.figures(name).retries
    scene.over.wait(PATIENCE_S)
    repeated = lambda_.figures(name).retries - before
    if repeated:
        scene.notes.append(f"invocations that ended as a crash {repeated}: none")


SCENARIO = Scenario(
    name="opening-waits",
    breaks="Every HEAD of the batch file answers 503 for the first invocation.",
    expects="The run waits, with S3's answer as its reason; no invocation ends as a crash; then it begins.",
    aws=(AwsRule("s3", Does.REFUSE, "HEAD", where="/batches/", times=7, status=503, code="SlowDown"),),
    act=watch,
    max_hops=2,
    give_up_s=240.0,
)
