"""Look-ups and erasures that officers started: how far they are, and what was found, for a day.

| where | holds |
|---|---|
| the approval table, `privacy#JOB` / `job` | what is done, for whom and until when; it names no user |
| `lookups/JOB.json` | what was found of a user; it expires after a day, and goes with an erasure of theirs |
"""

import secrets
from enum import StrEnum
from typing import Any

import msgspec

from reporting.person import Found

PREFIX = "lookups/"
KEEP_S = 86_400
"""How long a job is there to be asked about."""


class JobState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    UNFINISHED = "unfinished"
    """It did what it could; `words` say what is left, and how that is done."""
    FAILED = "failed"


class Job(msgspec.Struct, frozen=True):
    """One look-up or erasure. `what` is find or erase; `words` are for the officer; `until_ms` is when it is over."""

    id: str
    what: str
    by: str
    at_ms: int
    until_ms: int
    state: JobState = JobState.RUNNING
    words: str = ""
    step: str = ""
    done: int = 0
    total: int = 0


class Jobs:
    """The jobs of a stack.

    Args:
        dynamodb, s3: boto3 clients.
        table: the approval table.
    """

    def __init__(self, dynamodb: Any, table: str, s3: Any, bucket: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._s3 = s3
        self._bucket = bucket

    def put(self, job: Job) -> None:
        """Write a job down, over what is there: where two invocations work on it, each says how far it is."""
        item = {
            "pk": {"S": f"privacy#{job.id}"},
            "sk": {"S": "job"},
            "data": {"S": msgspec.json.encode(job).decode()},
            "expires_at": {"N": str(job.at_ms // 1000 + KEEP_S)},
        }
        self._dynamodb.put_item(TableName=self._table, Item=item)

    def get(self, id_: str) -> Job | None:
        """A job; None where there is none, or no more."""
        key = {"pk": {"S": f"privacy#{id_}"}, "sk": {"S": "job"}}
        item = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return msgspec.json.decode(item["data"]["S"], type=Job) if item else None

    def keep(self, id_: str, found: Found) -> None:
        """Keep what was found."""
        body = msgspec.json.encode(found)
        self._s3.put_object(Bucket=self._bucket, Key=f"{PREFIX}{id_}.json", Body=body, ContentType="application/json")

    def found(self, id_: str) -> Found | None:
        """What was found; None where it is gone: after a day, or by an erasure."""
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=f"{PREFIX}{id_}.json")["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        return msgspec.json.decode(body, type=Found)


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(16)
