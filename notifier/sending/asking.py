"""Which deferred batches may be asked for: only those that the ledger lists already, so that a crash loses none."""

from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from notifier.model.run import Asking, UnfinishedClaim

MAX_ASKING = 64
"""Deferred batches under way at once: a lane's item stays small."""


class AskingList:
    """The lane's list of deferred batches that are asked for now, or were when an earlier claim died.

    A batch enters the list, in the ledger, before its first request. It leaves the list in the very ledger write that
    adds its account. So a settled batch is missing in the lane's account exactly while it is in this list.

    Args:
        entries: the list as the ledger has it.
        epoch: this claim's.
    """

    def __init__(self, entries: Iterable[Asking], epoch: int) -> None:
        self._entries = {one.number: one for one in entries}
        self._epoch = epoch
        self._unfinished = set(self._entries)
        """Numbers of batches of earlier claims that this one has neither begun nor found settled."""
        self._announced: set[int] = set()
        """Numbers of batches entered by this claim and not begun."""
        self.has_changed = False
        """The ledger has another list than this one."""

    def may_ask(self, number: int, round_: int, known: Iterable[Asking]) -> bool:
        """Whether a batch may be asked for now. If not, it enters the list, unless that is full: ask again later.

        Args:
            known: the list as the ledger last returned it.
        """
        one = self._entries.get(number)
        if one is None:
            if len(self._entries) < MAX_ASKING:
                self._announce(Asking(number, round_, ()))
            return False
        # An earlier round's account is not in the ledger yet: one entry cannot stand for two rounds.
        if one.round != round_:
            return False
        if self._epoch not in one.epochs:
            self._announce(one)
            return False
        # The ledger must have this entry, of this round and this claim. By the round too: it may still have the one
        # before, whose account is on its way there.
        return any((each.number, each.round) == (number, round_) and self._epoch in each.epochs for each in known)

    def _announce(self, one: Asking) -> None:
        self._entries[one.number] = msgspec.structs.replace(one, epochs=(*one.epochs, self._epoch))
        self._announced.add(one.number)
        self.has_changed = True

    def begin(self, number: int) -> None:
        """A batch is asked for from now on, or was found settled."""
        self._announced.discard(number)
        self._unfinished.discard(number)

    def finish(self, number: int) -> None:
        """The next ledger write adds a batch's account: the batch leaves the list in it."""
        self.begin(number)
        del self._entries[number]
        self.has_changed = True

    def withdraw(self, numbers: Iterable[int] | None = None) -> None:
        """Take back batches that this claim has entered and not begun: these numbers, or all."""
        for number in self._announced & set(self._announced if numbers is None else numbers):
            self._announced.discard(number)
            one = self._entries.pop(number)
            earlier = tuple(epoch for epoch in one.epochs if epoch != self._epoch)
            if earlier:  # earlier claims may still have asked for it
                self._entries[number] = msgspec.structs.replace(one, epochs=earlier)
            self.has_changed = True

    @property
    def unfinished(self) -> list[Asking]:
        """Batches that earlier claims may have asked for, and that this one has neither begun nor found settled."""
        return [self._entries[number] for number in self._unfinished]

    def adopt(self, entries: Iterable[Asking]) -> None:
        """Enter what claims of an earlier release may have asked for: those kept no list."""
        for one in entries:
            self._entries[one.number] = one
            self._unfinished.add(one.number)
        self.has_changed = True

    def suspects_of(self, number: int) -> Sequence[UnfinishedClaim]:
        """The earlier claims that may have asked for a batch."""
        one = self._entries.get(number)
        return [UnfinishedClaim(epoch, number + 1) for epoch in one.epochs if epoch != self._epoch] if one else ()

    def entries(self, asked: Mapping[int, int] | None = None) -> tuple[Asking, ...]:
        """The list as it is to be stored, by number.

        Args:
            asked: by number, for how many devices of a batch this claim has asked. Only for its last write.
        """
        found = sorted(self._entries.values(), key=lambda one: one.number)
        if not asked:
            return tuple(found)
        return tuple(msgspec.structs.replace(one, devices=max(one.devices, asked.get(one.number, 0))) for one in found)

    def __contains__(self, number: object) -> bool:
        return number in self._entries


def asked_by_old_claims(
    open_rounds: Mapping[int, int], round_: int, suspects: Sequence[UnfinishedClaim], settled: Container[int]
) -> list[Asking]:
    """What claims of an earlier release may have asked for: they went through a round in the order of the numbers.

    Args:
        open_rounds: by number the round that is to be asked next.
        round_: the one that the claims were in.
        settled: numbers of the round's batches that are settled.
    """
    found = []
    for number, next_round in open_rounds.items():
        epochs = tuple(one.epoch for one in suspects if one.may_have_asked(number))
        if next_round == round_ and epochs and number not in settled:
            found.append(Asking(number, round_, epochs))
    return found
