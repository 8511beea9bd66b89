"""Counting an audience: a job that one invocation can save and the next continue.

A job is named by exactly the objects that it counts, so that the same audience is counted once, however often people
ask. Each checkpoint moves the hashes of the tokens from memory to S3; the end reads them all, to find repeated tokens.
What was counted before a checkpoint is not read again.
"""

import enum
import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from notifier.counting.counter import AudienceCounter, AudienceFigures
from notifier.model.campaign import Part
from notifier.model.cursor import Cursor
from notifier.model.runtime import Clock
from notifier.model.user_rows import BATCH_SIZE
from notifier.sending.batch_source import Stream

LEASE_MS = 60_000
"""Another invocation may claim the job this long after the last write of a claim."""
REPORT_EVERY_S = 2.0
"""How often the progress that people see is written. Each write also extends the lease."""
CHECKPOINT_EVERY_S = 60.0
"""How much work a crash can cost."""
AT_ONCE = 5_000
"""Records counted between two looks at the clock."""
PIECE_BYTES = 8_000_000
"""Of token hashes in one object: a million tokens."""
WAIT_S = 0.5
"""Longest wait for the next bytes before the clock is looked at."""
NO_PROGRESS = "no_progress: one invocation is too short to come to a new user; give the audience in smaller parts"
"""The reason of a job that would otherwise invoke the function for ever."""


class CountStatus(enum.StrEnum):
    """What a counting job is doing."""

    COUNTING = "counting"
    """An invocation counts, or the next one is about to continue."""
    DONE = "done"
    """`result` holds the figures."""
    FAILED = "failed"
    """The audience cannot be read; `reason` says why."""


class CountProgress(msgspec.Struct, frozen=True):
    """How far a job is. Bytes as stored, compressed or not."""

    users: int = 0
    bytes: int = 0
    bytes_total: int = 0


class CountJob(msgspec.Struct, frozen=True):
    """A job as others see it. `result` is None until it is done, `reason` empty unless it has failed."""

    count_id: str
    status: CountStatus
    progress: CountProgress = CountProgress()
    result: AudienceFigures | None = None
    reason: str = ""
    updated_at_ms: int = 0

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Records of the audience for previews, their tokens masked; none until the job is done."""
        return self.result.samples if self.result is not None else []


class Claim(msgspec.Struct, frozen=True):
    """One invocation's claim of a job: every write of it is conditional on `epoch`, which counts the claims.

    `figures` and `pieces` (names of the objects with token hashes) are what was counted up to `cursor`.
    """

    count_id: str
    epoch: int
    cursor: Cursor = Cursor()
    figures: AudienceFigures = msgspec.field(default_factory=AudienceFigures)
    pieces: tuple[str, ...] = ()


class CountTaken(Exception):
    """Nothing to do: another invocation counts already, or the job is done. The message is the status."""


class CountLost(Exception):
    """Another invocation has claimed the job since: this one must not write any more."""


class AudienceUncountable(Exception):
    """The audience cannot be read as it is. The message says what to change."""


class CountJobs(Protocol):
    """Stores jobs: `notifier.counting.store.DynamoCountJobs`, and the tests' twin.

    Methods that take a claim and write the job raise CountLost when another invocation has claimed it since.
    """

    def claim(self, count_id: str, by: str) -> Claim:
        """Claim a job, and enter it if it is new. Raises CountTaken."""
        ...

    def report(self, claim: Claim, progress: CountProgress) -> None:
        """Show how far it is, and extend the lease."""
        ...

    def put_piece(self, claim: Claim, number: int, piece: bytes) -> str:
        """Store token hashes. Returns the name that `read_piece` takes."""
        ...

    def read_piece(self, name: str) -> bytes:
        """Token hashes that `put_piece` stored."""
        ...

    def save(self, claim: Claim, progress: CountProgress) -> None:
        """Store what the claim has counted, for the invocation that continues it."""
        ...

    def release(self, claim: Claim) -> None:
        """End the lease, so that the next invocation can claim the job at once."""
        ...

    def finish(self, claim: Claim, figures: AudienceFigures, progress: CountProgress) -> None:
        """Store the result."""
        ...

    def fail(self, claim: Claim, reason: str) -> None:
        """Store why the audience cannot be counted."""
        ...


class CountStream(Stream, Protocol):
    """The sender's stream, with what a count reports of it."""

    @property
    def read_bytes(self) -> int:
        """Bytes read since the stream was opened, as stored."""
        ...

    def locate(self, record: int) -> tuple[int, int]:
        """The part that holds a record, and the record's number within it."""
        ...


