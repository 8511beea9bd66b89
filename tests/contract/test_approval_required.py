"""RequireApproval: what approval writes and what the notifier looks for are the same thing."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from approval.files import Files
from approval.runs import Runs
from notifier.audience import FileCache, Suppression
from notifier.composition.library import S3Library, approvers, is_approved
from notifier.composition.settings import BadSettings, read_settings
from notifier.gateway.additions import addition_faults
from notifier.lifecycle.admission import Admission
from notifier.lifecycle.admitted import NotAdmitted
from notifier.model.campaign import Part
from notifier.model.run import Run, Source, source_of
from notifier.stores.ledger import DynamoLedger
from tests.approval_site import BUCKET, LEDGER, World, moto_server
from tests.twins.settlements import MemoryResults

KEY, BODY = "batches/r1.json", b'{"campaign": {}, "users": []}'


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with moto_server() as address:
        yield World(address)


class Encrypting:
    """S3 with a KMS key: an ETag that is no hash of the bytes. moto's is one always, but for uploads in parts."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str, **rest: Any) -> Any:  # noqa: N803
        """An upload in one part."""
        which = {"Bucket": Bucket, "Key": Key}
        which["UploadId"] = self._client.create_multipart_upload(**which, ServerSideEncryption="aws:kms", **rest)[
            "UploadId"
        ]
        etag = self._client.upload_part(**which, PartNumber=1, Body=Body)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        return self._client.complete_multipart_upload(**which, MultipartUpload=parts, IfNoneMatch=IfNoneMatch)


def library_of(s3: Any, directory: Path) -> S3Library:
    """The library of the stack's bucket."""
    return S3Library(s3, FileCache(directory, 1_000_000), BUCKET, Suppression(s3, BUCKET, "suppression/"))


@pytest.mark.parametrize("encryption", [lambda client: client, Encrypting], ids=["SSE-S3", "SSE-KMS"])
def test_only_the_approved_bytes_under_the_approved_key(
    world: World, tmp_path: Path, encryption: Callable[[Any], Any]
) -> None:
    """Not before the approval, not other bytes, not another key; whatever the bucket is encrypted with."""
    s3 = encryption(world.client("s3"))
    runs = Runs(world.client("dynamodb"), LEDGER, world.control, "control")
    ledger = DynamoLedger(world.client("dynamodb"), LEDGER, time.time)
    library = library_of(s3, tmp_path)

    def written(key: str, body: bytes) -> Source:
        done = Files(s3, BUCKET).write_once(key, body, {"content-hash": "h"}, 1)
        return source_of(BUCKET, key, done.version_id, done.etag)

    key = f"batches/{encryption.__name__}.json"
    source = written(key, BODY)
    assert not is_approved(source, ledger, library)
    runs.record_approval(BUCKET, key, BODY, "r1", ["bob@example.com"], 9_999_999_999)
    assert is_approved(source, ledger, library)
    assert approvers(source, ledger, library) == "bob@example.com"
    assert not is_approved(written(f"{key}.copy", BODY), ledger, library)
    version = world.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"other")
    other = source_of(BUCKET, key, version["VersionId"], version["ETag"])
    assert not is_approved(other, ledger, library)
    assert approvers(other, ledger, library) == "", "nobody approved these bytes"
    gone = source_of(BUCKET, key, version["VersionId"] + "x", version["ETag"])
    assert approvers(gone, ledger, library) == ""
    assert is_approved(source, ledger, library)


def test_what_is_beyond_measure_is_not_even_read(world: World, tmp_path: Path) -> None:
    """No batch file of the approval app is that large."""
    put = world.client("s3").put_object(Bucket=BUCKET, Key="batches/huge.json", Body=b" " * 5_000_001)
    library = library_of(world.client("s3"), tmp_path)
    assert library.sha256_of(source_of(BUCKET, "batches/huge.json", put["VersionId"], put["ETag"])) is None


def test_a_run_without_approval_is_not_opened() -> None:
    """It fails with the reason before anything of the file is looked at."""
    nothing: object = None
    opening = Admission(
        nothing,  # type: ignore[arg-type]
        MemoryResults(),
        nothing,  # type: ignore[arg-type]
        lambda _: (),
        rehearse=False,
        is_approved=lambda _: False,
    )
    source = source_of(BUCKET, KEY, "v1", "e1")
    with pytest.raises(NotAdmitted, match="not_approved"):
        opening.open(Run(source.run_id, source, 0))


def test_runs_are_found_by_their_audience(world: World, tmp_path: Path) -> None:
    """What the notifier enters when it opens a run is what approval looks for: runs that may send, and no others."""
    s3, dynamodb = world.client("s3"), world.client("dynamodb")
    runs = Runs(dynamodb, LEDGER, world.control, "control")
    ledger, library = DynamoLedger(dynamodb, LEDGER, lambda: 5.0), library_of(s3, tmp_path)
    opening = Admission(
        library,
        MemoryResults(),
        ledger,
        addition_faults,
        rehearse=False,
        is_approved=lambda _: True,
    )
    parts = tuple(Part(world.put_audience(name), BUCKET) for name in ("late.json", "other.json"))

    def admitted(name: str, campaign_id: str, users: dict[str, Any]) -> Run:
        body = msgspec.json.encode({"campaign": {"id": campaign_id, "message": {"body": "Hi"}}, **users})
        put = s3.put_object(Bucket=BUCKET, Key=f"batches/{name}.json", Body=body)
        source = source_of(BUCKET, f"batches/{name}.json", put["VersionId"], put["ETag"])
        run = ledger.open_run(Run(source.run_id, source, 4_000))
        opening.open(run)
        return run

    audience = {"audience": {"parts": [{"key": "audiences/late.json"}]}}
    first = admitted("cron-1", "late-1", audience)
    world.put_audience("late.json", b'[{"user_id":"u2","platform":"web","token":"t2"}]')
    second = admitted("cron-2", "late-2", audience)
    with pytest.raises(NotAdmitted, match="campaign_exists"):
        admitted("cron-3", "late-2", audience)
    admitted("inline", "late-3", {"users": [{"user_id": "u1", "platform": "web", "token": "t1"}]})
    found = runs.over(parts[:1], 10)
    assert {run.run_id: run.campaign_id for run in found} == {first.run_id: "late-1", second.run_id: "late-2"}
    assert {run.at_ms for run in found} == {4_000}
    assert len(runs.over(parts, 1)) == 1
    assert runs.over(parts[1:], 10) == []


def test_the_switch() -> None:
    """true or false, and off by default."""
    base = {"BUCKET": "b", "TABLE": "t"}
    assert read_settings(base).require_approval is False
    assert read_settings({**base, "REQUIRE_APPROVAL": "true"}).require_approval is True
    with pytest.raises(BadSettings, match="REQUIRE_APPROVAL"):
        read_settings({**base, "REQUIRE_APPROVAL": "perhaps"})
