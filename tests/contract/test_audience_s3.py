"""The audience against an S3 server, with real requests over real sockets."""

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifier.audience import (
    AudienceChanged,
    AudienceDenied,
    AudienceStream,
    BrokenFile,
    FileCache,
    FileKind,
    PinnedObject,
    pin,
    pin_parts,
    read_head,
    read_ids,
)
from notifier.audience import ranges as ranges_module
from notifier.model.campaign import Part
from notifier.model.cursor import Cursor, decode_cursor
from tests.contract.audience_s3 import (
    BUCKET,
    FORMS,
    Requests,
    as_lines,
    as_list,
    empty_bucket,
    read_all,
    s3_client,
    take_exactly,
    take_until_it_breaks,
    users,
)
from tests.contract.moto_stores import server_for


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server."""
    with server_for("s3") as url:
        yield url


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    """A client, and an empty bucket without versions."""
    with empty_bucket(endpoint) as client:
        yield client


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    """An empty cache with room."""
    return FileCache(tmp_path / "cache", 64 * 1024 * 1024)


def put(s3: Any, key: str, body: bytes) -> PinnedObject:
    """An object, pinned as it is."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return pin(s3, BUCKET, key)


def keep_versions(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})


def test_a_pin_without_versions_is_the_etag(s3: Any) -> None:
    """A bucket without versions pins by ETag and size alone."""
    pinned = put(s3, "users.json", b"[]")
    assert (pinned.version_id, pinned.size) == (None, 2)
    assert '"' not in pinned.etag


def test_a_pin_with_versions_names_the_version_and_survives_an_overwrite(s3: Any) -> None:
    """Where the bucket keeps versions the pinned one is read, whatever was put over it."""
    keep_versions(s3)
    pinned = put(s3, "users.json", as_list([1]))
    put(s3, "users.json", as_list([2]))
    assert pinned.version_id
    stream = AudienceStream(s3, (pinned,))
    assert read_all(stream) == [1]
    stream.close(5)
    assert pin(s3, BUCKET, "users.json", version_id=pinned.version_id) == pinned


def test_a_version_called_null_pins_nothing(s3: Any) -> None:
    """`null` is what S3 calls an object from before versioning: it is pinned by its ETag."""
    put(s3, "users.json", b"[]")
    keep_versions(s3)
    assert pin(s3, BUCKET, "users.json").version_id is None
    assert pin(s3, BUCKET, "users.json", version_id="null").version_id is None


def test_an_archived_part_is_refused_with_the_way_to_restore_it(s3: Any) -> None:
    """A HEAD of it is answered; reading it would fail in the middle of the run."""
    s3.put_object(Bucket=BUCKET, Key="users.json", Body=b"[]", StorageClass="GLACIER")
    if s3.head_object(Bucket=BUCKET, Key="users.json").get("StorageClass") != "GLACIER":
        pytest.skip("the server that CONTRACT_S3 names has no storage classes")
    with pytest.raises(AudienceDenied, match=r"archived \(GLACIER\): restore it first"):
        pin(s3, BUCKET, "users.json")


def test_an_unknown_bucket_and_version_are_named(s3: Any) -> None:
    """HEAD says 404 for either; the GET after it knows better."""
    keep_versions(s3)
    s3.put_object(Bucket=BUCKET, Key="users.json", Body=b"[]")
    with pytest.raises(AudienceChanged, match="no such bucket"):
        pin(s3, "no-such-bucket-of-ours", "users.json")
    with pytest.raises(AudienceChanged, match="it has no version_id"):
        pin(s3, BUCKET, "users.json", version_id="d41d8cd98f00b204e9800998ecf8427e")


def test_another_etag_than_stated_is_refused(s3: Any) -> None:
    """Other bytes than the approved ones are never sent; a stated ETag may carry its quotes."""
    pinned = put(s3, "users.json", b"[]")
    assert pin(s3, BUCKET, "users.json", etag=f'"{pinned.etag}"') == pinned
    with pytest.raises(AudienceChanged, match=r"s3://audience/users\.json: the ETag is"):
        pin(s3, BUCKET, "users.json", etag="0123")
    with pytest.raises(AudienceChanged, match="not there, or not under this name"):
        pin(s3, BUCKET, "none.json")


def test_parts_are_pinned_in_their_order(s3: Any) -> None:
    """A part without a bucket lies in the batch file's."""
    wanted = [put(s3, f"part-{n}", b"[%d]" % n) for n in range(12)]
    parts = [Part(key=f"part-{n}", etag=wanted[n].etag if n % 2 else None) for n in range(12)]
    assert pin_parts(s3, parts, BUCKET) == tuple(wanted)


