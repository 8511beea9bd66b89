"""The item of a hold in the ledger's table: `pk=hold, sk=hold`. Every function reads it, control writes it.

It is held as long as it has `since_ms`. A release keeps the item: from when it was held (`held_from_ms`), and who
released it when. It has no expiry: a hold must not end because nobody has looked at it for long.
"""

from typing import Any

from boto3.dynamodb.conditions import Attr

from notifier.dynamodb import Item, Update, item_of, number_of, text_of
from notifier.model.hold import MAX_REASON_CHARS, Hold
from notifier.model.run import LEDGER_VERSION

HOLD = "hold"
"""The item's partition key, and its sort key."""
HOLD_KEY = item_of({"pk": HOLD, "sk": HOLD})


def hold_of(item: Item | None) -> Hold | None:
    """The hold in the item; None where it was released, or there never was one."""
    if item is None or "since_ms" not in item:
        return None
    return Hold(text_of(item, "held_by"), text_of(item, "hold_reason"), number_of(item, "since_ms"))


def holding(by: str, reason: str, now_ms: int) -> Update:
    """Holds the stack. Of one that is held already the time stays, and the rest is replaced."""
    update = Update().set(version=LEDGER_VERSION, held_by=by, hold_reason=reason[:MAX_REASON_CHARS])
    return update.set_first(since_ms=now_ms)


def releasing(found: Hold, by: str, now_ms: int) -> Update:
    """Releases a hold, if it is still that one."""
    # What it was stays: schedules say of a time that was due in it why nothing was sent.
    was = Update().set(held_from_ms=found.since_ms, released_by=by, released_at_ms=now_ms)
    return was.remove("since_ms").only_if(Attr("since_ms").eq(found.since_ms))


def was_held(item: Item | None, at_ms: int) -> bool:
    """Whether a time was in the hold, or in the last one; `at_ms` since the epoch."""
    if item is None:
        return False
    if "since_ms" in item:
        return at_ms >= number_of(item, "since_ms")
    return "held_from_ms" in item and number_of(item, "held_from_ms") <= at_ms < number_of(item, "released_at_ms")


def hold_item(client: Any, table: str) -> Item | None:
    """The item of a stack's holds, or None where there never was one. Arguments as of `read_hold`."""
    item: Item | None = client.get_item(TableName=table, Key=HOLD_KEY, ConsistentRead=True).get("Item")
    return item


def read_hold(client: Any, table: str) -> Hold | None:
    """The hold of a stack, or None.

    Args:
        client: a boto3 DynamoDB client.
        table: the ledger's.
    """
    # Consistent: a hold counts from the moment that its command was answered.
    return hold_of(hold_item(client, table))
