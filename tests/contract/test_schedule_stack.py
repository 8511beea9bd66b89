"""What the schedules read and write of the rest of a stack, against a real bucket and table."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from time import sleep
from typing import Any

import pytest

from audiences.store import PreparationStore
from notifier.model.preparation import PreparationState
from notifier.model.run import Ending, LaneState, Run, source_of
from notifier.stores.ledger import DynamoLedger
from privacy.erase import erase
from privacy.stack import Stack as ErasingStack
from privacy.whom import suppress
from schedules.definition import DatedDrops
from schedules.documents import BucketTexts, CopyChanged, Documents, copy_prefix
from schedules.drops import Drops, NotReady
from schedules.stack import Stack
from tests.contract.moto_stores import Time, client_of, make_table, moto_server, new_name

DAY = "2026-12-01"
FOLDER = f"audiences/day-2/{DAY}/"
MARKED = DatedDrops(prefix="audiences/day-2/$day/", ready="_SUCCESS")
LISTED = DatedDrops(prefix="audiences/day-2/$day/", ready="manifest.json")
SAID = DatedDrops(prefix="audiences/day-2/$day/")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An AWS."""
    with moto_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str) -> tuple[Any, str]:
    """A client, and a bucket with versions."""
    client, name = client_of("s3", endpoint), new_name("bucket")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return client, name


def lines(*user_ids: str) -> bytes:
    """An audience."""
    return b"".join(json.dumps({"user_id": one, "platform": "ios", "token": one}).encode() + b"\n" for one in user_ids)


class Place:
    """A stack, with those whom it asks for audiences."""

    def __init__(self, endpoint: str, bucket: tuple[Any, str]) -> None:
        self.time = Time()
        self.s3, self.bucket = bucket
        self.dynamodb, self.table = client_of("dynamodb", endpoint), new_name("ledger")
        make_table(self.dynamodb, self.table)
        self.asked: list[str] = []
        self.stack = Stack(self.dynamodb, self.table, self.s3, self.bucket, self.asked.append, self.time)
        self.ledger = DynamoLedger(self.dynamodb, self.table, self.time)


@pytest.fixture
def place(endpoint: str, bucket: tuple[Any, str]) -> Place:
    """A stack."""
    return Place(endpoint, bucket)


