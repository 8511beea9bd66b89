"""The same people as lines, flat rows, CSV, Parquet, in Athena and in BigQuery: the same devices, in the same arms.

Who they are, and in which arm, is computed by plain Python (`tests.audience_people`), which has no part of the product.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences.manifest_format import NAME, PREFIX, decode_manifest
from sandbox.trial import Setting, Trial
from sandbox.wait import wait_until
from tests.audience_people import FORMATS, SALT, Expected, arm_of, expected, found, people

FILES = ("lines", "rows", "csv", "parquet")
SLOW = [pytest.param(form, marks=pytest.mark.slow) for form in ("lines", "csv", "parquet", "athena", "bigquery")]
"""In the gate test_sandbox_run sends lines and CSV, and test_least_privilege asks both warehouses."""
WAREHOUSES = {"athena": "SELECT * FROM lake", "bigquery": "SELECT * FROM crm.lake"}
CAMPAIGN = {
    "message": {"title": "{{ first_name }}", "body": "{{ price }} €, {{ points }} points"},
    "variants": [{"name": "a", "percent": 45}, {"name": "b", "percent": 45}],
    "control_percent": 10,
    "experiment": SALT,
}


class Place:
    """A sandbox in whose bucket the people are, in each form."""

    def __init__(self, trial: Trial, folder: Path, users: int) -> None:
        self.trial, self.folder, self.users = trial, folder, users
        everybody = people(users)
        self.wanted = expected(everybody)
        for form in FILES:
            self._upload(FORMATS[form](folder, everybody), f"audiences/{form}/")
        self._upload(folder / "rows.parquet", "standing/lake/")

    def _upload(self, path: Path, prefix: str) -> None:
        self.trial.s3.upload_file(str(path), self.trial.sandbox.bucket, prefix + path.name)

    def sent(self, form: str) -> str:
        """Send a campaign to the people in this form; returns the run."""
        by_query = {"sql": WAREHOUSES.get(form), "engine": form}
        audience = {"files": [f"audiences/{form}/"]} if form in FILES else by_query
        path = self.folder / f"same-{form}.json"
        path.write_text(json.dumps({"campaign": {"id": f"same-{form}", **CAMPAIGN}, "audience": audience}))
        self.trial.gateways.reset()
        run_id = self.trial.drop(path)
        if form == "bigquery":
            self._look_after(run_id)
        for lane in self.trial.follow(run_id, 60 + self.users / 500):  # noqa: B007 - the last one counts
            pass
        assert lane is not None
        assert (lane.status, lane.reason) == ("completed", None)
        return run_id

    def _look_after(self, run_id: str) -> None:
        """Has the audience function look after its query until it is over.

        The sweeper does, each time that it comes by: test_preparation waits for it.
        """
        order = {"prepare": run_id, "worker": self.trial.sandbox.function("WorkerFunction").trigger_arn}
        name = self.trial.sandbox.function("AudienceFunction").name

        def is_prepared() -> bool:
            answer = self.trial.sandbox.lambda_.invoke(name, json.dumps(order).encode())
            return bool(json.loads(answer.payload)["status"] == "prepared")

        wait_until(is_prepared, 60 + self.users / 500, "BigQuery's rows", every_s=0.2)

    def prepared(self, run_id: str) -> Expected:
        """What the parts hold that were made for a run. Fails if a user or a token is there twice."""
        s3, bucket = self.trial.s3, self.trial.sandbox.bucket
        # The preparation's item names the final cut's manifest by now; the run remembers what it was cut from.
        state = json.loads(s3.get_object(Bucket=bucket, Key=f"state/run_id={run_id}/campaign.json")["Body"].read())
        assert state["prepared"].startswith(PREFIX)
        assert state["prepared"].endswith(NAME)
        manifest = decode_manifest(s3.get_object(Bucket=bucket, Key=state["prepared"])["Body"].read())
        paths = [self.folder / f"{run_id}-{n}" for n in range(len(manifest.parts))]
        for part, path in zip(manifest.parts, paths, strict=True):
            s3.download_file(bucket, part.key, str(path))
        return found(paths)


@pytest.fixture(scope="module", params=[2_000, pytest.param(300_000, marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A few people in the gate; 300,000 with `-m slow`."""
    with Trial.start(tmp_path_factory.mktemp("sandbox"), Setting()) as trial:
        yield Place(trial, tmp_path_factory.mktemp("people"), request.param)


@pytest.mark.parametrize("form", ["rows", *SLOW])
def test_the_same_people(place: Place, form: str) -> None:
    """Each token is in the audience once, and was asked for once; each user is in the arm that plain Python says."""
    run_id = place.sent(form)
    wanted = place.wanted
    assert place.prepared(run_id) == wanted
    counts = place.trial.gateways.counts()
    asked = sum(len(tokens) for user_id, tokens in wanted.tokens.items() if arm_of(user_id) != "control")
    assert counts.fcm.distinct_tokens + counts.apns.distinct_tokens == asked
    assert (counts.fcm.repeated_tokens, counts.apns.repeated_tokens) == (0, 0)
    devices = Counter[tuple[str, str]]()
    held = 0
    for row in place.trial.rows(run_id):
        devices[row["user_id"], row["arm"]] += 1
        held += row["outcome"] == "held"
    assert devices == _devices(wanted)
    assert held == sum(devices.values()) - asked


def _devices(wanted: Expected) -> dict[Any, int]:
    """How many rows there are to be for each user, with the user's arm."""
    return {(user_id, arm_of(user_id)): len(tokens) for user_id, tokens in wanted.tokens.items()}
