"""One batch: what its 500 records ask for, against the rows that are there.

The batch is formed by the code that formed it when it was sent: the same rules for broken records, joined rows and
repeated tokens, and the arm of each user from the public hash. So the comparison is of every device, not of counts.
"""

import gzip
import zlib
from collections.abc import Container, Mapping, Sequence
from hashlib import sha1
from typing import Any, TypeVar

import msgspec

from notifier.content.render import RenderedTexts, Renderer
from notifier.model.account import EXCLUDE, HOLDOUT, REMAINDER, SUPPRESSED, TEST_PART, Account
from notifier.model.arms import Arms
from notifier.model.campaign import CONTROL, Campaign
from notifier.model.cursor import Cursor
from notifier.model.holdout import NOBODY, Holdout
from notifier.model.outcome import DeadToken, Excluded, Outcome, Row
from notifier.model.recipient import Recipient
from notifier.model.remainder import other_part_of
from notifier.model.run import batch_name
from notifier.sending.batch import BATCH_SIZE, NO_TEXTS, Batch, Push
from notifier.sending.batch_builder import BatchBuilder
from reporting.proof.conclusion import CannotProve, NotProved
from reporting.proof.erased import erased_id, follows, is_erased
from reporting.proof.evidence import Stored

PUSH_IDS = bytes.fromhex("8a0e0f6f3d5c5b9d9a3e5c1b7d2f4e60")
"""The public namespace of push ids, restated: an audit must not share what it audits."""
_VERSION_AND_VARIANT = (12, 16)
"""The hexadecimal digits of a UUID that are not the hash's."""
_T = TypeVar("_T")
_ROWS = msgspec.json.Decoder(Row)
_EXCLUDED = msgspec.json.Decoder(Excluded)
_DEAD = msgspec.json.Decoder(DeadToken)
_COMPUTED = (EXCLUDE, HOLDOUT, REMAINDER, TEST_PART)
"""Reasons that follow from the campaign and what the run has pinned."""


class _Deferred(msgspec.Struct, frozen=True):
    """The members of a deferred device that identify it, and those that an erasure leaves."""

    record: int
    number: int
    arm: str
    user_id: str


_DEFERRED = msgspec.json.Decoder(_Deferred)


class _Judge(Renderer):
    """Judges records by the campaign's texts, as sending does, and renders none of them."""

    def render(self, arm: str, recipient: Recipient) -> RenderedTexts:
        return NO_TEXTS


class BatchObjects(msgspec.Struct, frozen=True):
    """What is in S3 for one batch, all its rounds."""

    rows: Sequence[Stored]
    excluded: Sequence[Stored]
    dead: Sequence[Stored]
    deferred: Sequence[Stored]

    @property
    def settled(self) -> dict[int, str]:
        """The epoch of the claim that settled each round."""
        return {stored.round: stored.metadata.get("epoch", "") for stored in self.rows}

    def lines(self, stored: Stored, decoder: "msgspec.json.Decoder[_T]") -> list[_T]:
        """The lines of one object. Raises NotProved where it is not what was written."""
        try:
            return decoder.decode_lines(gzip.decompress(stored.body))
        except (OSError, EOFError, zlib.error, msgspec.DecodeError):
            raise NotProved(stored.key, "not the lines that a run writes") from None


