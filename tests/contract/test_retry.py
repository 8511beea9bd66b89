"""A batch file of the devices that failed, and proof that nobody else is in it."""

import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.gateway.payload import Label, collapse_id
from notifier.model.arms import Arms
from notifier.model.campaign import Campaign, Message, Variant, Winner
from notifier.model.campaign_reading import read_campaign
from reporting.proof.conclusion import NotProved
from reporting.proof.retried import NoRetry, are_one_kind, retry_campaign, write_retry
from reporting.rows import objects_under
from sandbox.audience import Recipe, users
from tests.contract.moto_stores import client_of, new_name, server_for
from tests.made_run import MadeRun, make_run

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
CAMPAIGN = Campaign(
    "failing",
    Message(title="Hi {{ first_name }}", body="b"),
    (Variant("question", Decimal(45), Message(title="Who?")), Variant("statement", Decimal(45))),
    Decimal(10),
)


@pytest.fixture(scope="module")
def run() -> Iterator[MadeRun]:
    """A run with failures of two reasons."""
    with server_for("s3") as endpoint:
        client = client_of("s3", endpoint)
        bucket = new_name("retry")
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield make_run(client, bucket, CAMPAIGN, (list(users(Recipe(users=1_200, broken=6))),), time.time())
        client.close()


def failed(run: MadeRun, *reasons: str) -> dict[str, str]:
    """The arm of each user with such a failure."""
    found = {}
    for _, body in objects_under(run.client, run.bucket, f"rows/run_id={run.run_id}/"):
        for line in gzip.decompress(body).splitlines():
            row = json.loads(line)
            if row["outcome"] == "failed" and row["reason"] in reasons:
                found[row["user_id"]] = row["arm"]
    return found


def test_it_has_those_that_failed(run: MadeRun, tmp_path: Path) -> None:
    """What was too late is in it only when it is named; each user is in the arm of the first time."""
    path = tmp_path / "retry.json"
    made = write_retry(run.client, run.bucket, run.run_id, path, now=NOW)
    file = json.loads(path.read_bytes())
    wanted = failed(run, "unanswered")
    assert len(wanted) > 3
    assert {user["user_id"] for user in file["users"]} == wanted.keys()
    assert made.taken == {"unanswered": len(wanted)}
    assert made.left_out == {"too_late": len(failed(run, "too_late"))}
    campaign = read_campaign(file["campaign"])
    assert campaign.experiment == "failing"
    arms = Arms(campaign.salt, campaign.arms)
    assert {user: arms.names[arms.index_of(user.encode())] for user in wanted} == wanted
    assert all(user["attributes"]["first_name"] for user in file["users"])
    assert path.stat().st_mode & 0o077 == 0

    late = write_retry(run.client, run.bucket, run.run_id, tmp_path / "late.json", ["too_late"], now=NOW)
    assert late.taken == made.left_out


def test_retries_of_a_run_have_one_id(run: MadeRun, tmp_path: Path) -> None:
    """One id is one run: the second file is refused. What is retried only when it is named is another kind."""
    ids = list[str]()
    for n, reasons in enumerate(([], [], ["unanswered"], ["too_late"], ["too_late", "suppressed"])):
        later = NOW + timedelta(hours=n)
        ids.append(write_retry(run.client, run.bucket, run.run_id, tmp_path / f"{n}", reasons, now=later).campaign_id)
    assert ids[0] == ids[1] == ids[2] != ids[3] == ids[4]
    kinds = ((), ["too_late"], ["a", "b"], ["a", "too_late"])
    assert [are_one_kind(reasons) for reasons in kinds] == [True, True, True, False]
    assert all(one.startswith("failing-retry-") for one in ids)
    assert retry_campaign(CAMPAIGN, NOW, "r1").id != retry_campaign(CAMPAIGN, NOW, "r2").id
    tested = msgspec.structs.replace(CAMPAIGN, winner=Winner(Decimal(10), 24, 48))
    assert retry_campaign(tested, NOW, "r1").winner is None
    # As long as an id may be, and no longer; of two long ones that differ at their end only, each has its own.
    long = [retry_campaign(msgspec.structs.replace(CAMPAIGN, id="x" * 127 + end), NOW, end).id for end in "yz"]
    assert [len(one) for one in long] == [128, 128]
    assert long[0] != long[1]


def test_interrupted_it_leaves_no_file(run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it is written or proved: half a list of devices, or an unproved one, would look like one to send."""
    for step in ("read_recipient", "read_local"):
        with monkeypatch.context() as patched:

            def pressed(*_: Any, **__: Any) -> Any:
                raise KeyboardInterrupt

            patched.setattr(f"reporting.proof.retried.{step}", pressed)
            with pytest.raises(KeyboardInterrupt):
                write_retry(run.client, run.bucket, run.run_id, tmp_path / "retry.json", now=NOW)
        assert not list(tmp_path.iterdir())


def test_a_phone_shows_one_of_the_two() -> None:
    """The pushes of the retry have the collapse ids of the first ones, whatever the arms are."""
    one_arm = msgspec.structs.replace(CAMPAIGN, variants=())
    own = msgspec.structs.replace(CAMPAIGN, message=Message(title="t", body="b", collapse_id="own"))
    for campaign in (CAMPAIGN, one_arm, own):
        again = retry_campaign(campaign, NOW, "r1")
        for arm, _ in campaign.arms:
            first = collapse_id(campaign.message_of(arm), Label("r1", campaign.id, arm))
            second = collapse_id(again.message_of(arm), Label("r2", again.id, arm))
            assert first == second or arm == "control"


def test_times_that_have_passed() -> None:
    """A run that would end at once is not made; a `not_before` that has passed is no reason to wait."""
    past = datetime(2026, 11, 27, tzinfo=UTC)
    with pytest.raises(NoRetry, match="nothing would be sent"):
        retry_campaign(msgspec.structs.replace(CAMPAIGN, abort_after=past), NOW, "r1")
    assert retry_campaign(msgspec.structs.replace(CAMPAIGN, not_before=past), NOW, "r1").not_before is None


def test_rows_that_are_not_proved_are_no_basis(run: MadeRun, tmp_path: Path) -> None:
    """A row that says failed of a user who was never asked for makes no push."""
    key = f"rows/run_id={run.run_id}/batch=00000000.json.gz"
    found = run.client.get_object(Bucket=run.bucket, Key=key)
    body: Any = found["Body"].read()
    lines = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    held = next(line for line in lines if line["outcome"] == "held")
    held.update(outcome="failed", reason="unanswered")
    forged = gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    run.client.put_object(Bucket=run.bucket, Key=key, Body=forged, Metadata=found["Metadata"])
    with pytest.raises(NotProved, match="only control is held"):
        write_retry(run.client, run.bucket, run.run_id, tmp_path / "forged.json", now=NOW)
