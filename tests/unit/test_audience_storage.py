"""Unpacking, the cache on disk, the pipe between the threads, and sets of ids."""

import gzip
import os
import threading
import tracemalloc
import zlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from notifier.audience import (
    AudienceChanged,
    AudienceDenied,
    AudienceUnreachable,
    BrokenFile,
    FileCache,
    IdSet,
    PinnedObject,
)
from notifier.audience.download import MAX_WAITING_BYTES, Closed, Download
from notifier.audience.s3_errors import fault_of
from notifier.audience.unpack import TEXT_BYTES, Unpacker


def pinned(key: str, size: int = 10) -> PinnedObject:
    """An object of so many bytes."""
    return PinnedObject("bucket", key, None, f"etag-{key}", size)


def unpack(stored: bytes, piece: int = 65536) -> bytes:
    """All the text of what is stored."""
    unpacker = Unpacker("s3://b/k")
    texts: list[bytes] = []
    pieces = [stored[start : start + piece] for start in range(0, len(stored), piece)]
    for data in [*pieces, b""]:
        unpacker.push(data)
        while text := unpacker.pull():
            assert len(text) <= TEXT_BYTES
            texts.append(text)
    assert unpacker.pull() == b""
    return b"".join(texts)


@pytest.mark.parametrize("piece", [1, 2, 7, 65536])
def test_gzip_is_told_by_content(piece: int) -> None:
    """Plain, packed, packed in several members, padded with zeros, or empty."""
    assert unpack(b"plain", piece) == b"plain"
    assert unpack(b"\x1f", piece) == b"\x1f"
    assert unpack(b"", piece) == b""
    assert unpack(gzip.compress(b"packed"), piece) == b"packed"
    assert (
        unpack(gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two") + b"\x00" * 100, piece) == b"onetwo"
    )


@pytest.mark.parametrize("piece", [1, 2, 7, 65536])
def test_gzip_in_gzip(piece: int) -> None:
    """Compressed twice it is read through, in several members too; a third layer is left, to be named."""
    once = [gzip.compress(b"one"), gzip.compress(b"two" * 1000)]
    twice = gzip.compress(b"".join(once))
    assert unpack(twice, piece) == b"one" + b"two" * 1000
    assert unpack(gzip.compress(once[0] + once[1][:9]) + gzip.compress(once[1][9:]), piece) == b"one" + b"two" * 1000
    assert unpack(gzip.compress(twice), piece) == once[0] + once[1]
    with pytest.raises(BrokenFile, match="cut off"):
        unpack(gzip.compress(once[0][:-3]), piece)
    with pytest.raises(BrokenFile, match="something that is not gzip follows"):
        unpack(gzip.compress(once[0] + b"more"), piece)


@pytest.mark.parametrize("piece", [1, 65536])
def test_damaged_gzip_is_a_broken_file(piece: int) -> None:
    """Cut off anywhere, a wrong checksum, or something else behind it."""
    packed = gzip.compress(os.urandom(100))
    for cut in range(2, len(packed)):
        with pytest.raises(BrokenFile, match="cut off"):
            unpack(packed[:cut], piece)
    with pytest.raises(BrokenFile, match="damaged gzip; byte"):
        unpack(packed[:-8] + b"\x00" * 8, piece)
    with pytest.raises(BrokenFile, match="damaged gzip"):
        unpack(b"\x1f\x8bnot gzip at all", piece)
    with pytest.raises(BrokenFile, match="something that is not gzip follows"):
        unpack(packed + b"more", piece)


def test_a_bomb_comes_out_in_pieces() -> None:
    """A piece of 64 KiB that unpacks to 64 MiB is never in memory as a whole."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(64)) + packer.flush()
    unpacker = Unpacker("s3://b/k")
    unpacker.push(packed)
    total = 0
    while text := unpacker.pull():
        assert len(text) <= TEXT_BYTES
        total += len(text)
    assert total == 64 * 1024 * 1024


def keep(cache: FileCache, key: str, body: bytes) -> bool:
    """Put an object into the cache."""
    entry = cache.create(pinned(key, len(body)))
    if entry is None:
        return False
    assert entry.write(body)
    entry.commit()
    os.close(entry.descriptor)
    return True


def kept(cache: FileCache, key: str, size: int) -> bytes | None:
    """What the cache has of it."""
    descriptor = cache.open(pinned(key, size))
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_what_is_kept_can_be_read(tmp_path: Path) -> None:
    """By the very pin only: another ETag, version or size is another object."""
    cache = FileCache(tmp_path / "new", 100)
    assert kept(cache, "a", 5) is None
    assert keep(cache, "a", b"hello")
    assert kept(cache, "a", 5) == b"hello"
    assert cache.open(PinnedObject("bucket", "a", "v1", "etag-a", 5)) is None
    assert cache.open(PinnedObject("bucket", "a", None, "other", 5)) is None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    """The bound holds for all files together, and reading counts as using."""
    cache = FileCache(tmp_path, 30)
    for n, key in enumerate("abc"):
        assert keep(cache, key, b"0123456789")
        file = max(tmp_path.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        os.utime(file, (n, n))
    assert kept(cache, "a", 10)
    assert keep(cache, "d", b"0123456789")
    assert [kept(cache, key, 10) is not None for key in "abcd"] == [True, False, True, True]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 30


def test_what_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    """Above the bound, or beside what is being written, and nothing is evicted for it in vain."""
    cache = FileCache(tmp_path, 30)
    assert keep(cache, "a", b"0123456789")
    assert cache.create(pinned("big", 31)) is None
    assert kept(cache, "a", 10)
    writing = cache.create(pinned("b", 25))
    assert writing is not None
    assert FileCache(tmp_path, 30).create(pinned("c", 10)) is None
    writing.discard()
    os.close(writing.descriptor)
    assert keep(cache, "c", b"0123456789")


def test_half_a_file_is_never_believed(tmp_path: Path) -> None:
    """Neither one that was not finished, nor one that was truncated."""
    cache = FileCache(tmp_path, 100)
    entry = cache.create(pinned("a", 10))
    assert entry is not None
    entry.write(b"01234")
    assert cache.open(pinned("a", 10)) is None
    entry.commit()
    os.close(entry.descriptor)
    assert cache.open(pinned("a", 10)) is None
    assert not list(tmp_path.iterdir())
    assert keep(cache, "a", b"0123456789")
    os.truncate(next(tmp_path.iterdir()), 5)
    assert cache.open(pinned("a", 10)) is None


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    """Of another process that is gone, and of one that had our own process id; a living one's stays."""
    (tmp_path / f"x.10.{2**22 + 1}.aa.unfinished").write_bytes(b"half")
    (tmp_path / f"x.10.{os.getpid()}.bb.unfinished").write_bytes(b"half")
    (tmp_path / f"x.10.{os.getppid()}.cc.unfinished").write_bytes(b"half")
    assert keep(FileCache(tmp_path, 100), "a", b"0123456789")
    assert [path.name for path in tmp_path.glob("*.unfinished")] == [f"x.10.{os.getppid()}.cc.unfinished"]


def test_two_writers_of_one_object(tmp_path: Path) -> None:
    """Both finish; the file is whole."""
    caches = [FileCache(tmp_path, 100), FileCache(tmp_path, 100)]
    entries = [cache.create(pinned("a", 10)) for cache in caches]
    for entry in entries:
        assert entry is not None
        entry.write(b"01234")
    for entry in entries:
        assert entry is not None
        entry.write(b"56789")
        entry.commit()
        os.close(entry.descriptor)
    assert kept(caches[0], "a", 10) == b"0123456789"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Without a disk it goes on uncached."""
    (tmp_path / "file").write_bytes(b"")
    assert FileCache(tmp_path / "file" / "cache", 100).create(pinned("a")) is None


def test_a_full_disk_in_the_middle(tmp_path: Path) -> None:
    """What is on the disk is read from there, the rest from memory, and nothing is kept."""
    cache = FileCache(tmp_path, 100)
    entry = cache.create(pinned("a", 15))
    assert entry is not None
    download = Download(threading.Condition())
    download.write_through(entry)
    download.put(b"01234")
    full = os.open("/dev/full", os.O_RDWR)
    whole = os.dup(entry.descriptor)
    os.dup2(full, entry.descriptor)
    download.put(b"56789")
    os.dup2(whole, entry.descriptor)
    download.put(b"abcde")
    download.end()
    assert [download.read(3) for _ in range(7)] == [b"012", b"34", b"567", b"89", b"abc", b"de", b""]
    assert not list(tmp_path.iterdir())
    download.close()
    os.close(full)
    os.close(whole)


def test_a_pipe_says_what_has_arrived() -> None:
    """None before anything came, an empty text at the end, an error after all that came before it."""
    download = Download(threading.Condition())
    assert download.read(10) is None
    assert not download.is_readable
    download.put(b"abc")
    assert download.is_readable
    assert [download.read(2), download.read(2), download.read(2)] == [b"ab", b"c", None]
    download.put(b"d")
    download.end(OSError("gone"))
    assert download.read(2) == b"d"
    with pytest.raises(OSError, match="gone"):
        download.read(2)


def test_an_uncached_download_waits_for_its_reader() -> None:
    """It is at most 8 MiB ahead, and it stops when the reader goes."""
    download = Download(threading.Condition())
    put: list[int] = []

    def write() -> None:
        try:
            while True:
                download.put(bytes(1024 * 1024))
                put.append(1)
        except Closed:
            download.abandon()

    writer = threading.Thread(target=write)
    writer.start()
    taken = 0
    while taken < 64 * 1024 * 1024:
        data = download.read(65536)
        assert data != b""
        taken += len(data or b"")
        assert len(put) * 1024 * 1024 <= taken + MAX_WAITING_BYTES + 2 * 1024 * 1024
    download.close()
    writer.join(10)
    assert not writer.is_alive()


def test_ids_are_compact() -> None:
    """A hundred thousand ids are found, others are not, and they take at most 9 bytes each."""
    tracemalloc.start()
    ids = IdSet(f"user-{n}" for n in range(100_000))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 800_000 <= held < 900_000
    assert peak < 950_000
    assert len(ids) == 100_000
    assert all(f"user-{n}" in ids for n in range(0, 100_000, 7))
    assert not any(f"user-{n}" in ids for n in range(100_000, 200_000, 7))
    assert "\ud800" not in ids
    assert len(IdSet(["a", "a"])) == 1


@pytest.mark.parametrize(
    ("code", "message", "version_id", "kind", "words"),
    [
        ("404", "", None, AudienceChanged, "not there, or not under this name (404)"),
        ("NoSuchKey", "", "v1", AudienceChanged, "not there, or not under this name (NoSuchKey)"),
        ("NoSuchBucket", "", None, AudienceChanged, "there is no such bucket (NoSuchBucket)"),
        ("405", "", "v1", AudienceChanged, "this version is a delete marker: the object was deleted (405)"),
        ("412", "", None, AudienceChanged, "other bytes than the pinned ones (412)"),
        ("NoSuchVersion", "", "v1", AudienceChanged, "it has no version_id 'v1', or that version was deleted"),
        ("InvalidArgument", "Invalid version id specified", "v 1", AudienceChanged, "it has no version_id 'v 1'"),
        ("403", "", None, AudienceDenied, "AudienceBucketArns"),
        ("AccessDenied", "Access Denied", None, AudienceDenied, "KmsKeyArns"),
        (
            "AccessDenied",
            "may not perform: kms:Decrypt",
            None,
            AudienceDenied,
            "the KMS key that encrypts it",
        ),
        (
            "KMS.DisabledException",
            "",
            None,
            AudienceDenied,
            "is disabled or deleted (KMS.Disabled",
        ),
        ("InvalidObjectState", "", "v1", AudienceDenied, "it is archived (InvalidObjectState): restore it first"),
        ("PermanentRedirect", "", None, AudienceDenied, "its bucket is in another region (PermanentRedirect): copy it"),
        (
            "InvalidRequest",
            "using a form of Server Side Encryption",
            "v1",
            AudienceDenied,
            "upload it with SSE-S3",
        ),
        ("SlowDown", "", None, AudienceUnreachable, "S3 answered SlowDown"),
        ("InvalidRequest", "", None, AudienceUnreachable, "S3 answered InvalidRequest"),
        ("", "", None, AudienceUnreachable, "S3 answered without a code"),
    ],
)
def test_what_s3s_refusals_mean(
    code: str, message: str, version_id: str | None, kind: type[Exception], words: str
) -> None:
    """Gone for good, kept back until something else changes, or away for now: each with what to do about it."""
    error = ClientError({"Error": {"Code": code, "Message": message}}, "HeadObject")
    found = fault_of(error, "s3://b/k", version_id)
    assert type(found) is kind
    assert str(found).startswith("s3://b/k: ")
    assert words in str(found)
