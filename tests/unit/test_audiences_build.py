"""One manifest for one audience, whatever dies on the way and however many attempts there are; nothing mixed."""

import errno
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
import pytest

from audiences.build import Order, build, found_manifest, parts_reference
from audiences.database import Limits
from audiences.destinations import Destination, Directory
from audiences.faults import AudienceFault, limits_as_faults
from audiences.manifest_format import Manifest, UnknownManifest, audience_id, decode_manifest
from audiences.sources import InputFile
from notifier.model.batch_file import PinnedObject
from notifier.model.campaign_reading import read_audience
from tests.audience_people import FORMATS, people
from tests.twins.destination import Killed, MemoryDestination

USERS = 1_700


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> InputFile:
    """A file of four parts with something to leave out."""
    folder = tmp_path_factory.mktemp("source")
    path = FORMATS["lines"](folder, people(USERS))
    with path.open("a") as out:
        out.write('{"user_id": "broken"}\n')
    pinned = PinnedObject("b", "audiences/users.jsonl", "v1", "e", path.stat().st_size)
    return InputFile(path, pinned.name, pinned)


def make(source: InputFile, destination: Destination, work: Path, attempt: int = 1) -> Manifest:
    order = Order({"files": ["audiences/users.jsonl"]}, (source,), attempt, max_users=500)
    return build(order, destination, Limits(work))


def check(destination: MemoryDestination, manifest: Manifest) -> None:
    """Every object that the manifest names is there, is of one attempt, and all of it together is the audience."""
    [stored] = [key for key in destination.objects if key.endswith("_manifest.json")]
    assert decode_manifest(destination.objects[stored]) == manifest
    assert manifest.invalid is not None
    keys = [part.key for part in manifest.parts] + [manifest.invalid.key]
    assert {key.split("/")[3] for key in keys} == {f"attempt={manifest.attempt}"}
    users = [json.loads(line)["user_id"] for key in keys[:-1] for line in destination.objects[key].splitlines()]
    assert len(users) == len(set(users)) == manifest.counts.users
    assert [part.bytes for part in manifest.parts] == [len(destination.objects[part.key]) for part in manifest.parts]


def die_at(step: int) -> Callable[[int], None]:
    def die(number: int) -> None:
        if number == step:
            raise Killed

    return die


@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.slow), True])
def test_killed_at_each_step_and_taken_up_again(source: InputFile, after: bool, tmp_path: Path) -> None:
    """The next attempt makes the audience, or finds it made: one manifest, which names objects of one attempt."""
    whole = MemoryDestination()
    steps = (make(source, whole, tmp_path / "whole"), whole.steps)[1]
    assert steps == 6  # four parts, the invalid rows, the manifest
    for step in range(steps):
        destination = MemoryDestination(**{"after" if after else "before": die_at(step)})
        with pytest.raises(Killed):
            make(source, destination, tmp_path / "first")
        assert not (tmp_path / "first").exists()
        destination.before = destination.after = lambda _: None
        manifest = make(source, destination, tmp_path / "second", attempt=2)
        check(destination, manifest)
        assert manifest.attempt == (1 if after and step == steps - 1 else 2)


@pytest.mark.parametrize("step", range(6))
def test_two_attempts_at_the_same_time_leave_one_manifest(source: InputFile, step: int, tmp_path: Path) -> None:
    """Whichever step the other one finishes at: both return the manifest of the first to finish."""
    destination = MemoryDestination()
    others: list[Manifest] = []

    def meanwhile(number: int) -> None:
        if number == step:
            destination.before = lambda _: None
            others.append(make(source, destination, tmp_path / "other", attempt=2))

    destination.before = meanwhile
    mine = make(source, destination, tmp_path / "mine", attempt=1)
    assert [mine] == others
    assert mine.attempt == 2
    check(destination, mine)


def test_what_is_prepared_is_not_prepared_again(source: InputFile, tmp_path: Path) -> None:
    """The same request and the same bytes are the same audience; any other byte is another."""
    destination = MemoryDestination()
    first = make(source, destination, tmp_path / "w")
    steps = destination.steps
    assert make(source, destination, tmp_path / "w", attempt=2) == first
    assert destination.steps == steps
    assert source.pinned is not None
    other = msgspec.structs.replace(source, pinned=msgspec.structs.replace(source.pinned, etag="f"))
    assert make(other, destination, tmp_path / "w").id != first.id