@pytest.mark.parametrize(
    ("form", "cached"),
    [
        pytest.param(form, cached, marks=pytest.mark.slow if cached and form != "lines" else ())
        for cached in (False, True)
        for form in FORMS
    ],
)
def test_resuming_anywhere_reads_on_where_it_stopped(s3: Any, cache: FileCache, form: str, cached: bool) -> None:
    """For every record of two parts: what one stream gave and what another gives from its cursor is everything."""
    records = users(17)
    parts = tuple(put(s3, f"part-{n}", FORMS[form](half)) for n, half in enumerate((records[:9], records[9:])))
    for count in range(18):
        first = AudienceStream(s3, parts, cache=cache if cached else None)
        before = take_exactly(first, count)
        cursor = decode_cursor(first.position().encode())
        first.close(5)
        assert cursor.record == count
        if count not in (0, 9, 17):
            assert (cursor.byte is not None) == (form == "lines")
        second = AudienceStream(s3, parts, cursor, cache=cache if cached else None)
        assert before + read_all(second) == records, cursor
        assert second.position().record == 17
        second.close(5)


def test_resuming_does_not_read_earlier_parts(s3: Any) -> None:
    """A cursor in the second part asks for nothing of the first, and for lines only from its byte on."""
    parts = (put(s3, "a", as_lines(users(5))), put(s3, "b", as_lines(users(5))))
    stream = AudienceStream(s3, parts)
    take_exactly(stream, 7)
    cursor = stream.position()
    stream.close(5)
    requests = Requests(s3)
    rest = AudienceStream(s3, parts, cursor)
    assert read_all(rest) == users(5)[2:]
    rest.close(5)
    assert requests.ranges == [f"bytes={cursor.byte}-{parts[1].size - 1}"]


def test_the_end_of_the_audience_is_a_cursor_too(s3: Any) -> None:
    """A cursor behind the last record, and one in a part that does not exist, give nothing."""
    pinned = put(s3, "a", as_lines(users(3)))
    for cursor in (Cursor(record=3, part=1), Cursor(record=3, part=0, in_part=3), Cursor(3, 0, 3, pinned.size)):
        stream = AudienceStream(s3, (pinned,), cursor)
        assert read_all(stream) == []
        stream.close(5)


def test_an_empty_object_has_no_records(s3: Any, cache: FileCache) -> None:
    """An exporter may write an empty shard."""
    parts = (put(s3, "a", b""), put(s3, "b", b"[7]"), put(s3, "c", b"\n"))
    stream = AudienceStream(s3, parts, cache=cache)
    assert read_all(stream) == [7]
    stream.close(5)


def test_a_warm_container_downloads_nothing(s3: Any, cache: FileCache) -> None:
    """The second reading sends one request, learns that nothing changed, and reads its own file."""
    pinned = put(s3, "users.json", as_list(users(1000)))
    requests = Requests(s3)
    for _ in range(2):
        stream = AudienceStream(s3, (pinned,), cache=cache)
        assert read_all(stream, 500) == users(1000)
        stream.close(5)
    assert requests.answered == {206: 1, 304: 1}


def test_a_cached_object_that_was_overwritten_is_not_read(s3: Any, cache: FileCache) -> None:
    """The conditional request notices that the pinned bytes are gone."""
    pinned = put(s3, "users.json", as_list(users(3)))
    stream = AudienceStream(s3, (pinned,), cache=cache)
    read_all(stream)
    stream.close(5)
    put(s3, "users.json", as_list(users(4)))
    stream = AudienceStream(s3, (pinned,), cache=cache)
    with pytest.raises(AudienceChanged):
        read_all(stream)
    stream.close(5)


def test_an_object_above_the_bound_streams_uncached(s3: Any, tmp_path: Path) -> None:
    """Nothing is left on the disk, and every record comes."""
    pinned = put(s3, "users.json", as_list(users(100)))
    stream = AudienceStream(s3, (pinned,), cache=FileCache(tmp_path / "cache", 1000))
    assert read_all(stream) == users(100)
    stream.close(5)
    assert not list(tmp_path.glob("cache/*"))


def test_an_overwrite_between_two_ranges_is_noticed(s3: Any) -> None:
    """The records of the ranges that were read come first; then the change is raised, never the other bytes."""
    small = as_list(users(20_000))
    pinned = put(s3, "users.json", small)
    assert pinned.size > ranges_module.RANGE_BYTES

    other = s3_client(s3.meta.endpoint_url)
    pieces = ranges_module.read_ranges(s3, pinned, 0, lambda _: None)
    first = next(pieces)
    other.put_object(Bucket=BUCKET, Key="users.json", Body=small[::-1])
    read: list[bytes] = [first]
    with pytest.raises(AudienceChanged, match="other bytes than the pinned ones"):
        read.extend(pieces)
    assert small[: ranges_module.RANGE_BYTES] == b"".join(read)
    other.close()


