"""From complete batches to a cursor that has moved: settlements in threads, one ledger write at a time."""

from collections import deque
from typing import Any, Protocol

import msgspec

from notifier.account import Account
from notifier.background import Background, Task
from notifier.batching import Batch
from notifier.cursor import Cursor
from notifier.deadline import Clock
from notifier.health import Health
from notifier.run import BLIND_MS, HEARTBEAT_MS, LEASE_MS, Lane

LOOKAHEAD = 8
"""Batches that may be begun before the ledger is told again how far a crash would have reached."""
RETRY_S = 1.0
"""A ledger write or settlement that failed is tried again after this."""
SWIFT_S = 0.25
"""Progress is written at most this often: one write carries all that was settled in between."""


class LeaseOver(Exception):
    """The ledger could not be reached for the length of a lease: another worker may hold the lane by now."""


class LaneLedger(Protocol):
    """The ledger as a lane's holder writes it (`notifier.ledger`)."""

    def renew(self, lane: Lane) -> Lane: ...
    def advance(self, before: Lane, after: Lane) -> Lane: ...


class Settler(Protocol):
    """Settles batches (`notifier.results`)."""

    def settle(self, batch: Batch, epoch: int) -> Any: ...


class Progress:
    """What is formed, what is settled, and what the ledger knows of it.

    Args:
        lane: the lane as claimed.
        permanent: exceptions that no second try will mend (`LaneLost`).
    """

    def __init__(
        self,
        lane: Lane,
        ledger: LaneLedger,
        settler: Settler,
        background: Background,
        clock: Clock,
        permanent: tuple[type[Exception], ...],
    ) -> None:
        self.lane = lane
        """The lane as the ledger last told it."""
        self._ledger = ledger
        self._settler = settler
        self._background = background
        self._clock = clock
        self._permanent = permanent
        self._order: deque[tuple[Batch, Task | None, float]] = deque()
        self._batches: dict[int, Batch] = {}
        self._settling: dict[int, Task] = {}
        self._accounts: dict[int, Account] = {}
        self._try_at: dict[int, float] = {}
        self._queue: deque[Batch] = deque()
        self._cursor = lane.cursor
        self.suspects = lane.suspects
        """Claims that died and may have asked for batches of this round that are not settled."""
        self._account = copied(lane.account)
        self._entered = 0
        self._moved = False
        self._writing: Task | None = None
        self._wanted_fed = lane.fed
        self._wrote_at = clock.monotonic()
        self._write_after = 0.0
        self._began_at = clock.monotonic()
        self.sending = False
        """Whether this hop has begun to send: from then on time counts for the ramp."""
        self.health = Health(lane.health)
        """What was seen of the endpoints; goes into the ledger with the account."""
        self.settled_batches = 0
        self.failures: list[str] = []

    # -- batches ------------------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> int:
        """Batches formed and not settled."""
        return len(self._queue)

    @property
    def account(self) -> Account:
        """What is settled so far, whether or not the ledger knows it yet."""
        return self._account

    @property
    def cursor(self) -> Cursor:
        """Where the lane would continue after everything settled in order."""
        return self._cursor

    @property
    def has_suspects_ahead(self) -> bool:
        """Whether a worker that died may have asked for, or settled, batches that were not formed since."""
        return any(one.below > self._entered for one in self.suspects)

    def may_form(self, number: int) -> bool:
        """Whether batch `number` may be asked for: the ledger must know that a crash could have reached it."""
        if number >= self._wanted_fed - LOOKAHEAD // 2:
            self._wanted_fed = number + LOOKAHEAD
        # Until the ledger has come to this round too, what it says was fed is of the round before.
        return number < self.lane.fed and self.lane.cursor.round == self._cursor.round

    def enter(self, batch: Batch) -> None:
        """Take a batch in, in the order of the feed."""
        self._queue.append(batch)
        self._entered = batch.number + 1
        if batch.passed:
            self._accounts[batch.number] = batch.account

    def settle_complete(self) -> None:
        """Begin the settlement of every complete batch, and take in those that are done."""
        for batch in self._queue:
            if batch.is_complete and not batch.settling and not batch.passed:
                batch.settling = True
                self._settling[batch.number] = self._background.submit(self._settler.settle, batch, self.lane.epoch)
                self._batches[batch.number] = batch
        now_s = self._clock.monotonic()
        for number, task in list(self._settling.items()):
            if task.done():
                self._take_settlement(number, task, now_s)
        self._pop_settled()

    def _take_settlement(self, number: int, task: Task, now_s: float) -> None:
        try:
            settled = task.result()
        except Exception as error:  # noqa: BLE001 - S3 could not be reached: the batch waits, and is tried again
            if self._try_at.setdefault(number, now_s + RETRY_S) <= now_s:
                self.failures.append(f"settling batch {number}: {type(error).__name__}: {error}")
                del self._try_at[number]
                batch = self._batches[number]
                self._settling[number] = self._background.submit(self._settler.settle, batch, self.lane.epoch)
            return
        del self._settling[number]
        batch = self._batches.pop(number)
        account = settled.account
        if not settled.ours:
            account = copied(account)
            account.possibly_repeated += batch.account.possibly_repeated
        self._accounts[number] = account
        self.settled_batches += 1

    def _pop_settled(self) -> None:
        while self._queue and self._queue[0].number in self._accounts:
            batch = self._queue.popleft()
            self._account.add(self._accounts.pop(batch.number))
            self._cursor = batch.at_end
            self.suspects = tuple(one for one in self.suspects if one.below > batch.number + 1)
            self._moved = True

    def next_round(self) -> None:
        """The feed of this round has ended: go on to the devices it deferred."""
        self._cursor = Cursor(round=self._cursor.round + 1)
        self._wanted_fed = 0
        self._entered = 0
        self.suspects = ()
        self._moved = True

    # -- the ledger ---------------------------------------------------------------------------------------------------

    @property
    def is_written(self) -> bool:
        """The ledger knows everything that is settled, and no write is under way."""
        return self._writing is None and not self._moved

    @property
    def is_blind(self) -> bool:
        """The lease is about to run out: start no request."""
        return (self._clock.monotonic() - self._wrote_at) * 1000 >= BLIND_MS

    def write(self, *, urgent: bool = False) -> None:
        """Take in a finished ledger write and begin the next one, if there is anything to say.

        Raises:
            LaneLost: another worker holds the lane.
            LeaseOver: the ledger could not be reached for the length of a lease.
        """
        now_s = self._clock.monotonic()
        if self._writing is not None:
            if not self._writing.done():
                self._check_lease(now_s)
                return
            self._take_write(now_s)
        if self._writing is None and now_s >= self._write_after:
            self._begin_write(now_s, urgent=urgent)

    def _take_write(self, now_s: float) -> None:
        task, self._writing = self._writing, None
        if task is None:
            return
        try:
            self.lane = task.result()
        except self._permanent:
            raise
        except Exception as error:  # noqa: BLE001 - throttled or out of reach: what was to be said is still to be said
            self.failures.append(f"ledger: {type(error).__name__}: {error}")
            self._moved = self._moved or self._cursor != self.lane.cursor
            self._write_after = now_s + RETRY_S
            self._check_lease(now_s)
            return
        self._wrote_at = self._asked_at

    def _check_lease(self, now_s: float) -> None:
        if (now_s - self._wrote_at) * 1000 >= LEASE_MS:
            raise LeaseOver("no ledger write for the length of a lease")

    def _begin_write(self, now_s: float, *, urgent: bool) -> None:
        since_s = now_s - self._wrote_at
        wants_room = self._wanted_fed > self.lane.fed
        if self._moved and (urgent or wants_room or since_s >= SWIFT_S):
            self._moved = False
            after = msgspec.structs.replace(
                self.lane,
                cursor=self._cursor,
                account=copied(self._account),
                fed=self._wanted_fed,
                suspects=self.suspects,
                sending_ms=self.sending_ms(),
                idle_claims=0,
                health=Health(self.health.seen).seen,
            )
            self._asked_at = now_s
            self._writing = self._background.submit(self._ledger.advance, self.lane, after)
        elif wants_room or since_s * 1000 >= HEARTBEAT_MS:
            self._asked_at = now_s
            lane = msgspec.structs.replace(self.lane, fed=max(self._wanted_fed, self.lane.fed))
            self._writing = self._background.submit(self._ledger.renew, lane)

    def sending_ms(self) -> int:
        """Time spent sending over all hops, in milliseconds."""
        if not self.sending:
            return self.lane.sending_ms
        return self._sent_before_ms + int((self._clock.monotonic() - self._began_at) * 1000)

    def begin_sending(self) -> None:
        """From now on time counts for the ramp."""
        if not self.sending:
            self.sending = True
            self._sent_before_ms = self.lane.sending_ms
            self._began_at = self._clock.monotonic()


def copied(account: Account) -> Account:
    """A copy that another thread may read."""
    return msgspec.json.decode(msgspec.json.encode(account), type=Account)
