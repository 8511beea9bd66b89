"""The batches of the audience, in their order: read from a stream, without those that are settled already."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Protocol

from notifier.model.cursor import Cursor
from notifier.model.run import UnfinishedClaim
from notifier.model.store_error import StoreRefused, in_words
from notifier.sending.batch import BATCH_SIZE, Batch
from notifier.sending.batch_builder import BatchBuilder
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.possible_repeats import mark_suspected, with_later_repeats
from notifier.sending.results import Results
from notifier.sending.settled_batch import SettledBatch


class BrokenInput(Exception):
    """The audience cannot be read on: broken, cut off, or changed. The message says where."""


class ChangedInput(BrokenInput):
    """The audience is not the one that was pinned: earlier claims may have read more of that one."""


class InputUnreachable(Exception):
    """The audience, or what was deferred, cannot be read now; it may be in a minute."""


class SuppressionUnreadable(InputUnreachable):
    """The user ids that every run leaves out cannot be read now: without them nothing is sent."""


class Stream(Protocol):
    """Decoded records from a cursor on: `notifier.audience` reads them from S3, the tests' twin from a list."""

    def take(self, limit: int) -> list[object]:
        """Up to `limit` records; fewer, or none, when their bytes have not arrived. Never waits.

        Raises:
            BrokenInput, InputUnreachable: once every record before the fault has been taken.
        """
        ...

    def wait(self, timeout_s: float) -> None:
        """Wait until there may be records to take. For callers that have nothing else to do."""
        ...

    @property
    def ended(self) -> bool:
        """Every record was taken."""
        ...

    def position(self) -> Cursor:
        """The cursor of the next record."""
        ...

    def close(self) -> None:
        """End files and threads."""
        ...


class AudienceBatches:
    """Batches of 500 records. A batch is formed whole, so that it can always be settled.

    Args:
        settled: batches beyond the cursor that are settled already: their records are read, not sent.
        suspects: earlier claims that ended unfinished.
        size: records in a batch; anything but 500 is for simulations.
    """

    def __init__(
        self,
        stream: Stream,
        builder: BatchBuilder,
        settled: Mapping[int, SettledBatch],
        suspects: Sequence[UnfinishedClaim],
        size: int = BATCH_SIZE,
    ) -> None:
        self._stream = stream
        self._builder = builder
        self._settled = settled
        self._suspects = suspects
        self._size = size
        self._records: list[object] = []
        """Of the batch that is not complete yet."""
        self._start = stream.position()
        self.ended = False

    def next(self) -> Batch | None:
        """The next batch, once all its records are here."""
        if self.ended:
            return None
        self._records += self._stream.take(self._size - len(self._records))
        if len(self._records) < self._size and not self._stream.ended:
            return None
        if not self._records:
            self.ended = True
            return None
        return self._form()

    def _form(self) -> Batch:
        records, start, end = self._records, self._start, self._stream.position()
        self._records, self._start = [], end
        number = start.record // self._size
        if number in self._settled:
            return self._builder.settled(self._settled[number], end)
        batch = self._builder.form(number, start.record, records, end)
        mark_suspected(batch, self._suspects)
        return batch

    def close(self) -> None:
        """End the stream."""
        self._stream.close()


class EndedAudience:
    """The batch source of a lane whose audience is read: there is none left.

    Args:
        settled: batches that a release before this, which asked for deferred batches in order, left to be counted.
    """

    def __init__(self, settled: Mapping[int, SettledBatch]) -> None:
        self.settled = settled
        self.ended = True

    def next(self) -> Batch | None:
        """There is none."""
        return None

    def close(self) -> None:
        """Nothing is open."""


BatchSource = AudienceBatches | EndedAudience
"""Batches in the order of their numbers."""


class SettledReader:
    """Reads the batches that are settled although the cursor has not passed them.

    In the background and several at once: a hundred objects that take a second each would outlast the lease.
    """

    def __init__(
        self,
        results: Results,
        background: Executor,
        run_id: str,
        cursor: Cursor,
        suspects: Sequence[UnfinishedClaim],
        size: int = BATCH_SIZE,
        below: int | None = None,
        most_devices: int = 0,
    ) -> None:
        self._results = results
        self._background = background
        self._run_id = run_id
        self._round = cursor.round
        self._suspects = suspects
        self._most_devices = most_devices
        self._listing = background.submit(results.settled_from, run_id, cursor.record // size, cursor.round, below)
        self._reading: dict[int, Future[SettledBatch]] | None = None

    def batches(self) -> dict[int, SettledBatch] | None:
        """The settled batches by number, or None while they are being read.

        Raises:
            InputUnreachable: S3 cannot be read now.
            StoreRefused: it may not be read.
        """
        if not self._listing.done():
            return None
        try:
            if self._reading is None:
                self._reading = {number: self._read(number) for number in sorted(self._listing.result())}
            if not all(task.done() for task in self._reading.values()):
                return None
            return {
                number: with_later_repeats(task.result(), self._suspects, self._most_devices)
                for number, task in self._reading.items()
            }
        except StoreRefused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever S3 answered: a later hop reads it again
            raise InputUnreachable(f"settled batches: {in_words(error)}") from None

    def _read(self, number: int) -> Future[SettledBatch]:
        return self._background.submit(self._results.settled, self._run_id, number, self._round)


class SourceOpener:
    """Opens a lane's batch source once it is known which batches beyond the cursor are settled already.

    Args:
        open_audience: the batches from the cursor on, given those that are settled.
    """

    def __init__(
        self,
        results: Results,
        background: Executor,
        open_audience: Callable[[Checkpoint, Mapping[int, SettledBatch]], BatchSource],
        size: int = BATCH_SIZE,
    ) -> None:
        self._results = results
        self._background = background
        self._open_audience = open_audience
        self._size = size
        self._reader: SettledReader | None = None

    def open(self, checkpoint: Checkpoint) -> BatchSource | None:
        """The batch source, or None while the settled batches are being read.

        Raises:
            InputUnreachable, StoreRefused: as `SettledReader.batches`.
        """
        cursor = checkpoint.cursor
        if cursor.round and not checkpoint.is_in_legacy_round:
            return EndedAudience({})  # accounts of deferred batches are counted as they settle
        if self._reader is None:
            lane, suspects = checkpoint.lane, checkpoint.suspects
            batches = lane.batches(self._size)
            below = batches[1] if batches else None
            self._reader = SettledReader(
                self._results, self._background, lane.run_id, cursor, suspects, self._size, below, lane.most_devices
            )
        settled = self._reader.batches()
        if settled is None:
            return None
        self._reader = None
        return EndedAudience(settled) if cursor.round else self._open_audience(checkpoint, settled)
