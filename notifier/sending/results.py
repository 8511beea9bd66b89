"""What a run writes: the settlement of each batch, the devices that are deferred, its campaign and its summary."""

from typing import Protocol

from notifier.sending.batch import Batch
from notifier.sending.deferred_format import DeferredBatch, DeferredDevice, OpenBatches
from notifier.sending.settled_batch import SettledBatch


class Results(Protocol):
    """`notifier.stores.s3_results` keeps them in S3, the tests' twin in memory. Every call may block.

    Raises:
        StoreRefused: no later try can help before an operator has changed something. Each call may raise it.
    """

    # -- settlements --------------------------------------------------------------------------------------------------

    def settle(self, batch: Batch, epoch: int) -> SettledBatch:
        """Settle a complete batch. Of two claims that settle the same one the first wins, and both get its account."""
        ...

    def prove_writable(self, run_id: str) -> None:
        """Write an empty object wherever `settle` writes, so that it is known before devices are asked for."""
        ...

    def settled_from(self, run_id: str, number: int, round_: int, below: int | None = None) -> frozenset[int]:
        """The numbers, from `number` on and below `below`, of the batches of one round that are settled."""
        ...

    def settled(self, run_id: str, number: int, round_: int) -> SettledBatch:
        """Read a settled batch back."""
        ...

    # -- deferred devices ---------------------------------------------------------------------------------------------

    def open_deferred(self, run_id: str, within: tuple[int, int] | None = None) -> OpenBatches:
        """List the batches with deferred devices, each in the round that is to be asked next.

        Args:
            within: only batches from the first number on and below the second: those of one lane of several.
        """
        ...

    def first_due(self, run_id: str, found: DeferredBatch) -> float:
        """When the first device of a batch is due, seconds since the epoch."""
        ...

    def read_deferred(self, run_id: str, found: DeferredBatch) -> list[DeferredDevice]:
        """The devices of a batch; none where the claim that wrote them did not settle the batch."""
        ...

    # -- one object per run -------------------------------------------------------------------------------------------

    def put_state(self, run_id: str, name: str, value: object) -> None:
        """Store what every hop needs, as JSON. The first writer wins: two claims may try at the same time."""
        ...

    def get_state(self, run_id: str, name: str) -> bytes | None:
        """What was stored, or None."""
        ...

    def put_summary(self, run_id: str, summary: object) -> str:
        """Write the run's summary; the same run always gives the same object. Returns its key."""
        ...
