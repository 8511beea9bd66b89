"""The item of a run's preparation, as the audience function writes it: claim, renew, end, and wake the run's lane.

A claim gives an attempt the lease; every later write is conditional on it, so that an attempt that was only slow cannot
write after another one has begun.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from notifier.dynamodb import Item, Update, is_refused, item_of
from notifier.hold_item import read_hold
from notifier.model.hold import Hold
from notifier.model.preparation import MAX_ATTEMPTS, PREPARATION_LEASE_MS, Preparation, PreparationState
from notifier.model.run import LEDGER_VERSION, PREPARING, LaneState
from notifier.preparation_items import is_order, preparation_key, preparation_of

LOOK_AGAIN_MS = 5_000
"""After this a query is looked at again, in the sweeper's next minute, unless its end was reported before."""
SCAN_DAYS = 90
"""So long it is known what a query's SQL has read."""
QUERY_DAYS = 2
"""So long it is known which run a query of Athena's belongs to."""
NUDGED_MS = 60_000
"""After this the lane is nudged again, unless the worker has seen meanwhile how the preparation ended."""
POSTPONED_MS = 60_000
"""After this the sweeper asks for what was put off."""
MAX_REASON = 2_000
_STATE = Attr("state")


class Waiting(msgspec.Struct, frozen=True):
    """What is kept while warehouses run queries.

    Args:
        queries: which, as JSON.
        executions: the ids by which EventBridge reports their ends.
        worker: the function to invoke in the end: the event of a query's end does not name it.
        words: what is waited for, for people.
    """

    queries: str
    executions: tuple[str, ...]
    worker: str
    words: str


class AttemptLost(Exception):
    """Another attempt has the lease, or the run was cancelled: this one must not write any more."""


