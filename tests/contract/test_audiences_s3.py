"""Audiences out of S3 and into S3, by the real client: pinned before they are read, the manifest written once."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audiences.build import Order, build, found_manifest, parts_reference
from audiences.database import Limits
from audiences.destinations import Bucket
from audiences.faults import AudienceFault, NothingThere
from audiences.fetch import fetch
from audiences.manifest_format import Manifest
from audiences.sources import local_files, pinned_files
from notifier.audience import AudienceStream, FileKind, pin_parts
from notifier.audience.unused import keep_for_run
from notifier.model.audience_faults import AudienceChanged
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign_reading import read_audience
from tests.audience_people import FORMATS, expected, found, people
from tests.contract.moto_stores import client_of, new_name, server_for
from tests.twins.destination import Killed

USERS = 1_200


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with server_for("s3") as endpoint:
        yield client_of("s3", endpoint)


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    """A bucket, with and without versions."""
    name = new_name("audiences")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    if request.param:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def own(client: Any) -> str:
    """A bucket without versions."""
    name = new_name("audiences")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


@pytest.fixture
def stored(client: Any, bucket: str, tmp_path: Path) -> list[dict[str, Any]]:
    """The people, half of them as CSV and half as Parquet, under one prefix."""
    users = people(USERS)
    for name, some in (("csv", users[: USERS // 2]), ("parquet", users[USERS // 2 :])):
        path = FORMATS[name](tmp_path, some)
        client.upload_file(str(path), bucket, f"audiences/day/{path.name}")
    for name in ("audiences/day/_SUCCESS", "audiences/day/deep/other.csv"):
        client.put_object(Bucket=bucket, Key=name, Body=b"user_id,platform,token\n")
    return users


def make(client: Any, bucket: str, work: Path, attempt: int = 1, where: Any = None) -> Manifest:
    """Everything that the command does: pin, fetch, prepare, write."""
    pinned = pinned_files(client, ["audiences/day/rows.*"], bucket)
    limits = Limits(work)
    inputs = fetch(client, pinned, work / "fetched")
    order = Order({"files": ["audiences/day/rows.*"]}, inputs, attempt, max_users=500)
    return build(order, where or Bucket(client, bucket), limits)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta"),
        (".hoodie/20261128.commit", "Hudi"),
        ("metadata/v2.metadata.json", "Iceberg"),
    ],
)
def test_a_table_of_many_files_is_no_folder_of_users(client: Any, bucket: str, key: str, kind: str) -> None:
    """Its files hold replaced and deleted rows, too: tokens that their users have given up."""
    for name in ("part-0.parquet", key):
        client.put_object(Bucket=bucket, Key=f"audiences/lake/{name}", Body=b"x")
    with pytest.raises(AudienceFault, match=f"audiences/lake/: a table of {kind}'s") as fault:
        pinned_files(client, ["audiences/lake/"], bucket)
    assert "query it" in fault.value.mend
    # Beside it, and where a glob takes none of its files, it keeps nothing else from being read.
    client.put_object(Bucket=bucket, Key="audiences/day.jsonl", Body=b"x")
    client.put_object(Bucket=bucket, Key="audiences/run.metadata.json", Body=b"x")
    assert [one.key for one in pinned_files(client, ["audiences/*.jsonl"], bucket)] == ["audiences/day.jsonl"]
    with pytest.raises(AudienceFault, match=f"a table of {kind}'s"):
        pinned_files(client, ["audiences/**.parquet"], bucket)


def test_what_a_job_has_not_finished_is_not_read(client: Any, bucket: str) -> None:
    """Spark and Hadoop write under `_temporary/`; Redshift and Athena put files about files beside the data."""
    for name in ("a.jsonl", "_temporary/0/b.jsonl", "part_manifest", "deep/c.jsonl", "q.csv.metadata"):
        client.put_object(Bucket=bucket, Key=f"audiences/job/{name}", Body=b"x")
    names = [one.key.rpartition("/")[2] for one in pinned_files(client, ["audiences/job/"], bucket)]
    assert names == ["a.jsonl", "c.jsonl"]


def test_from_s3_to_s3(client: Any, bucket: str, stored: list[dict[str, Any]], tmp_path: Path) -> None:
    """The parts hold the audience, and the worker's own reader takes the manifest's reference to them."""
    manifest = make(client, bucket, tmp_path / "work")
    assert found_manifest(Bucket(client, bucket), manifest.id) == manifest
    paths = []
    for part in manifest.parts:
        paths.append(tmp_path / part.key.rpartition("/")[2])
        client.download_file(bucket, part.key, str(paths[-1]))
    assert found(paths) == expected(stored)
    reference = read_audience(json.loads(json.dumps(parts_reference(manifest))))
    stream = AudienceStream(client, pin_parts(client, reference.parts, bucket), kind=FileKind.USERS)
    read = 0
    while not stream.ended:
        taken = stream.take(1_000)
        read += len(taken)
        if not taken:
            stream.wait(1.0)
    stream.close()
    assert read == manifest.counts.users
    keys = [(one.key, one.rows, one.version_id is not None) for one in manifest.inputs]
    versioned = client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    assert [(key, has) for key, _, has in keys] == [
        ("audiences/day/rows.csv", versioned),
        ("audiences/day/rows.parquet", versioned),
    ]
    assert sum(rows for _, rows, _ in keys) == manifest.counts.rows


class _Dying(Bucket):
    """A bucket whose caller is killed before the change with this number, or lets something happen there."""

    def __init__(self, client: Any, bucket: str, step: int, happen: Any) -> None:
        super().__init__(client, bucket)
        self._left = step
        self._happen = happen

    def put(self, key: str, path: Path) -> Any:
        self._count()
        return super().put(key, path)

    def create(self, key: str, data: bytes) -> bool:
        self._count()
        return super().create(key, data)

    def _count(self) -> None:
        self._left -= 1
        if self._left == -1:
            self._happen()


def _die() -> None:
    raise Killed


@pytest.mark.parametrize("step", [0, pytest.param(1, marks=pytest.mark.slow), 4])
def test_killed_and_taken_up_again(
    client: Any, bucket: str, stored: list[dict[str, Any]], step: int, tmp_path: Path
) -> None:
    """Before the first part, between two, before the manifest: the next attempt's manifest names its own objects."""
    with pytest.raises(Killed):
        make(client, bucket, tmp_path / "first", where=_Dying(client, bucket, step, _die))
    manifest = make(client, bucket, tmp_path / "second", attempt=2)
    assert {part.key.split("/")[3] for part in manifest.parts} == {"attempt=2"}
    assert sum(part.users for part in manifest.parts) == len(expected(stored).tokens)


