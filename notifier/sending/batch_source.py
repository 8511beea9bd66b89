"""Where batches come from: the audience in round 0, the deferred devices of earlier batches in every round above."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from notifier.model.account import Account
from notifier.model.background import Background, Task
from notifier.model.cursor import Cursor
from notifier.model.run import UnfinishedClaim
from notifier.model.store_error import StoreRefused, in_words
from notifier.sending.batch import BATCH_SIZE, Batch
from notifier.sending.batch_builder import BatchBuilder
from notifier.sending.results import Results, SettledBatch


class BrokenInput(Exception):
    """The audience cannot be read on: broken, cut off, or changed. The message says where."""


class InputUnreachable(Exception):
    """The audience, or what was deferred, cannot be read now; it may be in a minute."""


class Stream(Protocol):
    """Decoded records, from a cursor on (`notifier.audience`)."""

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
        """Let go of files and threads."""
        ...


class Position(Protocol):
    """Where a lane is (`notifier.sending.checkpoint`)."""

    @property
    def cursor(self) -> Cursor: ...
    @property
    def suspects(self) -> tuple[UnfinishedClaim, ...]: ...
    @property
    def is_old(self) -> bool: ...


class BatchSource(Protocol):
    """Hands out batches in the order of their numbers."""

    def next(self) -> Batch | None:
        """The next batch, or None when it is not there yet, or there is none (`ended`)."""
        ...

    @property
    def ended(self) -> bool:
        """There are no more batches."""
        ...

    def close(self) -> None:
        """Let go of files and threads."""
        ...


class AudienceBatches:
    """Batches of 500 records. A batch is formed whole, so that it can always be settled.

    Args:
        settled: accounts of batches that are settled already, beyond the cursor: they are passed over.
        suspects: workers that died, and what they may have asked for.
        size: records in a batch; anything but 500 is for simulations.
    """

    def __init__(
        self,
        stream: Stream,
        builder: BatchBuilder,
        settled: Mapping[int, Account],
        suspects: Sequence[UnfinishedClaim],
        size: int = BATCH_SIZE,
    ) -> None:
        self._stream = stream
        self._builder = builder
        self._settled = settled
        self._suspects = suspects
        self._size = size
        self._records: list[object] = []
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
            return self._builder.settled(number, self._settled[number], end)
        batch = self._builder.form(number, start.record, records, end)
        suspect(batch, self._suspects)
        return batch

    def close(self) -> None:
        """End the stream."""
        self._stream.close()


class EndedFeed:
    """The feed of a lane whose audience is read.

    Args:
        settled: accounts that a release before this, which asked for deferred batches in order, left to be taken in.
    """

    def __init__(self, settled: Mapping[int, Account]) -> None:
        self.settled = settled
        self.ended = True

    def next(self) -> Batch | None:
        """There is none."""
        return None

    def close(self) -> None:
        """Nothing is held open."""


def suspect(batch: Batch, suspects: Sequence[UnfinishedClaim]) -> None:
    """Mark pushes as possible repeats: n earlier claims may have asked for each of them, each claim once.

    Then n - 1 requests may have been repeats already. They are counted now, because this claim may not come to ask.
    One more is counted when it asks.
    """
    asked = [bits for one in suspects if (bits := one.asked_of(batch.number))]
    if not asked:
        return
    for push in batch.waiting:
        askers = sum(bits >> push.order & 1 for bits in asked)
        if askers and not push.is_control:
            repeats = askers - 1 + push.maybe_repeat
            if repeats:
                batch.count_repeats(push, repeats)
            push.maybe_repeat = True
            batch.suspected += 1


class SkipReader:
    """Reads the accounts of batches that are settled although the cursor has not passed them.

    In the background and several at once: a hundred objects that take a second each would outlast the lease.
    """

    def __init__(
        self,
        results: Results,
        background: Background,
        run_id: str,
        cursor: Cursor,
        suspects: Sequence[UnfinishedClaim],
        size: int = BATCH_SIZE,
    ) -> None:
        self._results = results
        self._background = background
        self._run_id = run_id
        self._round = cursor.round
        self._suspects = suspects
        self._listing = background.submit(results.settled_from, run_id, cursor.record // size, cursor.round)
        self._reading: dict[int, Task[SettledBatch]] | None = None

    def accounts(self) -> dict[int, Account] | None:
        """The accounts by batch number, or None while they are being read.

        Raises:
            InputUnreachable: S3 cannot be read now.
            StoreRefused: it may not be read.
        """
        if not self._listing.done():
            return None
        try:
            if self._reading is None:
                numbers = self._listing.result()
                self._reading = {number: self._read(number) for number in sorted(numbers)}
            if not all(task.done() for task in self._reading.values()):
                return None
            return {number: account_of(number, task.result(), self._suspects) for number, task in self._reading.items()}
        except StoreRefused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever S3 had to say: a later hop reads it again
            raise InputUnreachable(f"settled batches: {in_words(error)}") from None

    def _read(self, number: int) -> Task[SettledBatch]:
        return self._background.submit(self._results.settled, self._run_id, number, self._round)


def account_of(number: int, found: SettledBatch, suspects: Sequence[UnfinishedClaim]) -> Account:
    """What a slow claim settled may have been asked for again since, by claims that died: that is added."""
    later = sum(one.epoch > found.epoch and one.may_have_asked(number) for one in suspects)
    if later:
        # Devices that an earlier round counted are not counted again; their requests are.
        found.account.add_repeats(found.repeatable, later * found.askable, at_most=found.repeatable)
    return found.account


class FeedOpener:
    """Opens the feed of a round once it is known which batches are settled already.

    Args:
        read: begins to read them.
        make: the feed, given their accounts.
    """

    def __init__(
        self,
        read: Callable[["Position"], SkipReader],
        make: Callable[["Position", Mapping[int, Account]], BatchSource],
    ) -> None:
        self._read = read
        self._make = make
        self._reader: SkipReader | None = None

    def __call__(self, position: "Position") -> BatchSource | None:
        """The feed, or None while the settled batches are being read. Errors as of `SkipReader.accounts`."""
        if position.cursor.round and not position.is_old:
            return self._make(position, {})  # of deferred batches the accounts are taken in as they settle
        if self._reader is None:
            self._reader = self._read(position)
        accounts = self._reader.accounts()
        if accounts is None:
            return None
        self._reader = None
        return self._make(position, accounts)
