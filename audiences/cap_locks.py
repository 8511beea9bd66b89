"""One cut at a time for each group of campaigns: two that ran at once would not see whom the other one reaches.

run A   lock ── read the others ── cut ── put its own object ── unlock
run B     lock: refused … waits                                        lock ── read the others, A among them ── …
killed  lock ── X      the lease ends ── lock, by whoever comes
again   lock: its own run's ── …
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from notifier.dynamodb import Item, Update, is_refused, item_of
from notifier.model.run import LEDGER_VERSION

LEASE_MS = 60_000
"""A cut that has not renewed for so long was killed."""
RENEW_MS = 15_000
WAIT_S = 20.0
"""So long another cut is waited for on paid time: most take seconds. Then the sweeper asks again."""
STEP_S = 1.0


class GroupLocked(Exception):
    """Another run of the group is being cut: this one waits, however long. The message says so."""


class LockLost(Exception):
    """The lease ended while the cut was at work, and another run may have been cut: it has to be made again."""

    def __init__(self, group: str) -> None:
        super().__init__(f"the lock of the group {group} was lost: the final cut took longer than its lease")


class CapLocks:
    """The locks of a stack, in the ledger's table: `pk=caps#GROUP, sk=lock`.

    Args:
        client: a boto3 DynamoDB client.
        now: seconds since the epoch.
        sleep: waits, seconds.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._sleep = sleep

    @contextmanager
    def held(self, groups: tuple[str, ...], run_id: str) -> Iterator["HeldLocks"]:
        """The locks of these groups, as long as the context. Raises GroupLocked.

        Args:
            groups: sorted: two runs of several groups never wait for each other.
        """
        taken: list[str] = []
        try:
            for group in groups:
                self._wait_for(group, run_id)
                taken.append(group)
            yield HeldLocks(self, groups, run_id, self._now)
        finally:
            for group in taken:
                ours = Update().remove("run_id", "lease_until_ms").only_if(Attr("run_id").eq(run_id))
                self._update(group, ours)

    def renew(self, group: str, run_id: str) -> None:
        """Extend a lease. Raises LockLost."""
        # Not where it is free: whoever had it meanwhile has counted what this cut has not seen.
        if not self._update(group, self._leased(run_id).only_if(Attr("run_id").eq(run_id))):
            raise LockLost(group)

    def _wait_for(self, group: str, run_id: str) -> None:
        until_s = self._now() + WAIT_S
        while not self._take(group, run_id):
            if self._now() >= until_s:
                raise GroupLocked(f"another run of the group {group} is being cut, and may reach the same users")
            self._sleep(STEP_S)

    def _take(self, group: str, run_id: str) -> bool:
        update = self._leased(run_id).only_if(
            Attr("run_id").not_exists()  # free
            | Attr("run_id").eq(run_id)  # another attempt's at the same cut, or our own write whose answer was lost
            | Attr("lease_until_ms").lte(self._now_ms())  # of a cut that was killed
        )
        return self._update(group, update)

    def _leased(self, run_id: str) -> Update:
        return Update().set(run_id=run_id, lease_until_ms=self._now_ms() + LEASE_MS, version=LEDGER_VERSION)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _update(self, group: str, update: Update) -> bool:
        try:
            self._client.update_item(TableName=self._table, Key=_key(group), **update.arguments())
        except ClientError as error:
            if is_refused(error):
                return False
            raise
        return True


class HeldLocks:
    """The locks that a cut holds."""

    def __init__(self, locks: CapLocks, groups: tuple[str, ...], run_id: str, now: Callable[[], float]) -> None:
        self._locks = locks
        self._groups = groups
        self._run_id = run_id
        self._now = now
        self._renewed_s = now()

    def renew(self, *, at_once: bool = False) -> None:
        """Extend the leases, unless that was done a moment ago. Raises LockLost."""
        if not at_once and self._now() - self._renewed_s < RENEW_MS / 1000:
            return
        for group in self._groups:
            self._locks.renew(group, self._run_id)
        self._renewed_s = self._now()


def _key(group: str) -> Item:
    return item_of({"pk": f"caps#{group}", "sk": "lock"})
