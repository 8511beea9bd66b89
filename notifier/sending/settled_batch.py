"""A settled batch, as its rows object says, and how its repeats go into the lane's account: each device once."""

from collections.abc import Mapping

import msgspec

from notifier.model.account import Account


class SettledBatch(msgspec.Struct, frozen=True):
    """A settled batch: its rows are written.

    Args:
        account: of the claim that settled it, and what later claims may have repeated (`with_repeats`).
        ours: whether the claim that asked settled it. If not, another worker was first, and its account counts.
        epoch: the claim that settled it.
        pushes: how many devices it was formed with.
        repeated: how many of them were `possibly_repeated` in an earlier round.
        passed: how many devices the account counts as `possibly_repeated` that are not among `pushes`, because their
            users were suppressed when it was formed.
        passed_over: how many devices those users have in all. 0 also in objects of a release that did not write it.
        added: how many of the account's `possibly_repeated` other claims added. Which devices these are is not known.
    """

    number: int
    round: int
    account: Account
    ours: bool = True
    epoch: int = 0
    pushes: int = 0
    repeated: int = 0
    passed: int = 0
    passed_over: int = 0
    added: int = 0

    @property
    def repeatable(self) -> int:
        """How many devices of it can be repeats that no account counts yet."""
        return self.account.repeatable(self.pushes, self.repeated) + self.passed

    @property
    def unasked(self) -> int:
        """How many devices it passed over and does not count. Other claims may have repeated their requests."""
        return max(self.passed_over - self.passed, 0)

    @property
    def askable(self) -> int:
        """For how many devices of it a claim may have made a request."""
        return self.account.repeatable(self.pushes, 0)

    @property
    def deferred(self) -> int:
        """How many of its devices wait for its next round."""
        # The account of a later round begins below zero, because its devices are deferred no longer.
        return self.account.deferred + (self.pushes if self.round else 0)

    def with_repeats(self, devices: int, requests: int, at_most: int | None = None) -> "SettledBatch":
        """With repeats that another claim made: so many devices at most, whichever they are, and so many requests.

        It changes the account: use only what this returns.

        Args:
            at_most: as many as can be repeats in all; by default as many as this batch has devices.
        """
        before = self.account.possibly_repeated
        self.account.add_repeats(devices, requests, at_most=self.repeatable if at_most is None else at_most)
        return msgspec.structs.replace(self, added=self.added + self.account.possibly_repeated - before)


class CountedOnce:
    """Counts the repeats of each batch's devices once, over all of its rounds.

    A claim that settles a batch says, with each device that it defers, whether that is counted in `possibly_repeated`.
    What other claims add to its account afterwards are devices of which only the number is known: some of them may be
    deferred, and be counted again in the next round, where they are asked. Until nothing of such a batch is deferred,
    the lane keeps how many of its devices are not counted yet: its later rounds count no more than these.

    Args:
        repeats_left: by the batches' numbers, as the ledger has it.
    """

    def __init__(self, repeats_left: Mapping[int, int]) -> None:
        self._repeats_left = dict(repeats_left)

    @property
    def repeats_left(self) -> dict[int, int]:
        """By number of batch: a copy, for another thread."""
        return dict(self._repeats_left)

    def account_of(self, settled: SettledBatch) -> Account:
        """What a settled batch adds to the lane's account. To be called once for each round of a batch."""
        account = settled.account
        left = self._repeats_left.pop(settled.number, None)
        # Nearly always: each device that was counted says so itself.
        if left is None and not settled.added:
            return account
        # Never too low: where this is less than the account has, every device of the batch is counted by now.
        counted = account.possibly_repeated if left is None else min(account.possibly_repeated, left)
        if settled.deferred:
            most = settled.repeatable if left is None else min(left, settled.repeatable)
            self._repeats_left[settled.number] = max(most - counted, 0)
        return msgspec.structs.replace(account, possibly_repeated=counted)