def test_a_deleted_object_is_a_changed_one(s3: Any) -> None:
    """It does not pass by itself, so it is not retried."""
    pinned = put(s3, "users.json", b"[1]")
    s3.delete_object(Bucket=BUCKET, Key="users.json")
    stream = AudienceStream(s3, (pinned,))
    with pytest.raises(AudienceChanged, match="NoSuchKey"):
        read_all(stream)
    stream.close(5)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_head_before_the_users(s3: Any, pack: Any) -> None:
    """A head that comes first is known without reading the users, even if those are broken."""
    body = b'{"campaign": {"id": "c", "control_percent": 0.10}, "users": [{"user_id": "1"}, oops'
    head = read_head(s3, put(s3, "batch.json", pack(body)))
    assert str(head.campaign) == "{'id': 'c', 'control_percent': Decimal('0.10')}"
    assert (head.audience, head.has_users) == (None, True)


def test_the_head_after_the_users_costs_one_download(s3: Any, cache: FileCache) -> None:
    """The scan fills the cache, so that reading the users asks S3 only whether they are still there."""
    pinned = put(s3, "batch.json", json.dumps({"users": users(500), "campaign": {"id": "c"}}).encode())
    requests = Requests(s3)
    head = read_head(s3, pinned, cache=cache)
    assert head.campaign == {"id": "c"}
    assert head.has_users
    stream = AudienceStream(s3, (pinned,), kind=FileKind.BATCH_FILE, cache=cache)
    assert read_all(stream) == users(500)
    stream.close(5)
    assert requests.answered == {206: 1, 304: 1}


def test_the_head_with_a_reference(s3: Any) -> None:
    """A batch file that points at its users says where."""
    head = read_head(s3, put(s3, "batch.json", b'{"audience": {"parts": [{"key": "k"}]}, "campaign": {}}'))
    assert (head.campaign, head.audience, head.has_users) == ({}, {"parts": [{"key": "k"}]}, False)


def test_a_broken_head_says_where(s3: Any) -> None:
    """The message names the object, the byte and the fault, and no value of the file."""
    with pytest.raises(BrokenFile) as raised:
        read_head(s3, put(s3, "b/batch.json", b'{"campaign": {}, "secret": 1}'))
    assert str(raised.value) == (
        "s3://audience/b/batch.json: an unknown key at the top (known: campaign, users, audience); byte 17"
    )


def test_a_cut_off_file_gives_its_records_first(s3: Any) -> None:
    """What can be read is handed out; the fault comes after, with the index of the record."""
    pinned = put(s3, "batch.json", b'{"campaign": {}, "users": [{"user_id": 1}, {"user_id": 2}, {"us')
    stream = AudienceStream(s3, (pinned,), kind=FileKind.BATCH_FILE)
    taken: list[object] = []
    with pytest.raises(BrokenFile, match=r"cut off; byte \d+, in or after record 2"):
        take_until_it_breaks(stream, taken)
    assert taken == [{"user_id": 1}, {"user_id": 2}]
    stream.close(5)


def test_ids_of_every_form(s3: Any) -> None:
    """Strings, integers and objects, in lists, objects, lines and gzip."""
    bodies = [
        b'["a", 1, {"user_id": "b"}]',
        b'{"users": [{"user_id": 2}]}',
        b'"c"\n3\n{"user_id": "d"}\n',
        b"4\n5",
        gzip.compress(b'["e"]'),
        b'{"USER_ID": "g"}{"user_id": 6.0}',
        b"7.0,\n8,\n",
    ]
    ids = read_ids(s3, tuple(put(s3, f"ids-{n}", body) for n, body in enumerate(bodies)))
    assert len(ids) == 14
    assert all(user_id in ids for user_id in ("a", "1", "b", "2", "c", "3", "d", "4", "5", "e", "g", "6", "7", "8"))
    assert "f" not in ids


def test_an_unreadable_exclusion_is_a_fault(s3: Any) -> None:
    """An entry that cannot be read is an error: its user must not get the push."""
    for body in (b'["a", null]', b'"a"\n"b', b'[{"id": "a"}]', b"[true]", b'[""]', b"[1.5]"):
        with pytest.raises(BrokenFile):
            read_ids(s3, (put(s3, "ids", body),))


def fetching() -> set[threading.Thread]:
    """The threads that fetch audiences."""
    return {thread for thread in threading.enumerate() if thread.name == "audience"}


def test_closing_early_stops_the_thread(s3: Any, cache: FileCache) -> None:
    """A stream that is closed in the middle leaves neither a thread nor half a file behind."""
    pinned = put(s3, "users.json", as_list(users(40_000)))
    for kept in (None, cache):
        before = fetching()
        stream = AudienceStream(s3, (pinned,), cache=kept)
        stream.wait(10)
        stream.close(10)
        assert fetching() <= before
    stream = AudienceStream(s3, (pinned,), cache=cache)
    assert len(read_all(stream, 500)) == 40_000
    stream.close(5)
