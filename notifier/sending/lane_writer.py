"""Writes a claimed lane to the ledger, one write at a time, and stops the worker before its lease is over."""

from concurrent.futures import Executor, Future

from notifier.model.ledger import Ledger
from notifier.model.run import BLIND_MS, LEASE_MS, Lane, LaneLost
from notifier.model.runtime import Clock
from notifier.model.store_error import in_words, refusal_code
from notifier.sending.settling import REFUSALS, RETRY_S
from notifier.sending.trouble_log import TroubleLog

REFUSED_RETRY_S = 0.5
"""A write that was refused is tried again after this: soon, because the lease has to last until all is settled."""


class LeaseOver(Exception):
    """The ledger could not be reached for the length of a lease: another worker may have claimed the lane by now."""


class LaneWriter:
    """The lane as the ledger last returned it, and the write that is under way.

    Args:
        lane: as claimed.
        background: a thread for the ledger alone. Settlements that hang would hold it up, and cost the lease.
    """

    def __init__(self, lane: Lane, ledger: Ledger, background: Executor, clock: Clock, troubles: TroubleLog) -> None:
        self.lane = lane
        self._ledger = ledger
        self._background = background
        self._clock = clock
        self._troubles = troubles
        self._writing: Future[Lane] | None = None
        self._began_s = 0.0
        """When the write under way began."""
        self._wrote_s = clock.monotonic()
        """When the last write that succeeded began: the lease runs from there, whenever its answer came."""
        self._not_before_s = 0.0
        self._refusals = 0
        """How many writes in a row were refused."""
        self._refusal = ""

    # -- the lease ----------------------------------------------------------------------------------------------------

    @property
    def since_s(self) -> float:
        """Seconds since the lease was last extended."""
        return self._clock.monotonic() - self._wrote_s

    @property
    def is_lease_short(self) -> bool:
        """Whether the lease ends soon: a request that starts now may be answered when another worker has the lane."""
        return self.since_s * 1000 >= BLIND_MS

    def _check_lease(self) -> None:
        if self.since_s * 1000 >= LEASE_MS:
            because = f"; {self._troubles.last}" if self._troubles.last else ""
            raise LeaseOver(f"no ledger write for the length of a lease{because}")

    # -- writing ------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no write is under way."""
        return self._writing is None

    @property
    def may_write(self) -> bool:
        """Whether no write is under way, and a failed one is long enough ago."""
        return self._writing is None and self._clock.monotonic() >= self._not_before_s

    @property
    def refused(self) -> str | None:
        """Why the ledger takes no write before an operator has changed something."""
        return self._refusal if self._refusals >= REFUSALS else None

    def advance(self, after: Lane) -> None:
        """Begin to write the cursor and the account."""
        self._began_s = self._clock.monotonic()
        self._writing = self._background.submit(self._ledger.advance, self.lane, after)

    def renew(self, lane: Lane) -> None:
        """Begin to extend the lease."""
        self._began_s = self._clock.monotonic()
        self._writing = self._background.submit(self._ledger.renew, lane)

    def collect(self) -> bool:
        """Take in a write that is done. Returns False when it failed: what it carried is still to be written.

        Raises:
            LaneLost: another worker claimed the lane.
            LeaseOver: the ledger could not be reached for the length of a lease.
        """
        if self._writing is None:
            return True
        if not self._writing.done():
            self._check_lease()
            return True
        task, self._writing = self._writing, None
        try:
            self.lane = task.result()
        except LaneLost:
            raise
        except Exception as error:  # noqa: BLE001 - throttled or out of reach: it is tried again as long as the lease lasts
            self._note_failure(error)
            self._check_lease()
            return False
        self._refusals = 0
        self._wrote_s = self._began_s
        return True

    def _note_failure(self, error: Exception) -> None:
        if refusal_code(error) is None:
            self._refusals = 0
            self._troubles.note(f"the ledger could not be written: {in_words(error)}")
        else:
            self._refusals += 1
            self._refusal = f"ledger_refused: {in_words(error)}: allow the worker's role to write the table"
            self._troubles.note(self._refusal)
        self._not_before_s = self._clock.monotonic() + (REFUSED_RETRY_S if self._refusals else RETRY_S)
