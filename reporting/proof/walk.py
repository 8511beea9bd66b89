"""Walks over a run: the records of its audience in batches, each with what is in S3 for it. One batch is in memory."""

from collections.abc import Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from notifier.audience import FileKind, read_ids
from notifier.audience.local import parser_for, read_local
from notifier.model.audience_faults import AudienceChanged, BrokenFile
from notifier.model.batch_file import PinnedObject
from notifier.sending.batch import BATCH_SIZE
from reporting.proof.batch_audit import BatchObjects
from reporting.proof.conclusion import CannotProve
from reporting.proof.erased import Erasures
from reporting.proof.evidence import READERS, Admitted, ByBatch
from reporting.proof.pinned import fetch


class Walk:
    """The batches of one run. Every object that is read is checked against its pin.

    Args:
        strict: the run completed. What was deferred has a row then, and of its objects only the names are looked at.
    """

    def __init__(
        self, client: Any, bucket: str, run_id: str, admitted: Admitted, erasures: Erasures, *, strict: bool = False
    ) -> None:
        self._strict = strict
        self._client = client
        self._bucket = bucket
        self._run_id = run_id
        self._admitted = admitted
        self._erasures = erasures

    def excluded(self) -> Container[str]:
        """The user ids of the campaign's exclude list. Raises CannotProve."""
        if not self._admitted.exclude:
            # An empty IdSet would hash every id to find nothing.
            return frozenset()
        objects = [self._erasures.now(part)[0] for part in self._admitted.exclude]
        try:
            return read_ids(self._client, objects)
        except AudienceChanged as error:
            raise CannotProve(f"exclude: {error}") from None

    def batches(
        self, folder: Path, first: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, list[object], BatchObjects]]:
        """Number, records and objects of each batch, in their order.

        Args:
            folder: an empty one, for two parts of the audience at a time.
            first: the first batch. The parts before it are read all the same, because records are counted.
            end: the batch before which to stop; None for the end of the audience.

        Raises:
            NotProved: bytes that are not those that were pinned, or objects of batches that the audience does not have.
            CannotProve: an object is gone.
        """
        # With short batches in between nothing says how many records are before the first one.
        skip = 0 if self._admitted.breaks else first * BATCH_SIZE
        with ThreadPoolExecutor(READERS) as pool:
            rows, excluded, dead, deferred = (
                ByBatch(
                    self._client,
                    self._bucket,
                    f"{name}/run_id={self._run_id}/",
                    pool,
                    self._erasures,
                    first,
                    with_bodies=name != "deferred" or not self._strict,
                )
                for name in ("rows", "excluded", "dead-tokens", "deferred")
            )
            try:
                for number, records in enumerate(self._records(folder, pool, skip)):
                    if number < first:
                        continue
                    if number == end:
                        return
                    objects = BatchObjects(
                        rows.take(number), excluded.take(number), dead.take(number), deferred.take(number)
                    )
                    yield number, records, objects
                for one in (rows, excluded, dead, deferred):
                    one.expect_end()
            finally:
                # Where the walk ends early, what was fetched ahead is not waited for.
                pool.shutdown(wait=False, cancel_futures=True)

    def _records(self, folder: Path, pool: ThreadPoolExecutor, skip: int) -> Iterator[list[object]]:
        """The records in batches, over all parts. While one part is read the next one is fetched.

        Args:
            skip: so many records are counted and not decoded.
        """
        parts, breaks = self._admitted.parts, self._admitted.breaks
        kind = FileKind.BATCH_FILE if self._admitted.inline else FileKind.USERS
        held: list[object] = []

        def fetched(n: int) -> "Future[Path] | None":
            return pool.submit(self._fetch, parts[n], folder / f"part-{n}") if n < len(parts) else None

        coming = fetched(0)
        n = seen = 0
        while coming is not None:
            path = coming.result()
            if n in breaks and held:
                # The last batch of a window is a short one: each window is sent by a lane of its own.
                yield held
                held = []
            coming = fetched(n := n + 1)
            try:
                for records in read_local(path, parser_for(path, kind, skip=max(0, skip - seen))):
                    seen += len(records)
                    held += records
                    while len(held) >= BATCH_SIZE:
                        yield held[:BATCH_SIZE]
                        del held[:BATCH_SIZE]
            except BrokenFile as error:
                # What a run that failed for it did not read is not part of its account either.
                raise CannotProve(f"{parts[n - 1].name}: the audience breaks off: {error}") from None
            path.unlink()
        if held:
            yield held

    def _fetch(self, part: PinnedObject, path: Path) -> Path:
        now, known = self._erasures.now(part)
        fetch(self._client, now, path, known)
        return path
