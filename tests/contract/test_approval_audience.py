"""The pages order an audience, and the audience function makes it: what one writes the other reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from approval.files import Files
from approval.prepared import Audiences
from audiences.app import S3Maker
from audiences.run_preparation import RunPreparation
from audiences.store import PreparationStore
from notifier.model.preparation import Stage
from notifier.preparation_items import is_order
from tests.approval_site import BUCKET, LEDGER, World, moto_server

PEOPLE = [
    {"user_id": f"u{n}", "platform": "web", "token": f"a-token-of-user-{n % 9:04d}", "name": "Ann"} for n in range(10)
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def world(endpoint: str) -> World:
    return World(endpoint)


@pytest.fixture
def audiences(world: World) -> Audiences:
    """As the pages have it."""
    files = Files(world.client("s3"), BUCKET)
    return Audiences(
        world.client("dynamodb"), LEDGER, world.client("lambda"), world.client("lambda"), "audiences", files, BUCKET
    )


class Function:
    """The audience function."""

    def __init__(self, world: World, work: Path) -> None:
        self.store = PreparationStore(world.client("dynamodb"), LEDGER, lambda: world.clock().timestamp())
        environment = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "STORAGE_MB": "1024"}
        make = S3Maker(world.client("s3"), BUCKET, environment)
        nudged: list[Any] = []
        self._prepare = RunPreparation(self.store, {Stage.PREPARE: make}, lambda *call: nudged.append(call), work)
        self.nudged = nudged

    def __call__(self, event: dict[str, Any]) -> str:
        """What came of it."""
        return self._prepare.handle(event["prepare"], event.get("worker", "")).status


def test_an_order_is_made_and_read(world: World, audiences: Audiences, tmp_path: Path) -> None:
    """Counts, samples and pinned parts; nothing is left for the sweeper, and no worker is nudged."""
    body = "\n".join(map(json.dumps, PEOPLE)).encode()
    request = {"files": [world.put_audience("people.jsonl", body)]}
    now_s = int(world.clock().timestamp())
    assert audiences.seen(request).order is None
    audiences.order(request, now_s)
    audiences.order(request, now_s)
    [event] = world.audiences.events
    assert is_order(event["prepare"])
    assert audiences.seen(request).is_counting
    function = Function(world, tmp_path)
    assert function(event) == "prepared"
    seen = audiences.seen(request)
    assert seen.prepared is not None
    assert seen.counts is not None
    assert (seen.counts.users, seen.counts.repeated_tokens, seen.counts.rows) == (9, 1, 10)
    assert seen.counts.attributes["name"].examples == ("Ann",)
    assert len(seen.samples) == 5
    head = world.client("s3").head_object(Bucket=BUCKET, Key=seen.prepared.parts[0].key)
    assert [(part.version_id, f'"{part.etag}"') for part in seen.prepared.parts] == [(head["VersionId"], head["ETag"])]
    assert audiences.changed_since(seen.prepared) == ()
    [item] = [one for one in world.items() if one["pk"]["S"].startswith("run#form-")]
    assert not {"due", "due_at"} & item.keys()
    assert function.nudged == []
    # Asked again nothing has changed: the same audience is found. Another file under the key is another audience.
    audiences.order(request, now_s)
    assert function(world.audiences.events[-1]) == "prepared"
    assert audiences.seen(request).prepared == seen.prepared
    world.put_audience("people.jsonl", body[: body.rindex(b"\n")])
    assert audiences.changed_since(seen.prepared) == ("audiences/people.jsonl",)
    audiences.order(request, now_s)
    assert function(world.audiences.events[-1]) == "prepared"
    again = audiences.seen(request).counts
    assert again is not None
    assert again.rows == 9


def test_an_order_that_cannot_be_made(world: World, audiences: Audiences, tmp_path: Path) -> None:
    """The reason is read by the pages, and nothing is left for the sweeper."""
    request = {"files": ["audiences/none/"]}
    audiences.order(request, int(world.clock().timestamp()))
    assert Function(world, tmp_path)(world.audiences.events[0]) == "failed"
    assert audiences.seen(request).fault.startswith("audiences/none/: no object has such a key")
    [item] = [one for one in world.items() if one["pk"]["S"].startswith("run#form-")]
    assert "due" not in item


def test_an_attempt_that_was_killed_is_taken_up_again(world: World, audiences: Audiences, tmp_path: Path) -> None:
    """It stays due until an attempt has ended, so that the sweeper asks for it. After three attempts it ends."""
    request = {"files": [world.put_audience("people.jsonl", json.dumps(PEOPLE[0]).encode())]}
    audiences.order(request, int(world.clock().timestamp()))
    function = Function(world, tmp_path)
    [event] = world.audiences.events
    for attempt in range(3):
        found = function.store.read(event["prepare"])
        assert found is not None
        assert found.due_at_ms is not None
        assert function.store.claim(found, f"killed-{attempt}") is not None
        world.clock.forward(seconds=61)
    assert function(event) == "failed"
    assert "was tried 3 times" in audiences.seen(request).fault
    assert not audiences.seen(request).is_counting


def test_what_it_would_read_is_asked_before(world: World, tmp_path: Path) -> None:
    """Of files their bytes; of what cannot be read, why. Nothing is made."""
    world.put_audience("people.jsonl", b"x" * 2_000_000)
    make = S3Maker(world.client("s3"), BUCKET, {})
    assert make.costs({"files": ["audiences/people.jsonl"]}, BUCKET) == {
        "costs": ["2.0 MB of files, where nothing is paid by the byte"]
    }
    assert "there is no such query" in make.costs({"query": {"name": "nobody"}}, BUCKET)["fault"]
    world.client("s3").put_object(Bucket=BUCKET, Key="queries/lake.sql", Body=b"SELECT user_id, devices FROM users")
    world.client("s3").put_object(Bucket=BUCKET, Key="queries/lake.json", Body=b'{"engine": "athena"}')
    assert "AthenaWorkGroup" in make.costs({"query": {"name": "lake"}}, BUCKET)["fault"]
    assert world.keys("audiences/prepared/") == []
