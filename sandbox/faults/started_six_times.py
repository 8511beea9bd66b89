"""Six more events for the same version of the file, in all the forms there are, in the same instant."""

import json

from sandbox.faults.scenario import Scenario, Scene


def start(scene: Scene) -> None:
    """By hand, as an operator and a repeated S3 event would."""
    sandbox = scene.trial.sandbox
    worker = sandbox.function("WorkerFunction").name
    versions = scene.trial.s3.list_object_versions(Bucket=sandbox.bucket, Prefix=scene.key)["Versions"]
    event = {"bucket": sandbox.bucket, "key": scene.key}
    for _ in range(3):
        sandbox.lambda_.invoke_later(worker, json.dumps(event).encode())
        sandbox.lambda_.invoke_later(worker, json.dumps(event | {"version_id": versions[0]["VersionId"]}).encode())


SCENARIO = Scenario(
    name="started-six-times",
    breaks="Six more events for the same version of the file, in all the forms there are, in the same instant.",
    expects="One run.",
    act=start,
)
