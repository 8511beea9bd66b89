"""The table: what every part of the ledger reads and writes with."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from notifier.model.run import LEDGER_VERSION, Lane, LedgerTooNew
from notifier.stores.ledger.items import key, lane_of, lane_sk, n

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
        """The lane, or None."""
        item = self._get(key(run_id, lane_sk(lane)))
        return lane_of(item) if item else None

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _expiry(self) -> dict[str, str]:
        return n(int(self._now()) + KEEP_S)

    def _get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        item: dict[str, Any] | None = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get(
            "Item"
        )
        if item is not None and int(item["version"]["N"]) > LEDGER_VERSION:
            raise LedgerTooNew(f"ledger version {item['version']['N']}: this release reads {LEDGER_VERSION}")
        return item

    def _put_new(self, item: dict[str, Any]) -> None:
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item | {"expires_at": self._expiry()},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if not is_refused(error):
                raise


def is_refused(error: ClientError) -> bool:
    """Whether a condition was not met; every other error is trouble."""
    return bool(error.response["Error"]["Code"] == "ConditionalCheckFailedException")
