"""Counting an audience: a job that can be cut short and gone on with, its progress and result where others find them.

A job is named by exactly the objects it counts, so that asking twice counts once. Hashes of tokens leave memory at each
checkpoint and come back at the end; what was checkpointed is never read again.
"""

import enum
import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Protocol

import msgspec

from notifier.counting.counter import AudienceCounter, AudienceFigures
from notifier.model.campaign import Part
from notifier.model.cursor import Cursor
from notifier.model.runtime import Clock
from notifier.model.user_rows import BATCH_SIZE

LEASE_MS = 60_000
"""A claim holds for this long after its last write."""
REPORT_EVERY_S = 2.0
CHECKPOINT_EVERY_S = 60.0
AT_ONCE = 5_000
"""Records counted between two looks at the clock."""
PIECE_BYTES = 8_000_000
"""Of token hashes in one object: a million tokens."""
WAIT_S = 0.5
NO_PROGRESS = "no_progress: one invocation is too short to come to a new user; give the audience in smaller parts"
"""Said instead of invoking oneself for ever."""


class CountStatus(enum.StrEnum):
    """What a counting job is doing."""

    COUNTING = "counting"
    """It runs, or waits for somebody to go on with it."""
    DONE = "done"
    """`result` holds the figures."""
    FAILED = "failed"
    """The audience cannot be read; `reason` says why."""


class CountProgress(msgspec.Struct, frozen=True):
    """How far it is. Bytes as stored."""

    users: int = 0
    bytes: int = 0
    bytes_total: int = 0


class CountJob(msgspec.Struct, frozen=True):
    """A counting job as its item shows it; the approval app reads the same item. `result` is None until it is done."""

    count_id: str
    status: CountStatus
    progress: CountProgress = CountProgress()
    result: AudienceFigures | None = None
    reason: str = ""
    updated_at_ms: int = 0


class Claim(msgspec.Struct, frozen=True):
    """A job in the hands of one invocation: every write is conditional on `epoch`.

    `figures` and `pieces` (names of put-away token hashes) are what earlier invocations counted, up to `cursor`.
    """

    count_id: str
    epoch: int
    cursor: Cursor = Cursor()
    figures: AudienceFigures = msgspec.field(default_factory=AudienceFigures)
    pieces: tuple[str, ...] = ()


class CountTaken(Exception):
    """Nothing to do: somebody counts already, or the job is done. The message is the status."""


class CountLost(Exception):
    """Another invocation has the job since: this one must not write any more."""


class AudienceUncountable(Exception):
    """The audience cannot be read as it is. The message says what to mend."""


class CountJobs(Protocol):
    """Where jobs are kept (`notifier.counting.store`)."""

    def claim(self, count_id: str, by: str) -> Claim: ...
    def report(self, claim: Claim, progress: CountProgress) -> None: ...
    def put_piece(self, claim: Claim, number: int, piece: bytes) -> str: ...
    def read_piece(self, name: str) -> bytes: ...
    def save(self, claim: Claim, progress: CountProgress) -> None: ...
    def release(self, claim: Claim) -> None: ...
    def finish(self, claim: Claim, figures: AudienceFigures, progress: CountProgress) -> None: ...
    def fail(self, claim: Claim, reason: str) -> None: ...


class CountStream(Protocol):
    """Decoded records from a cursor on (`notifier.audience`)."""

    @property
    def read_bytes(self) -> int: ...
    @property
    def ended(self) -> bool: ...
    def take(self, limit: int) -> list[object]: ...
    def wait(self, timeout_s: float) -> None: ...
    def position(self) -> Cursor: ...
    def locate(self, record: int) -> tuple[int, int]: ...
    def close(self) -> None: ...


def count_id(parts: Iterable[Part]) -> str:
    """The job's name. Parts are named as they were asked for; the bucket, the version and the ETag included."""
    name = [[part.bucket, part.key, part.version_id or "", part.etag] for part in parts]
    canonical = json.dumps(name, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:20]


class Counting:
    """Counts one audience.

    Args:
        parts: the name of every part, and its bytes, in order.
        open_stream: the records from a cursor on.
        is_near_end: whether this invocation's time is up.
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
        """Count until the end, or until the time is up: then the job is saved, and `COUNTING` asks for a continuation.

        Raises:
            CountLost: another invocation goes on with it.
        """
        try:
            return self._run(claim)
        except AudienceUncountable as error:
            self._jobs.fail(claim, str(error))
            return CountStatus.FAILED
        except CountLost:
            raise
        except Exception:
            self._jobs.release(claim)
            raise

    def _run(self, claim: Claim) -> CountStatus:
        stream = self._open_stream(claim.cursor)

        def place_of(record: int) -> tuple[str, int]:
            part, number = stream.locate(record)
            return self._names[part] if len(self._names) > 1 else "", number

        tally = AudienceCounter(claim.figures, place_of, self._batch_size)
        began_at = claim.cursor.record
        before = sum(self._sizes[: claim.cursor.part]) + (claim.cursor.byte or 0)
        reported = saved = self._clock.monotonic()
        try:
            while not stream.ended:
                # A batch that is begun is finished first: rows of one user are joined within it.
                in_batch = stream.position().record % self._batch_size
                records = stream.take(self._batch_size - in_batch if in_batch else AT_ONCE)
                if not records:
                    stream.wait(WAIT_S)
                tally.take(records)
                now = self._clock.monotonic()
                is_due = self._is_near_end() or now - saved >= CHECKPOINT_EVERY_S
                if is_due and (not records or stream.position().record % self._batch_size == 0):
                    claim = self._save(claim, tally, stream, before)
                    saved = reported = now
                    if self._is_near_end():
                        if claim.cursor.record == began_at:
                            raise AudienceUncountable(NO_PROGRESS)
                        self._jobs.release(claim)
                        return CountStatus.COUNTING
                elif now - reported >= REPORT_EVERY_S:
                    self._jobs.report(claim, self._progress(tally, before + stream.read_bytes))
                    reported = now
            for name in claim.pieces:
                tally.tokens.load(self._jobs.read_piece(name))
        finally:
            stream.close()
        tally.figures.repeated_tokens = tally.tokens.repeated()
        self._jobs.finish(claim, tally.figures, self._progress(tally, sum(self._sizes)))
        return CountStatus.DONE

    def _save(self, claim: Claim, tally: AudienceCounter, stream: CountStream, before: int) -> Claim:
        """Put away what is known: hashes first, then the state that names them."""
        names = list(claim.pieces)
        for piece in tally.tokens.pieces(PIECE_BYTES):
            names.append(self._jobs.put_piece(claim, len(names), piece))
        tally.tokens.clear()
        claim = Claim(claim.count_id, claim.epoch, stream.position(), tally.figures, tuple(names))
        self._jobs.save(claim, self._progress(tally, before + stream.read_bytes))
        return claim

    def _progress(self, tally: AudienceCounter, read_bytes: int) -> CountProgress:
        total = sum(self._sizes)
        return CountProgress(tally.figures.users, min(read_bytes, total), total)
