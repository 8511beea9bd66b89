"""Batches from their forming until their accounts are counted: which are settled, and by whom."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from notifier.model.account import Account
from notifier.sending.batch import Batch


class Counted(NamedTuple):
    """A batch that is settled, whose account is to be added to the lane's now. `is_ours`: this claim settled it."""

    batch: Batch
    account: Account
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
        self._accounts: dict[int, Account] = {}
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
        return [batch for batch in self._audience if batch.number not in self._accounts]

    @property
    def settled_by_others(self) -> list[Batch]:
        """Batches of the audience that this claim has sent, at least in part, and another one settled first."""
        return [batch for batch in self._audience if batch.number in self._accounts and batch.number in self._not_ours]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Of settled batches that wait for one with a lower number."""
        return tuple(self._accounts.values())

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
        if batch.settled_by_another:
            self._accounts[batch.number] = batch.account

    def settle(self, number: int, account: Account, *, is_ours: bool) -> None:
        """A batch is settled, with this account."""
        self._accounts[number] = account
        if not is_ours:
            self._not_ours.add(number)

    def take_in_order(self) -> Iterator[Counted]:
        """Take out settled batches of the audience, up to the first that is not settled."""
        while self._audience and self._audience[0].number in self._accounts:
            yield self._counted(self._audience.popleft())

    def take_deferred(self) -> Iterator[Counted]:
        """Take out settled deferred batches."""
        for number in [number for number in self._deferred if number in self._accounts]:
            yield self._counted(self._deferred.pop(number))

    def _counted(self, batch: Batch) -> Counted:
        is_ours = not batch.settled_by_another and batch.number not in self._not_ours
        self._not_ours.discard(batch.number)
        return Counted(batch, self._accounts.pop(batch.number), is_ours)