class TestDrops:
    """Files that are written for each day, and whether they are complete."""

    def put(self, bucket: tuple[Any, str], *names: str, body: bytes = b"x") -> None:
        for name in names:
            bucket[0].put_object(Bucket=bucket[1], Key=FOLDER + name, Body=body)

    def request(self, bucket: tuple[Any, str], drops: DatedDrops, *, said: bool = False) -> list[str]:
        """The keys of the day's audience, without its folder."""
        found = Drops(*bucket).request(drops, DAY, declared_ready=said)
        assert all(part["bucket"] == bucket[1] and part["etag"] for part in found["parts"])
        return [part["key"].removeprefix(FOLDER) for part in found["parts"]]

    def test_marker(self, bucket: tuple[Any, str]) -> None:
        """The files are pinned when the marker is there; helpers of the writer are none of them."""
        self.put(bucket, "b.parquet", "a.parquet", "_temporary/c", ".a.crc")
        with pytest.raises(NotReady, match="_SUCCESS is not there"):
            self.request(bucket, MARKED)
        self.put(bucket, "_SUCCESS", body=b"")
        assert self.request(bucket, MARKED) == ["a.parquet", "b.parquet"]

    def test_newer_than_the_marker(self, bucket: tuple[Any, str]) -> None:
        """A file that is newer than the marker: the writer is still at it."""
        self.put(bucket, "_SUCCESS", "a.parquet")
        later = Later(bucket[0], "a.parquet")
        with pytest.raises(NotReady, match=r"a\.parquet is newer than _SUCCESS"):
            Drops(later, bucket[1]).request(MARKED, DAY, declared_ready=False)  # type: ignore[arg-type]

    def test_manifest(self, bucket: tuple[Any, str]) -> None:
        """The files that it names, by their name or by the whole key; one that is missing is waited for."""
        self.put(bucket, "a.csv", "b.csv", "draft.csv")
        files = [{"key": "a.csv", "rows": 1}, {"key": FOLDER + "b.csv"}, f"s3://x/{FOLDER}c.csv"]
        self.put(bucket, "manifest.json", body=json.dumps({"files": files}).encode())
        with pytest.raises(NotReady, match=r"c\.csv is in .*manifest\.json and not there"):
            self.request(bucket, LISTED)
        self.put(bucket, "c.csv")
        self.put(bucket, "manifest.json", body=json.dumps({"files": files}).encode())
        assert self.request(bucket, LISTED) == ["a.csv", "b.csv", "c.csv"]

    @pytest.mark.parametrize(
        ("files", "rows"),
        [([{"key": "a", "rows": 3}, {"key": "b", "rows": 4}], 7), ([{"key": "a"}], None), (["a"], None)],
    )
    def test_rows(self, bucket: tuple[Any, str], files: list[Any], rows: int | None) -> None:
        """What the manifest says that its files have together; it need not say it."""
        self.put(bucket, "manifest.json", body=json.dumps({"files": files}).encode())
        assert Drops(*bucket).expected_rows(LISTED, DAY) == rows
        assert Drops(*bucket).expected_rows(LISTED, "2026-12-02") is None
        assert Drops(*bucket).expected_rows(MARKED, DAY) is None

    @pytest.mark.parametrize("drops", [MARKED, LISTED])
    @pytest.mark.parametrize("before_marker", [False, True])
    def test_what_an_erasure_has_rewritten(
        self, bucket: tuple[Any, str], place: Place, drops: DatedDrops, before_marker: bool
    ) -> None:
        """Twice, and one of which nobody is left: the drop is as ready as before, and has so many rows less."""
        self.put(bucket, "a.jsonl", body=lines("gone", "b", "went"))
        self.put(bucket, "b.csv", body=b"user_id,platform,token\ngone,ios,t\nb,ios,u\n")
        self.put(bucket, "c.jsonl", body=lines("gone"))
        files = [{"key": "a.jsonl", "rows": 3}, {"key": "b.csv", "rows": 2}, {"key": "c.jsonl", "rows": 1}]

        def mark() -> None:
            self.put(bucket, str(drops.ready), body=json.dumps({"files": files}).encode())

        def erase_users() -> None:
            of_privacy = ErasingStack(place.s3, place.dynamodb, place.bucket, place.table, "suppression/")
            for user_id in ("gone", "went"):
                now = datetime.now(UTC)
                whom = suppress(place.s3, place.bucket, "suppression/", [user_id], now)
                assert erase(of_privacy, whom, "ann", now).is_done

        if not before_marker:
            mark()
            sleep(1.1)  # S3's times are whole seconds
        erase_users()
        if before_marker:
            mark()
        assert self.request(bucket, drops) == ["a.jsonl", "b.csv"]
        assert Drops(*bucket).expected_rows(drops, DAY) == (2 if drops is LISTED else None)
        # The writer's own, after that, is newer.
        sleep(1.1)
        self.put(bucket, "a.jsonl", body=lines("new"))
        with pytest.raises(NotReady, match="is newer than"):
            self.request(bucket, drops)

    def test_a_copy_of_what_an_erasure_has_rewritten(self, bucket: tuple[Any, str], place: Place) -> None:
        """Written by others, after the marker and with all rows it has: its metadata are those of another file."""
        client, name = bucket
        source, emptied, twice = (f"audiences/day-2/2026-11-30/{'ä ' * 200}{n}.jsonl" for n in range(3))

        def copy(key: str) -> None:
            client.copy_object(Bucket=name, Key=FOLDER + "a.jsonl", CopySource={"Bucket": name, "Key": key})

        def erase_user(user_id: str) -> None:
            now = datetime.now(UTC)
            whom = suppress(place.s3, name, "suppression/", [user_id], now)
            of_privacy = ErasingStack(place.s3, place.dynamodb, name, place.table, "suppression/")
            assert erase(of_privacy, whom, "ann", now).is_done

        def mark(rows: int) -> None:
            self.put(bucket, "manifest.json", body=json.dumps({"files": [{"key": "a.jsonl", "rows": rows}]}).encode())

        client.put_object(Bucket=name, Key=source, Body=lines("gone", "b"), Metadata={"by": "x" * 1500})
        client.put_object(Bucket=name, Key=emptied, Body=lines("gone"))
        erase_user("gone")
        assert "erased-written-at" in client.head_object(Bucket=name, Key=source)["Metadata"]
        mark(rows=1)
        sleep(1.1)  # S3's times are whole seconds
        copy(source)
        with pytest.raises(NotReady, match=r"a\.jsonl is newer than manifest\.json"):
            self.request(bucket, LISTED)
        assert Drops(*bucket).expected_rows(LISTED, DAY) == 1
        # One of which nobody was left, and which a copy of it left empty here.
        copy(emptied)
        mark(rows=1)
        with pytest.raises(NotReady, match=r"a\.jsonl is in .* and not there"):
            self.request(bucket, LISTED)
        # An erasure of the copy begins anew.
        client.put_object(Bucket=name, Key=twice, Body=lines("went", "gone", "b"))
        erase_user("gone")
        copy(twice)
        mark(rows=2)
        erase_user("went")
        assert (self.request(bucket, LISTED), Drops(*bucket).expected_rows(LISTED, DAY)) == (["a.jsonl"], 1)

    def test_an_empty_file_is_still_waited_for(self, bucket: tuple[Any, str]) -> None:
        """No erasure has emptied it."""
        self.put(bucket, "a.csv")
        self.put(bucket, "b.csv", body=b"")
        self.put(bucket, "manifest.json", body=json.dumps({"files": ["a.csv", "b.csv"]}).encode())
        with pytest.raises(NotReady, match=r"b\.csv is in .* and not there"):
            self.request(bucket, LISTED)

    def test_no_manifest(self, bucket: tuple[Any, str]) -> None:
        """What is called so and is none is said, with its form."""
        self.put(bucket, "a.csv", "manifest.json")
        with pytest.raises(NotReady, match="is no manifest"):
            self.request(bucket, LISTED)

    def test_a_person_says_so(self, bucket: tuple[Any, str]) -> None:
        """Without a marker a person says that the files are complete; without files that does not help."""
        with pytest.raises(NotReady, match="schedules ready"):
            self.request(bucket, SAID)
        with pytest.raises(NotReady, match="has no files"):
            self.request(bucket, SAID, said=True)
        self.put(bucket, "a.csv")
        assert self.request(bucket, SAID, said=True) == ["a.csv"]


