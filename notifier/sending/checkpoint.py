"""From complete batches to a cursor that has moved: settlements in threads, one ledger write at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec

from notifier.model.account import Account
from notifier.model.background import Background, Task
from notifier.model.cursor import Cursor
from notifier.model.health import Health
from notifier.model.ledger import Ledger
from notifier.model.run import BLIND_MS, HEARTBEAT_MS, LEASE_MS, Asking, Lane, UnfinishedClaim
from notifier.model.runtime import Clock
from notifier.model.store_error import in_words, refusal_code
from notifier.sending.asking import AskingList
from notifier.sending.batch import Batch
from notifier.sending.results import Results, SettledBatch
from notifier.sending.settling import REFUSALS, RETRY_S, Settling

LOOKAHEAD = 8
"""Most batches that may be begun before the ledger is told again how far a crash would have reached."""
LOOK_BACK_S = 0.2
"""Fewer are enough for a run that began fewer in this time. What a crash leaves in doubt is that much less."""
SWIFT_S = 0.25
"""Progress is written at most this often: one write carries all that was settled in between."""
LEDGER_RETRY_S = 0.5
"""A ledger write that was refused is tried again after this: soon, so that the lease lasts until all is settled."""
SAY_AGAIN_S = 10.0
"""Trouble of one kind is logged at most this often."""
MAX_TROUBLE = 1_000
"""Characters of a trouble that are kept."""


class LeaseOver(Exception):
    """The ledger could not be reached for the length of a lease: another worker may hold the lane by now."""


class Checkpoint:
    """What is formed, what is settled, and what the ledger knows of it.

    Args:
        lane: the lane as claimed.
        background: threads for settlements.
        ledger_background: a thread for the ledger alone: settlements that hang must not cost the lease.
        permanent: exceptions that no second try will mend (`LaneLost`).
    """

    def __init__(
        self,
        lane: Lane,
        ledger: Ledger,
        results: Results,
        background: Background,
        ledger_background: Background,
        clock: Clock,
        permanent: tuple[type[Exception], ...],
    ) -> None:
        self.lane = lane
        """The lane as the ledger last told it."""
        self._ledger = ledger
        self._background = ledger_background
        self._clock = clock
        self._permanent = permanent
        self._settling = Settling(results, background, clock, lane.epoch, self.note_trouble)
        self._accounts: dict[int, Account] = {}
        self._queue: deque[Batch] = deque()
        """Batches of the audience, in their order."""
        self._deferred: dict[int, Batch] = {}
        """Deferred batches under way, by number: of each number one round at a time. They settle in any order."""
        self.asking = AskingList(lane.asking or (), lane.epoch)
        self.is_old = lane.asking is None and lane.cursor.round > 0
        """Whether a release before this asked for deferred devices in the order of their batches."""
        self.on_settled: Callable[[Batch, bool], None] = lambda _, __: None
        """Is told of each batch whose account is taken in, and whether this claim settled it."""
        self._not_ours: set[int] = set()
        self._cursor = lane.cursor
        self.suspects = lane.suspects
        """Earlier claims that may have asked for batches of this round that are not settled."""
        self._account = copied(lane.account)
        self._entered = 0
        self._moved = False
        self._writing: Task[Lane] | None = None
        self._carried: tuple[bool, bool] = (False, False)
        """Of the write under way: whether it moves the account, and whether it carries the list of `asking`."""
        self._revision = lane.revision
        self._wanted_fed = lane.fed
        self._wrote_at = clock.monotonic()
        self._write_after = 0.0
        self._began_at = clock.monotonic()
        self.sending = False
        """Whether this hop has begun to send: from then on time counts for the ramp."""
        self.health = Health(lane.health)
        """What was seen of the endpoints; goes into the ledger with the account."""
        self.settled_batches = 0
        self.trouble = lane.trouble
        """What failed last since the cursor moved; empty when nothing did."""
        self.on_trouble: Callable[[str], None] = lambda _: None
        """Is told of each trouble when it occurs."""
        self._said_at: dict[str, float] = {}
        self._ledger_refusals = 0
        self._ledger_refused = ""
        self._began: deque[float] = deque(maxlen=LOOKAHEAD)
        self._given_up = False
        self._is_over = False

    # -- batches ------------------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> int:
        """Batches formed and not settled."""
        return len(self._queue) + len(self._deferred)

    @property
    def is_read(self) -> bool:
        """The reading of the audience has ended, and the ledger knows it."""
        return self.lane.cursor.round > 0 and not self.is_old

    @property
    def is_reading_over(self) -> bool:
        """The same, whether or not the ledger knows it."""
        return self._cursor.round > 0 and not self.is_old

    @property
    def has_settled_all(self) -> bool:
        """Nothing of the audience is unsettled, as far as it was read."""
        return not self._queue

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
        ahead = self._ahead()
        if number >= self._wanted_fed - ahead // 2:
            self._wanted_fed = max(self._wanted_fed, number + ahead)
        # Until the ledger has come to this round too, what it says was fed is of the round before.
        return number < self.lane.fed and self.lane.cursor.round == self._cursor.round

    def expect(self, number: int) -> None:
        """Batch `number` will soon be asked for: the ledger may be told meanwhile, so that nothing waits for it."""
        self._wanted_fed = max(self._wanted_fed, number + 1)

    def _ahead(self) -> int:
        """How many batches may be begun before the next ledger write: those of a moment, and one."""
        since_s = self._clock.monotonic() - LOOK_BACK_S
        return min(1 + sum(began_s >= since_s for began_s in self._began), LOOKAHEAD)

    def enter(self, batch: Batch) -> None:
        """Take a batch in, in the order of the feed."""
        self._queue.append(batch)
        self._entered = batch.number + 1
        if batch.settled_by_another:
            self._accounts[batch.number] = batch.account
        else:
            self._began.append(self._clock.monotonic())

    def may_ask(self, number: int, round_: int) -> bool:
        """Whether a deferred batch may be asked for: the ledger must know that a crash could have reached it."""
        return self.asking.may_ask(number, round_, self.lane.asking or ())

    def enter_deferred(self, batch: Batch) -> None:
        """Take a deferred batch in, which may be asked for, or which a worker that died has settled."""
        self.asking.begin(batch.number)
        self._deferred[batch.number] = batch
        if batch.settled_by_another:
            self._accounts[batch.number] = batch.account

    def settle_complete(self) -> None:
        """Begin the settlement of every complete batch, and take in those that are done."""
        for batch in (*self._queue, *self._deferred.values()):
            if batch.is_complete and not batch.settling and not batch.settled_by_another:
                batch.settling = True
                self._settling.begin(batch)
        for batch, settled in self._settling.done():
            account = settled.account
            if not settled.ours:
                # Another claim settled it. Its account holds; what this one may have repeated is added to it.
                account = self._with_repeats(batch, settled)
                self._not_ours.add(batch.number)
            self._accounts[batch.number] = account
            self.settled_batches += 1
        self._pop_settled()

    def _with_repeats(self, batch: Batch, settled: SettledBatch) -> Account:
        """The account of a batch that another claim settled first, with what this claim may have repeated in it."""
        account, ours = copied(settled.account), batch.account
        # A later claim knew of this one, and has counted its requests. An earlier one did not.
        more = batch.first_requests if settled.epoch < self.lane.epoch else 0
        devices, requests = ours.possibly_repeated + more, ours.repeat_requests + more
        account.add_repeats(devices, requests, at_most=settled.repeatable)
        return account

    def _pop_settled(self) -> None:
        while self._queue and self._queue[0].number in self._accounts:
            batch = self._queue.popleft()
            self._cursor = batch.at_end
            self.suspects = tuple(one.beyond(batch.number) for one in self.suspects if one.below > batch.number + 1)
            self._take_account(batch)
        for number in [number for number in self._deferred if number in self._accounts]:
            self.asking.finish(number)
            self._take_account(self._deferred.pop(number))

    def _take_account(self, batch: Batch) -> None:
        self._account.add(self._accounts.pop(batch.number))
        self._moved = True
        self.trouble = ""
        is_ours = not batch.settled_by_another and batch.number not in self._not_ours
        self._not_ours.discard(batch.number)
        self.on_settled(batch, is_ours)

    # -- when batches cannot be settled -------------------------------------------------------------------------------

    @property
    def must_hold(self) -> bool:
        """Start no request: the lease is about to run out, or what is sent could not be settled."""
        return self.is_blind or self._settling.is_troubled

    @property
    def refused(self) -> str | None:
        """Why S3 or the ledger takes nothing until somebody changes it."""
        if self._settling.refused is None and self._ledger_refusals >= REFUSALS:
            return self._ledger_refused
        return self._settling.refused

    def give_up(self, *, at_once: bool = False) -> None:
        """Leave unsettled what does not settle at its next try, or, `at_once`, at the try that is under way.

        `open_suspects` says then what is left.
        """
        self._given_up = True
        self._is_over = self._is_over or at_once
        self._settling.give_up()

    def as_ended(self) -> Lane:
        """The lane as this claim leaves it, when nobody will come for the batches that are left unsettled.

        What is settled behind them is counted here, and nowhere else: the next claim of a run that goes on would count
        it again. So this is for the one write that ends the run.
        """
        account = copied(self._account)
        for settled in self._accounts.values():
            account.add(settled)
        left = [batch for batch in self._queue if batch.number not in self._accounts]
        for batch in (*left, *self._deferred.values()):
            # Its devices are counted as unsettled. What dead claims may have repeated among them is known here only.
            account.repeat_requests += batch.account.repeat_requests
        asked = {batch.number: n for batch in left if (n := max(batch.asked, batch.suspected))}
        suspects = (*self.suspects, UnfinishedClaim(self.lane.epoch, self._entered, asked)) if asked else self.suspects
        return msgspec.structs.replace(self.as_left(), account=account, suspects=suspects)

    @property
    def has_given_up(self) -> bool:
        """Whether batches may be left unsettled."""
        return self._given_up

    @property
    def is_settled(self) -> bool:
        """Nothing is left to be settled, as far as this claim goes."""
        if not self.unsettled or self._is_over:
            return True
        batches = (*self._queue, *self._deferred.values())
        tried = all(batch.settling or batch.settled_by_another for batch in batches)
        return self._given_up and tried and not self._settling.is_under_way

    def as_left(self) -> Lane:
        """The lane as this claim leaves it."""
        return msgspec.structs.replace(
            self.lane,
            sending_ms=self.sending_ms(),
            suspects=self.open_suspects,
            asking=self.open_asking,
            trouble=self.trouble or self.lane.trouble,
        )

    @property
    def open_suspects(self) -> tuple[UnfinishedClaim, ...]:
        """The claims that may have asked for unsettled batches, this one included."""
        left = [batch for batch in self._queue if batch.number not in self._accounts]
        if not left and self._cursor == self.lane.cursor:
            return self.suspects
        # What another claim settled does not know of this claim's requests: the next claim adds them to its account.
        left += [batch for batch in self._queue if batch.number in self._accounts and batch.number in self._not_ours]
        asked = {batch.number: batch.asked for batch in left if batch.asked}
        # A later round forms its batches in another order: only those of the audience are always formed alike.
        partly = [batch for batch in left if batch.asked and not batch.round and batch.asked < batch.repeatable]
        which = {batch.number: f"{batch.asked_bits:x}" for batch in partly}
        # Under `below` are settled batches too: a run that is ended early must come to them, to count their rows.
        return (*self.suspects, UnfinishedClaim(self.lane.epoch, self._entered, asked, which))

    @property
    def open_asking(self) -> tuple[Asking, ...] | None:
        """The deferred batches that may have been asked for and are unsettled; None before a release knew of such."""
        if self.is_old:
            return None
        return self.asking.entries({one.number: max(one.asked, one.suspected) for one in self._deferred.values()})

    def note_trouble(self, text: str) -> None:
        """Something failed: it is logged now, and the next ledger write carries it, in case this hop is killed."""
        self.trouble = text[:MAX_TROUBLE]
        now_s, kind = self._clock.monotonic(), kind_of(text)
        if now_s - self._said_at.get(kind, now_s - SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said_at[kind] = now_s
            self.on_trouble(self.trouble)

    def end_reading(self, settled: Mapping[int, Account] = MappingProxyType({}), asked: Iterable[Asking] = ()) -> None:
        """The audience is read: from now on deferred devices only.

        Args:
            settled: of a round that a release before this was in: accounts of batches that the cursor has not passed.
            asked: batches of it that such claims may have asked for.
        """
        for account in settled.values():
            self._account.add(account)
        if self.is_old:
            self.asking.adopt(asked)
            self.is_old = False
        self._cursor = Cursor(round=self._cursor.round + 1)
        self._wanted_fed = 0
        self._entered = 0
        self.suspects = ()
        self._moved = True

    # -- the ledger ---------------------------------------------------------------------------------------------------

    @property
    def is_written(self) -> bool:
        """The ledger knows everything that is settled, or refuses to know it, and no write is under way."""
        has_news = self._moved or self.asking.has_changed
        return self._writing is None and (not has_news or (self._given_up and self._ledger_refusals >= REFUSALS))

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
            self._note_ledger_error(error)
            moved, carried = self._carried
            self._moved = self._moved or moved
            self.asking.has_changed = self.asking.has_changed or carried
            self._write_after = now_s + (LEDGER_RETRY_S if self._ledger_refusals else RETRY_S)
            self._check_lease(now_s)
            return
        self._ledger_refusals = 0
        self._wrote_at = self._asked_at

    def _note_ledger_error(self, error: Exception) -> None:
        if refusal_code(error) is None:
            self._ledger_refusals = 0
            self.note_trouble(f"the ledger could not be written: {in_words(error)}")
        else:
            self._ledger_refusals += 1
            self._ledger_refused = f"ledger_refused: {in_words(error)}: allow the worker's role to write the table"
            self.note_trouble(self._ledger_refused)

    def _check_lease(self, now_s: float) -> None:
        if (now_s - self._wrote_at) * 1000 >= LEASE_MS:
            since = f"; {self.trouble}" if self.trouble else ""
            raise LeaseOver(f"no ledger write for the length of a lease{since}")

    def _begin_write(self, now_s: float, *, urgent: bool) -> None:
        since_s = now_s - self._wrote_at
        wants_room = self._wanted_fed > self.lane.fed
        moves = self._moved and (urgent or wants_room or since_s >= SWIFT_S)
        if moves or (self.asking.has_changed and not self.is_old):
            self._carried = self._moved, True
            self._revision += 1
            after = msgspec.structs.replace(
                self.lane,
                cursor=self._cursor,
                account=copied(self._account),
                fed=self._wanted_fed,
                suspects=self.suspects,
                sending_ms=self.sending_ms(),
                idle_claims=0 if self._moved else self.lane.idle_claims,
                asking=None if self.is_old else self.asking.entries(),
                revision=self._revision,
                health=Health(self.health.seen).seen,
                trouble=self.trouble,
            )
            self._moved = self.asking.has_changed = False
            self._asked_at = now_s
            self._writing = self._background.submit(self._ledger.advance, self.lane, after)
        elif wants_room or self._has_news(since_s) or since_s * 1000 >= HEARTBEAT_MS:
            self._carried = False, False
            self._asked_at = now_s
            lane = msgspec.structs.replace(
                self.lane, fed=max(self._wanted_fed, self.lane.fed), trouble=self.trouble or self.lane.trouble
            )
            self._writing = self._background.submit(self._ledger.renew, lane)

    def _has_news(self, since_s: float) -> bool:
        """Whether there is trouble that the ledger does not know of: a hop that is killed cannot tell it later."""
        return bool(self.trouble) and kind_of(self.trouble) != kind_of(self.lane.trouble) and since_s >= SWIFT_S

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


def kind_of(trouble: str) -> str:
    """What two troubles have in common that differ in the object's name only."""
    return trouble.partition(":")[0]


def copied(account: Account) -> Account:
    """A copy that another thread may read."""
    return msgspec.json.decode(msgspec.json.encode(account), type=Account)