class PreparationStore:
    """The preparations of a stack's ledger.

    Args:
        client: a boto3 DynamoDB client (thread-safe).
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, table: str, now: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._now = now

    def read(self, run_id: str) -> Preparation | None:
        """The run's preparation; None where there is none, or a newer release wrote it."""
        found = self._client.get_item(TableName=self._table, Key=preparation_key(run_id), ConsistentRead=True)
        item = found.get("Item")
        return preparation_of(item) if item and int(item["version"]["N"]) <= LEDGER_VERSION else None

    def read_hold(self) -> Hold | None:
        """The hold of the whole stack, or None."""
        return read_hold(self._client, self._table)

    def claim(self, before: Preparation, owner: str) -> Preparation | None:
        """Begin an attempt. None where another one has the lease, or it is over.

        Args:
            before: as it was read.
            owner: names this attempt and no other.
        """
        now_ms = self._now_ms()
        if before.state.is_over or before.lease_until_ms > now_ms or before.attempts >= MAX_ATTEMPTS:
            return None
        update = (
            Update()
            .set(state=PreparationState.PREPARING.value, owner=owner, progress="")
            .set(lease_until_ms=now_ms + PREPARATION_LEASE_MS, due_at=now_ms + PREPARATION_LEASE_MS)
            .add(attempts=1)
            .only_if(
                Attr("attempts").eq(before.attempts),  # no other attempt has begun since it was read
                _STATE.eq(before.state.value),  # nor has one ended, nor was the run cancelled
            )
        )
        return self._written(before.run_id, update, owner)

    def renew(self, run_id: str, owner: str, progress: str) -> None:
        """Extend the lease. Raises AttemptLost."""
        now_ms = self._now_ms()
        update = Update().set(progress=progress, lease_until_ms=now_ms + PREPARATION_LEASE_MS)
        self._write_as(run_id, owner, update.set(due_at=now_ms + PREPARATION_LEASE_MS))

    def wait(self, claimed: Preparation, waiting: Waiting) -> None:
        """End an attempt that has started queries, and does not wait for them. It does not count as one.

        Raises:
            AttemptLost: another attempt has the lease, or the run was cancelled.
        """
        for execution in waiting.executions:
            # Before the lease is given up: an end that is reported now finds its run.
            found = Update().set(run_id=claimed.run_id, version=LEDGER_VERSION)
            self._update(_query_key(execution), found.set(expires_at=int(self._now()) + QUERY_DAYS * 86_400))
        update = (
            Update()
            .set(queries=waiting.queries, worker=waiting.worker, progress=waiting.words)
            # Set, and not subtracted: botocore repeats a write whose answer was lost.
            .set(attempts=claimed.attempts - 1, lease_until_ms=0, due_at=self._now_ms() + LOOK_AGAIN_MS)
        )
        self._write_as(claimed.run_id, claimed.owner, update)

    def run_of_query(self, execution: str) -> str | None:
        """The run whose preparation has started this query; None for a query of anybody else's."""
        item = self._client.get_item(TableName=self._table, Key=_query_key(execution), ConsistentRead=True).get("Item")
        return str(item["run_id"]["S"]) if item else None

    def last_scan(self, digest: str) -> int | None:
        """The bytes that a warehouse read when it ran this query last; None if that is not known."""
        key = _scan_key(digest)
        item = self._client.get_item(TableName=self._table, Key=key).get("Item")
        return int(item["scanned_bytes"]["N"]) if item else None

    def note_scan(self, digest: str, size: int) -> None:
        """Keep the bytes that a warehouse has read."""
        found = Update().set(scanned_bytes=size, version=LEDGER_VERSION)
        self._update(_scan_key(digest), found.set(expires_at=int(self._now()) + SCAN_DAYS * 86_400))

    def forget_queries(self, run_id: str) -> None:
        """The queries of a cancelled preparation were stopped: nothing of it is due any more."""
        is_cancelled = _STATE.eq(PreparationState.CANCELLED.value)
        self._update(preparation_key(run_id), Update().remove("due", "due_at", "queries").only_if(is_cancelled))

    def postpone(self, claimed: Preparation, words: str) -> None:
        """End an attempt that found what it has to wait for. It does not count as one. Raises AttemptLost."""
        # Set, and not subtracted: botocore repeats a write whose answer was lost.
        update = Update().set(progress=words[:MAX_REASON], attempts=claimed.attempts - 1, lease_until_ms=0)
        self._write_as(claimed.run_id, claimed.owner, update.set(due_at=self._now_ms() + POSTPONED_MS))

    def put_back(self, run_id: str, owner: str, reason: str) -> None:
        """End an attempt that a later one may do better than: the sweeper asks for it. Raises AttemptLost."""
        self._write_as(run_id, owner, Update().set(reason=reason[:MAX_REASON], lease_until_ms=0))

    def end(self, run_id: str, owner: str, *, manifest: str = "", reason: str = "") -> None:
        """Note that the audience is prepared, or why it cannot be. It stays due until the worker has seen that.

        Raises:
            AttemptLost: another attempt has the lease, or the run was cancelled.
        """
        state = PreparationState.PREPARED if manifest else PreparationState.FAILED
        update = Update().set(state=state.value, manifest=manifest, reason=reason[:MAX_REASON], lease_until_ms=0)
        self._write_as(run_id, owner, self._looked_at_later(run_id, update))

    def give_up(self, before: Preparation) -> bool:
        """End a preparation whose last attempt was killed. False where an attempt has the lease, or it is over."""
        is_killed = before.state is PreparationState.PREPARING and before.lease_until_ms <= self._now_ms()
        if not is_killed or before.attempts < MAX_ATTEMPTS:
            return False
        last = f"; what failed last: {before.reason}" if before.reason else ""
        reason = (
            f"its preparation was tried {MAX_ATTEMPTS} times and did not come to an end{last}. Give the function more "
            "memory or room (AudienceMemoryMb, AudienceStorageMb), or prepare fewer files at once"
        )
        update = (
            self._looked_at_later(before.run_id, Update())
            .set(state=PreparationState.FAILED.value, reason=reason[:MAX_REASON])
            .only_if(_STATE.eq(PreparationState.PREPARING.value), Attr("lease_until_ms").lte(self._now_ms()))
        )
        return self._update(preparation_key(before.run_id), update) is not None

    def wake_lane(self, run_id: str) -> str | None:
        """Make the lane ready that rests for this preparation: one conditional write.

        Returns the version of the code with which the run goes on; None where the lane does not rest for it.
        """
        lane = item_of({"pk": f"run#{run_id}", "sk": "lane#0000"})
        update = (
            Update()
            .set(state=LaneState.READY.value, due="lane", due_at=self._now_ms())
            .only_if(
                _STATE.eq(LaneState.RESTING.value),  # not one that is worked on, nor one that an operator has paused
                Attr("reason").begins_with(PREPARING),  # nor one that rests for another reason
            )
        )
        item = self._update(lane, update)
        return None if item is None else str(item.get("function_version", {}).get("S", ""))

    def _looked_at_later(self, run_id: str, update: Update) -> Update:
        """With the time at which the lane is nudged again. No lane waits for an order: nothing is to be done later."""
        if is_order(run_id):
            return update.remove("due", "due_at")
        return update.set(due_at=self._now_ms() + NUDGED_MS)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _written(self, run_id: str, update: Update, owner: str) -> Preparation | None:
        item = self._update(preparation_key(run_id), update)
        if item is not None:
            return preparation_of(item)
        # botocore repeats a write whose answer was lost, and the repetition is refused: `owner` shows our own success.
        found = self.read(run_id)
        return found if found is not None and found.owner == owner and not found.state.is_over else None

    def _write_as(self, run_id: str, owner: str, update: Update) -> None:
        ours = update.only_if(
            Attr("owner").eq(owner),  # no later attempt has begun
            _STATE.eq(PreparationState.PREPARING.value),  # and the run was not cancelled
        )
        if self._update(preparation_key(run_id), ours) is not None:
            return
        found = self.read(run_id)
        # As above: the refusal may be of our own success, which only `end` can have been once it is over.
        if found is None or found.owner != owner or found.state is PreparationState.CANCELLED:
            raise AttemptLost(run_id)

    def _update(self, key: Item, update: Update) -> Item | None:
        """Update an item; returns all of it, or None where a condition of the update is not met."""
        try:
            answer = self._client.update_item(
                TableName=self._table, Key=key, ReturnValues="ALL_NEW", **update.arguments()
            )
        except ClientError as error:
            if is_refused(error):
                return None
            raise
        item: Item = answer["Attributes"]
        return item


def _query_key(execution: str) -> Item:
    """The key of the item that says whose a query is: `pk=query#ID, sk=query`."""
    return item_of({"pk": f"query#{execution}", "sk": "query"})


def _scan_key(digest: str) -> Item:
    """The key of the item that says what a query has read: `pk=scan#DIGEST, sk=scan`."""
    return item_of({"pk": f"scan#{digest}", "sk": "scan"})
