"""Brings deferred devices back when they are due: from the queue that reads them to the checkpoint that counts them."""

import math
from collections.abc import Container
from concurrent.futures import Executor, Future

from notifier.model.cursor import Cursor
from notifier.model.run import Asking
from notifier.sending.asking import asked_by_old_claims
from notifier.sending.batch import BATCH_SIZE, Batch, Push
from notifier.sending.batch_source import InputUnreachable
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.deferred_format import DeferredBatch, due_from
from notifier.sending.deferred_queue import DeferredQueue
from notifier.sending.possible_repeats import with_later_repeats
from notifier.sending.results import Results
from notifier.sending.settled_batch import SettledBatch
from notifier.sending.uncounted import Counted


class DeferredRounds:
    """The deferred batches of one hop.

    Args:
        size: records in a batch.
    """

    def __init__(
        self,
        queue: DeferredQueue,
        results: Results,
        background: Executor,
        checkpoint: Checkpoint,
        run_id: str,
        campaign_id: str,
        size: int = BATCH_SIZE,
    ) -> None:
        self._queue = queue
        self._results = results
        self._background = background
        self._checkpoint = checkpoint
        self._run_id = run_id
        self._campaign_id = campaign_id
        self._size = size
        self._reading: dict[int, Future[SettledBatch]] = {}
        """By number, rounds that earlier claims settled without adding them to the account: being read."""
        self._lost: set[int] = set()
        """Batches that dead workers may have asked for, and of which neither rows nor deferred devices are left."""
        self._has_looked = False
        """The objects were listed once more since the last batch was taken."""
        self._has_ended_reading = False
        """The queue knows that the audience was read."""

    def turn(self) -> None:
        """Begin to read what is due, take in what was read. Never blocks.

        Raises:
            StoreRefused: the role may not read what is deferred.
        """
        if self._queue.refused is not None:
            raise self._queue.refused
        if self._checkpoint.is_read and not self._has_ended_reading:
            self._has_ended_reading = True
            self._queue.end_reading()
        cursor = self._checkpoint.cursor
        # A batch's next round may begin when the cursor has passed its first: after the audience, that is all of them.
        self._queue.turn(math.inf if cursor.round else cursor.record // self._size)
        self._find_settled()

    def take(self, *, unfinished_only: bool = False) -> list[tuple[Batch, list[Push]]]:
        """Take the batches that are due out of the queue and enter them with the checkpoint.

        Args:
            unfinished_only: only what dead workers may have asked for, whether it is due or not: a run that ends early
                still accounts for it.

        Returns:
            Each batch, and those of its devices that are to be asked for at a later time of their own
            (`DeferredQueue.take`).
        """
        taken = []
        unfinished = {one.number for one in self._checkpoint.asking.unfinished}
        if unfinished_only:
            self._queue.hurry(unfinished)
        for found in self._queue.ready():
            number = found.number
            if number in self._reading or (unfinished_only and number not in unfinished):
                continue
            # A batch that a dead worker may have asked for is taken even if nothing in it is due: its possible
            # repeats must be counted.
            if number not in unfinished and self._queue.put_back(number):
                self._checkpoint.asking.withdraw([number])
            elif self._checkpoint.may_ask(number, found.round):
                batch, later = self._queue.take(number, self._checkpoint.asking.suspects_of(number))
                self._checkpoint.enter_deferred(batch)
                self._has_looked = False
                taken.append((batch, later))
        return taken

    def stop(self) -> None:
        """Nothing more is asked for in this hop: take back what was entered and not begun."""
        self._checkpoint.asking.withdraw()

    # -- what is left -------------------------------------------------------------------------------------------------

    def due_at(self) -> float | None:
        """When the next batch is due, seconds since the epoch; infinite when none is, None while it is not known.

        Raises:
            InputUnreachable: what is deferred cannot be read now.
        """
        self.raise_trouble()
        return None if self._reading else self._queue.due_at()

    def raise_trouble(self) -> None:
        """Raise what keeps the deferred devices from being read, if there is anything.

        Raises:
            InputUnreachable: what is deferred cannot be read now.
        """
        if self._queue.trouble is not None:
            raise InputUnreachable(self._queue.trouble)

    def is_quiet(self, now_s: float) -> bool:
        """Whether nothing is due, nor being read."""
        due_at = self._queue.due_at()
        return due_at is not None and due_at > now_s

    def come_first(self, now_s: float) -> bool:
        """Whether something is due, or may be. What cannot be read holds nothing up."""
        return self._queue.trouble is None and not self.is_quiet(now_s)

    @property
    def is_listed(self) -> bool:
        """Whether the queue knows all deferred batches."""
        return self._queue.is_listed

    def look_again(self) -> bool:
        """List the objects once more, because devices are deferred and none is found. False when that was done."""
        if self._has_looked:
            return False
        self._has_looked = True
        self._queue.look()
        return True

    @property
    def has_unfinished(self) -> bool:
        """Whether dead workers may have asked for deferred batches that were neither taken nor counted since."""
        return any(one.number not in self._lost for one in self._checkpoint.asking.unfinished)

    def asked_by_old_claims(self, settled: Container[int]) -> list[Asking]:
        """What claims of an earlier release may have asked for."""
        checkpoint = self._checkpoint
        return asked_by_old_claims(self._queue.open_rounds, checkpoint.cursor.round, checkpoint.suspects, settled)

    # -- rounds that earlier claims settled ---------------------------------------------------------------------------

    def _find_settled(self) -> None:
        """Read those: a settled batch is missing in the account as long as it is in the list of batches asked for."""
        if not self._queue.is_listed or not self._queue.may_try:
            return
        for one in self._checkpoint.asking.unfinished:
            number = one.number
            if (number, one.round) not in self._queue.settled:
                if number not in self._queue:
                    self._lost.add(number)
            elif number not in self._reading:
                self._reading[number] = self._background.submit(self._results.settled, self._run_id, number, one.round)
        for number in [number for number, task in self._reading.items() if task.done()]:
            self._count(number, self._reading.pop(number))

    def _count(self, number: int, task: Future[SettledBatch]) -> None:
        try:
            settled = task.result()
        except Exception as error:  # noqa: BLE001 - whatever S3 answered: it is read again in a later turn
            self._queue.fail(error)
            return
        end = Cursor(record=(number + 1) * self._size, round=settled.round)
        batch = Batch(self._run_id, self._campaign_id, number, settled.round, end)
        batch.settled = with_later_repeats(settled, self._checkpoint.asking.suspects_of(number))
        batch.account = batch.settled.account
        self._queue.forget(number, settled.round)
        self._checkpoint.enter_deferred(batch)

    # -- what is settled ----------------------------------------------------------------------------------------------

    def note_counted(self, counted: Counted) -> None:
        """A batch was settled, and its account added to the lane's: ask for what it deferred when that is due."""
        batch = counted.batch
        if counted.is_ours:
            if batch.deferred:
                due_at = min(map(due_from, batch.deferred))
                epochs = (self._checkpoint.lane.epoch,)
                self._queue.add(DeferredBatch(batch.number, batch.round + 1, epochs, due_at))
            return
        # Another worker settled it, and may have deferred other devices than this one: only a listing shows them. Not
        # where it deferred nothing, nor in a later round: that was found by a listing, and so was the round after it.
        needs_no_listing = batch.settled_by_another and (batch.round or not batch.account.deferred)
        if batch.number not in self._queue and not needs_no_listing:
            self._queue.look()
