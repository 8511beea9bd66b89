"""Batches from their forming until their accounts are counted: which are settled, and by whom."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from notifier.model.account import Account
from notifier.sending.batch import Batch
from notifier.sending.settled_batch import SettledBatch


class Counted(NamedTuple):
    """A batch that is settled, whose account is to be added to the lane's now. `is_ours`: this claim settled it."""

    batch: Batch
    settled: SettledBatch
    is_ours: bool


class UncountedBatches:
    """The batches of one claim that the lane's account does not have yet.

    Those of the audience are counted in their order, because the cursor passes them; deferred ones in any.
    """

    def __init__(self) -> None:
        self._audience: deque[Batch] = deque()
        """In the order of their numbers."""
        self._deferred: dict[int, Batch] = {}
        """By number: of each number one round at a time."""
        self._settled: dict[int, SettledBatch] = {}
        """Of those that are settled, by number.

        A number is in `_audience` or in `_deferred`, never in both: a deferred round begins after the round before was
        counted.
        """
        self._not_ours: set[int] = set()
        """Sent by this claim, and settled by another one first."""

    def __len__(self) -> int:
        return len(self._audience) + len(self._deferred)

    def __iter__(self) -> Iterator[Batch]:
        yield from self._audience
        yield from self._deferred.values()

    @property
    def audience(self) -> tuple[Batch, ...]:
        """Batches of the audience that the cursor has not passed."""
        return tuple(self._audience)

    @property
    def deferred(self) -> tuple[Batch, ...]:
        """Deferred batches under way."""
        return tuple(self._deferred.values())

    @property
    def unsettled(self) -> list[Batch]:
        """Batches of the audience that are not settled."""
        return [batch for batch in self._audience if batch.number not in self._settled]

    @property
    def settled_by_others(self) -> list[Batch]:
        """Batches of the audience that this claim has sent, at least in part, and another one settled first."""
        return [batch for batch in self._audience if batch.number in self._settled and batch.number in self._not_ours]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Of settled batches that wait for one with a lower number."""
        return tuple(settled.account for settled in self._settled.values())

    def enter(self, batch: Batch) -> None:
        """Take a batch of the audience in, in its order."""
        self._audience.append(batch)
        self._enter_settled(batch)

    def enter_deferred(self, batch: Batch) -> None:
        """Take a deferred batch in."""
        self._deferred[batch.number] = batch
        self._enter_settled(batch)

    def _enter_settled(self, batch: Batch) -> None:
        # An earlier claim settled it before this one began: nothing of it is sent, it only has to be counted.
        if batch.settled is not None:
            self._settled[batch.number] = batch.settled

    def settle(self, settled: SettledBatch) -> None:
        """A batch that this claim has sent is settled."""
        self._settled[settled.number] = settled
        if not settled.ours:
            self._not_ours.add(settled.number)

    def take_in_order(self) -> Iterator[Counted]:
        """Take out settled batches of the audience, up to the first that is not settled."""
        while self._audience and self._audience[0].number in self._settled:
            yield self._counted(self._audience.popleft())

    def take_deferred(self) -> Iterator[Counted]:
        """Take out settled deferred batches."""
        for number in [number for number in self._deferred if number in self._settled]:
            yield self._counted(self._deferred.pop(number))

    def _counted(self, batch: Batch) -> Counted:
        is_ours = not batch.settled_by_another and batch.number not in self._not_ours
        self._not_ours.discard(batch.number)
        return Counted(batch, self._settled.pop(batch.number), is_ours)
