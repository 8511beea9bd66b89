"""The deferred devices of a run: which are due when, batch by batch, whatever round each batch has come to.

A batch whose devices are due at different times is asked in several rounds: those that are due are asked, the others
are deferred again unasked, into the batch's next round. So no device waits for another. Due times are on a grid
(`notifier.sending.retry.grid_of`), which bounds the rounds of a batch: two or three for each doubling of our own waits
and one for each 256 s of a long outage, or eight for each `Retry-After`. Only numbers and due times are kept in memory;
the devices are read when they are due.

    listing ── due time not known ── looking ──┐
       └────── due time known ─────────────────┴── waiting (heap) ── due ── loading ── loaded ── taken
"""

import heapq
import math
from collections import deque
from collections.abc import Collection, Container, Sequence
from concurrent.futures import Executor, Future

import msgspec

from notifier.model.cursor import Cursor
from notifier.model.outcome import timestamp
from notifier.model.run import UnfinishedClaim
from notifier.model.runtime import Clock
from notifier.model.store_error import StoreRefused, in_words
from notifier.sending.batch import BATCH_SIZE, Batch, Push
from notifier.sending.deferred_format import DeferredBatch, DeferredDevice, OpenBatches, due_from, push_of
from notifier.sending.possible_repeats import mark_suspected
from notifier.sending.results import Results
from notifier.sending.trouble_log import TroubleLog

MAX_LOADING = 4
"""Batches that are read at the same time, besides settlements."""
MAX_LOADED = 32
"""Batches that are read and not yet asked for: their devices are in memory."""
MAX_LOOKS = 2
"""Batches whose due time is read at the same time."""
RETRY_S = 2.0
"""What could not be read is tried again after this."""
MAX_FAILURES = 5
"""After so many failures in a row nothing can be read."""
NOT_PASSED_S = 0.25
"""A batch that the cursor has not passed is looked at again after this."""


