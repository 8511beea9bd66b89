"""Repeats of one batch over its rounds: each device is counted once, whoever settled it and whoever asked besides."""

import msgspec

from notifier.model.account import SUPPRESSED, Account, ArmAccount
from notifier.model.cursor import Cursor
from notifier.model.recipient import Device, Platform
from notifier.model.run import UnfinishedClaim
from notifier.sending.batch import Batch, Push
from notifier.sending.possible_repeats import with_later_repeats, with_own_repeats
from notifier.sending.settled_batch import CountedOnce, SettledBatch


def settled(round_: int = 0, *, pushes: int = 4, deferred: int = 0, repeats: int = 0, held: int = 0) -> SettledBatch:
    """Batch 3 as claim 2 has settled it: so many devices deferred by it, so many of its own repeats."""
    # The account of a later round begins below zero, by the devices that the round before deferred.
    account = Account(deferred=deferred - pushes * bool(round_), arms={"a": ArmAccount(held=held)})
    account.possibly_repeated = account.repeat_requests = repeats
    return SettledBatch(3, round_, account, ours=False, epoch=2, pushes=pushes)


def passing_over(devices: int, *, counted: int = 0, pushes: int, repeats: int = 0) -> SettledBatch:
    """The same, with so many devices of suppressed users; some of these are counted as repeats all the same."""
    found = settled(pushes=pushes, repeats=counted + repeats)
    found.account.exclude(SUPPRESSED)
    return msgspec.structs.replace(found, passed=counted, passed_over=devices)


def unfinished(epoch: int) -> UnfinishedClaim:
    """A claim that died, and may have asked for each device of batch 3."""
    return UnfinishedClaim(epoch, 4)


def count(once: CountedOnce, *batches: SettledBatch) -> int:
    """How many devices the lane counts for these rounds of a batch."""
    return sum(once.account_of(one).possibly_repeated for one in batches)


def test_devices_that_their_batch_defers() -> None:
    """What a later claim may have asked of a settled batch is counted there, and not again when it is asked next."""
    once = CountedOnce({})
    first = with_later_repeats(settled(deferred=2, repeats=2), [unfinished(1), unfinished(3)])
    assert (first.added, first.account.repeat_requests) == (2, 6)
    assert count(once, first) == 4
    assert once.repeats_left == {3: 0}
    assert count(once, settled(1, pushes=2, deferred=1, repeats=2)) == 0
    assert count(once, settled(2, pushes=1, repeats=1)) == 0
    assert once.repeats_left == {}, "nothing of it is deferred any more"


def test_as_many_as_are_left() -> None:
    """Where not all devices are counted, later rounds count as many as can be others."""
    once = CountedOnce({})
    one_more = settled(deferred=3, repeats=1).with_repeats(1, 1)
    assert count(once, one_more) == 2
    assert once.repeats_left == {3: 2}
    assert count(once, settled(1, pushes=3, deferred=3, repeats=1)) == 1
    assert count(once, settled(2, pushes=3, repeats=3)) == 1


def test_what_says_so_itself() -> None:
    """Devices that their own claim counts are marked where they are deferred: nothing has to be kept."""
    once = CountedOnce({})
    assert count(once, settled(deferred=2, repeats=2), settled(1, pushes=2, repeats=2)) == 4
    assert once.repeats_left == {}


def test_a_batch_that_defers_nothing() -> None:
    """There is no later round that could count its devices again."""
    once = CountedOnce({})
    assert count(once, with_later_repeats(settled(repeats=1), [unfinished(3)])) == 4
    assert once.repeats_left == {}


def test_the_control_group() -> None:
    """Its devices are never asked for: no claim can have repeated them."""
    assert with_later_repeats(settled(held=3), [unfinished(3), unfinished(4)]).account.possibly_repeated == 1


def test_another_batch() -> None:
    """What is kept is kept by batch."""
    once = CountedOnce({7: 0})
    assert count(once, settled(1, pushes=2, repeats=2)) == 2
    assert once.repeats_left == {7: 0}


def test_an_earlier_claim() -> None:
    """The claim that settled it knew of those before it."""
    found = settled(repeats=2)
    assert with_later_repeats(found, [unfinished(1), unfinished(2)]) is found


def test_users_who_were_suppressed_for_the_claim_that_settled_it() -> None:
    """Two others may have asked for their devices, which the batch passed over: each device counts, once."""
    found = passing_over(3, pushes=1)
    counted = with_later_repeats(found, [unfinished(1), unfinished(3)], most_devices=500).account
    assert (counted.possibly_repeated, counted.repeat_requests) == (4, 4)


def test_suppressed_users_whom_it_counts_already() -> None:
    """Of three devices that it passed over it counts two: these are not counted again, their later requests are."""
    found = passing_over(3, counted=2, pushes=1)
    counted = with_later_repeats(found, [unfinished(1), unfinished(3)], most_devices=500).account
    assert (counted.possibly_repeated, counted.repeat_requests) == (4, 2 + 4)


def test_suppressed_users_whose_devices_are_not_stated() -> None:
    """An object without `passed-over`: no more than a batch has devices, those of it and of the suppressed together."""
    found = settled(pushes=2)
    found.account.exclude(SUPPRESSED)
    counted = with_later_repeats(found, [unfinished(1), unfinished(3)], most_devices=5).account
    assert (counted.possibly_repeated, counted.repeat_requests) == (5, 5)


def test_users_suppressed_for_each_of_two_claims() -> None:
    """One was suppressed for the claim that settled the batch, the other for this one: both may be repeats."""
    found = passing_over(1, pushes=1, repeats=1)
    batch = Batch("r", "spring", 3, 0, Cursor(4))
    batch.add(push := Push(batch, 0, 0, "u0", "a", Device(Platform.IOS, "t0"), "apns"))
    batch.pass_over(1)
    batch.count_repeats(push, 1)
    assert with_own_repeats(found, batch, 3).account.possibly_repeated == 2


def test_one_request_for_who_was_suppressed() -> None:
    """One claim alone repeats nothing that it asked for and the settled batch did not."""
    found = passing_over(3, pushes=1)
    assert with_later_repeats(found, [unfinished(3)], most_devices=5).account.possibly_repeated == 1
