"""What a run leaves in S3, in memory: methods and exceptions of `S3Results`, without bytes."""

from typing import Any, NamedTuple

import msgspec

from notifier.model.account import Account
from notifier.model.outcome import DeadToken, Excluded, Invalid, Row
from notifier.model.store_error import StoreRefused
from notifier.sending.batch import Batch
from notifier.sending.deferred_format import (
    DeferredBatch,
    DeferredDevice,
    OpenBatches,
    deferred_device,
    due_from,
    open_of,
)
from notifier.sending.settled_batch import SettledBatch
from notifier.stores.s3_results import SETTLED_FOLDERS
from tests.twins.trouble import StoreError, Trouble, Troubles, no_trouble

Place = tuple[str, int, int]
"""Run, number, round."""


class RowsObject(NamedTuple):
    """What settles a batch."""

    rows: tuple[Row, ...]
    account: Account
    epoch: int
    pushes: int
    repeated: int = 0
    passed: int = 0
    passed_over: int = 0


class MemoryResults:
    """Results in dictionaries.

    Args:
        troubles: what goes wrong with a put.
    """

    def __init__(self, troubles: Troubles = no_trouble) -> None:
        self.troubles = troubles
        self.rows: dict[Place, RowsObject] = {}
        self.invalid: dict[Place, tuple[Invalid, ...]] = {}
        self.excluded: dict[Place, tuple[Excluded, ...]] = {}
        self.dead_tokens: dict[Place, tuple[DeadToken, ...]] = {}
        self.deferrals: dict[tuple[str, int, int, int], tuple[float, tuple[DeferredDevice, ...]]] = {}
        self.due: dict[str, tuple[float, int]] = {}
        """When each deferred device is due, by its token, and in which round; of the deferrals that count."""
        self.states: dict[tuple[str, str], bytes] = {}
        self.summaries: dict[str, Any] = {}
        self.probes: dict[tuple[str, str], None] = {}

    # -- settling -----------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, epoch: int) -> SettledBatch:
        """Write the batch's objects, the rows last."""
        place = (batch.run_id, batch.number, batch.round)
        if batch.deferred:
            due_at = max(push.due_at for push in batch.deferred)
            key = (batch.run_id, batch.number, batch.round + 1, epoch)
            self._put("deferred", self.deferrals, key, (due_at, tuple(map(deferred_device, batch.deferred))))
        if batch.invalid:
            self._put("invalid", self.invalid, place, tuple(batch.invalid))
        if batch.excluded:
            self._put("excluded", self.excluded, place, tuple(batch.excluded))
        if batch.dead:
            self._put("dead-tokens", self.dead_tokens, place, tuple(batch.dead))
        numbers = (epoch, batch.pushes, batch.repeated, batch.passed_repeated, len(batch.passed_over))
        rows = RowsObject(tuple(batch.rows), _copied(batch.account), *numbers)
        try:
            self._put("rows", self.rows, place, rows, only_new=True)
        finally:
            if place in self.rows and self.rows[place].epoch == epoch:
                self.due |= {push.device.token: (push.due_at, batch.round + 1) for push in batch.deferred}
        if self.rows[place].epoch != epoch:
            return self.settled(*place)
        return SettledBatch(
            batch.number,
            batch.round,
            batch.account,
            epoch=epoch,
            pushes=batch.pushes,
            repeated=batch.repeated,
            passed=batch.passed_repeated,
            passed_over=len(batch.passed_over),
        )

    def prove_writable(self, run_id: str) -> None:
        """Write an empty object wherever `settle` writes."""
        for name in SETTLED_FOLDERS:
            self._put("probe", self.probes, (name, run_id), None)

    def _put(self, name: str, objects: dict[Any, Any], key: object, value: object, *, only_new: bool = False) -> None:
        trouble = self.troubles(name)
        if trouble is Trouble.REFUSED:
            raise StoreRefused(f"AccessDenied by S3 for PutObject under {name}/")
        if trouble is Trouble.LOST:
            raise StoreError(f"put {name}")
        if not only_new or key not in objects:
            objects[key] = value
        if trouble is Trouble.UNANSWERED:
            raise StoreError(f"put {name}: no answer")

    def settled_from(self, run_id: str, number: int, round_: int, below: int | None = None) -> frozenset[int]:
        """The numbers of the batches of this round, from `number` on, that are settled already."""
        found = (n for run, n, in_round in self.rows if run == run_id and in_round == round_ and n >= number)
        return frozenset(n for n in found if below is None or n < below)

    def settled(self, run_id: str, number: int, round_: int) -> SettledBatch:
        """A settled batch."""
        found = self.rows[run_id, number, round_]
        account = _copied(found.account)
        return SettledBatch(
            number,
            round_,
            account,
            ours=False,
            epoch=found.epoch,
            pushes=found.pushes,
            repeated=found.repeated,
            passed=found.passed,
            passed_over=found.passed_over,
        )

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def open_deferred(self, run_id: str, within: tuple[int, int] | None = None) -> OpenBatches:
        """Lists the batches with deferred devices, each in the round that is to be asked next."""
        if self.troubles("list deferred") is not Trouble.NONE:
            raise StoreError("list deferred")
        rounds: dict[int, dict[int, list[int]]] = {}
        for run, number, round_, epoch in sorted(self.deferrals):
            if run == run_id and (within is None or within[0] <= number < within[1]):
                rounds.setdefault(number, {}).setdefault(round_, []).append(epoch)
        return open_of(rounds, {(n, r) for run, n, r in self.rows if run == run_id and n in rounds})

    def first_due(self, run_id: str, found: DeferredBatch) -> float:
        """When the first device of a deferred batch is due."""
        if self.troubles("look deferred") is not Trouble.NONE:
            raise StoreError("look deferred")
        objects = (self.deferrals[run_id, found.number, found.round, epoch] for epoch in found.epochs)
        return min(min(map(due_from, items)) for _, items in objects)

    def read_deferred(self, run_id: str, found: DeferredBatch) -> list[DeferredDevice]:
        """The devices of one deferred batch; none where its objects are of claims that did not settle it."""
        if self.troubles("read deferred") is not Trouble.NONE:
            raise StoreError("read deferred")
        epoch = self.rows[run_id, found.number, found.round - 1].epoch
        if epoch not in found.epochs:
            return []
        return list(self.deferrals[run_id, found.number, found.round, epoch][1])

    # -- one object per run -------------------------------------------------------------------------------------------

    def put_state(self, run_id: str, name: str, value: object) -> None:
        """Store what every hop needs. The first writer wins."""
        self.states.setdefault((run_id, name), msgspec.json.Encoder(decimal_format="number").encode(value))

    def get_state(self, run_id: str, name: str) -> bytes | None:
        """What was stored, or None."""
        return self.states.get((run_id, name))

    def put_summary(self, run_id: str, summary: object) -> str:
        """Write the run's summary. Returns its key."""
        self.summaries[run_id] = summary
        return f"summaries/run_id={run_id}/summary.json"


def _copied(account: Account) -> Account:
    return msgspec.convert(msgspec.to_builtins(account), Account)
