"""The ledger's table: what each part of the ledger reads and writes with."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from notifier.dynamodb import IS_NEW, Item, Update, Value, condition_of, is_refused, item_of
from notifier.lane_commands import lane_key
from notifier.model.run import LANES_VERSION, LEDGER_VERSION, Lane, LedgerTooNew
from notifier.stores.ledger.items import lane_of

KEEP_S = 400 * 86_400
"""Items of a run are kept for this long after their last write."""


class Table:
    """One DynamoDB table.

    Args:
        client: a boto3 DynamoDB client (thread-safe).
        table: the table's name.
        now: seconds since the epoch.
    """

    def __init__(self, client: Any, table: str, now: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._now = now

    def read_lane(self, run_id: str, lane: int = 0) -> Lane | None:
        """The lane, or None.

        Raises:
            LedgerTooNew: a newer release wrote it.
        """
        item = self._get(lane_key(run_id, lane))
        return lane_of(item) if item else None

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _expires_at(self) -> int:
        """When DynamoDB may delete an item that is written now; seconds since the epoch."""
        return int(self._now()) + KEEP_S

    def _get(self, key: Item) -> Item | None:
        # Consistent: a claim, and a write whose answer was lost, are decided by what is read here.
        item: Item | None = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        if item is not None and int(item["version"]["N"]) > LANES_VERSION:
            raise LedgerTooNew(f"ledger version {item['version']['N']}: this release reads {LANES_VERSION}")
        return item

    def _put(self, **values: Value) -> None:
        """Write an item, in place of an earlier one with its key. Items expire and carry the version of their form."""
        self._client.put_item(TableName=self._table, Item=self._item(values))

    def _put_new(self, **values: Value) -> None:
        """As `_put`, unless there is an item with this key: then nothing is written."""
        try:
            self._client.put_item(TableName=self._table, Item=self._item(values), **condition_of(IS_NEW))
        except ClientError as error:
            if not is_refused(error):
                raise

    def _item(self, values: dict[str, Value]) -> Item:
        return item_of({"version": LEDGER_VERSION, **values, "expires_at": self._expires_at()})

    def _update(self, key: Item, update: Update) -> Item:
        """Update an item; returns all of it. Raises botocore's ClientError where a condition is not met."""
        answer = self._client.update_item(TableName=self._table, Key=key, ReturnValues="ALL_NEW", **update.arguments())
        item: Item = answer["Attributes"]
        return item

    def _update_if_met(self, key: Item, update: Update) -> Item | None:
        """Update an item; returns all of it, or None where a condition of the update is not met."""
        try:
            return self._update(key, update)
        except ClientError as error:
            if is_refused(error):
                return None
            raise