class DeferredQueue:
    """Finds and reads deferred batches in the background, each when it is due.

    Args:
        is_listed: nothing is deferred yet, so nothing has to be listed.
        suppressed: user ids that get nothing any more: their devices end as failed when they are due.
        batches: the numbers of the lane's batches; None for all.
    """

    def __init__(
        self,
        results: Results,
        background: Executor,
        clock: Clock,
        run_id: str,
        campaign_id: str,
        troubles: TroubleLog,
        size: int = BATCH_SIZE,
        *,
        is_listed: bool = False,
        suppressed: Container[str] = frozenset(),
        batches: tuple[int, int] | None = None,
    ) -> None:
        self._batches = batches
        self._results = results
        self._background = background
        self._clock = clock
        self._run_id = run_id
        self._campaign_id = campaign_id
        self._troubles = troubles
        self._size = size
        self._suppressed = suppressed
        self._known: dict[int, DeferredBatch] = {}
        """By number: of each batch the round that is to be asked next."""
        self._waiting: list[tuple[float, int, int]] = []
        """A heap: due time, number, round."""
        self._at_end: list[int] = []
        """Numbers of batches that wait for the end of the reading."""
        self._unknown: deque[int] = deque()
        """Numbers of batches whose due time has to be read."""
        self._listing: Future[OpenBatches] | None = None
        self._must_look = not is_listed
        self._looking: dict[int, Future[float]] = {}
        self._loading: dict[int, tuple[int, Future[list[DeferredDevice]]]] = {}
        """By number: the round, and the reading of it."""
        self._loaded: dict[int, list[DeferredDevice]] = {}
        self._retry_at = 0.0
        self._failures = 0
        self.settled: frozenset[tuple[int, int]] = frozenset()
        """Rounds above 0 that were settled when the run's objects were last listed: number and round."""
        self.is_listed = is_listed
        """Whether the queue has all deferred batches."""
        self._is_read = False
        self._taken: dict[int, int] = {}
        """By number: the highest round that was taken. A listing may be older than that."""
        self.trouble: str | None = None
        """Why nothing could be read, after several tries."""
        self.refused: StoreRefused | None = None
        """What S3 refused for good; no later try can help before an operator has changed something."""

    # -- what there is ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """List the run's objects: at the beginning of a hop, and when another worker settled a batch."""
        self.is_listed = False
        self._must_look = True

    def add(self, found: DeferredBatch) -> None:
        """Add a batch with deferred devices."""
        known = self._known.get(found.number)
        # A listing may be older than what this hop has taken, or knows of by having deferred it itself.
        if found.round > self._taken.get(found.number, 0) and (known is None or known.round <= found.round):
            self._known[found.number] = found
            self._loaded.pop(found.number, None)
            self._put(found)

    def forget(self, number: int, round_: int) -> None:
        """Remove a batch whose round is settled."""
        # A listing that is under way may still find it.
        self._taken[number] = max(round_, self._taken.get(number, 0))
        if number in self._known and self._known[number].round <= round_:
            del self._known[number]
            self._loaded.pop(number, None)

    def end_reading(self) -> None:
        """The audience is read: the batches that waited for that are due."""
        self._is_read = True
        waited, self._at_end = self._at_end, []
        for number in waited:
            self._put(self._known[number])

    def hurry(self, numbers: Collection[int]) -> None:
        """Read these batches now, whenever they are due."""
        for number in numbers:
            if number in self._known and number not in self._loading and number not in self._loaded:
                heapq.heappush(self._waiting, (0.0, number, self._known[number].round))

    def due_at(self) -> float | None:
        """When the next batch is due, seconds since the epoch; infinite when none is, None while it is not known."""
        # While anything is being read, the earliest due time is not known, or a batch is about to be taken.
        if not self.is_listed or self._unknown or self._looking or self._loading or self._loaded:
            return None
        return self._waiting[0][0] if self._waiting else math.inf

    @property
    def open_rounds(self) -> dict[int, int]:
        """By number the round that is to be asked next."""
        return {number: found.round for number, found in self._known.items()}

    def __contains__(self, number: object) -> bool:
        return number in self._known

    def _put(self, found: DeferredBatch) -> None:
        if found.due_at is None:
            self._unknown.append(found.number)
        elif math.isinf(found.due_at) and not self._is_read:
            self._at_end.append(found.number)
        else:
            # The reading is over: what waited for that is due at once, and first in the heap.
            due_at = 0.0 if math.isinf(found.due_at) else found.due_at
            heapq.heappush(self._waiting, (due_at, found.number, found.round))

    # -- reading ------------------------------------------------------------------------------------------------------

    def turn(self, passed: float) -> None:
        """Take in what was read, and begin to read what is due.

        Args:
            passed: batches with numbers below may be asked: the cursor has passed them.
        """
        now_s = self._clock.now()
        self._take_listing()
        self._take_looks()
        self._take_loads()
        if not self.may_try:
            return
        if self._must_look and self._listing is None:
            self._must_look = False
            self._listing = self._background.submit(self._results.open_deferred, self._run_id, self._batches)
        while self._unknown and len(self._looking) < MAX_LOOKS:
            found = self._known.get(self._unknown.popleft())
            if found is not None and found.due_at is None:  # else `hurry` had it read meanwhile
                self._looking[found.number] = self._background.submit(self._results.first_due, self._run_id, found)
        while self._waiting and self._waiting[0][0] <= now_s and self._has_room:
            _, number, round_ = heapq.heappop(self._waiting)
            found = self._known.get(number)
            # An entry of the heap may be out of date: the batch was taken, or has come to a later round.
            if found is None or found.round != round_ or number in self._loading or number in self._loaded:
                continue
            # Its earlier round may be settled and not counted yet. Asked now, its account would be added too early.
            if number >= passed:
                heapq.heappush(self._waiting, (now_s + NOT_PASSED_S, number, round_))
                continue
            self._loading[number] = round_, self._background.submit(self._results.read_deferred, self._run_id, found)

    @property
    def _has_room(self) -> bool:
        return len(self._loading) < MAX_LOADING and len(self._loaded) < MAX_LOADED

    def _take_listing(self) -> None:
        if self._listing is None or not self._listing.done():
            return
        task, self._listing = self._listing, None
        try:
            found = task.result()
        except Exception as error:  # noqa: BLE001 - whatever S3 answered: it is asked again
            self._must_look = True
            self.fail(error)
            return
        self._succeed()
        self.is_listed = not self._must_look  # a look that was asked for meanwhile is still to be done
        self.settled = found.settled
        for batch in found.batches:
            known = self._known.get(batch.number)
            if known is None or known.round < batch.round:
                self.add(batch)

    def _take_looks(self) -> None:
        for number in [number for number, task in self._looking.items() if task.done()]:
            task, found = self._looking.pop(number), self._known.get(number)
            if found is None:  # it was taken meanwhile
                continue
            try:
                due_at = task.result()
            except Exception as error:  # noqa: BLE001 - as above
                self._unknown.append(number)
                self.fail(error)
                continue
            self._succeed()
            self._known[number] = msgspec.structs.replace(found, due_at=due_at)
            self._put(self._known[number])

    def _take_loads(self) -> None:
        for number in [number for number, (_, task) in self._loading.items() if task.done()]:
            round_, task = self._loading.pop(number)
            found = self._known.get(number)
            if found is None or found.round != round_:
                # Another round was found while this one was read: what was read is not used.
                if found is not None:
                    self._put(found)
                continue
            try:
                self._loaded[number] = task.result()
            except Exception as error:  # noqa: BLE001 - as above
                heapq.heappush(self._waiting, (0.0, number, round_))
                self.fail(error)
                continue
            self._succeed()

    def _succeed(self) -> None:
        self._failures = 0
        self.trouble = None

    @property
    def may_try(self) -> bool:
        """Whether the last failure is long enough ago."""
        return self._clock.monotonic() >= self._retry_at

    def fail(self, error: Exception) -> None:
        """Something could not be read: it is tried again in a while."""
        self._failures += 1
        self._retry_at = self._clock.monotonic() + RETRY_S
        trouble = f"deferred devices could not be read: {in_words(error)}"
        self._troubles.note(trouble)
        if isinstance(error, StoreRefused):
            self.refused = error
        if self._failures >= MAX_FAILURES:
            self.trouble = trouble

    # -- batches ------------------------------------------------------------------------------------------------------

    def ready(self) -> list[DeferredBatch]:
        """Batches that are read and due."""
        return [self._known[number] for number in self._loaded]

    def put_back(self, number: int) -> bool:
        """Let a batch wait of which no device is due, or remove one without devices. Returns whether it did."""
        devices, found, now_s = self._loaded[number], self._known[number], self._clock.now()
        if any(self._is_due(device, now_s) for device in devices):
            return False
        del self._loaded[number], self._known[number]
        if devices:
            self.add(msgspec.structs.replace(found, due_at=min(map(due_from, devices))))
        return True

    def take(self, number: int, suspects: Sequence[UnfinishedClaim]) -> tuple[Batch, list[Push]]:
        """A batch that is read, with the devices that are due now to be asked; the others are deferred again in it.

        But where devices of it were never asked for, the run's rate limit may take long to let them pass: meanwhile
        others come due. Those are returned, to be asked for in their time or deferred when the rest of the batch is
        through.

        Args:
            suspects: earlier claims that may have asked for it.
        """
        devices, found = self._loaded.pop(number), self._known.pop(number)
        self._taken[number] = found.round
        now_s = self._clock.now()
        end = Cursor(record=(number + 1) * self._size, round=found.round)
        batch = Batch(self._run_id, self._campaign_id, number, found.round, end)
        # The account of a round is what it adds to the run's: its devices are deferred no longer.
        batch.account.deferred = -len(devices)
        is_paced = any(not one.attempts and self._is_due(one, now_s) for one in devices)
        later = []
        for device in devices:
            push = push_of(batch, device)
            if self._is_due(device, now_s):
                batch.add(push)
            elif is_paced and not math.isinf(due_from(device)):
                batch.add(push, waits=False)
                later.append(push)
            else:
                batch.keep(push)
        # Only those that wait now: the others were not due for earlier claims either.
        mark_suspected(batch, suspects)
        return batch, self._without_suppressed(batch, later)

    def _without_suppressed(self, batch: Batch, later: list[Push]) -> list[Push]:
        """End the devices of users who were suppressed since they were deferred. Returns the others of `later`."""
        # After `mark_suspected`: what earlier claims may have repeated for them is counted all the same.
        at = timestamp(self._clock.now())
        for push in [push for push in (*batch.waiting, *later) if push.user_id in self._suppressed]:
            batch.suppress(push, at)
        batch.waiting = deque(push for push in batch.waiting if push.user_id not in self._suppressed)
        return [push for push in later if push.user_id not in self._suppressed]

    def _is_due(self, device: DeferredDevice, now_s: float) -> bool:
        due_at = due_from(device)
        return self._is_read if math.isinf(due_at) else due_at <= now_s