class Later:
    """A bucket's client by whose clock one object is a minute newer than it is."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_paginator(self, _operation: str) -> "Later":
        """Itself."""
        return self

    def paginate(self, **about: Any) -> list[dict[str, Any]]:
        """The listing."""
        page = self._client.list_objects_v2(**about)
        for one in page["Contents"]:
            if one["Key"].endswith(self._name):
                one["LastModified"] = datetime(2100, 1, 1, tzinfo=UTC)
        return [page]


class TestTexts:
    """Definitions in a bucket, and their copies."""

    def test_copy(self, bucket: tuple[Any, str]) -> None:
        """A definition with its query is copied, read back from there, and refused once the copy was changed."""
        client, name = bucket
        schedule = {
            "schedule": {"when": {"cron": "0 9 * * *", "timezone": "UTC"}},
            "audience": {"query": {"name": "all"}},
            "campaign": {"message": {"title": "Hi"}},
        }
        texts = BucketTexts(client, name)
        for key, body in (
            ("schedules/a.json", json.dumps(schedule).encode()), ("queries/all.sql", b"SELECT 1"),
            ("queries/all.json", b"{}"), ("schedules/notes.txt", b""),
        ):  # fmt: skip
            texts.put(key, body)
        documents = Documents(texts)
        before = documents.files()
        assert list(before) == ["a"]
        document = documents.read("a")
        documents.copy(document)
        assert documents.files() == before, "copies are no schedules"
        assert documents.adopted("a", document.hash).texts == document.texts
        texts.put("queries/all.sql", b"SELECT 2")
        assert documents.files() != before
        assert documents.adopted("a", document.hash).texts["queries/all.sql"] == b"SELECT 1"
        texts.put(copy_prefix("a", document.hash) + "queries/all.sql", b"SELECT 3")
        with pytest.raises(CopyChanged):
            documents.adopted("a", document.hash)
        assert texts.get("queries/other.sql") is None


class TestStack:
    """Preparations, runs, batch files."""

    def test_preparation(self, place: Place) -> None:
        """Asked twice it is one item, which the audience function claims and ends; then it is due no more."""
        request = {"files": ["standing/x.jsonl"]}
        place.stack.ask("occurrence:a:t:1", request)
        place.stack.ask("occurrence:a:t:1", request)
        assert place.asked == ["occurrence:a:t:1"] * 2
        assert place.stack.prepared("occurrence:a:t:1") is None
        store = PreparationStore(place.dynamodb, place.table, place.time)
        found = store.read("occurrence:a:t:1")
        assert found is not None
        assert (json.loads(found.request), found.bucket) == (request, place.bucket)
        claimed = store.claim(found, "me")
        assert claimed is not None
        manifest = {"version": 1, "id": "i", "parts": [{"bucket": "b", "key": "k", "etag": "e", "version_id": None}]}
        body = json.dumps(manifest | {"counts": {"users": 7, "rows": 9}}).encode()
        place.s3.put_object(Bucket=place.bucket, Key="m.json", Body=body)
        store.end("occurrence:a:t:1", "me", manifest="m.json")
        prepared = place.stack.prepared("occurrence:a:t:1")
        assert prepared is not None
        assert (prepared.users, prepared.rows, prepared.fault) == (7, 9, "")
        assert prepared.audience == {"parts": [{"bucket": "b", "key": "k", "etag": "e"}]}
        assert list(place.ledger.due_preparations(place.time.ms + 10**9)) == []

    def test_a_preparation_that_failed(self, place: Place) -> None:
        """The reason is the audience function's own."""
        place.stack.ask("occurrence:a:t:1", {})
        store = PreparationStore(place.dynamodb, place.table, place.time)
        found = store.read("occurrence:a:t:1")
        assert found is not None
        store.claim(found, "me")
        store.end("occurrence:a:t:1", "me", reason="queries/x.sql: no such table")
        assert place.stack.prepared("occurrence:a:t:1") == place.stack.prepared("occurrence:a:t:1")
        prepared = place.stack.prepared("occurrence:a:t:1")
        assert prepared is not None
        assert prepared.fault == "queries/x.sql: no such table"
        assert PreparationState.FAILED.is_over

    def test_a_manifest_that_is_gone(self, place: Place) -> None:
        """Expired, or deleted by an erasure: that is said, and ends what waits for it."""
        place.stack.ask("occurrence:a:t:1", {"files": ["standing/u.jsonl"]})
        store = PreparationStore(place.dynamodb, place.table, place.time)
        found = store.read("occurrence:a:t:1")
        assert found is not None
        store.claim(found, "me")
        store.end("occurrence:a:t:1", "me", manifest="audiences/prepared/gone/manifest.json")
        for _ in range(2):
            prepared = place.stack.prepared("occurrence:a:t:1")
            assert prepared is not None
            assert (prepared.audience, prepared.fault) == (None, "its prepared audience is gone")

    def test_runs(self, place: Place) -> None:
        """A run that nobody has looked at is not over; one that is done is, and one that failed has not completed."""
        run = Run("r1", source_of(place.bucket, "batches/a.json", "v1", "e1"), 7)
        assert (place.stack.first_requests_over("r1"), place.stack.has_begun("r1")) == (False, False)
        place.ledger.open_run(run)
        assert (place.stack.first_requests_over("r1"), place.stack.has_begun("r1")) == (False, True)
        for run_id, ending in (("r1", Ending.COMPLETED), ("r2", Ending.FAILED)):
            lane = place.ledger.open_run(Run(run_id, source_of(place.bucket, f"batches/{run_id}.json", "v", "e"), 7))
            place.dynamodb.update_item(
                TableName=place.table,
                Key={"pk": {"S": f"run#{lane.run_id}"}, "sk": {"S": "lane#0000"}},
                UpdateExpression="SET #state = :done, ending = :ending",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":done": {"S": LaneState.DONE.value}, ":ending": {"S": ending.value}},
            )
        assert (place.stack.first_requests_over("r1"), place.stack.completed("r1")) == (True, True)
        assert (place.stack.first_requests_over("r2"), place.stack.completed("r2")) == (True, False)

    def test_batch_file(self, place: Place) -> None:
        """Approved, then written once: the same run, however often; other bytes never take its place."""
        key = "batches/schedules/a/a-2026-12-01T0900.json"
        first = place.stack.write_batch_file(key, b"{}", "5" * 64, "ann@example.com")
        assert place.stack.write_batch_file(key, b"other", "6" * 64, "bob@example.com") == first
        assert place.s3.get_object(Bucket=place.bucket, Key=key)["Body"].read() == b"{}"
        approval = place.ledger.approval(place.bucket, key)
        assert approval is not None
        assert "5" * 64 in repr(approval)
        head = place.s3.head_object(Bucket=place.bucket, Key=key)
        assert first == source_of(place.bucket, key, head["VersionId"], head["ETag"]).run_id

    def test_ready(self, place: Place) -> None:
        """What a person has said of a day is kept."""
        assert not place.stack.declared_ready("a", DAY)
        place.stack.declare_ready("a", DAY, "ann")
        assert place.stack.declared_ready("a", DAY)
