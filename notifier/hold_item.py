"""The item of a hold in the ledger's table: `pk=hold, sk=hold`. Every function reads it, control writes it.

It is held as long as it has `since_ms`. A release keeps the item, and who released it when. It has no expiry: a hold
must not end because nobody has looked at it for long.
"""

from typing import Any

from notifier.dynamodb import Item, item_of, number_of, text_of
from notifier.model.hold import Hold

HOLD = "hold"
"""The item's partition key, and its sort key."""
HOLD_KEY = item_of({"pk": HOLD, "sk": HOLD})


def hold_of(item: Item | None) -> Hold | None:
    """The hold in the item; None where it was released, or there never was one."""
    if item is None or "since_ms" not in item:
        return None
    return Hold(text_of(item, "held_by"), text_of(item, "hold_reason"), number_of(item, "since_ms"))


def read_hold(client: Any, table: str) -> Hold | None:
    """The hold of a stack, or None.

    Args:
        client: a boto3 DynamoDB client.
        table: the ledger's.
    """
    # Consistent: a hold counts from the moment that its command was answered.
    return hold_of(client.get_item(TableName=table, Key=HOLD_KEY, ConsistentRead=True).get("Item"))