def test_two_attempts_at_the_same_time(client: Any, bucket: str, stored: list[dict[str, Any]], tmp_path: Path) -> None:
    """S3 lets the manifest be created once; the second attempt returns the first one's."""
    others: list[Manifest] = []
    where = _Dying(client, bucket, 4, lambda: others.append(make(client, bucket, tmp_path / "other", attempt=2)))
    mine = make(client, bucket, tmp_path / "mine", attempt=1, where=where)
    assert [mine] == others
    assert mine.attempt == 2


def tagged(client: Any, manifest: Manifest) -> set[bool]:
    """Whether parts are tagged as unused."""
    found = set()
    for part in manifest.parts:
        version = {"VersionId": part.version_id} if part.version_id else {}
        tags = client.get_object_tagging(Bucket=part.bucket, Key=part.key, **version)["TagSet"]
        assert tags in ([], [{"Key": "unused", "Value": "true"}])
        found.add(bool(tags))
    return found


def test_unused_until_a_run_takes_it(client: Any, bucket: str, stored: list[dict[str, Any]], tmp_path: Path) -> None:
    """The function tags the parts, whoever takes them removes the tag; what has expired is prepared again."""
    where = Bucket(client, bucket, unused=True)
    first = make(client, bucket, tmp_path / "first", where=where)
    assert tagged(client, first) == {True}
    assert make(client, bucket, tmp_path / "same", attempt=2, where=where) == first
    kept = [part.pinned for part in first.parts]
    # The others are of another bucket, or not prepared here: nobody's tags are touched there.
    others = [
        PinnedObject(bucket, "audiences/day/rows.csv", None, "e", 1),
        PinnedObject("elsewhere", first.parts[0].key, None, "e", 1),
    ]
    for _ in range(2):
        keep_for_run(client, bucket, [*others, *kept])
        assert tagged(client, first) == {False}
    client.delete_object(Bucket=bucket, Key=first.parts[0].key)
    again = make(client, bucket, tmp_path / "again", attempt=3, where=where)
    assert (again.id, again.attempt) == (first.id, 3)
    assert found_manifest(where, first.id) == again
    if first.parts[0].version_id:
        # A run that has taken the first one reads it by its versions as before.
        pinned = first.parts[0].pinned
        assert client.get_object(**pinned.request)["ContentLength"] == pinned.size