class BatchAuditor:
    """Compares the batches of one run.

    Args:
        excluded: the user ids of the campaign's exclude list.
        holdout: those who get no campaign, as the run has pinned them.
        strict: the run completed, so that every device has a row.
    """

    def __init__(
        self,
        run_id: str,
        campaign: Campaign,
        excluded: Container[str],
        *,
        strict: bool,
        holdout: Holdout = NOBODY,
    ) -> None:
        self._run_id = run_id
        self._campaign = campaign
        self._arms = Arms(campaign.salt, campaign.arms)
        self._judge = _Judge(campaign)
        self._excluded = excluded
        self._holdout = holdout
        self._strict = strict
        self.account = Account()
        """What all batches together come to."""
        self.rows = 0
        self.dead_tokens = 0
        self.unsettled = 0
        """Batches of a run that was ended early that have no rows."""

    def check(
        self, number: int, records: Sequence[object], objects: BatchObjects
    ) -> Mapping[tuple[int, int], tuple[Push, Row]]:
        """Compare one batch. Returns its devices, each with its row. Raises NotProved at the first difference."""
        # No rows: in a run that completed something is gone; one that was ended early need not have come to this batch.
        if not objects.rows:
            self._check_unsettled(number)
            return {}
        self._check_rounds(objects.rows)
        erased = {number * BATCH_SIZE + n: record for n, record in enumerate(records) if is_erased(record)}
        batch = self._formed(number, records, objects)
        # Formed by the product's own builder, from the bytes that were approved: what should be there.
        expected = {push.key: push for push in batch.pushes_formed}
        # The builder took an erased record for a broken one, and each for a user of its own.
        batch.account.users -= sum(follows(record) for record in erased.values())
        found = self._check_rows(expected, erased, objects)
        self._check_missing(expected, found, erased, objects)
        self._check_dead(expected, found, objects)
        self.account.add(batch.account)
        return {key: (push, found[key]) for key, push in expected.items() if key in found}

    def _check_rounds(self, rows: Sequence[Stored]) -> None:
        rounds = {stored.round for stored in rows}
        # Rounds follow each other: a later one was made from what the one before had put off.
        for round_ in range(max(rounds)):
            if round_ not in rounds:
                name = batch_name(rows[0].number, round_)
                raise NotProved(
                    f"rows/run_id={self._run_id}/{name}.json.gz", "it is missing, and a later round is there"
                )

    def _check_unsettled(self, number: int) -> None:
        if self._strict:
            place = f"rows/run_id={self._run_id}/{batch_name(number, 0)}.json.gz"
            raise NotProved(place, "it is missing, and the run completed")
        self.unsettled += 1

    # -- what should be there -----------------------------------------------------------------------------------------

    def _formed(self, number: int, records: Sequence[object], objects: BatchObjects) -> "_Formed":
        left_out = self._left_out(objects)
        if not objects.excluded and any(SUPPRESSED in one.metadata.get("account", "") for one in objects.rows):
            raise CannotProve(
                f"{objects.rows[0].key}: users were suppressed, and excluded/ does not say who: it has expired "
                "(ResultDays), or an older release sent this run"
            )
        # Who else was left out can be computed; who was suppressed at that moment only the list says.
        suppressed = {one.user_id for one in left_out.values() if one.reason not in _COMPUTED}
        # Nobody rather than a share of nothing: then no user is hashed for it.
        holdout = self._holdout if self._holdout.hundredths else frozenset[str]()
        left_out_of_all = (self._excluded, suppressed, holdout, other_part_of(self._campaign))
        builder = BatchBuilder(self._run_id, self._campaign.id, self._arms, self._judge, *left_out_of_all)
        batch = builder.form(number, number * BATCH_SIZE, records, Cursor())
        for one in batch.excluded:
            listed = left_out.pop(one.record, None)
            if objects.excluded and (listed is None or listed.user_id != one.user_id):
                raise NotProved(f"record {one.record}", "its user was left out, and the list of those does not say so")
        for one in left_out.values():
            if one.user_id != erased_id(one.record):
                raise NotProved(objects.excluded[0].key, f"record {one.record} is no user who was left out")
            batch.account.exclude(one.reason)
        return _Formed(batch, tuple(batch.waiting))

    def _left_out(self, objects: BatchObjects) -> dict[int, Excluded]:
        """Who was left out, by record, as the claim that settled the batch listed them."""
        settled = objects.settled
        return {
            one.record: one
            for stored in objects.excluded
            # A claim that lost the settlement has written its list too; only the winner's counts.
            if str(stored.epoch) == settled.get(stored.round)
            for one in objects.lines(stored, _EXCLUDED)
        }

    # -- what is there ------------------------------------------------------------------------------------------------

    def _check_rows(
        self, expected: Mapping[tuple[int, int], Push], erased: Mapping[int, Any], objects: BatchObjects
    ) -> dict[tuple[int, int], Row]:
        found: dict[tuple[int, int], Row] = {}
        for stored in objects.rows:
            for row in objects.lines(stored, _ROWS):
                key = (row.record, row.device)
                if key in found:
                    raise NotProved(stored.key, f"record {row.record} device {row.device} has two rows")
                found[key] = row
                push = expected.get(key)
                if push is not None:
                    fault = self._fault_of(row, push)
                elif row.record in erased:
                    fault = self._fault_of_erased(row)
                else:
                    fault = "no such device is in the audience"
                if fault:
                    raise NotProved(stored.key, f"record {row.record} device {row.device}: {fault}")
        self.rows += len(found)
        self._count(found, erased, expected, objects)
        return found

    def _fault_of(self, row: Row, push: Push) -> str | None:
        if row.user_id != push.user_id:
            return "the row is of another user"
        if row.arm != push.arm:
            return f"the row says arm {row.arm}, the hash says {push.arm}"
        if row.platform != push.device.platform or row.gateway != push.device.carrier:
            return "the row is of another platform or gateway"
        if row.locale != push.locale:
            return "the row has another locale"
        if row.apns_id is not None and not _is_push_id(row.apns_id, push.name):
            return "the push id is another one's"
        return self._fault_of_any(row)

    def _fault_of_erased(self, row: Row) -> str | None:
        return self._fault_of_any(row) if row.user_id == erased_id(row.record) else "a row of an erased user has an id"

    def _fault_of_any(self, row: Row) -> str | None:
        if row.run_id != self._run_id or row.campaign_id != self._campaign.id:
            return "the row is of another run or campaign"
        if (row.outcome is Outcome.HELD) != (row.arm == CONTROL):
            return f"the row says {row.outcome} in arm {row.arm}: only control is held, and always"
        return None

    def _count(
        self,
        found: Mapping[tuple[int, int], Row],
        erased: Mapping[int, Any],
        expected: Mapping[tuple[int, int], Push],
        objects: BatchObjects,
    ) -> None:
        counted: set[int] = set()
        for row in found.values():
            self.account.count(row.arm, row.outcome, row.reason)
            if (row.record, row.device) not in expected:
                self._count_erased(row.record, row.arm, erased, counted)
        if not self._strict and erased:
            for one in self._waiting(objects):
                if one.record in erased:
                    if one.user_id != erased_id(one.record):
                        raise NotProved(objects.deferred[0].key, "a deferred device of an erased user has an id")
                    self._count_erased(one.record, one.arm, erased, counted)
                    self.account.deferred += 1

    def _count_erased(self, record: int, arm: str, erased: Mapping[int, Any], counted: set[int]) -> None:
        self.account.devices += 1
        # A user is assigned once, with the first of their devices, whichever of their records that is in.
        while follows(erased[record]):
            record -= 1
        if record not in counted:
            self.account.arm(arm).assigned += 1
        counted.add(record)

    def _check_missing(
        self,
        expected: Mapping[tuple[int, int], Push],
        found: Mapping[tuple[int, int], Row],
        erased: Mapping[int, Any],
        objects: BatchObjects,
    ) -> None:
        # A device too many was found with its row, above: what is left is a device too few.
        missing = expected.keys() - found.keys()
        if not missing:
            return
        waiting = set() if self._strict else {(one.record, one.number) for one in self._waiting(objects)}
        for record, device in sorted(missing - waiting):
            raise NotProved(objects.rows[0].key, f"record {record} device {device} has no row")
        self.account.deferred += len(missing)

    def _waiting(self, objects: BatchObjects) -> list[_Deferred]:
        """The devices that the last settled round of the batch put off."""
        settled = objects.settled
        last = max(settled)
        return [
            one
            for stored in objects.deferred
            if stored.round == last + 1 and str(stored.epoch) == settled[last]
            for one in objects.lines(stored, _DEFERRED)
        ]

    def _check_dead(
        self, expected: Mapping[tuple[int, int], Push], found: Mapping[tuple[int, int], Row], objects: BatchObjects
    ) -> None:
        if not objects.dead:
            return
        # Two users may have one token: a phone that changed hands.
        by_token = {(push.device.token, push.user_id): push for push in expected.values()}
        settled = objects.settled
        for stored in objects.dead:
            for dead in objects.lines(stored, _DEAD):
                push = by_token.get((dead.token, dead.user_id))
                if push is None or push.device.carrier != dead.gateway:
                    raise NotProved(stored.key, "a dead token that no device of this batch has")
                # Answers of a claim that did not settle the batch are true as well, and have no row. The same tokens
                # are mostly listed once more by the claim that did.
                if str(stored.epoch) != settled.get(stored.round):
                    continue
                self.dead_tokens += 1
                row = found.get(push.key)
                if row is None or row.outcome is not Outcome.REJECTED or row.reason != dead.reason:
                    raise NotProved(
                        stored.key, f"record {push.record}: its token is listed as dead, its row says otherwise"
                    )


def _is_push_id(apns_id: str, name: str) -> bool:
    """Whether this is the UUID, version 5, of a push's name. By hand: `uuid.uuid5` takes three times as long."""
    found, wanted = apns_id.replace("-", "").lower(), sha1(PUSH_IDS + name.encode(), usedforsecurity=False).hexdigest()
    version, variant = _VERSION_AND_VARIANT
    return (
        len(found) == 32
        and found[:version] == wanted[:version]
        and found[version] == "5"
        and found[version + 1 : variant] == wanted[version + 1 : variant]
        and found[variant + 1 :] == wanted[variant + 1 : 32]
    )


class _Formed(msgspec.Struct, frozen=True):
    """A batch as it is formed, with its pushes."""

    batch: Batch
    pushes_formed: tuple[Push, ...]

    @property
    def account(self) -> Account:
        """What it adds to the run's account, without outcomes."""
        return self.batch.account