def test_parts_that_have_expired_are_prepared_again(source: InputFile, tmp_path: Path) -> None:
    """Parts that no run has taken expire before their manifest: it is replaced, by one attempt of two."""
    destination = MemoryDestination()
    first = make(source, destination, tmp_path / "first")
    del destination.objects[first.parts[1].key]
    others: list[Manifest] = []

    def other(_: int) -> None:
        destination.before = lambda _: None
        others.append(make(source, destination, tmp_path / "other", attempt=3))

    destination.before = other
    second = make(source, destination, tmp_path / "second", attempt=2)
    assert [second] == others
    assert (second.attempt, second.id) == (3, first.id)
    assert [part.sha256 for part in second.parts] == [part.sha256 for part in first.parts]
    check(destination, second)


def test_the_id_is_a_contract() -> None:
    """20 hexadecimal digits of the canonical JSON's SHA-256: members sorted, no white space."""
    pinned = PinnedObject("b", "k", None, "e", 3)
    assert audience_id({"files": ["k"]}, (pinned,)) == audience_id({"files": ["k"]}, (pinned,))
    text = (
        '{"inputs":[{"bucket":"b","etag":"e","key":"k","size":3,"version_id":null}],'
        '"request":{"a":{"x":1,"y":2},"b":1}}'
    )
    wanted = hashlib.sha256(text.encode()).hexdigest()[:20]
    assert audience_id({"b": 1, "a": {"y": 2, "x": 1}}, (pinned,)) == wanted


def test_a_manifest_is_read_as_it_was_written(source: InputFile, tmp_path: Path) -> None:
    """One of a newer release is not guessed at; nor is something else."""
    manifest = make(source, MemoryDestination(), tmp_path / "w")
    plain = json.loads(manifest.encode())
    assert plain["version"] == 1
    assert decode_manifest(json.dumps({**plain, "later": 1}).encode()) == manifest
    for other in ({**plain, "version": 2}, {"x": 1}):
        with pytest.raises(UnknownManifest):
            decode_manifest(json.dumps(other).encode())


def test_what_a_batch_file_says(source: InputFile, tmp_path: Path) -> None:
    """The reference is one that the worker takes, each part with its ETag."""
    manifest = make(source, MemoryDestination(), tmp_path / "w")
    parts = read_audience(json.loads(json.dumps(parts_reference(manifest)))).parts
    assert [(part.bucket, part.key, part.etag) for part in parts] == [
        (part.bucket, part.key, part.etag) for part in manifest.parts
    ]


def test_a_directory_keeps_the_same_promise(source: InputFile, tmp_path: Path) -> None:
    """The manifest is created once; no file is left half."""
    directory = Directory(tmp_path / "out")
    manifest = make(source, directory, tmp_path / "w")
    assert found_manifest(directory, manifest.id) == manifest
    assert not directory.create(f"audiences/prepared/{manifest.id}/_manifest.json", b"{}")
    assert found_manifest(directory, manifest.id) == manifest
    files = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert files == ["_manifest.json", "invalid.jsonl", *(f"part-{n:05d}.jsonl" for n in range(4))]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second disk here")
def test_a_directory_on_another_disk(source: InputFile, tmp_path: Path) -> None:
    """The work may lie on another disk than the result: a rename alone would fail."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        manifest = make(source, Directory(Path(folder)), tmp_path / "w")
        assert all((Path(folder) / part.key).stat().st_size == part.bytes for part in manifest.parts)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "AudienceStorageMb"),
        (duckdb.IOException("Could not write: No space left on device"), "AudienceStorageMb"),
        (duckdb.OutOfMemoryException("exceeds 'max_temp_directory_size'"), "AudienceStorageMb"),
        (duckdb.OutOfMemoryException("failed to allocate"), "AudienceMemoryMb"),
    ],
)
def test_a_full_disk_or_memory_names_the_parameter(error: Exception, words: str) -> None:
    """The message says what to change."""
    with pytest.raises(AudienceFault) as fault, limits_as_faults("x"):
        raise error
    assert words in fault.value.mend


def test_other_errors_are_not_touched() -> None:
    """A bug stays a bug."""
    for error in (OSError(errno.EIO, "x"), duckdb.IOException("x"), ValueError("x")):
        with pytest.raises(type(error)), limits_as_faults("x"):
            raise error


def test_a_disk_that_is_really_full(source: InputFile, tmp_path: Path) -> None:
    """DuckDB that may spill nothing, and has no memory to speak of, says so by the parameter."""
    order = Order({}, (source,), max_users=500)
    with pytest.raises(AudienceFault) as fault:
        build(order, MemoryDestination(), Limits(tmp_path / "w", memory_mb=1, spill_mb=0))
    assert "Audience" in fault.value.mend