def test_two_replace_what_has_expired(client: Any, bucket: str, tmp_path: Path) -> None:
    """Only what the caller has seen is replaced."""
    where = Bucket(client, bucket)
    assert where.create("audiences/prepared/x", b"1")
    assert where.replace("audiences/prepared/x", b"2", b"1")
    assert not where.replace("audiences/prepared/x", b"3", b"1")
    assert where.read("audiences/prepared/x") == b"2"


def test_names(client: Any, bucket: str, stored: list[dict[str, Any]]) -> None:
    """A prefix, a key and globs: each object once, and none that exporters put beside the data."""

    def keys(*names: str) -> list[str]:
        return [one.key.removeprefix("audiences/day/") for one in pinned_files(client, names, bucket)]

    everything = ["deep/other.csv", "rows.csv", "rows.parquet"]
    assert keys("audiences/day/") == everything
    assert keys("audiences/day/*") == everything[1:]
    assert keys("audiences/**.csv", "audiences/day/rows.csv") == everything[:2]
    assert keys(f"s3://{bucket}/audiences/day/rows.*") == everything[1:]
    for name, words in (
        ("audiences/night/", "no object has such a key"),
        ("audiences/day/rows.json", "not there"),
        ("s3://no-such-bucket-here/x/", "there is no such bucket"),
    ):
        with pytest.raises(AudienceFault, match=words):
            keys(name)


FOLDER = (
    "a.csv", "de/b.jsonl", "de/at/c.json.gz", "_temporary/0/d.csv", ".ipynb_checkpoints/e.csv", "f.csv.crc",
    "out.2026/u/g.tsv", "outb/u/g.tsv",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("", ["a.csv", "de/at/c.json.gz", "de/b.jsonl", "out.2026/u/g.tsv", "outb/u/g.tsv"]),
        ("*", ["a.csv"]),
        ("**", ["a.csv", "de/at/c.json.gz", "de/b.jsonl", "out.2026/u/g.tsv", "outb/u/g.tsv"]),
        ("out*/u/g.tsv", ["out.2026/u/g.tsv", "outb/u/g.tsv"]),
        ("**/*.js*", ["de/at/c.json.gz", "de/b.jsonl"]),
        ("d*/*", ["de/b.jsonl"]),
        ("d**.gz", ["de/at/c.json.gz"]),
        ("de/[ab].jsonl", ["de/b.jsonl"]),
    ],
)
def test_a_folder_here_means_what_its_name_means_in_s3(
    client: Any, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: list[str]
) -> None:
    """With all folders under it: a count of it here would else be lower than what is sent from its copy."""
    for one in FOLDER:
        path = tmp_path / "day-2" / one
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        client.put_object(Bucket=own, Key=f"audiences/day-2/{one}", Body=b"x")
    there = pinned_files(client, [f"audiences/day-2/{name}"], own)
    assert [one.key.removeprefix("audiences/day-2/") for one in there] == meant
    monkeypatch.chdir(tmp_path)
    for before in ("", "./", f"{tmp_path}/", f"../{tmp_path.name}/"):
        here = local_files([f"{before}day-2/{name}"])
        assert [one.path.resolve().relative_to(tmp_path.resolve() / "day-2").as_posix() for one in here] == meant


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its users would be lost without a word: a file beside it may be read."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("x")
    listed = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refused)
    (tmp_path / "y.csv").write_text("y")
    for asked in (f"{tmp_path}", f"{tmp_path}/*/x.csv"):
        with pytest.raises(AudienceFault, match=f"{tmp_path}/b: Permission denied"):
            local_files([asked])
    # Of a folder in which nothing is asked for it says nothing; one that is not there is not there.
    assert [one.path.name for one in local_files([f"{tmp_path}/*.csv"])] == ["y.csv"]
    with pytest.raises(NothingThere, match="there is no such file"):
        local_files([f"{tmp_path}/none/*.csv"])


def test_an_object_replaced_after_it_was_pinned(
    client: Any, bucket: str, stored: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Other bytes than the pinned ones are never read: with versions the old ones are, without them it ends."""
    pinned = pinned_files(client, ["audiences/day/rows.csv"], bucket)
    client.put_object(Bucket=bucket, Key="audiences/day/rows.csv", Body=b"x" * pinned[0].size)
    if pinned[0].version_id is None:
        with pytest.raises(AudienceChanged):
            fetch(client, pinned, tmp_path / "work")
    else:
        [one] = fetch(client, pinned, tmp_path / "work")
        assert one.path.read_bytes().startswith(b"user_id")
