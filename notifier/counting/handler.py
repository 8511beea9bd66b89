"""Counting as an invocation of the control function: pin the objects, claim the job, count, invoke the next in time."""

from collections.abc import Callable
from typing import Any

import msgspec

from notifier.audience import (
    AudienceChanged,
    AudienceDenied,
    AudienceStream,
    AudienceUnreachable,
    FileKind,
    GuardedStream,
    pin_parts,
)
from notifier.counting.job import AudienceUncountable, Counting, CountStatus, CountTaken, count_id
from notifier.counting.store import DynamoCountJobs
from notifier.model.campaign import Part
from notifier.model.cursor import Cursor
from notifier.model.runtime import Clock, Deadline

RESERVE_MS = 30_000
"""With less time left the job is saved for the next invocation. At most a third of the time at the beginning."""


class CountRequest(msgspec.Struct, frozen=True):
    """`{"action": "count", "parts": [{"bucket": "…", "key": "…", "version_id": "…", "etag": "…"}], "by": "…"}`.

    With `batch_file` the one part is a batch file that holds its users itself.
    """

    parts: tuple[Part, ...]
    by: str = ""
    batch_file: bool = False


class CountService:
    """Handles events that ask for a count.

    Args:
        s3: a boto3 S3 client.
        bucket: where parts are that name no bucket.
        invoke_self: invokes this function with an event, asynchronously.
    """

    def __init__(
        self, s3: Any, jobs: DynamoCountJobs, bucket: str, clock: Clock, invoke_self: Callable[[bytes], object]
    ) -> None:
        self._s3 = s3
        self._jobs = jobs
        self._bucket = bucket
        self._clock = clock
        self._invoke_self = invoke_self

    def handle(self, event: dict[str, Any], remaining_ms: Callable[[], int]) -> dict[str, Any]:
        """Count, or continue a job. The answer is for people who invoke by hand: the job's item has the same.

        Raises:
            msgspec.ValidationError: the event is not a `CountRequest`.
            AudienceUnreachable: S3 does not answer; Lambda invokes the function again.
        """
        request = msgspec.convert(event, CountRequest)
        name = count_id(request.parts)
        # Claimed before the objects are looked at, so that a fault of theirs is stored where the asker looks.
        try:
            claim = self._jobs.claim(name, request.by)
        except CountTaken as taken:
            return {"status": str(taken), "count_id": name}
        try:
            pinned = pin_parts(self._s3, request.parts, self._bucket)
        except (AudienceChanged, AudienceDenied) as error:
            self._jobs.fail(claim, str(error))
            return {"status": CountStatus.FAILED.value, "count_id": name, "reason": str(error)}
        except Exception:
            # Lambda's next try must not wait for the lease to end.
            self._jobs.release(claim)
            raise
        kind = FileKind.BATCH_FILE if request.batch_file else FileKind.USERS

        def open_stream(cursor: Cursor) -> GuardedStream:
            stream = AudienceStream(self._s3, pinned, cursor, kind=kind)
            return GuardedStream(stream, AudienceUncountable, AudienceUnreachable)

        deadline = Deadline(remaining_ms, min(RESERVE_MS, remaining_ms() // 3))
        parts = [(part.name, part.size) for part in pinned]
        counting = Counting(self._jobs, parts, open_stream, self._clock, deadline.is_near)
        status = counting.run(claim)
        if status is CountStatus.COUNTING:
            self._invoke_self(msgspec.json.encode(event))
        return {"status": status.value, "count_id": name}


__all__ = ["AudienceUnreachable", "CountRequest", "CountService"]
