"""Which batch of the audience begins next, and whether it may now: room, deferred devices, what the ledger covers."""

from notifier.model.store_error import StoreRefused
from notifier.sending.batch import BATCH_SIZE, Batch
from notifier.sending.batch_source import BrokenInput, ChangedInput, InputUnreachable
from notifier.sending.hop_exit import Departure, Exit
from notifier.sending.hop_parts import HopParts
from notifier.sending.shutdown import Shutdown

MAX_OPEN_BATCHES = 256
"""So many batches may be formed and not passed by the cursor. An answer that takes 5 s keeps those behind it waiting:
12,000 pushes a second × 5.5 s / 450 of a batch = 147. Twice 128, which bounded a run whose answers were so late."""


class BatchOpening:
    """Brings batches of the audience in, one at a time."""

    def __init__(self, hop: HopParts, shutdown: Shutdown) -> None:
        self._hop = hop
        self._shutdown = shutdown

    def next(self) -> Batch | None:
        """Bring the next batch of the audience in, if there may be one. Returns it if it has devices to send."""
        batch = self._read() if self._may_read else None
        if batch is None:
            return None
        # Only what may be asked for is reserved. A settled batch is not asked for again; where a run ends early, the
        # batch is deferred unasked. Neither can leave requests behind in a crash.
        must_reserve = self._shutdown.why is None and not batch.settled_by_another
        if must_reserve and not self._hop.checkpoint.reserve(batch.number, batch.devices):
            # The ledger must first record that a crash can have reached it: the write is under way, or the next one.
            self._hop.reading.put_back(batch)
            return None
        self._hop.checkpoint.enter(batch)
        # Settled by another claim, or without a valid device: there is nothing to send of it.
        if not batch.waiting:
            return None
        self._hop.checkpoint.begin_sending()
        return batch

    @property
    def is_full(self) -> bool:
        """Whether no further batch may be begun before one of the open ones is settled."""
        # After `give_up` no batch waits for another: unsettled ones are left, and must not stop the reading on.
        return self._hop.checkpoint.unsettled >= MAX_OPEN_BATCHES and not self._hop.checkpoint.has_given_up

    @property
    def _may_read(self) -> bool:
        if self.is_full or self._deferred_come_first:
            return False
        is_going_on = self._shutdown.why is None
        return is_going_on or self._shutdown.must_read_audience or self._hop.checkpoint.is_in_legacy_round

    @property
    def _deferred_come_first(self) -> bool:
        """Whether the few requests that a low rate allows go to batches that earlier hops began.

        Where a hop sends less than a batch, the rest of it is deferred. With a new batch in each hop there would be
        ever more of them, and every hop reads and writes all that are due.
        """
        allowed = self._hop.queue.first_requests_in(self._hop.deadline.before_near_ms())
        if self._shutdown.why is not None or allowed >= BATCH_SIZE:
            return False
        return self._hop.deferred.come_first(self._hop.clock.now())

    def _read(self) -> Batch | None:
        """The next batch of the audience; None when it is not there yet, or cannot be read, which ends the hop."""
        try:
            return self._hop.reading.next(self._hop.clock.monotonic())
        except BrokenInput as error:
            # In an unchanged file every claim stops at this record. In a changed one an earlier claim may have read on.
            self._hop.checkpoint.end_forming(has_changed=isinstance(error, ChangedInput))
            self._shutdown.request(Departure(Exit.FAIL, str(error)))
        except StoreRefused as error:
            self._shutdown.request(Departure(Exit.STOP, f"rows_refused: {error}"))
        except InputUnreachable as error:
            self._shutdown.wait(str(error))
        return None
