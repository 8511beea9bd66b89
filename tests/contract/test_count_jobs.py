"""Counting jobs in DynamoDB and S3: who may write, what readers see, and going on where another stopped."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from notifier.counting.counter import AudienceCounter, AudienceFigures
from notifier.counting.handler import CountService
from notifier.counting.job import LEASE_MS, CountLost, CountProgress, CountStatus, CountTaken
from notifier.counting.store import DynamoCountJobs
from notifier.model.cursor import Cursor
from sandbox.audience import Recipe, users
from sandbox.aws import LocalAws

BUCKET = "counts"
TABLE = "ledger"


class Clock:
    """A clock that a test moves."""

    at_s = 1_000_000.0

    def now(self) -> float:
        return self.at_s

    monotonic = now

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS with a table and a bucket."""
    with LocalAws.start(tmp_path_factory.mktemp("aws")) as aws:
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        aws.client("dynamodb").create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield aws


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(aws: LocalAws, clock: Clock) -> DynamoCountJobs:
    return DynamoCountJobs(aws.client("dynamodb"), TABLE, aws.client("s3"), BUCKET, clock.now)


def test_one_counts_at_a_time(jobs: DynamoCountJobs, clock: Clock) -> None:
    """A job that is being counted cannot be claimed, until its lease ends; then the former holder writes no more."""
    first = jobs.claim("lease", "ann")
    with pytest.raises(CountTaken, match="counting"):
        jobs.claim("lease", "ben")
    clock.sleep(LEASE_MS / 1000 + 1)
    second = jobs.claim("lease", "ben")
    assert second.epoch == first.epoch + 1
    writes: tuple[Callable[[], object], ...] = (
        lambda: jobs.report(first, CountProgress()),
        lambda: jobs.save(first, CountProgress()),
        lambda: jobs.release(first),
        lambda: jobs.finish(first, AudienceFigures(), CountProgress()),
        lambda: jobs.fail(first, "late"),
    )
    for write in writes:
        with pytest.raises(CountLost):
            write()


def test_reports_keep_the_claim(jobs: DynamoCountJobs, clock: Clock) -> None:
    """Progress is seen by readers, and each report renews the lease."""
    claim = jobs.claim("report", "ann")
    clock.sleep(LEASE_MS / 1000 - 1)
    jobs.report(claim, CountProgress(7, 70, 700))
    clock.sleep(LEASE_MS / 1000 - 1)
    with pytest.raises(CountTaken):
        jobs.claim("report", "ben")
    seen = jobs.read("report")
    assert seen is not None
    assert (seen.status, seen.progress, seen.result) == (CountStatus.COUNTING, CountProgress(7, 70, 700), None)
    assert seen.updated_at_ms == int((Clock.at_s + LEASE_MS / 1000 - 1) * 1000)


def test_a_saved_job_goes_on(jobs: DynamoCountJobs) -> None:
    """Cursor, figures and put-away hashes come back with the next claim."""
    claim = jobs.claim("saved", "ann")
    name = jobs.put_piece(claim, 0, b"hashes")
    saved = msgspec.structs.replace(
        claim, cursor=Cursor(record=5, in_part=5), figures=AudienceFigures(users=5), pieces=(name,)
    )
    jobs.save(saved, CountProgress(5))
    jobs.release(saved)
    again = jobs.claim("saved", "ann")
    assert (again.cursor, again.figures, again.pieces) == (saved.cursor, saved.figures, (name,))
    assert jobs.read_piece(name) == b"hashes"


def test_a_result_stays(jobs: DynamoCountJobs) -> None:
    """A job that is done is not counted again; readers have its figures."""
    jobs.finish(jobs.claim("done", "ann"), AudienceFigures(users=3, repeated_tokens=1), CountProgress(3, 9, 9))
    with pytest.raises(CountTaken, match="done"):
        jobs.claim("done", "ann")
    seen = jobs.read("done")
    assert seen is not None
    assert (seen.status, seen.result) == (CountStatus.DONE, AudienceFigures(users=3, repeated_tokens=1))


def test_a_failed_job_begins_again(jobs: DynamoCountJobs) -> None:
    """What failed may be asked for again, and begins at the first record."""
    claim = jobs.claim("failed", "ann")
    jobs.save(msgspec.structs.replace(claim, cursor=Cursor(record=5)), CountProgress(5))
    jobs.fail(claim, "cut off")
    seen = jobs.read("failed")
    assert seen is not None
    assert (seen.status, seen.reason) == (CountStatus.FAILED, "cut off")
    assert jobs.claim("failed", "ann").cursor == Cursor()
    assert jobs.read("nobody") is None


@pytest.mark.parametrize("form", ["lines", "gzip", "list"])
def test_hops_count_as_one(aws: LocalAws, jobs: DynamoCountJobs, tmp_path: Path, form: str) -> None:
    """An audience of two parts, counted in as many invocations as it takes, has the figures of one that had time."""
    s3 = aws.client("s3")
    records = [msgspec.json.encode(user) for user in users(Recipe(users=15_000, duplicates=40, broken=12))]
    parts, first = [], 9_000
    for n, part in enumerate((records[:first], records[first:])):
        lines = b"\n".join(part)
        body = {"lines": lines, "gzip": gzip.compress(lines), "list": b"[" + b",".join(part) + b"]"}[form]
        key = f"audiences/{form}-{n}"
        answer = s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        parts.append({"bucket": BUCKET, "key": key, "version_id": None, "etag": answer["ETag"].strip('"')})
    event = {"action": "count", "parts": parts, "by": "ann"}
    asked: list[bytes] = []

    def hop(remaining_ms: Callable[[], int]) -> str:
        service = CountService(s3, jobs, BUCKET, Clock(), asked.append)
        return str(service.handle(event, remaining_ms)["status"])

    def short(looks: int) -> Callable[[], int]:
        """Time that is up after so many looks at it."""
        left = iter([90_000] * looks)
        return lambda: next(left, 1_000)

    hops = 0
    while hop(short(4 * 2**hops)) == "counting":
        hops += 1
    assert hops > 0
    assert [msgspec.json.decode(one) for one in asked] == [event] * hops
    name = hop_name(event)
    seen = jobs.read(name)
    assert seen is not None
    assert seen.result is not None
    names = [f"s3://{BUCKET}/{part['key']}" for part in parts]
    whole = AudienceCounter(locate=lambda number: (names[number >= first], number % first))
    whole.take(map(msgspec.json.decode, records))
    assert (seen.result.users, seen.result.repeated_tokens) == (15_000, whole.tokens.repeated())
    assert msgspec.structs.replace(seen.result, repeated_tokens=None) == whole.figures
    assert seen.progress.bytes == seen.progress.bytes_total > 0
    assert hop(short(9)) == "done"


def hop_name(event: dict[str, Any]) -> str:
    from notifier.counting.job import count_id
    from notifier.model.campaign import Part

    return count_id([msgspec.convert(part, Part) for part in event["parts"]])
