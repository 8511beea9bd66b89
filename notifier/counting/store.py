"""Counting jobs in DynamoDB (`pk = count#ID, sk = count`), and their intermediate state in S3 (`counts/count_id=ID/`).

Readers look at `status`, `progress`, `result`, `reason` and `updated_at_ms`; the rest is for the next invocation.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, ConditionBase
from botocore.exceptions import ClientError

from notifier.counting.counter import AudienceFigures
from notifier.counting.job import LEASE_MS, Claim, CountJob, CountLost, CountProgress, CountStatus, CountTaken
from notifier.dynamodb import IS_NEW, Item, Update, is_refused, item_of
from notifier.model.cursor import decode_cursor

KEEP_S = 30 * 86_400
"""A job's item is kept for this long after it was claimed last."""
_STATUS = Attr("status")

HAS_FAILED = _STATUS.eq(CountStatus.FAILED.value)
"""The audience could not be read. Asked for again, it may have been corrected: the count begins from the start."""


def lease_is_over(now_ms: int) -> ConditionBase:
    """An invocation has saved the job and released it, or has died."""
    return _STATUS.eq(CountStatus.COUNTING.value) & Attr("lease_until_ms").lt(now_ms)


class DynamoCountJobs:
    """Jobs in one table and one bucket.

    Args:
        client: a boto3 DynamoDB client.
        s3: a boto3 S3 client.
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, table: str, s3: Any, bucket: str, now: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._s3 = s3
        self._bucket = bucket
        self._now = now

    def read(self, count_id: str) -> CountJob | None:
        """The job, or None."""
        item = self._client.get_item(TableName=self._table, Key=count_key(count_id), ConsistentRead=True).get("Item")
        return job_of(item) if item is not None else None

    def claim(self, count_id: str, by: str) -> Claim:
        """Claim a job that is new, has failed, or has no invocation that works on it.

        Args:
            by: who asks for the count, for people who look.

        Raises:
            CountTaken: it is done, or another invocation has its lease.
        """
        now_ms = self._now_ms()
        update = (
            Update()
            .set(status=CountStatus.COUNTING.value, asked_by=by, lease_until_ms=now_ms + LEASE_MS)
            .set(updated_at_ms=now_ms, expires_at=now_ms // 1000 + KEEP_S)
            .set_first(progress=_json(CountProgress()))  # one that is continued keeps showing how far it is
            .add(epoch=1)
            .remove("reason")
            .only_if(IS_NEW | HAS_FAILED | lease_is_over(now_ms))
        )
        item = self._update(count_id, update)
        if item is None:
            found = self.read(count_id)
            raise CountTaken(found.status.value if found else "taken")
        epoch = int(item["epoch"]["N"])
        if "saved" not in item:
            return Claim(count_id, epoch)
        body = self._s3.get_object(Bucket=self._bucket, Key=item["saved"]["S"])["Body"].read()
        saved = msgspec.json.decode(body, type=_Saved)
        return Claim(count_id, epoch, decode_cursor(saved.cursor), saved.figures, saved.pieces)

    def report(self, claim: Claim, progress: CountProgress) -> None:
        """Show how far it is, and extend the lease. Raises CountLost."""
        self._write(claim, self._extended_lease().set(progress=_json(progress)))

    def put_piece(self, claim: Claim, number: int, piece: bytes) -> str:
        """Store token hashes. Returns the name of the object."""
        # By epoch: an earlier invocation that was only slow writes other objects.
        key = f"counts/count_id={claim.count_id}/tokens-e{claim.epoch}-{number:04d}.bin"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=piece)
        return key

    def read_piece(self, name: str) -> bytes:
        """Token hashes that `put_piece` stored."""
        body: bytes = self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        return body

    def save(self, claim: Claim, progress: CountProgress) -> None:
        """Store what the claim has counted, for the invocation that continues it. Raises CountLost."""
        saved = _Saved(claim.cursor.encode(), claim.figures, claim.pieces)
        key = f"counts/count_id={claim.count_id}/state-e{claim.epoch}-{claim.figures.users:012d}.json"
        # The object first: the item must never name one that is not there.
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=msgspec.json.encode(saved))
        self._write(claim, self._extended_lease().set(progress=_json(progress), saved=key))

    def release(self, claim: Claim) -> None:
        """End the lease, so that the next invocation can claim the job at once. Raises CountLost."""
        self._write(claim, Update().set(lease_until_ms=0))

    def finish(self, claim: Claim, figures: AudienceFigures, progress: CountProgress) -> None:
        """Store the result; the job is done. Raises CountLost."""
        update = self._extended_lease().set(
            status=CountStatus.DONE.value, progress=_json(progress), result=_json(figures)
        )
        self._write(claim, update)

    def fail(self, claim: Claim, reason: str) -> None:
        """Store why the audience cannot be counted. Asked for again, the count begins from the start.

        Raises CountLost.
        """
        self._write(claim, self._extended_lease().set(status=CountStatus.FAILED.value, reason=reason).remove("saved"))

    def _write(self, claim: Claim, update: Update) -> None:
        """Write on the conditions that every write of a claim has."""
        update = update.set(updated_at_ms=self._now_ms()).only_if(
            Attr("epoch").eq(claim.epoch),  # no other invocation has claimed the job since
            _STATUS.eq(CountStatus.COUNTING.value),  # nor has this claim ended: a late report must not reopen it
        )
        if self._update(claim.count_id, update) is None:
            raise CountLost(claim.count_id)

    def _extended_lease(self) -> Update:
        return Update().set(lease_until_ms=self._now_ms() + LEASE_MS)

    def _update(self, count_id: str, update: Update) -> Item | None:
        """Update the job's item; returns all of it, or None where a condition is not met."""
        try:
            answer = self._client.update_item(
                TableName=self._table, Key=count_key(count_id), ReturnValues="ALL_NEW", **update.arguments()
            )
        except ClientError as error:
            if is_refused(error):
                return None
            raise
        item: Item = answer["Attributes"]
        return item

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


class _Saved(msgspec.Struct):
    """What one invocation leaves for the next."""

    cursor: str
    figures: AudienceFigures
    pieces: tuple[str, ...]


def count_key(count_id: str) -> Item:
    """The key of a job's item."""
    return item_of({"pk": f"count#{count_id}", "sk": "count"})


def job_of(item: Item) -> CountJob:
    """The job in an item. The approval app reads the same items."""
    result = item.get("result")
    return CountJob(
        count_id=item["pk"]["S"].removeprefix("count#"),
        status=CountStatus(item["status"]["S"]),
        progress=msgspec.json.decode(item["progress"]["S"], type=CountProgress),
        result=msgspec.json.decode(result["S"], type=AudienceFigures) if result else None,
        reason=item["reason"]["S"] if "reason" in item else "",
        updated_at_ms=int(item["updated_at_ms"]["N"]),
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
