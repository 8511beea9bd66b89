"""The audience's batches as a hop takes them: opened when the first is wanted, one at a time."""

from notifier.sending.batch import Batch
from notifier.sending.batch_source import BatchSource, SourceOpener
from notifier.sending.checkpoint import Checkpoint
from notifier.sending.settling import SLOW_S


class AudienceReading:
    """Reads batches in their order, from the checkpoint's cursor on.

    Args:
        opener: opens the source, once it is known which batches beyond the cursor are settled.
    """

    def __init__(self, opener: SourceOpener, checkpoint: Checkpoint) -> None:
        self._opener = opener
        self._checkpoint = checkpoint
        self.source: BatchSource | None = None
        """None until it is open."""
        self._put_back: Batch | None = None
        self._waiting_since_s: float | None = None
        """Since when it has waited for the accounts of settled batches; None if it has not."""

    @property
    def has_ended(self) -> bool:
        """Every batch was formed."""
        return self.source is not None and self.source.ended

    def next(self, now_s: float) -> Batch | None:
        """The next batch; None when it is not there yet, or there is none. `now_s` monotonic.

        Raises:
            BrokenInput, InputUnreachable, StoreRefused: no further batch can be formed, for good or for now.
        """
        if self.source is None:
            self.source = self._opener.open(self._checkpoint)
        # Still None while settled batches are being read: the next turn asks again.
        if self.source is None:
            self._note_slow_opening(now_s)
            return None
        batch, self._put_back = self._put_back or self.source.next(), None
        return batch

    def put_back(self, batch: Batch) -> None:
        """Return a batch that may not begin yet: `next` gives it again, and no batch behind it is formed meanwhile."""
        self._put_back = batch

    def close(self) -> None:
        """End the source's files and threads."""
        if self.source is not None:
            self.source.close()

    def _note_slow_opening(self, now_s: float) -> None:
        """Note what the hop waits for, once it is slow: if the hop is killed meanwhile, the ledger has the reason."""
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if now_s - self._waiting_since_s >= SLOW_S:
            reason = f"settled batches: S3 takes more than {SLOW_S:.0f} s to hand them out"
            self._checkpoint.troubles.note(reason)
