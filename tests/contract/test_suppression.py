"""The standing suppression against an S3 server: it is read as it is now, or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifier.audience import AudienceChanged, AudienceUnreachable, BrokenFile, FileCache, Suppression
from notifier.model.keyed_id import KEY, keyed
from tests.contract.audience_s3 import BUCKET, Requests, empty_bucket, s3_client
from tests.contract.moto_stores import server_for


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server."""
    with server_for("s3") as url:
        yield url


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    """A client, and an empty bucket."""
    with empty_bucket(endpoint) as client:
        yield client


def put(s3: Any, key: str, ids: list[object]) -> None:
    """A list of ids."""
    s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(ids).encode())


def suppression(s3: Any, directory: Path) -> Suppression:
    """Of this bucket, with a cache."""
    return Suppression(s3, BUCKET, "suppression/", FileCache(directory, 1_000_000), pause=lambda _: None)


def test_all_lists_under_the_prefix(s3: Any, tmp_path: Path) -> None:
    """Each object is a list, folders and empty markers are none, and other prefixes are not read."""
    put(s3, "suppression/a.json", ["u1", {"user_id": "u2"}])
    put(s3, "suppression/2026/b.json", [3])
    put(s3, "suppressionx/c.json", ["u4"])
    for empty in ("suppression/", "suppression/_SUCCESS"):
        s3.put_object(Bucket=BUCKET, Key=empty, Body=b"")
    ids = suppression(s3, tmp_path).read()
    assert [user_id in ids for user_id in ("u1", "u2", "3", "u4")] == [True, True, True, False]
    assert len(ids) == 3


def test_no_list_suppresses_nobody(s3: Any, tmp_path: Path) -> None:
    """A stack without lists sends to everybody."""
    assert len(suppression(s3, tmp_path).read()) == 0


def test_it_is_read_as_it_is_now(s3: Any, tmp_path: Path) -> None:
    """An id that is added, replaced or deleted counts at the next reading."""
    one = suppression(s3, tmp_path)
    put(s3, "suppression/a.json", ["u1"])
    assert "u1" in one.read()
    put(s3, "suppression/b.json", ["u2"])
    assert "u2" in one.read()
    put(s3, "suppression/b.json", ["u3"])
    assert [user_id in one.read() for user_id in ("u1", "u2", "u3")] == [True, False, True]
    s3.delete_object(Bucket=BUCKET, Key="suppression/b.json")
    assert [user_id in one.read() for user_id in ("u1", "u3")] == [True, False]


def test_what_has_not_changed_is_listed_only(s3: Any, tmp_path: Path) -> None:
    """A hop of a warm process pays one request, however long the lists are."""
    one = suppression(s3, tmp_path)
    put(s3, "suppression/a.json", ["u1"])
    one.read()
    requests = Requests(s3)
    one.read()
    assert dict(requests.sent) == {"GET": 1}
    assert requests.ranges == []


def test_a_list_that_is_replaced_meanwhile(s3: Any, tmp_path: Path) -> None:
    """It is listed again; where that happens each time, nothing is read."""
    put(s3, "suppression/a.json", ["u1"])

    def replace(params: Any, **_: Any) -> None:
        if len(times) < most:
            times.append(params)
            put(s3_again, "suppression/a.json", [f"u{len(times) + 1}"])

    s3_again = s3_client(s3.meta.endpoint_url)
    times: list[Any] = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", replace)
    most = 1
    assert "u2" in suppression(s3, tmp_path / "a").read()
    most = 100
    with pytest.raises(AudienceChanged):
        suppression(s3, tmp_path / "b").read()
    s3_again.close()


@pytest.mark.parametrize("body", [b'["u1", null]', b"user_id\nu1\n", b'["u1"', b"\x00\x01"])
def test_a_broken_list_is_a_fault(s3: Any, tmp_path: Path, body: bytes) -> None:
    """It names the object. The ids that were read before are not used in its place."""
    one = suppression(s3, tmp_path)
    put(s3, "suppression/a.json", ["u1"])
    one.read()
    s3.put_object(Bucket=BUCKET, Key="suppression/b.json", Body=body)
    for _ in range(2):
        with pytest.raises(BrokenFile, match=r"suppression/b\.json"):
            one.read()


def test_a_bucket_that_cannot_be_listed(s3: Any, tmp_path: Path) -> None:
    """S3's answer is in the message, and nobody is taken as not suppressed."""
    one = Suppression(s3, "no-such-bucket-anywhere", "suppression/", FileCache(tmp_path, 1_000))
    with pytest.raises((AudienceChanged, AudienceUnreachable), match="no such bucket"):
        one.read()


def test_keyed_hashes_suppress_their_users(s3: Any, tmp_path: Path) -> None:
    """A list may have an HMAC in an id's place, as an erasure leaves it; the key may be in any object of the prefix."""
    key = bytes(range(32))
    assert keyed(key, "u1") == "hmac-sha256:fe91b17313e372ceb806c600411932e22c8bbeb4b37ced2756540ea9a9d4dae2"
    put(s3, "suppression/_erased/key.json", [KEY + key.hex()])
    put(s3, "suppression/_erased/1.json", [keyed(key, "u1")])
    put(s3, "suppression/z.json", ["u3"])
    ids = suppression(s3, tmp_path).read()
    assert [user_id in ids for user_id in ("u1", "u2", "u3")] == [True, False, True]