def count_id(parts: Iterable[Part]) -> str:
    """The name of the job that counts these objects, by bucket, key, version and ETag as the request has them."""
    name = [[part.bucket, part.key, part.version_id or "", part.etag] for part in parts]
    canonical = json.dumps(name, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:20]


class Counting:
    """Counts one audience.

    Args:
        parts: name and size in bytes of every part, in order.
        open_stream: gives the records from a cursor on.
        is_near_end: whether this invocation's time is nearly up.
        batch_size: records in a batch; anything but 500 is for tests.
    """

    def __init__(
        self,
        jobs: CountJobs,
        parts: Sequence[tuple[str, int]],
        open_stream: Callable[[Cursor], CountStream],
        clock: Clock,
        is_near_end: Callable[[], bool],
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._batch_size = batch_size
        self._jobs = jobs
        self._names = [name for name, _ in parts]
        self._sizes = [size for _, size in parts]
        self._open_stream = open_stream
        self._clock = clock
        self._is_near_end = is_near_end

    def run(self, claim: Claim) -> CountStatus:
        """Count to the end, or until the time is nearly up. `COUNTING` means that another invocation has to continue.

        Raises:
            CountLost: another invocation has claimed the job.
        """
        try:
            return self._run(claim)
        except AudienceUncountable as error:
            self._jobs.fail(claim, str(error))
            return CountStatus.FAILED
        except CountLost:
            raise
        except Exception:
            # Lambda invokes the function once more, which must not wait for the lease to end.
            self._jobs.release(claim)
            raise

    def _run(self, claim: Claim) -> CountStatus:
        stream = self._open_stream(claim.cursor)

        def locate(record: int) -> tuple[str, int]:
            part, number = stream.locate(record)
            return self._names[part] if len(self._names) > 1 else "", number

        counter = AudienceCounter(claim.figures, locate, self._batch_size)
        try:
            last = self._count(claim, stream, counter)
            if last is None:
                return CountStatus.COUNTING
            for name in last.pieces:
                counter.tokens.load(self._jobs.read_piece(name))
        finally:
            stream.close()
        # Only now all hashes are together, those of earlier invocations and of earlier checkpoints included.
        counter.figures.repeated_tokens = counter.tokens.repeated()
        self._jobs.finish(last, counter.figures, self._progress(counter, sum(self._sizes)))
        return CountStatus.DONE

    def _count(self, claim: Claim, stream: CountStream, counter: AudienceCounter) -> Claim | None:
        """Count to the end of the stream; returns the claim with the last checkpoint.

        None where the time is nearly up: then the job is saved and released for the next invocation.
        """
        began_at = claim.cursor.record
        # `stream.read_bytes` begins at 0 where this invocation begins.
        before_bytes = sum(self._sizes[: claim.cursor.part]) + (claim.cursor.byte or 0)
        reported_s = saved_s = self._clock.monotonic()
        while not stream.ended:
            # A batch that is begun is finished first: rows of one user are joined within it.
            in_batch = stream.position().record % self._batch_size
            records = stream.take(self._batch_size - in_batch if in_batch else AT_ONCE)
            if not records:
                stream.wait(WAIT_S)
            counter.take(records)
            now_s = self._clock.monotonic()
            is_due = self._is_near_end() or now_s - saved_s >= CHECKPOINT_EVERY_S
            # Within a batch only where no bytes arrive: a user whose rows are on both sides then counts twice.
            if is_due and (not records or stream.position().record % self._batch_size == 0):
                claim = self._save(claim, counter, stream, before_bytes)
                saved_s = reported_s = now_s
                if self._is_near_end():
                    if claim.cursor.record == began_at:
                        raise AudienceUncountable(NO_PROGRESS)
                    self._jobs.release(claim)
                    return None
            elif now_s - reported_s >= REPORT_EVERY_S:
                self._jobs.report(claim, self._progress(counter, before_bytes + stream.read_bytes))
                reported_s = now_s
        return claim

    def _save(self, claim: Claim, counter: AudienceCounter, stream: CountStream, before_bytes: int) -> Claim:
        """Store what was counted: the hashes first, then the state that names them."""
        names = list(claim.pieces)
        for piece in counter.tokens.pieces(PIECE_BYTES):
            names.append(self._jobs.put_piece(claim, len(names), piece))
        counter.tokens.clear()
        claim = Claim(claim.count_id, claim.epoch, stream.position(), counter.figures, tuple(names))
        self._jobs.save(claim, self._progress(counter, before_bytes + stream.read_bytes))
        return claim

    def _progress(self, counter: AudienceCounter, read_bytes: int) -> CountProgress:
        total = sum(self._sizes)
        return CountProgress(counter.figures.users, min(read_bytes, total), total)
