"""Counting jobs in DynamoDB (`pk = count#ID, sk = count`), and what they put away in S3 (`counts/count_id=ID/`).

Readers look at `status`, `progress`, `result`, `reason` and `updated_at_ms`; the rest is between two invocations.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from notifier.counting.job import LEASE_MS, Claim, CountJob, CountLost, CountProgress, CountStatus, CountTaken
from notifier.counting.tally import Figures
from notifier.model.cursor import decode_cursor

KEEP_S = 30 * 86_400
"""A job's item is kept for this long after its last write."""


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
        item = self._client.get_item(TableName=self._table, Key=_key(count_id), ConsistentRead=True).get("Item")
        if item is None:
            return None
        result = item.get("result")
        return CountJob(
            count_id,
            CountStatus(item["status"]["S"]),
            msgspec.json.decode(item["progress"]["S"], type=CountProgress),
            msgspec.json.decode(result["S"], type=Figures) if result else None,
            item.get("reason", {}).get("S", ""),
            int(item["updated_at_ms"]["N"]),
        )

    def claim(self, count_id: str, by: str) -> Claim:
        """Take a job that is new, failed, or left by somebody.

        Raises:
            CountTaken: it is done, or its lease holds.
        """
        now_ms = self._now_ms()
        values = {
            ":counting": {"S": CountStatus.COUNTING.value},
            ":failed": {"S": CountStatus.FAILED.value},
            ":none": {"S": msgspec.json.encode(CountProgress()).decode()},
            ":by": {"S": by},
            ":zero": _n(0),
            ":one": _n(1),
            ":now": _n(now_ms),
            ":lease": _n(now_ms + LEASE_MS),
            ":keep": _n(now_ms // 1000 + KEEP_S),
        }
        clauses = {
            "is_new": "attribute_not_exists(pk)",
            "has_failed": "#status = :failed",
            "holder_is_gone": "(#status = :counting AND lease_until_ms < :now)",
        }
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(count_id),
                UpdateExpression=(
                    "SET #status = :counting, progress = if_not_exists(progress, :none), asked_by = :by,"
                    " epoch = if_not_exists(epoch, :zero) + :one, lease_until_ms = :lease, updated_at_ms = :now,"
                    " expires_at = :keep REMOVE reason"
                ),
                ConditionExpression=" OR ".join(clauses.values()),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            found = self.read(count_id)
            raise CountTaken(found.status.value if found else "taken") from None
        item = answer["Attributes"]
        epoch = int(item["epoch"]["N"])
        if "saved" not in item:
            return Claim(count_id, epoch)
        body = self._s3.get_object(Bucket=self._bucket, Key=item["saved"]["S"])["Body"].read()
        saved = msgspec.json.decode(body, type=_Saved)
        return Claim(count_id, epoch, decode_cursor(saved.cursor), saved.figures, saved.pieces)

    def report(self, claim: Claim, progress: CountProgress) -> None:
        """Show how far it is, and keep the claim. Raises CountLost."""
        self._write(claim, "progress = :progress", {":progress": _json(progress)})

    def put_piece(self, claim: Claim, number: int, piece: bytes) -> str:
        """Put token hashes away. Returns their name."""
        key = f"counts/count_id={claim.count_id}/tokens-e{claim.epoch}-{number:04d}.bin"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=piece)
        return key

    def read_piece(self, name: str) -> bytes:
        """What was put away."""
        body: bytes = self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        return body

    def save(self, claim: Claim, progress: CountProgress) -> None:
        """Make this the place where the job goes on. Raises CountLost."""
        saved = _Saved(claim.cursor.encode(), claim.figures, claim.pieces)
        key = f"counts/count_id={claim.count_id}/state-e{claim.epoch}-{claim.figures.users:012d}.json"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=msgspec.json.encode(saved))
        self._write(claim, "progress = :progress, saved = :saved", {":progress": _json(progress), ":saved": {"S": key}})

    def release(self, claim: Claim) -> None:
        """Let the next invocation have it at once."""
        self._write(claim, "lease_until_ms = :zero", {":zero": _n(0)})

    def finish(self, claim: Claim, figures: Figures, progress: CountProgress) -> None:
        """The figures are the result. Raises CountLost."""
        sets = "#status = :status, progress = :progress, #result = :result"
        values = {":status": {"S": CountStatus.DONE.value}, ":progress": _json(progress), ":result": _json(figures)}
        self._write(claim, sets, values)

    def fail(self, claim: Claim, reason: str) -> None:
        """It cannot be counted. Asked again, the job begins anew. Raises CountLost."""
        sets = "#status = :status, reason = :reason"
        self._write(
            claim, sets, {":status": {"S": CountStatus.FAILED.value}, ":reason": {"S": reason}}, " REMOVE saved"
        )

    def _write(self, claim: Claim, sets: str, values: dict[str, Any], more: str = "") -> None:
        now_ms = self._now_ms()
        values = values | {
            ":epoch": _n(claim.epoch),
            ":counting": {"S": CountStatus.COUNTING.value},
            ":now": _n(now_ms),
        }
        if "lease_until_ms" not in sets:
            sets += ", lease_until_ms = :lease"
            values[":lease"] = _n(now_ms + LEASE_MS)
        names = {"#status": "status"} | ({"#result": "result"} if "#result" in sets else {})
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(claim.count_id),
                UpdateExpression=f"SET {sets}, updated_at_ms = :now{more}",
                ConditionExpression="epoch = :epoch AND #status = :counting",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            raise CountLost(claim.count_id) from None

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


class _Saved(msgspec.Struct):
    cursor: str
    figures: Figures
    pieces: tuple[str, ...]


def _key(count_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"count#{count_id}"}, "sk": {"S": "count"}}


def _n(number: int) -> dict[str, str]:
    return {"N": str(number)}


def _json(value: object) -> dict[str, str]:
    return {"S": msgspec.json.encode(value).decode()}
