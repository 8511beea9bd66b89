"""The built artifact sends pushes: pycurl, cryptography and the libraries work from the folder that is deployed."""

import json
from pathlib import Path

from notifier.run import source_of
from sandbox.trial import Setting, Trial
from tests import artifact


def test_the_built_worker_sends_by_both_gateways(tmp_path: Path) -> None:
    """Booted by AWS's runtime client, with nothing beside it but what Lambda's runtime has, it sends to both."""
    host = artifact.build_for_host()
    runtime = artifact.lambda_runtime(tmp_path / "runtime")
    users = [
        {"user_id": "one", "platform": "ios", "token": "a" * 64},
        {"user_id": "two", "platform": "android", "token": "b" * 140, "attributes": {"first_name": "Ann"}},
    ]
    message = {"title": "Hi {{ first_name | default: 'there' | capitalize }}"}
    batch_file = {"campaign": {"id": "from-the-artifact", "message": message}, "users": users}
    with Trial.start(tmp_path / "state", Setting(), in_process=True) as trial:
        bucket, key = trial.sandbox.bucket, "batches/one.json"
        put = trial.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(batch_file).encode())
        variables = trial.variables()
        answer = artifact.invoke(host, runtime, "notifier.app.worker", {"bucket": bucket, "key": key}, **variables)
        assert answer.error is None, answer.log
        assert answer.payload["status"] == "completed", answer.log
        run_id = source_of(bucket, key, put["VersionId"], put["ETag"]).run_id
        assert answer.payload["run_id"] == run_id
        counts = trial.gateways.counts()
        assert (counts.fcm.requests, counts.apns.requests) == (1, 1)
        assert {(row["user_id"], row["outcome"]) for row in trial.rows(run_id)} == {
            ("one", "accepted"),
            ("two", "accepted"),
        }
