"""RequireApproval: what approval writes and what the notifier looks for are the same thing."""

import time
from collections.abc import Iterator

import pytest

from approval.batch_file import Files, etag_of
from approval.runs import Runs, count_id
from notifier import counting
from notifier.campaign import Part
from notifier.config import BadSettings, read_settings
from notifier.ledger import DynamoLedger
from notifier.opening import Opening, Unsendable
from notifier.run import Run, source_of
from tests.approval_site import BUCKET, LEDGER, World, moto_server

KEY, BODY = "batches/r1.json", b'{"campaign": {}, "users": []}'


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with moto_server() as address:
        yield World(address)


def test_only_the_approved_bytes_under_the_approved_key(world: World) -> None:
    """Not before the approval, not other bytes, not another key."""
    runs = Runs(world.client("dynamodb"), LEDGER, world.control, "control")
    ledger = DynamoLedger(world.client("dynamodb"), LEDGER, time.time)
    written = Files(world.client("s3"), BUCKET).write_once(KEY, BODY, {"content-hash": "h"}, 1)
    source = source_of(BUCKET, KEY, written.version_id, written.etag)
    assert not ledger.is_approved(source)
    runs.vouch(BUCKET, KEY, etag_of(BODY), "r1", ["bob@example.com"], 9_999_999_999)
    assert ledger.is_approved(source)
    assert not ledger.is_approved(source_of(BUCKET, KEY, "v2", etag_of(b"other")))
    assert not ledger.is_approved(source_of(BUCKET, "batches/r2.json", "v1", written.etag))


def test_a_run_without_approval_is_not_opened() -> None:
    """It fails with the reason before anything of the file is looked at."""
    nothing: object = None
    opening = Opening(
        nothing,  # type: ignore[arg-type]
        _NoState(),
        nothing,  # type: ignore[arg-type]
        lambda _: nothing,  # type: ignore[arg-type,return-value]
        lambda _: iter(()),
        lambda _: None,
        rehearse=False,
        is_approved=lambda _: False,
    )
    source = source_of(BUCKET, KEY, "v1", "e1")
    with pytest.raises(Unsendable, match="not_approved"):
        opening.open(Run(source.run_id, source, 0), lambda _: nothing)  # type: ignore[arg-type,return-value]


class _NoState:
    def get_state(self, run_id: str, name: str) -> bytes | None:
        return None

    def put_state(self, run_id: str, name: str, value: object) -> None:
        raise AssertionError("nothing is to be stored")


def test_the_switch() -> None:
    """true or false, and off by default."""
    base = {"BUCKET": "b", "TABLE": "t"}
    assert read_settings(base).require_approval is False
    assert read_settings({**base, "REQUIRE_APPROVAL": "true"}).require_approval is True
    with pytest.raises(BadSettings, match="REQUIRE_APPROVAL"):
        read_settings({**base, "REQUIRE_APPROVAL": "perhaps"})


@pytest.mark.parametrize("version", [None, "v1"])
def test_counts_have_one_name_on_both_sides(version: str | None) -> None:
    """Approval finds the job that the notifier counts."""
    parts = (Part(key="audiences/ü.json", bucket="b", version_id=version, etag="e"),)
    assert count_id(parts) == counting.count_id(parts)
