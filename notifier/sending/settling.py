"""Settles complete batches in threads, tries again what failed, and says when nothing more should be sent."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future

from notifier.model.runtime import Clock
from notifier.model.store_error import StoreRefused, in_words
from notifier.sending.batch import Batch
from notifier.sending.results import Results
from notifier.sending.settled_batch import SettledBatch
from notifier.sending.trouble_log import TroubleLog

RETRY_S = 1.0
"""A settlement that failed is tried again after this."""
REFUSALS = 3
"""So many refusals of the same batch in a row are believed: one odd answer must not stop a run."""
SLOW_S = 10.0
"""A settlement that takes longer is trouble: S3 takes some tens of milliseconds."""


class _Settlement:
    """One batch on its way. Without a task it waits for its next try."""

    __slots__ = ("batch", "began_s", "has_failed", "refusals", "retry_s", "task")

    def __init__(self, batch: Batch, task: Future[SettledBatch], began_s: float) -> None:
        self.batch = batch
        self.task: Future[SettledBatch] | None = task
        self.began_s = began_s
        self.retry_s = 0.0
        self.has_failed = False
        self.refusals = 0


class Settling:
    """The settlements that are under way.

    Args:
        epoch: of this claim; it is written into what it settles.
    """

    def __init__(self, results: Results, background: Executor, clock: Clock, epoch: int, troubles: TroubleLog) -> None:
        self._results = results
        self._background = background
        self._clock = clock
        self._epoch = epoch
        self._troubles = troubles
        self._settlements: dict[int, _Settlement] = {}
        """By number. Of one number there is one batch at a time: its next round begins when this one is settled."""
        self.refused: str | None = None
        """Why nothing can be settled before an operator has changed something."""
        self._given_up = False

    def begin(self, batch: Batch) -> None:
        """Settle a complete batch, in a thread."""
        task = self._background.submit(self._results.settle, batch, self._epoch)
        # From the first try: a settlement is slow however often it was tried.
        self._settlements[batch.number] = _Settlement(batch, task, self._clock.monotonic())

    def give_up(self) -> None:
        """Begin no further try. What is under way goes on, and what is begun from now on is tried once."""
        self._given_up = True

    @property
    def is_troubled(self) -> bool:
        """Whether a settlement has failed and not succeeded since, or takes too long: so might what is sent now."""
        late_s = self._clock.monotonic() - SLOW_S
        return any(one.has_failed or one.began_s < late_s for one in self._settlements.values())

    @property
    def is_under_way(self) -> bool:
        """Whether a call to S3 has not returned."""
        return any(one.task is not None for one in self._settlements.values())

    def done(self) -> Iterator[tuple[Batch, SettledBatch]]:
        """Batches that were settled since the last call. Begins the tries that are due."""
        now_s = self._clock.monotonic()
        for number, one in list(self._settlements.items()):
            if one.task is None:
                if now_s >= one.retry_s and not self._given_up:
                    one.task = self._background.submit(self._results.settle, one.batch, self._epoch)
            elif one.task.done():
                settled = self._result(one, one.task, now_s)
                # Removed before the caller gets it: its next round may begin at once, under the same number.
                if settled is not None:
                    del self._settlements[number]
                    yield one.batch, settled

    def _result(self, one: _Settlement, task: Future[SettledBatch], now_s: float) -> SettledBatch | None:
        """What a finished try returned; None when it failed: then the batch waits for its next try."""
        try:
            return task.result()
        except StoreRefused as error:
            # Refusals in a row only: an unreachable S3 in between sets the number back.
            one.refusals += 1
            self._troubles.note(f"rows_refused: {error}")
            if one.refusals >= REFUSALS:
                self.refused = f"rows_refused: {error}"
        except Exception as error:  # noqa: BLE001 - S3 could not be reached: the batch waits, and is tried again
            one.refusals = 0
            self._troubles.note(f"rows could not be written: {in_words(error)}")
        one.task, one.retry_s, one.has_failed = None, now_s + RETRY_S, True
        return None
