"""Repeats of unfinished claims: who may have asked for a batch before, and what that adds to its account.

A claim that ends with requests out, by a crash or with batches that could not be settled, leaves an `UnfinishedClaim`
in the lane. Later claims form the same batches again and ask for the same devices. Each such request is counted as a
possible repeat: `possibly_repeated` counts devices, each once, and `repeat_requests` counts requests.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from notifier.model.account import SUPPRESSED
from notifier.model.run import Lane, UnfinishedClaim
from notifier.sending.batch import Batch
from notifier.sending.settled_batch import SettledBatch


def mark_suspected(batch: Batch, suspects: Sequence[UnfinishedClaim]) -> None:
    """Mark the pushes of a batch that is about to be sent as possible repeats.

    When n earlier claims may have asked for a device, each of them once, n - 1 of their requests may have been repeats
    already. Those are counted now, because this claim may end before it asks; one more is counted when it does ask.
    """
    asked = [bits for one in suspects if (bits := one.asked_of(batch.number))]
    if not asked:
        return
    for push in batch.waiting:
        askers = sum(bits >> push.order & 1 for bits in asked)  # bit n is the batch's n-th device
        if not askers or push.is_control:
            continue
        # The device was asked for in an earlier round too, unanswered: then the first of these was a repeat itself.
        repeats = askers if push.maybe_repeat else askers - 1
        if repeats:
            batch.count_repeats(push, repeats)
        push.maybe_repeat = True
        batch.suspected += 1
    for order in batch.passed_over:
        # Not asked for now, as its user was suppressed since. But two earlier claims may have repeated a request.
        repeats = sum(bits >> order & 1 for bits in asked) - 1
        if repeats > 0:
            batch.passed_repeated += 1
            batch.account.possibly_repeated += 1
            batch.account.repeat_requests += repeats


def with_later_repeats(found: SettledBatch, suspects: Sequence[UnfinishedClaim], most_devices: int = 0) -> SettledBatch:
    """A batch that an earlier claim settled, with the repeats of later claims that ended unfinished.

    A slow worker may settle a batch long after its lease was over. Claims that were made meanwhile, and died, may have
    asked for the same devices; the account that was settled does not count them.

    Args:
        most_devices: no claim has formed the batch with more; only needed for batches of the audience.
    """
    others = [one for one in suspects if one.epoch != found.epoch and one.may_have_asked(found.number)]
    later = sum(one.epoch > found.epoch for one in others)
    if not later:
        return found
    # It has not asked for devices of users who were suppressed when it was formed. One of the others may have, and a
    # second one repeated that.
    unasked = _unasked(found, most_devices) if len(others) > 1 else 0
    at_most = found.repeatable + unasked
    # Devices that an earlier round counted are not counted again, nor those that it passed over and counts; their
    # requests are.
    passed = found.passed if unasked else 0
    return found.with_repeats(at_most, later * (found.askable + unasked + passed), at_most)


def _unasked(found: SettledBatch, most_devices: int) -> int:
    """How many devices of suppressed users the batch passed over and does not count, or the most that it can be."""
    if found.passed_over or not found.account.excluded_by.get(SUPPRESSED):
        return found.unasked
    # A release wrote it that did not say how many. All devices of a batch together are no more than `most_devices`.
    return max(most_devices - found.repeatable, 0)


def with_own_repeats(settled: SettledBatch, batch: Batch, epoch: int) -> SettledBatch:
    """A batch that another claim settled first, with this claim's requests.

    Args:
        batch: as this claim formed it.
        epoch: of this claim.
    """
    # A later claim knew of this one, and has counted its requests as suspected. An earlier one did not.
    uncounted = batch.first_requests if settled.epoch < epoch else 0
    ours = batch.account
    # Users may have been suppressed for the claim that settled it, and not for this one, which has asked for them. And
    # others for this one alone: so all devices of the batch, not the larger of both claims' parts.
    at_most = max(settled.repeatable + settled.unasked, batch.repeatable + batch.passed_repeated)
    return settled.with_repeats(ours.possibly_repeated + uncounted, ours.repeat_requests + uncounted, at_most)


def unfinished_claim(epoch: int, below: int, batches: Iterable[Batch]) -> UnfinishedClaim:
    """What a claim that ends in order leaves behind: for which devices of its unsettled batches it has asked.

    Args:
        below: the first batch of the round that it has not formed.
    """
    left = [batch for batch in batches if batch.asked]
    asked = {batch.number: batch.asked for batch in left}
    # Where every device was asked for, the bits tell nothing more. In a later round the devices are formed in another
    # order, so that the n-th is not the same one: only batches of the audience are always formed alike.
    in_part = [batch for batch in left if not batch.round and (batch.asked < batch.repeatable or batch.passed_over)]
    return UnfinishedClaim(epoch, below, asked, {batch.number: f"{batch.asked_bits:x}" for batch in in_part})


def as_never_formed(lane: Lane, first: int) -> Lane:
    """The lane with an upper bound of what earlier claims asked for, when no claim will form those batches any more.

    How many devices they have is not known: no batch has more than `most_devices`, no deferred one more than all
    deferred devices together. Each device counts as unsettled once, and as one more request for each further claim.

    Args:
        first: the first batch of the audience that was not formed since.
    """
    asked: Counter[int] = Counter()  # by batch, requests of all claims together
    for one in lane.suspects:
        for number in filter(one.may_have_asked, range(first, one.below)):
            asked[number] += lane.most_devices if one.asked is None else one.asked[number]
    # Two claims that left may have asked for different devices of a batch: so their sum, not the larger of both.
    most = {number: min(devices, lane.most_devices) for number, devices in asked.items()}
    most_deferred = min(lane.most_devices, lane.account.deferred)
    asking = lane.asking and tuple(msgspec.structs.replace(one, devices=most_deferred) for one in lane.asking)
    requests = (
        asked.total() - sum(most.values()) + sum((len(one.epochs) - 1) * most_deferred for one in lane.asking or ())
    )
    account = msgspec.structs.replace(lane.account, repeat_requests=lane.account.repeat_requests + requests)
    suspects = tuple(_bounded(one, first, most) for one in lane.suspects)
    return msgspec.structs.replace(lane, account=account, suspects=suspects, asking=asking)


def _bounded(one: UnfinishedClaim, first: int, most: Mapping[int, int]) -> UnfinishedClaim:
    """A claim with the most that it can have asked for; of batches before `first` only what it said itself."""
    asked = {number: n for number, n in (one.asked or {}).items() if number < first}
    asked |= {number: most[number] for number in filter(one.may_have_asked, range(first, one.below))}
    return UnfinishedClaim(one.epoch, one.below, asked)
