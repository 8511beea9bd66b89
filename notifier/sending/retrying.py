"""Asks for deferred devices when they are due: between the queue that reads them and the progress that settles them."""

import math
from collections.abc import Mapping

from notifier.model.account import Account
from notifier.model.background import Background, Task
from notifier.model.cursor import Cursor
from notifier.model.run import Asking
from notifier.model.store_error import StoreRefused, in_words
from notifier.sending.asking import of_old_claims
from notifier.sending.batch import BATCH_SIZE, Batch, Push
from notifier.sending.batch_source import InputUnreachable, account_of
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferral import DeferredBatch, due_from
from notifier.sending.deferred import DeferredQueue
from notifier.sending.results import Results, SettledBatch


class Retrying:
    """The deferred batches of one hop.

    Args:
        size: records in a batch.
    """

    def __init__(
        self,
        queue: DeferredQueue,
        results: Results,
        background: Background,
        checkpoint: Checkpoint,
        run_id: str,
        campaign_id: str,
        size: int = BATCH_SIZE,
    ) -> None:
        self._queue = queue
        self._results = results
        self._background = background
        self._progress = checkpoint
        self._run_id = run_id
        self._campaign_id = campaign_id
        self._size = size
        self._reading: dict[int, Task[SettledBatch]] = {}
        """Rounds that earlier claims settled and did not come to count, by number."""
        self._lost: set[int] = set()
        """Of what workers that died may have asked for: batches of which nothing is left."""
        self._has_looked = False
        self._is_read = False
        self._refused: StoreRefused | None = None
        checkpoint.on_settled = self._note_settled
        queue.on_error = self._note_error

    def turn(self) -> None:
        """Read what is due.

        Raises:
            StoreRefused: what is deferred may not be read.
        """
        if self._refused is not None:
            raise self._refused
        if self._progress.is_read and not self._is_read:
            self._is_read = True
            self._queue.end_reading()
        cursor = self._progress.cursor
        self._queue.turn(math.inf if cursor.round else cursor.record // self._size)
        self._find_settled()

    def take(self, *, unfinished_only: bool = False) -> list[tuple[Batch, list[Push]]]:
        """Take in the batches that are due: their devices are to be asked for, or deferred again.

        Returns each with those of its devices that are to be asked for at their own later time (`DeferredQueue.take`).

        Args:
            unfinished_only: only what workers that died may have asked for, whether it is due or not: a run that ends
                early still accounts for it.
        """
        taken = []
        unfinished = {one.number for one in self._progress.asking.unfinished}
        if unfinished_only:
            self._queue.hurry(unfinished)
        for found in self._queue.ready():
            number = found.number
            if number in self._reading or (unfinished_only and number not in unfinished):
                continue
            if number not in unfinished and self._queue.put_back(number):
                self._progress.asking.withdraw([number])
            elif self._progress.may_ask(number, found.round):
                batch, later = self._queue.take(number, self._progress.asking.suspects_of(number))
                self._progress.enter_deferred(batch)
                self._has_looked = False
                taken.append((batch, later))
        return taken

    def stop(self) -> None:
        """Nothing more is asked for in this hop."""
        self._progress.asking.withdraw()

    # -- what is left -------------------------------------------------------------------------------------------------

    def due_at(self) -> float | None:
        """When the next batch is due, seconds since the epoch; infinite when none is, None while it is not known.

        Raises:
            InputUnreachable: it cannot be read now.
        """
        if self._queue.trouble is not None:
            raise InputUnreachable(self._queue.trouble)
        return None if self._reading else self._queue.due_at()

    def is_quiet(self, now_s: float) -> bool:
        """Whether nothing is due, nor being read."""
        due_at = self._queue.due_at()
        return due_at is not None and due_at > now_s

    @property
    def is_listed(self) -> bool:
        """Whether it is known what there is."""
        return self._queue.is_listed

    def look_again(self) -> bool:
        """List the objects once more, as devices are deferred and none is found. False when that was done already."""
        if self._has_looked:
            return False
        self._has_looked = True
        self._queue.look()
        return True

    @property
    def has_unfinished(self) -> bool:
        """Whether workers that died may have asked for deferred batches that were not formed or counted since."""
        return any(one.number not in self._lost for one in self._progress.asking.unfinished)

    def asked_by_old_claims(self, settled: Mapping[int, Account]) -> list[Asking]:
        """What claims of a release before this may have asked for."""
        checkpoint = self._progress
        return of_old_claims(self._queue.open_rounds, checkpoint.cursor.round, checkpoint.suspects, settled)

    # -- rounds that earlier claims settled ---------------------------------------------------------------------------

    def _find_settled(self) -> None:
        """Their accounts are missing, as long as they are in the list of batches asked for."""
        if not self._queue.is_listed or not self._queue.may_try:
            return
        for one in self._progress.asking.unfinished:
            number = one.number
            if (number, one.round) not in self._queue.settled:
                if number not in self._queue:
                    self._lost.add(number)
            elif number not in self._reading:
                self._reading[number] = self._background.submit(self._results.settled, self._run_id, number, one.round)
        for number in [number for number, task in self._reading.items() if task.done()]:
            self._count(number, self._reading.pop(number))

    def _count(self, number: int, task: Task[SettledBatch]) -> None:
        try:
            settled = task.result()
        except Exception as error:  # noqa: BLE001 - whatever S3 had to say: it is read again in the next turn
            self._queue.fail(error)
            return
        end = Cursor(record=(number + 1) * self._size, round=settled.round)
        batch = Batch(self._run_id, self._campaign_id, number, settled.round, end)
        batch.account = account_of(number, settled, self._progress.asking.suspects_of(number))
        batch.passed = True
        self._queue.forget(number, settled.round)
        self._progress.enter_deferred(batch)

    # -- what happens -------------------------------------------------------------------------------------------------

    def _note_settled(self, batch: Batch, is_ours: bool) -> None:
        if is_ours:
            if batch.deferred:
                due_at = min(map(due_from, batch.deferred))
                epochs = (self._progress.lane.epoch,)
                self._queue.add(DeferredBatch(batch.number, batch.round + 1, epochs, due_at))
        elif batch.number not in self._queue and (not batch.passed or (batch.account.deferred and not batch.round)):
            self._queue.look()  # another worker settled it; what that one deferred is not known here

    def _note_error(self, error: Exception) -> None:
        if isinstance(error, StoreRefused):
            self._refused = error
        self._progress.note_trouble(f"deferred devices could not be read: {in_words(error)}")
