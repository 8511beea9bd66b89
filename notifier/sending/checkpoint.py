"""Settles complete batches in threads and checkpoints the cursor: it never passes a batch that is not settled.

formed ── sent ── complete ── settling ── settled ── the cursor passes it ── the ledger has it
│ the ledger's `may_ask_below` is above its number: a crash from here on leaves it to the next claim as suspected
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from types import MappingProxyType

import msgspec

from notifier.model.account import Account
from notifier.model.cursor import Cursor
from notifier.model.health import Health
from notifier.model.ledger import Ledger
from notifier.model.run import Asking, Lane, RateWait, UnfinishedClaim
from notifier.model.runtime import Clock
from notifier.sending.asking import AskingList
from notifier.sending.batch import BATCH_SIZE, Batch
from notifier.sending.checkpoint_writer import CheckpointWriter
from notifier.sending.lane_writer import LaneWriter
from notifier.sending.possible_repeats import as_never_formed, unfinished_claim, with_own_repeats
from notifier.sending.reach import Reach
from notifier.sending.results import Results
from notifier.sending.settled_batch import CountedOnce, SettledBatch
from notifier.sending.settling import Settling
from notifier.sending.trouble_log import TroubleLog
from notifier.sending.uncounted import Counted, UncountedBatches


class Checkpoint:
    """What is formed, what is settled, and what the ledger has of it.

    Args:
        lane: the lane as claimed.
        background: threads for settlements.
        ledger_background: a thread for the ledger alone: settlements that hang must not cost the lease.
        size: records in a batch.
    """

    def __init__(
        self,
        lane: Lane,
        ledger: Ledger,
        results: Results,
        background: Executor,
        ledger_background: Executor,
        clock: Clock,
        troubles: TroubleLog,
        size: int = BATCH_SIZE,
    ) -> None:
        self._clock = clock
        self.troubles = troubles
        self._lane_writer = LaneWriter(lane, ledger, ledger_background, clock, troubles)
        self._settling = Settling(results, background, clock, lane.epoch, troubles)
        self._batches = UncountedBatches()
        self.asking = AskingList(lane.asking or (), lane.epoch)
        self.is_in_legacy_round = lane.asking is None and lane.cursor.round > 0
        """The lane was begun by a release without `asking`, and is past its audience."""
        self._cursor = lane.cursor
        self.suspects = lane.suspects
        """Earlier claims that may have asked for batches of this round that are not settled."""
        self._account = copied(lane.account)
        self._repeats = CountedOnce(lane.repeats_left)
        self._next_number = lane.cursor.record // size
        """The next batch to be formed in this round: all with lower numbers were."""
        self._end_number = math.inf
        """No batch with this number or a higher one can be formed: infinite until the audience breaks."""
        self._has_changed = False
        """The audience is another than earlier claims have read."""
        batches = lane.batches(size)
        self._reach = Reach(lane, clock, batches[1] if batches else math.inf)
        self._writer = CheckpointWriter(self._lane_writer, self.asking, self._reach, troubles, lane.revision)
        self._sent_before_ms = lane.sending_ms
        self._sending_since_s: float | None = None
        self.health = Health(lane.health)
        """What was seen of the endpoints; goes into the ledger with the account."""
        self.speed = lane.speed
        """How fast the lane sends: whoever watches the hop sets it, each ledger write carries it."""
        self.waits_from_ms: int | None = None
        """Since when the lane waits for its next first request, where its rate is so low: for its last write."""
        self.settled_batches = 0
        self._given_up = False
        self._is_over = False

    @property
    def lane(self) -> Lane:
        """The lane as the ledger last returned it."""
        return self._lane_writer.lane

    # -- batches ------------------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> int:
        """Batches formed and not counted: settled ones that wait for the cursor are among them, and deferred ones."""
        return len(self._batches)

    @property
    def is_read(self) -> bool:
        """The reading of the audience has ended, and the ledger has it."""
        return self.lane.cursor.round > 0 and not self.is_in_legacy_round

    @property
    def is_reading_over(self) -> bool:
        """The reading of the audience has ended, whether or not the ledger has it."""
        return self._cursor.round > 0 and not self.is_in_legacy_round

    @property
    def has_settled_all(self) -> bool:
        """Nothing of the audience is unsettled, as far as it was read."""
        return not self._batches.audience

    @property
    def account(self) -> Account:
        """What is settled so far, whether or not the ledger has it yet."""
        return self._account

    @property
    def cursor(self) -> Cursor:
        """Where the lane would continue after everything settled in order."""
        return self._cursor

    @property
    def has_suspects_ahead(self) -> bool:
        """Whether an earlier claim may have asked for, or settled, batches that were not formed since."""
        return any(min(one.below, self._end_number) > self._next_number for one in self.suspects)

    def end_forming(self, *, has_changed: bool) -> None:
        """The audience cannot be read on.

        No further batch will be formed. If the file is unchanged, no earlier claim formed one either; if it
        `has_changed`, what they asked for is estimated.
        """
        self._end_number = self._next_number
        self._has_changed = has_changed

    def reserve(self, number: int, devices: int) -> bool:
        """Have the ledger cover this batch. True once it does: then its devices may be asked for.

        Covered means that the ledger has recorded that a crash can have reached the batch, and with how many devices:
        a run may end without forming it again.
        """
        # Called before the rounds are compared, because it raises the marks. Until the ledger has come to this round,
        # its `may_ask_below` is of the round before, and covers nothing of this one.
        is_covered = self._reach.covers(number, devices, self.lane)
        return is_covered and self.lane.cursor.round == self._cursor.round

    def expect(self, number: int) -> None:
        """Batch `number` will soon be asked for: have that recorded now, so that nothing waits for the write."""
        self._reach.expect(number)

    def enter(self, batch: Batch) -> None:
        """Take a batch of the audience in, in its order."""
        self._batches.enter(batch)
        self._next_number = batch.number + 1
        # Also where nothing was reserved, because the batch is not asked for now: what it defers may be later.
        settled = batch.settled
        self._reach.widen(batch.account.devices + settled.passed_over if settled else batch.devices)
        # Only batches that are sent say how fast the run is, and so how far ahead the marks must be.
        if not batch.settled_by_another:
            self._reach.begin()

    def may_ask(self, number: int, round_: int) -> bool:
        """Have the ledger list this deferred batch. True once it does: then its devices may be asked for."""
        return self.asking.may_ask(number, round_, self.lane.asking or ())

    def enter_deferred(self, batch: Batch) -> None:
        """Take a deferred batch in, which may be asked for, or which an earlier claim has settled."""
        self.asking.begin(batch.number)
        self._batches.enter_deferred(batch)

    # -- settling -----------------------------------------------------------------------------------------------------

    def settle_complete(self) -> list[Counted]:
        """Begin the settlement of every complete batch. Returns those whose accounts were added to the lane's."""
        for batch in self._batches:
            # What needs no call first: up to 256 batches, and nearly all have devices open or are settled.
            if not batch.open and not batch.settling and batch.is_complete and not batch.settled_by_another:
                batch.settling = True
                self._settling.begin(batch)
        for batch, settled in self._settling.done():
            batch.forget_written()
            # Another claim settled it first: its account is used, with what this one may have repeated.
            self._batches.settle(settled if settled.ours else with_own_repeats(settled, batch, self.lane.epoch))
            self.settled_batches += 1
        return [*self._pass_settled(), *self._count_deferred()]

    def _pass_settled(self) -> Iterator[Counted]:
        """Move the cursor over settled batches of the audience: in their order, up to the first that is not settled."""
        for counted in self._batches.take_in_order():
            batch = counted.batch
            # Only now: its rows are stored, so a crash after the next ledger write loses nothing of it.
            self._cursor = batch.at_end
            # A claim is suspected until the cursor has passed the last batch that it may have asked for.
            self.suspects = tuple(one.beyond(batch.number) for one in self.suspects if one.below > batch.number + 1)
            self._add(counted.settled)
            yield counted

    def _count_deferred(self) -> Iterator[Counted]:
        for counted in self._batches.take_deferred():
            # In one ledger write the batch leaves the list and its account is added: never counted twice, nor lost.
            self.asking.finish(counted.batch.number)
            self._add(counted.settled)
            yield counted

    def _add(self, settled: SettledBatch) -> None:
        self._account.add(self._repeats.account_of(settled))
        self._writer.note_moved()
        # Something was settled, so what failed before is over: `trouble` is of a lane that does not move.
        self.troubles.clear()

    def end_reading(
        self, settled: Mapping[int, SettledBatch] = MappingProxyType({}), asked: Iterable[Asking] = ()
    ) -> None:
        """The audience is read: from now on deferred devices only.

        Args:
            settled: in a legacy round: its batches that are settled and that the cursor has not passed.
            asked: in a legacy round: its batches that earlier claims may have asked for and that are not settled.
        """
        for one in settled.values():
            self._account.add(self._repeats.account_of(one))
        if self.is_in_legacy_round:
            self.asking.adopt(asked)
            self.is_in_legacy_round = False
        # Numbers begin at 0 again: what was recorded by number about the round before no longer applies.
        self._cursor = Cursor(round=self._cursor.round + 1)
        self._reach.begin_round()
        self._next_number = 0
        self.suspects = ()
        self._writer.note_moved()

    # -- when batches cannot be settled -------------------------------------------------------------------------------

    @property
    def must_hold(self) -> bool:
        """Start no request: the lease is about to run out, or what is sent could not be settled."""
        return self._lane_writer.is_lease_short or self._settling.is_troubled

    @property
    def refused(self) -> str | None:
        """Why S3 or the ledger takes nothing before an operator has changed something."""
        return self._settling.refused or self._lane_writer.refused

    def give_up(self, *, at_once: bool = False) -> None:
        """Stop retrying. Tries under way are awaited, with `at_once` not even those.

        `open_suspects` then lists what is left.
        """
        self._given_up = True
        self._is_over = self._is_over or at_once
        self._settling.give_up()

    @property
    def has_given_up(self) -> bool:
        """Whether batches may be left unsettled."""
        return self._given_up

    @property
    def is_done_settling(self) -> bool:
        """Whether this claim settles nothing more: all is settled, or it has given up the rest."""
        if not self.unsettled or self._is_over:
            return True
        # After giving up: each batch was tried at least once, and no try is under way whose outcome would be lost.
        tried = all(batch.settling or batch.settled_by_another for batch in self._batches)
        return self._given_up and tried and not self._settling.is_under_way

    # -- what this claim leaves ---------------------------------------------------------------------------------------

    def as_left(self) -> Lane:
        """The lane as this claim leaves it."""
        return msgspec.structs.replace(
            self.lane,
            sending_ms=self.sending_ms(),
            suspects=self.open_suspects,
            asking=self.open_asking,
            trouble=self.troubles.last or self.lane.trouble,
            speed=self.speed,
            rate_wait=None if self.waits_from_ms is None else RateWait(self.lane.epoch, self.waits_from_ms),
        )

    def as_ended(self) -> Lane:
        """The lane as this claim leaves it, when no claim will come after it: the run is over.

        Its account has what no write has carried yet: whom the final cut left out, where nothing was settled. Where
        CANCEL or FAIL leave batches unsettled, what is settled with higher numbers is counted here, and nowhere else:
        the next claim of a run that goes on would count it again. So this is for the one write that ends the run.
        """
        account = copied(self._account)
        for settled in self._batches.accounts:
            account.add(settled)
        left = self._batches.unsettled
        for batch in (*left, *self._batches.deferred):
            # Its devices are counted as unsettled. Only here is known what dead claims may have repeated among them.
            account.repeat_requests += batch.account.repeat_requests
        asked = {batch.number: n for batch in left if (n := max(batch.asked, batch.suspected))}
        suspects = (
            (*self.suspects, UnfinishedClaim(self.lane.epoch, self._next_number, asked)) if asked else self.suspects
        )
        ended = msgspec.structs.replace(self.as_left(), account=account, suspects=suspects)
        return as_never_formed(ended, self._next_number) if self._has_changed else ended

    @property
    def open_suspects(self) -> tuple[UnfinishedClaim, ...]:
        """The claims that may have asked for unsettled batches, this one included."""
        left = self._batches.unsettled
        # Nothing unsettled, and the ledger has the cursor.
        if not left and self._cursor == self.lane.cursor:
            return self.suspects
        # The account of what another claim settled does not count this claim's requests: the next claim adds them.
        left += self._batches.settled_by_others
        # Settled batches below `_next_number` are included: a run that is ended early must come to them, to count their
        # rows.
        return (*self.suspects, unfinished_claim(self.lane.epoch, self._next_number, left))

    @property
    def open_asking(self) -> tuple[Asking, ...] | None:
        """The deferred batches that may have been asked for and are unsettled; None in a round of an older release."""
        if self.is_in_legacy_round:
            return None
        return self.asking.entries({one.number: max(one.asked, one.suspected) for one in self._batches.deferred})

    # -- the ledger ---------------------------------------------------------------------------------------------------

    @property
    def is_written(self) -> bool:
        """The ledger has everything that is settled, or refuses it for good, and no write is under way."""
        has_news = self._writer.has_news
        return self._lane_writer.is_idle and (
            not has_news or (self._given_up and self._lane_writer.refused is not None)
        )

    def write(self, *, urgent: bool = False) -> None:
        """Take in a finished ledger write and begin the next one, if there is anything to write.

        Raises:
            LaneLost: another worker claimed the lane.
            LeaseOver: the ledger could not be reached for the length of a lease.
        """
        # In a legacy round the list stays unwritten: its batches are asked for as the older release does.
        self._writer.speed = self.speed
        self._writer.write(self._settled_lane, urgent=urgent, may_list=not self.is_in_legacy_round)

    def _settled_lane(self) -> Lane:
        """The lane with everything that is settled. Copies, because a thread encodes it while the loop goes on."""
        return msgspec.structs.replace(
            self.lane,
            cursor=self._cursor,
            account=copied(self._account),
            repeats_left=self._repeats.repeats_left,
            may_ask_below=self._reach.may_ask_below,
            most_devices=self._reach.most_devices,
            suspects=self.suspects,
            sending_ms=self.sending_ms(),
            # In a legacy round the attribute stays absent: an empty list would mark the lane as one of this release.
            asking=None if self.is_in_legacy_round else self.asking.entries(),
            health=self.health.copy_of_seen(),
            trouble=self.troubles.last,
            speed=self.speed,
        )

    def sending_ms(self) -> int:
        """Time spent sending over all hops, in milliseconds."""
        if self._sending_since_s is None:
            return self._sent_before_ms
        return self._sent_before_ms + int((self._clock.monotonic() - self._sending_since_s) * 1000)

    def begin_sending(self) -> None:
        """This hop sends: from the first call on time counts for the ramp."""
        if self._sending_since_s is None:
            self._sending_since_s = self._clock.monotonic()


def copied(account: Account) -> Account:
    """A copy that another thread may read."""
    return msgspec.json.decode(msgspec.json.encode(account), type=Account)
